"""Real sockets: what is listened at and what is refused, the kernel's word, and clients that behave badly."""

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trio

from es_power.api import listen
from es_power.api.listen import address_of, tcp_socket, unix_socket
from es_power.api.serving import Sockets, answering
from es_power.domain.access import Role
from es_power.errors import ListenError
from es_power.ingest.access import issue_token
from es_power.log import open_log
from es_power.log.patience import PatientLog
from es_power.projections.follower import Follower
from es_power.projections.store import Store
from es_power.settings import Api, Log, Metrics, Settings
from tests.acceptance.night import NOW
from tests.api.house import Running, local, served


@pytest.mark.parametrize("place", ["0.0.0.0:8420", "[::]:8420", "192.0.2.7:8420"])
def test_an_address_that_others_reach_is_refused_unless_a_proxy_is_in_front(place: str) -> None:
    with pytest.raises(ListenError, match=r"\[api\] listen is .*, which other machines reach.*\[api\] proxy = true"):
        address_of(place, "[api] listen")
    assert address_of(place, "[api] listen", proxy=True)[1] == 8420


@pytest.mark.parametrize("place", ["127.0.0.1:8420", "[::1]:8420", "localhost:8420", "127.9.9.9:8420"])
def test_this_machine_alone_is_where_it_listens(place: str) -> None:
    assert address_of(place, "[api] listen")[1] == 8420


@pytest.mark.parametrize("place", ["127.0.0.1:70000", "1.2.3.4.5:80"])
def test_what_is_no_address_is_told_by_its_setting(place: str) -> None:
    with pytest.raises(ListenError, match=r"\[metrics\] listen is "):
        address_of(place, "[metrics] listen")


def test_a_port_that_is_taken_is_told_by_its_setting() -> None:
    with tcp_socket("127.0.0.1:0", "[api] listen") as first:
        place = f"127.0.0.1:{first.getsockname()[1]}"
        with (
            pytest.raises(
                ListenError, match=r"another program has it; set \[api\] listen .* or \[api\] enabled = false"
            ),
            tcp_socket(place, "[api] listen"),
        ):
            pass


def test_a_socket_that_nobody_hears_is_replaced_and_taken_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    with unix_socket(path, "[api] socket"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        with pytest.raises(ListenError, match="another service listens there"), unix_socket(path, "[api] socket"):
            pass
        assert path.exists()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="something else than a socket"), unix_socket(path, "[api] socket"):
        pass
    assert path.read_text() == "precious"


def test_sockets_are_made_as_the_settings_say_and_all_are_closed(tmp_path: Path) -> None:
    log = Log(path=str(tmp_path / "log.db"))
    anywhere = Settings(log=log, api=Api(listen="127.0.0.1:0"), metrics=Metrics(listen="127.0.0.1:0"))
    nowhere = Settings(log=log, api=Api(enabled=False), metrics=Metrics(enabled=False))
    far = Settings(log=log, api=Api(listen="127.0.0.1:0", socket=str(tmp_path / "no" / "api.sock")))

    with closing(Sockets.open(anywhere)) as sockets:
        assert (len(sockets.api), len(sockets.health)) == (2, 1)
    with closing(Sockets.open(nowhere)) as sockets:
        assert (sockets.api, sockets.health) == ([], [])
    with pytest.raises(ListenError, match=r"set \[api\] socket"):
        Sockets.open(far)

    assert list(tmp_path.iterdir()) == []


def test_a_log_whose_name_leaves_a_socket_no_room_is_served_without_one(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    settings = Settings(log=Log(path=str(long)), api=Api(listen="127.0.0.1:0"), metrics=Metrics(enabled=False))
    with closing(Sockets.open(settings)) as sockets:
        assert len(sockets.api) == 1


# --------------------------------------------------------------------------------------------------------- clients


async def test_the_kernel_is_asked_who_is_at_the_other_end(api: Running, tmp_path: Path) -> None:
    async with served(api, tmp_path) as (url, path):
        async with local(path) as client:
            who = (await client.get("/v1/session")).json()
        async with httpx.AsyncClient(base_url=url) as client:
            nobody = await client.get("/v1/session")

    assert who["role"] == "admin"
    assert (who["user"] == "root") == (os.geteuid() == 0)
    assert nobody.status_code == 401


async def test_a_token_is_known_from_the_first_request_on(night: Path) -> None:
    settings = Settings(log=Log(path=str(night)), api=Api(listen="127.0.0.1:0"), metrics=Metrics(enabled=False))
    async with open_log(night, mode="write") as log:
        issued = await issue_token(log, name="ci", role=Role.READ, by="alice", at=NOW)
        store = Store(log.database)
        follower = await Follower.start(PatientLog(log), store)
        with closing(Sockets.open(settings)) as sockets:
            async with (
                answering(settings, sockets, log, store, follower) as house,
                httpx.AsyncClient(base_url=house.url, headers={"Authorization": f"Bearer {issued.secret}"}) as client,
            ):
                answer = await client.get("/v1/session")

    assert answer.status_code == 200


async def test_many_requests_take_one_connection(api: Running, tmp_path: Path) -> None:
    issued = await api.token(Role.READ)
    async with (
        served(api, tmp_path) as (url, _),
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {issued.secret}"}) as client,
    ):
        answers = [await client.get("/v1/vms") for _ in range(5)]
        refused = [await client.post("/v1/commands/x/approve", content=b"x" * 60_000) for _ in range(3)]
        last = await client.get("/v1/vms")

    assert [answer.status_code for answer in answers] == [200] * 5
    assert [answer.status_code for answer in refused] == [403] * 3
    assert last.status_code == 200


async def test_a_name_of_a_hundred_thousand_characters_is_a_problem_and_no_broken_connection(
    api: Running, tmp_path: Path
) -> None:
    async with served(api, tmp_path) as (_, path):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b"GET /v1/vms/" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await read(stream)
        await stream.aclose()

    assert answer.startswith(b"HTTP/1.1 414 ")
    assert b"/problems/uri-too-long" in answer


async def read(stream: trio.SocketStream) -> bytes:
    """All that comes within moments."""
    received = b""
    with trio.move_on_after(5):
        while b"\r\n\r\n" not in received or not received.endswith(b"}"):
            part = await stream.receive_some()
            if not part:
                break
            received += part
    return received


async def test_two_tasks_that_write_to_one_connection_wait_for_each_other() -> None:
    # Bytes behind a request that wanted the connection closed had the whole service end.
    ours, theirs = trio.socket.socketpair()
    stream = listen._Stream(trio.SocketStream(ours))
    received = bytearray()
    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b"):
            nursery.start_soon(stream.send_all, letter * 2_000_000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stream.send_eof)
        while part := await theirs.recv(65_536):
            received += part
    theirs.close()
    await stream.aclose()

    assert {bytes(received[:2_000_000]), bytes(received[2_000_000:])} == {b"a" * 2_000_000, b"b" * 2_000_000}


async def test_a_mistake_on_one_connection_ends_no_other(
    api: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, mistakes = listen.TCPServer, [True]

    def server(*arguments: object) -> object:
        if mistakes and mistakes.pop():
            raise LookupError("a mistake")
        return real(*arguments)

    monkeypatch.setattr(listen, "TCPServer", server)
    async with served(api, tmp_path) as (_, path):
        stream = await trio.open_unix_socket(path)
        assert await stream.receive_some() == b""
        await stream.aclose()
        async with local(path) as client:
            assert (await client.get("/v1/vms")).status_code == 200


@pytest.mark.parametrize("name", ["kvm-07%2Fweb-1", "%F0%9F%A6%80%2Fweb-1"])
async def test_the_next_page_is_linked_in_the_path_that_was_asked_for(api: Running, tmp_path: Path, name: str) -> None:
    async with served(api, tmp_path) as (_, path), local(path) as client:
        answer = await client.get(f"/v1/vms/{name}/history?limit=2")
        if answer.status_code == 200:
            following = await client.get(answer.links["next"]["url"])
            assert answer.links["next"]["url"].startswith(f"/v1/vms/{name}/history?")
            assert following.json()["items"] != answer.json()["items"]
        else:
            assert answer.json()["instance"] == f"/v1/vms/{name}/history"


UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x16\x03\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/vms HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"POST /v1/links HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        UPGRADE,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense",
        b"GET /v1/vms HTTP/1.1\r\nHost: localhost\r\n",
    ],
)
async def test_nonsense_does_nothing_to_the_others(api: Running, tmp_path: Path, sent: bytes) -> None:
    async with served(api, tmp_path) as (_, path):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(sent)
        with trio.move_on_after(0.2):
            await stream.receive_some()
        await stream.aclose()

        async with local(path) as client:
            assert (await client.get("/v1/vms")).status_code == 200
