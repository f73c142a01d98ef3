"""Sockets: where the API is reached, and who is at the other end of a unix one.

Hypercorn speaks HTTP; accepting is ours, for three reasons. The kernel's word on a peer (SO_PEERCRED) belongs to the
connection and is read at accept. Hypercorn sends in a shielded scope, so a reader that stands still could not be let
go: our stream gives each write a deadline. And the service's end must not wait for anybody who is connected.
"""

import errno
import ipaddress
import os
import socket
import stat
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from es_power.errors import ListenError

SEND_WITHIN: Final = 20.0
"""Seconds in which a reader has to take what is sent at once; who does not is let go."""

_BACKLOG: Final = 512
_MOST: Final = 2000  # connections of one listener
_IDLE: Final = 30.0  # seconds between two requests of one connection
_HEAD: Final = 256 * 1024  # bytes of a request's line and headers; what is longer than our limits is told so


# ------------------------------------------------------------------------------------------------------- sockets


def address_of(text: str, setting: str, *, proxy: bool = False) -> tuple[str, int]:
    """Read ADDRESS:PORT; ListenError where other machines could reach it, unless a proxy is said to be in front."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if int(port) > 65_535:  # noqa: PLR2004 (the highest port)
        raise ListenError(f"{setting} is {text}: there is no port {port}")
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_local = ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise ListenError(f"{setting} is {text}: {host} is no address") from None
    if not is_local and not proxy:
        allow = ", or say `[api] proxy = true` where a proxy that speaks TLS is in front" if "[api]" in setting else ""
        raise ListenError(f"{setting} is {text}, which other machines reach; make it 127.0.0.1:{port}{allow}")
    return address, int(port)


@contextmanager
def tcp_socket(text: str, setting: str, *, proxy: bool = False) -> Iterator[socket.socket]:
    """Listen at ADDRESS:PORT, inside the block; ListenError names the setting."""
    address, port = address_of(text, setting, proxy=proxy)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address, port))
            listening.listen(_BACKLOG)
        except OSError as error:
            other = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
            section = setting.partition("]")[0] + "]"
            raise ListenError(
                f"cannot listen at {text}: {other}; set {setting} to another place, or {section} enabled = false"
            ) from error
        yield listening


@contextmanager
def unix_socket(path: Path, setting: str) -> Iterator[socket.socket]:
    """Listen at a path, inside the block; the file is taken away at its end. A socket that nobody hears is replaced."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listening:
        try:
            if path.exists():
                if not stat.S_ISSOCK(path.stat().st_mode):
                    raise FileExistsError(errno.EEXIST, "something else than a socket is there")
                with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
                    if probe.connect_ex(str(path)) == 0:
                        raise FileExistsError(errno.EADDRINUSE, "another service listens there")
                path.unlink(missing_ok=True)
            listening.bind(str(path))
            # Whoever can come here may knock; who is heard is decided by who it is.
            path.chmod(0o666)
            listening.listen(_BACKLOG)
            mine = path.stat().st_ino
        except OSError as error:
            raise ListenError(
                f"the socket {path} cannot be made: {error.strerror or error}; set {setting} to a place that can"
            ) from error
        try:
            yield listening
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()


def peer_of(sock: trio.socket.SocketType) -> int | None:
    """The uid at the other end of a unix socket, by the kernel's word; None for TCP."""
    if sock.family != socket.AF_UNIX:
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


# ------------------------------------------------------------------------------------------------------- serving


class _Stream:
    """A connection as Hypercorn uses one, whose writes have a deadline.

    Two of its tasks may write at once: an answer, and what it says of bytes that nobody should have sent after that.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.StrictFIFOLock()
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        """Send, or break the connection of whoever does not read."""
        with trio.move_on_after(SEND_WITHIN) as scope:
            async with self._sending:
                await self._stream.send_all(data)
        if scope.cancelled_caught:
            await self.aclose()
            raise trio.BrokenResourceError("the reader stood still")

    async def receive_some(self, most: int) -> bytes | bytearray:
        """Receive."""
        return await self._stream.receive_some(most)

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        async with self._sending:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close; whoever waits in it is woken."""
        await self._stream.aclose()


class Server:
    """Serves one application at some sockets, inside its nursery."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = ASGIWrapper(_framework(app))
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: set[_Stream] = set()

    async def run(
        self, sockets: Sequence[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each.dup())) for each in sockets]
        async with AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    await nursery.start(partial(trio.serve_listeners, self._serve, [listener]))
                task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= _MOST:
            await trio.aclose_forcefully(stream)
            return
        mine = _Stream(stream)
        self._open.add(mine)
        try:
            state: dict[str, Any] = {"peer": peer_of(stream.socket), "close": mine.aclose, "write": mine.send_all}
            server = TCPServer(self._app, self._config, self._context, ConnectionState(state), mine)  # type: ignore[arg-type]
            await server.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # they are gone
        except* Exception as errors:  # noqa: BLE001
            # Whatever one client sends, the others and the service itself go on.
            trace = "".join(traceback.format_exception(errors))
            structlog.get_logger().error("a connection was ended by a mistake of ours", traceback=trace)
        finally:
            self._open.discard(mine)
            await trio.aclose_forcefully(stream)

    async def end(self) -> None:
        """Close every connection."""
        for stream in list(self._open):
            await stream.aclose()


def _framework(app: Callable[..., Awaitable[None]]) -> ASGIFramework:
    framework: ASGIFramework = app
    return framework


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = _IDLE
    config.h11_max_incomplete_size = _HEAD
    config.max_app_queue_size = 16
    config.server_names = []
    return config


@asynccontextmanager
async def serving(app: Callable[..., Awaitable[None]], sockets: Sequence[socket.socket]) -> AsyncIterator[Server]:
    """Serve an application inside the block."""
    server = Server(app)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, sockets)
        for each in sockets:
            structlog.get_logger().info("HTTP is served", at=shown(each))
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.end()
            nursery.cancel_scope.cancel()


def shown(listening: socket.socket) -> str:
    """Where a socket listens, for people."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return os.fsdecode(name)
