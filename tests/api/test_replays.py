"""A replay over HTTP: what it compares, one at a time, and no longer than somebody waits for it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
import trio

from es_power.api import routes_replay
from es_power.domain.access import Role
from es_power.domain.events import Position
from es_power.errors import SealBrokenError
from tests.api.house import Running, local, served

BOTH = {"policy": "nova-2013", "against": "nova-2026"}


async def ask(api: Running, **said: Any) -> httpx.Response:
    async with api.client() as client:
        return await client.post("/v1/replays", json=said)


async def test_two_policies_are_compared(api: Running) -> None:
    found = (await ask(api, **BOTH)).json()

    assert [found[name] for name in ("left", "right", "position")] == ["nova-2013", "nova-2026", 80]
    assert [found[name] for name in ("both", "otherwise", "only_left", "only_right")] == [2, 1, 0, 0]
    [row] = found["differences"]
    assert (row["name"], row["command"], row["only_in"]) == ("old-4", "stop / force_stop", None)


async def test_only_what_began_since_then_counts_and_no_more_is_listed_than_asked_for(api: Running) -> None:
    later = (await ask(api, against="follow", since="2026-11-22T03:00:00Z")).json()
    none = (await ask(api, against="follow", limit=0)).json()

    assert (later["only_left"], [row["name"] for row in later["differences"]]) == (1, ["web-1"])
    assert (none["only_left"], none["differences"]) == (2, [])


async def test_a_side_that_is_none_or_the_same_is_a_problem(api: Running) -> None:
    for said in ({"against": "nova-2031"}, {"policy": "nova", "against": "nova"}, {"against": "nova", "why": "so"}):
        answer = await ask(api, **said)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), said


async def test_whoever_only_reads_may_not_have_the_log_replayed(api: Running) -> None:
    token = await api.token(Role.READ)
    async with api.client(uid=None, headers={"Authorization": f"Bearer {token.secret}"}) as client:
        answer = await client.post("/v1/replays", json=BOTH)

    assert answer.json()["type"] == "/problems/forbidden"


async def test_a_log_that_is_too_long_is_one_for_the_command_line(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_replay, "_MOST", 79)
    answer = await ask(api, **BOTH)

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/too-slow")
    assert (await ask(api, **BOTH, until="79")).status_code == 200


async def test_damage_that_a_replay_finds_is_told(api: Running) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise SealBrokenError(Position(7), reason="its hash is another")

    with mock.patch.object(routes_replay, "compare", broken):
        answer = await ask(api, **BOTH)

    assert answer.json()["type"] == "/problems/log-damaged"


class Endless:
    """A comparison that takes for ever, and tells when it began and that it was ended."""

    def __init__(self) -> None:
        self.begun, self.ended = trio.Event(), trio.Event()

    async def __call__(self, *_: object, **__: object) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    replaced = Endless()
    monkeypatch.setattr(routes_replay, "compare", replaced)
    return replaced


async def test_a_replay_ends_when_its_client_is_gone(api: Running, tmp_path: Path, endless: Endless) -> None:
    async with served(api, tmp_path) as (_, path):
        async with trio.open_nursery() as nursery, local(path) as client:
            nursery.start_soon(_posted(client))
            await endless.begun.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await endless.ended.wait()
        # The next one is not told that one is under way.
        monkey = Endless()
        with mock.patch.object(routes_replay, "compare", monkey):
            async with trio.open_nursery() as nursery, local(path) as client:
                nursery.start_soon(_posted(client))
                with trio.fail_after(10):
                    await monkey.begun.wait()
                nursery.cancel_scope.cancel()


async def test_one_replay_at_a_time(api: Running, endless: Endless) -> None:
    async with trio.open_nursery() as nursery, api.client() as client:
        nursery.start_soon(_posted(client))
        await endless.begun.wait()
        answer = await ask(api, **BOTH)
        nursery.cancel_scope.cancel()

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")


def _posted(client: httpx.AsyncClient) -> Callable[[], Awaitable[httpx.Response]]:
    return lambda: client.post("/v1/replays", json=BOTH)
