"""Following the log: nothing is lost, whoever comes again; nobody is waited for, and nothing kept for who is slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import trio

from es_power.api import listen, stream
from es_power.api.access import Principal
from es_power.domain.access import Role
from es_power.domain.events import InstanceNamed
from es_power.domain.ports import Append, Write
from es_power.domain.time import Timestamp
from es_power.ingest.access import revoke_token
from es_power.log import SqlLog
from es_power.log.labels import make_label
from tests.acceptance.night import NOW, STREAM, WEB
from tests.api.house import Running, local, running, served


async def name_it(log: SqlLog, *names: str) -> None:
    """Facts that the log gains, one each."""
    for name in names:
        label, text = make_label(name)
        events = [InstanceNamed(observed_at=NOW, instance=WEB, name=label)]
        write = Write(stream=STREAM, expected=await log.version(STREAM), events=events)
        await log.append(Append(writes=[write], labels=[text]))


class Events:
    """Server-sent events, read line by line; the lines that frame HTTP's chunks look like none of theirs."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""
        self.id = 0

    async def next(self) -> str:
        """The kind of the next event; its id is remembered."""
        kind = ""
        while True:
            while b"\n" not in self._rest:
                part = await self._stream.receive_some()
                if not part:
                    return "end"
                self._rest += part
            line, _, self._rest = self._rest.partition(b"\n")
            field, _, value = line.decode().rstrip("\r").partition(": ")
            if field == "id":
                self.id = int(value)
            elif field == "event":
                kind = value
            elif field == "0":
                return "end"
            elif not field and value:
                return "comment"
            elif not field and kind:
                return kind

    async def ids(self, count: int) -> list[int]:
        """The ids of so many facts."""
        found = []
        with trio.fail_after(10):
            while len(found) < count:
                assert await self.next() == "fact"
                found.append(self.id)
        return found


@asynccontextmanager
async def following(at: Path | str, query: str = "", **headers: str) -> AsyncIterator[Events]:
    """Follow at a socket's path, or at a URL of this machine."""
    if isinstance(at, Path):
        stream = await trio.open_unix_socket(at)
    else:
        stream = await trio.open_tcp_stream("127.0.0.1", urlsplit(at).port or 0)
    async with stream:
        asked = [f"GET /v1/stream{query} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in headers.items())]
        await stream.send_all("\r\n".join([*asked, "", ""]).encode())
        yield Events(stream)


@pytest.fixture
async def at(api: Running, tmp_path: Path) -> AsyncIterator[Path]:
    async with served(api, tmp_path) as (_, path):
        yield path


async def test_what_is_recorded_is_told_with_its_position(api: Running, at: Path) -> None:
    async with following(at) as first, following(at, "?after=77") as second:
        assert (await first.next(), first.id) == ("ready", 80)
        assert (await second.next(), second.id) == ("ready", 77)
        await name_it(api.house.log, "a", "b")

        assert await first.ids(2) == [81, 82]
        assert await second.ids(5) == [78, 79, 80, 81, 82]


async def test_nothing_is_lost_over_a_restart_of_the_service(night: Path, tmp_path: Path) -> None:
    async with running(night) as before, served(before, tmp_path) as (_, path), following(path) as events:
        await events.next()
        await name_it(before.house.log, "a", "b")
        assert await events.ids(2) == [81, 82]
    async with running(night) as after:
        await name_it(after.house.log, "c", "d")
        async with served(after, tmp_path) as (_, path), following(path, **{"Last-Event-ID": "81"}) as events:
            await events.next()
            await name_it(after.house.log, "e")

            assert await events.ids(4) == [82, 83, 84, 85]


async def test_many_come_and_go_while_the_log_grows_and_each_hears_all(api: Running, at: Path) -> None:
    heard: list[list[int]] = []

    async def one(after: int) -> None:
        async with following(at, f"?after={after}") as events:
            await events.next()
            heard.append(await events.ids(100 - after))

    async with trio.open_nursery() as nursery:
        for after in range(60, 80, 2):
            nursery.start_soon(one, after)
        await name_it(api.house.log, *map(str, range(20)))

    assert sorted(heard) == [list(range(after + 1, 101)) for after in range(60, 80, 2)]


async def test_a_head_has_the_headers_of_a_stream_and_ends(api: Running, at: Path) -> None:
    connection = await trio.open_unix_socket(at)
    async with connection:
        with trio.fail_after(5):
            for _ in range(2):
                await connection.send_all(b"HEAD /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
                said = b""
                while b"\r\n\r\n" not in said:
                    said += await connection.receive_some()

                headers, _, rest = said.partition(b"\r\n\r\n")
                assert headers.startswith(b"HTTP/1.1 200")
                assert b"text/event-stream" in headers
                assert (rest, api.house.broadcast.followers) == (b"", 0)
    async with api.client() as client, local(at) as other:
        assert [(await each.head("/v1/stream?after=70")).status_code for each in (client, other)] == [200, 200]


async def test_silence_is_broken_by_a_comment(api: Running, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    async with following(at) as events:
        assert [await events.next(), await events.next()] == ["ready", "comment"]


async def test_a_reader_that_falls_behind_is_told_to_begin_again(
    api: Running, at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(at) as events:
        await events.next()
        # What a reader that stands still looks like from here: the ring went on without it.
        api.house.broadcast.ring.clear()
        api.house.broadcast.tell([(90, stream.event(90, "{}"))])

        assert [await events.next(), await events.next()] == ["reset", "end"]
    assert (events.id, api.house.broadcast.resets) == (80, 1)


async def test_a_reader_that_stands_still_is_let_go(api: Running, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "SEND_WITHIN", 0.1)
    monkeypatch.setattr(stream, "RING", 4)
    reader = await trio.open_unix_socket(at)
    await reader.send_all(b"GET /v1/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with trio.fail_after(20):
        while not api.house.broadcast.followers:
            await trio.sleep(0.01)
        while api.house.broadcast.followers:
            position = api.house.position
            api.house.broadcast.tell([(position, stream.event(position, "x" * 100_000))])
            await name_it(api.house.log, "x" * 200)
            await trio.sleep(0.01)
    await reader.aclose()

    async with local(at) as client:
        assert (await client.get("/v1/vms")).status_code == 200


async def test_the_service_lets_go_of_all_who_follow_when_it_stops(api: Running, at: Path) -> None:
    async with following(at) as events:
        assert await events.next() == "ready"
        api.house.broadcast.end()

        assert await events.next() == "end"


async def test_whose_token_is_revoked_or_whose_session_ends_follows_no_longer(api: Running, tmp_path: Path) -> None:
    issued = await api.token(Role.READ)
    async with served(api, tmp_path) as (url, path), httpx.AsyncClient(base_url=url) as browser, local(path) as host:
        await browser.get((await host.post("/v1/links")).json()["path"])
        csrf = (await browser.get("/v1/session")).json()["csrf"]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        async with (
            following(url, Authorization=f"Bearer {issued.secret}") as program,
            following(url, Cookie=cookie) as page,
            following(path) as other,
        ):
            assert [await each.next() for each in (program, page, other)] == ["ready"] * 3
            await revoke_token(api.house.log, issued.token, by="alice", at=NOW)
            with trio.fail_after(10):
                while await program.next() != "end":
                    pass
            await browser.delete("/v1/session", headers={"X-CSRF-Token": csrf})
            with trio.fail_after(10):
                while await page.next() != "end":
                    pass
            await name_it(api.house.log, "one")
            assert len(await other.ids(3)) == 3


async def test_a_session_that_is_over_is_let_in_no_longer(api: Running) -> None:
    who = Principal(role=Role.READ, key="", user="", session=uuid4(), ends=Timestamp(NOW + 1))
    assert api.house.lets_in(who)
    assert not api.house.lets_in(replace(who, ends=NOW))


async def test_only_so_many_may_follow(api: Running, at: Path) -> None:
    api.house.broadcast.followers = 1000
    async with local(at) as client:
        answer = await client.get("/v1/stream")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")


async def test_a_record_that_cannot_be_read_is_told_as_one(api: Running, at: Path) -> None:
    log = api.house.log
    await name_it(log, "a")
    with log.database.write() as connection:
        connection.exec_driver_sql("UPDATE records SET topic = 'Unheard:9' WHERE position = 81")
    await name_it(log, "b")

    async with following(at, "?after=80") as events:
        await events.next()
        assert await events.ids(2) == [81, 82]
    async with local(at) as client:
        rows = (await client.get("/v1/events?after=80&min_position=82")).json()["items"]
    assert [(row["position"], row["kind"]) for row in rows] == [(81, None), (82, "InstanceNamed")]


async def test_a_client_that_goes_is_forgotten(api: Running, at: Path) -> None:
    async with following(at) as events:
        await events.next()
        assert api.house.broadcast.followers == 1
    with trio.fail_after(5):
        while api.house.broadcast.followers:
            await trio.sleep(0.01)


async def test_no_more_than_is_at_hand_is_kept(api: Running, at: Path) -> None:
    ring = stream.Broadcast()
    ring.tell([(position, b"x") for position in range(1, stream.RING + 101)])

    assert (len(ring.ring), ring.begin, ring.end_position) == (stream.RING, 101, stream.RING + 100)
    assert [position for position, _ in ring.beyond(stream.RING + 98)] == [stream.RING + 99, stream.RING + 100]
