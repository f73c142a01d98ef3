"""The actor's door: who may wish what, and what a client that behaves badly does to the others: nothing."""

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import trio

from es_power.dispatch import door
from es_power.dispatch.door import Approve, CloseBreaker, Wish, door_path, keep_door, may_act, read_wish, wish_at
from es_power.errors import ActorRefusedError, ActorUnavailableError, CommandStateError, LogUnavailableError

COMMAND = UUID(int=7)
WISH = Approve(command=COMMAND, why="it is retired")


@asynccontextmanager
async def opened(path: Path, hear: Callable[[Wish, str], Awaitable[str]]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(keep_door, path, hear))
        yield
        nursery.cancel_scope.cancel()


async def agree(wish: Wish, by: str) -> str:
    return f"{by}: {type(wish).__name__}, {wish.why}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "act.sock"


async def test_a_wish_is_heard_with_the_name_that_the_kernel_gives(path: Path) -> None:
    async with opened(path, agree):
        said = await wish_at(path, WISH)

    assert said == "root: Approve, it is retired" if os.geteuid() == 0 else "Approve" in said
    assert not path.exists()


async def test_what_speaks_against_it_comes_back_with_its_exit_code(path: Path) -> None:
    async def refuse(_: Wish, by: str) -> str:
        raise CommandStateError("command 7 is Withdrawn")

    async with opened(path, refuse):
        with pytest.raises(ActorRefusedError, match="command 7 is Withdrawn") as caught:
            await wish_at(path, WISH)

    assert caught.value.exit_code == 1


async def test_a_log_that_refuses_is_told_from_what_speaks_against_a_wish(path: Path) -> None:
    async def refuse(_: Wish, by: str) -> str:
        raise LogUnavailableError("the disk is full")

    async with opened(path, refuse):
        with pytest.raises(LogUnavailableError, match="the disk is full"):
            await wish_at(path, WISH)


async def test_where_nobody_is_the_error_says_what_to_do(path: Path) -> None:
    with pytest.raises(ActorUnavailableError, match="is `es-power act` running"):
        await wish_at(path, WISH)


async def test_a_stranger_may_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "may_act", lambda uid, operators: False)
    async with opened(path, agree):
        with pytest.raises(ActorRefusedError, match="operators"):
            await wish_at(path, WISH)


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"nonsense\n",
        b'{"type":"Destroy","why":"x"}\n',
        b'{"type":"Hold","why":"x"}\n',
        b"\xff\n",
        b"x" * 20_000,
    ],
)
async def test_nonsense_is_answered_and_does_no_harm(path: Path, line: bytes) -> None:
    async with opened(path, agree):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(line)
            answer = await stream.receive_some(4096)
        assert b"no wish that this actor understands" in answer
        assert "Approve" in await wish_at(path, WISH)


async def test_one_that_says_nothing_keeps_nobody_waiting(path: Path) -> None:
    async with opened(path, agree), await trio.open_unix_socket(path):
        with trio.fail_after(5):
            assert "CloseBreaker" in await wish_at(path, CloseBreaker(host="a", why="seen"))


async def test_a_socket_that_was_left_behind_is_replaced(path: Path) -> None:
    async with opened(path, agree):
        path.rename(path.with_suffix(".old"))
    path.with_suffix(".old").rename(path)
    assert stat.S_ISSOCK(path.stat().st_mode)

    async with opened(path, agree):
        assert await wish_at(path, WISH)


async def test_a_living_one_is_left_alone(path: Path) -> None:
    async with opened(path, agree):
        with pytest.raises(ExceptionGroup) as caught:
            async with opened(path, agree):
                pass
        assert caught.group_contains(ActorUnavailableError, match="another actor listens")
        assert await wish_at(path, WISH)


async def test_what_is_no_socket_is_not_taken_away(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(ExceptionGroup) as caught:
        async with opened(path, agree):
            pass

    assert caught.group_contains(ActorUnavailableError, match="something else than a socket")
    assert path.read_text() == "mine"


def test_where_it_is() -> None:
    assert door_path("/run/x.sock", "/a/log.db", {}) == Path("/run/x.sock")
    assert door_path("", "/a/log.db", {}) == Path("/a/log.db.act.sock")
    assert door_path("", "postgresql://db/x", {"RUNTIME_DIRECTORY": "/run/a:/run/b"}) == Path("/run/a/act.sock")
    assert door_path("", "/var/lib/es-power/log.db", {}) == Path("/run/es-power/act.sock")
    assert door_path("", "postgresql://db/x", {}) == Path("/run/es-power/act.sock")


def test_who_may() -> None:
    assert may_act(0, ())
    assert may_act(os.geteuid(), ())
    assert not may_act(2**31, ("root", "@root"))
    assert not may_act(1, ())
    assert may_act(1, ("daemon",))
    assert may_act(1, ("@daemon",))
    assert not may_act(1, ("@nosuchgroup", "bin"))


def test_a_time_that_no_record_can_hold_is_no_wish() -> None:
    with pytest.raises(ValueError, match="until"):
        read_wish(b'{"type":"Hold","host":"a","why":"x","until":%d}' % 10**25)
