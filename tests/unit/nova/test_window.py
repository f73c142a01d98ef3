"""An order leaves within its window or not at all, wherever the time goes; and what a hostile answer must not do."""

import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from urllib3.util import connection as connecting

from es_power.errors import NovaAnswerError, NovaOutcomeUnknownError, NovaRefusedError, NovaUnavailableError
from es_power.nova import NovaApi
from es_power.testing import vm
from tests.rigs.scripted_nova import Reply, ScriptedNova

Connect = Callable[..., Awaitable[NovaApi]]

STOP = "POST /action"
LIST = "GET /servers/detail"
TOKENS = "POST /auth/tokens"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """New connections come about when this is set."""
    event, connect = threading.Event(), connecting.create_connection

    def wait(*arguments: Any, **options: Any) -> Any:
        event.wait(10.0)
        return connect(*arguments, **options)

    monkeypatch.setattr(connecting, "create_connection", wait)
    event.set()
    return event


async def test_a_stop_whose_connection_takes_longer_than_its_window_orders_nothing(
    nova: ScriptedNova, api: NovaApi, slow: threading.Event
) -> None:
    nova.add(vm(1))
    await api.server(vm(1))
    api.close()  # so that the stop needs a new connection
    slow.clear()
    begun = time.monotonic()

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop() -> None:
            with pytest.raises(NovaUnavailableError, match="did not go out in time"):
                await api.stop(vm(1), send_within=0.1)

        await trio.sleep(begun + 0.15 - time.monotonic())
        slow.set()
    await trio.to_thread.run_sync(nova.wait_asked, STOP)

    assert nova.servers[str(vm(1))]["OS-EXT-STS:vm_state"] == "active"
    assert [each.body for each in nova.seen if each.fits(STOP)] == [None]


async def test_a_stop_that_was_given_up_while_it_connected_is_undone(
    nova: ScriptedNova, connect: Connect, slow: threading.Event
) -> None:
    nova.add(vm(1))
    api = await connect(timeout=0.3)
    await api.server(vm(1))
    api.close()
    slow.clear()

    with pytest.raises(NovaUnavailableError):
        await api.stop(vm(1))
    slow.set()
    await trio.to_thread.run_sync(nova.wait_asked, STOP)

    assert [each.body for each in nova.seen if each.fits(STOP)] == [None]


async def test_a_stop_that_was_heard_and_not_answered_is_unknown_however_late_that_is_noticed(
    nova: ScriptedNova, connect: Connect
) -> None:
    nova.add(vm(1))
    api, late = await connect(timeout=0.3), threading.Event()
    nova.fail(STOP, Reply(after=late, does=True))

    with pytest.raises(NovaOutcomeUnknownError):
        await api.stop(vm(1))
    late.set()

    assert [each.body for each in nova.seen if each.fits(STOP)] == [{"os-stop": None}]


@pytest.mark.parametrize(
    "token",
    [
        b'{"token": 5}',
        b'{"token": {"expires_at": "never"}}',
        b'{"token": {"catalog": [5]}}',
        b'{"token": {"catalog": 5}}',
    ],
)
async def test_a_token_that_is_none_is_not_kept(nova: ScriptedNova, api: NovaApi, token: bytes) -> None:
    nova.add(vm(1))
    nova.fail(TOKENS, Reply(status=201, body=token, headers={"X-Subject-Token": "token"}))

    assert (await api.server(vm(1))) is not None
    assert nova.asked(TOKENS) == 2


@pytest.mark.parametrize("before", [b'{"servers": [', b'{"servers": [], "more": ', b'{"servers": [{"id": '])
async def test_brackets_without_end_are_no_answer(nova: ScriptedNova, api: NovaApi, before: bytes) -> None:
    nova.fail(LIST, Reply(body=before + b"[" * 100_000))

    with pytest.raises(NovaAnswerError, match="that are none"):
        await api.servers(host="kvm-07")


async def test_a_refusal_of_brackets_without_end_is_a_refusal(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(LIST, Reply(status=403, body=b'{"forbidden": {"more": ' + b"[" * 100_000))

    with pytest.raises(NovaRefusedError, match="403"):
        await api.servers(host="kvm-07")


async def test_a_link_that_is_no_address_is_no_answer(nova: ScriptedNova, api: NovaApi) -> None:
    link = {"rel": "next", "href": "http://[::1?marker=1"}
    nova.fail(LIST, Reply.json({"servers": [], "servers_links": [link]}))

    with pytest.raises(NovaAnswerError, match="has no marker"):
        await api.servers(host="kvm-07")


async def test_a_wait_until_a_year_that_does_not_exist_is_no_wait(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    date = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    nova.fail("GET /servers/", Reply(status=429, headers={"Retry-After": date}))

    assert await api.server(vm(1)) is not None


async def test_a_redirect_is_refused_and_the_token_stays_here(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    nova.fail("GET /servers/", Reply(status=302, headers={"Location": f"{nova.url}/elsewhere"}))

    with pytest.raises(NovaRefusedError, match="302"):
        await api.server(vm(1))

    assert nova.asked("GET /elsewhere") == 0


async def test_the_body_of_a_redirect_is_read_no_further_than_any_other(nova: ScriptedNova, connect: Connect) -> None:
    api = await connect(limit=1_000)
    nova.fail(LIST, Reply(status=302, body=b" " * 10_000, repeat=True, headers={"Location": f"{nova.url}/elsewhere"}))

    with pytest.raises(NovaAnswerError, match="longer than 1000 bytes"):
        await api.servers(host="kvm-07")


async def test_a_stop_of_what_nova_does_not_know_blames_no_address(nova: ScriptedNova, api: NovaApi) -> None:
    with pytest.raises(NovaRefusedError, match=r"404 Instance .* could not be found") as refusal:
        await api.stop(vm(1))

    assert "endpoint" not in str(refusal.value)
