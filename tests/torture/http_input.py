"""Raw requests to the real server, over a real socket: what comes back is an answer of ours, or nothing."""

import re
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from es_power.domain.access import Role
from tests.acceptance.night import WEB, write_night
from tests.api.house import running, served
from tests.torture.inputs import MISTAKES, Kind

_PATHS: Final = (
    "/v1/vms", f"/v1/vms/{WEB}", "/v1/vms/kvm-07%2fweb-1/history?limit=2", "/v1/vms/web-1/why", "/v1/hosts", "/v1/gaps",
    "/v1/vms?as_of=2026-11-22T03:12:05Z&known_at=12&limit=1&cursor=WyJ3ZWItMSIsMV0", "/v1/events?limit=3",
    "/v1/events?since=2026-11-22T03:00:00%2B00:00", "/v1/vms/%F0%9F%A6%80/history",
    "/v1/timeline?since=2026-11-22T01:00:00Z&until=2026-11-22T03:20:00Z&buckets=5", "/v1/commands", "/v1/stream",
    "/v1/uptime?since=2026-11-22T01:00:00Z&until=2026-11-22T03:20:00Z", "/v1/diff?since=3&until=9", "/v1/session",
    "/v1/log", "/openapi.json", "/problems/invalid", "/v1/anomalies?since=2026-11-22T01:00:00Z", "/",
)  # fmt: skip
_HEADS: Final = (
    "", "Last-Event-ID: 3\r\n", 'If-None-Match: W/"12-3", *\r\n', "Cookie: es_power_session=abc\r\n",
    "Accept: text/html\r\n", "Authorization: Bearer {secret}\r\n", "Range: bytes=0-5\r\n", "Expect: 100-continue\r\n",
    "Origin: http://evil.example\r\n",
)  # fmt: skip
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_PATIENCE: Final = 60.0
_MORE: Final = 2.0
_ENOUGH: Final = 2**22


def _samples(secret: str) -> list[bytes]:
    gets = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{_HEADS[number % len(_HEADS)]}\r\n"
        for number, path in enumerate(_PATHS * 2)
    ]
    body = '{"why": "because", "until": "2026-11-23T00:00:00Z"}'
    posts = [
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: k1\r\nX-ES-Power: 1\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        for path in (f"/v1/commands/{WEB}/approve", "/v1/commands/x/reject", "/v1/links", "/v1/session", "/session")
    ]
    chunked = (
        "POST /v1/links HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        'Content-Type: application/json\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'
    )
    return [each.replace("{secret}", secret).encode() for each in (*gets, *posts, chunked)]


class Client:
    """Sends bytes to a socket, and reads what comes back until the other end has enough."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        #: How often each status came.
        self.statuses: Counter[bytes] = Counter()

    def read(self, data: bytes) -> None:
        """Have a request answered; AssertionError where the answer says that a mistake was made here, or none comes."""
        if not data:
            return  # it waits for what may come, as long as it waits between two requests
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(_PATIENCE)
            connected.connect(self._path)
            answer = b""
            try:
                connected.sendall(data)
                connected.shutdown(socket.SHUT_WR)
                while len(answer) < _ENOUGH and (part := connected.recv(65_536)):
                    answer += part
                    connected.settimeout(_MORE)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except TimeoutError:
                assert answer, "no answer"  # after one, the connection may wait for the next request
        statuses = _STATUS.findall(answer)
        self.statuses.update(statuses or [b"none"])
        assert b"500" not in statuses, answer[:2000]
        assert not MISTAKES, MISTAKES.pop()[-700:]


@contextmanager
def http(folder: Path) -> Iterator[tuple[Kind, Client]]:
    """Serve a real night inside the block; at its end the server is still there."""
    folder.mkdir()
    log = folder / "log.db"
    trio.run(write_night, log)
    ready, said = threading.Event(), list[str]()
    ends: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        async with running(log, rate=10**9) as api:
            said.append((await api.token(Role.ADMIN)).secret)
            api.house.broadcast.end()  # what follows the log gets an end
            async with served(api, folder):
                ended = trio.Event()
                ends.append((trio.lowlevel.current_trio_token(), ended))
                ready.set()
                await ended.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:  # noqa: BLE001 (told below, in the test's own thread)
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    assert not failed, failed
    client = Client(folder / "api.sock")
    samples = _samples(said[0])
    words = [
        b"\r\n",
        b"\r\n\r\n",
        b": ",
        b"%2f",
        b"Host: ",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"PRI *",
    ]
    try:
        yield Kind(read=client.read, samples=lambda: samples, words=words), client
        client.read(samples[0])
    finally:
        token, ended = ends[0]
        if thread.is_alive():
            token.run_sync_soon(ended.set)
        thread.join(30)
        shutil.rmtree(folder, ignore_errors=True)
    assert not failed, failed
