"""The actor's own door: a Unix socket through which people approve, hold and release.

One connection is one wish: a line of JSON in, a line of JSON out. Who is at the other end is told by the kernel
(SO_PEERCRED) and not by the wish, and is written down with it. Whoever may not act is told so; a client that hangs,
floods or talks nonsense keeps nobody else waiting.
"""

import errno
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import msgspec
import structlog
import trio
from msgspec import Struct

from es_power.errors import ActorRefusedError, ActorUnavailableError, EsPowerError, LogUnavailableError

LONGEST: Final = 16_384
"""Bytes of one wish."""

PATIENCE: Final = 10.0
"""Seconds in which a client has to say its wish."""

SYSTEM_LOG: Final = "/var/lib/es-power/log.db"
"""The log of the service as it is installed: people who may act need not be able to read its directory."""

ANSWER_WITHIN: Final = 60.0
"""Seconds for which a client waits for the answer."""


# ----------------------------------------------------------------------------------------------------- the wishes


class Wish(Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """What somebody wants, and why."""

    why: str
    #: For whom the one at the door speaks, where that is another (the HTTP API); both are recorded.
    by: str | None = None


class Approve(Wish, frozen=True, kw_only=True):
    """Let a command be sent."""

    command: UUID


class Reject(Wish, frozen=True, kw_only=True):
    """Withdraw a command."""

    command: UUID


class Retry(Wish, frozen=True, kw_only=True):
    """Have what ended tried again."""

    command: UUID


class Hold(Wish, frozen=True, kw_only=True):
    """Keep back the commands of a host, or of an instance (then on whatever host)."""

    host: str | None = None
    instance: UUID | None = None
    #: In nanoseconds since 1970; None: until it is released.
    until: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None

    def __post_init__(self) -> None:
        if (self.host is None) == (self.instance is None):
            raise ValueError("a hold is on a host or on an instance")


class Release(Wish, frozen=True, kw_only=True):
    """End a hold."""

    hold: UUID


class CloseBreaker(Wish, frozen=True, kw_only=True):
    """Let a host's commands go on."""

    host: str


AnyWish = Approve | Reject | Retry | Hold | Release | CloseBreaker


class _Answer(Struct, frozen=True, kw_only=True):
    """What came of it: a sentence, and the exit code for whoever asked on a terminal."""

    said: str
    exit_code: int = 0
    #: Whether it was the log that refused, so that the same wish may be granted later.
    later: bool = False


Hear = Callable[[AnyWish, str], Awaitable[str]]
"""Does what is wished by the named user, and says what was done; an EsPowerError is what speaks against it."""

_WISH: Final[msgspec.json.Decoder[AnyWish]] = msgspec.json.Decoder(AnyWish)
_ANSWER: Final = msgspec.json.Decoder(_Answer)


def read_wish(line: bytes) -> AnyWish:
    """Read what somebody at the door says; ValueError where it is no wish."""
    try:
        return _WISH.decode(line)
    except RecursionError:
        raise ValueError("brackets in brackets without end") from None


# ------------------------------------------------------------------------------------------------------- the place


def door_path(setting: str, log: str, environ: Mapping[str, str], *, name: str = "act") -> Path:
    """Say where the door is: as set; beside a log that is somebody's own file; else in the runtime directory."""
    if setting:
        return Path(setting)
    if "://" not in log and log != SYSTEM_LOG:
        return Path(f"{log}.{name}.sock")
    # The actor and the service are users of their own, and so have a directory each.
    runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(runtime or ("/run/es-power" if name == "act" else f"/run/es-power-{name}")) / f"{name}.sock"


def may_act(uid: int, operators: Iterable[str]) -> bool:
    """Whether a user may approve and hold: root, the actor's own, and those of the settings, by name or @group."""
    if uid in {0, os.geteuid()}:
        return True
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    for name in operators:
        if name == user.pw_name:
            return True
        if name.startswith("@"):
            with suppress(KeyError):
                group = grp.getgrnam(name[1:])
                if user.pw_gid == group.gr_gid or user.pw_name in group.gr_mem:
                    return True
    return False


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


# ------------------------------------------------------------------------------------------------------ the server


async def keep_door(
    path: Path,
    hear: Hear,
    *,
    operators: Iterable[str] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Hear wishes at a path until cancelled; ActorUnavailableError where another actor's door is there already."""
    allowed = tuple(operators)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(msgspec.json.encode(await _answer(stream, hear, allowed)) + b"\n")

    async with _listener(path) as listener, trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, answer, [listener])
        structlog.get_logger().info("people are heard", socket=str(path))
        task_status.started()


async def _answer(stream: trio.SocketStream, hear: Hear, operators: Iterable[str]) -> _Answer:
    _, uid, _ = struct.unpack("3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    user = _name_of(uid)
    if not may_act(uid, operators):
        return _Answer(said=f"{user} may not act here: name the user, or @ a group, in [act] operators", exit_code=1)
    try:
        with trio.fail_after(PATIENCE):
            wish = read_wish(await _line(stream))
        return _Answer(said=await hear(wish, f"{wish.by}, through {user}" if wish.by else user))
    except ValueError as error:  # msgspec's are some
        return _Answer(said=f"that is no wish that this actor understands: {error}", exit_code=2)
    except trio.TooSlowError:
        return _Answer(said="nothing was wished in time", exit_code=2)
    except EsPowerError as error:
        return _Answer(said=str(error), exit_code=error.exit_code, later=isinstance(error, LogUnavailableError))


async def _line(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    while b"\n" not in received:
        chunk = await stream.receive_some(4096)
        if not chunk:
            break
        received += chunk
        if len(received) > LONGEST:
            msg = f"it is longer than {LONGEST} bytes"
            raise ValueError(msg)
    return bytes(received)


@asynccontextmanager
async def _listener(path: Path) -> AsyncIterator[trio.SocketListener]:
    """Listen at a path; a socket that nobody listens at any more is taken away first."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listening:
        try:
            mine = _bind(listening, path)
        except OSError as error:
            place = "set [act] socket to a place that can"
            raise ActorUnavailableError(
                f"the actor's socket {path} cannot be made: {error.strerror or error}; {place}"
            ) from error
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        finally:
            _remove(path, mine)


def _bind(listening: socket.socket, path: Path) -> int:
    """Make the socket file, and give its inode."""
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "something else than a socket is there")
        if _is_heard(path):
            raise ActorUnavailableError(f"another actor listens at {path}; stop it first, or set [act] socket")
        path.unlink(missing_ok=True)
    listening.bind(str(path))
    # Whoever can come here may knock; who is heard is decided by who it is.
    path.chmod(0o666)
    listening.listen(64)
    return path.stat().st_ino


def _is_heard(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        return probe.connect_ex(str(path)) == 0


def _remove(path: Path, inode: int) -> None:
    """Take the socket file away, unless it is another's by now."""
    with suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()


# ------------------------------------------------------------------------------------------------------ the client


async def wish_at(path: Path, wish: AnyWish) -> str:
    """Have an actor do something, and give what it says was done.

    ActorUnavailableError where none answers; ActorRefusedError with its words where something speaks against it;
    LogUnavailableError where the log did not take it, so that nothing was done.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        hint = "may this user connect?" if isinstance(error, PermissionError) else "is `es-power act` running?"
        raise ActorUnavailableError(f"no actor answers at {path} ({error.strerror or error}); {hint}") from error
    async with stream:
        try:
            with trio.fail_after(ANSWER_WITHIN):
                await stream.send_all(msgspec.json.encode(wish) + b"\n")
                answer = _ANSWER.decode(await _line(stream))
        except (trio.BrokenResourceError, trio.TooSlowError, ValueError, RecursionError) as error:
            raise ActorUnavailableError(
                f"the actor at {path} gave no answer; whether it did so is in the log: `es-power commands list`"
            ) from error
    if answer.later:
        raise LogUnavailableError(answer.said)
    if answer.exit_code:
        raise ActorRefusedError(answer.said, exit_code=answer.exit_code)
    return answer.said
