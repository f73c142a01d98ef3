"""PostgreSQL servers to be killed, cut off and failed over: each on a port of loopback, in a directory of its own."""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from time import sleep

from tests.postgres import _OWNER, _binaries

_PORTS = cycle(range(20_000 + os.getpid() % 1000 * 10, 32_000))  # not of those that the kernel gives to clients


def free_port() -> int:
    """A port that stays free while no server listens there: no client of it may be given the same."""
    for port in _PORTS:
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class Server:
    """One server; made with an empty directory, it has to be filled by `init` or `copy_of`."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.data = directory, directory / "data"
        self.port = free_port()
        directory.mkdir()
        if os.geteuid() == 0:
            os.chown(directory, *_OWNER)

    def init(self) -> None:
        self._do("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def copy_of(self, primary: "Server") -> None:
        """Become a standby of a running server."""
        self._do(
            *("pg_basebackup", "-D", self.data, "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"),
            *("-R", "-c", "fast", "--no-sync"),
        )

    def start(self, **options: str) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "wal_receiver_status_interval": "1s",
            "shared_buffers": "16MB",
            **options,
        }
        words = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._control("-l", str(self.directory / "log"), "-o", words, "start")

    def kill(self) -> None:
        """End it and all its processes as kill -9 does."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # so that no more of them come to be
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first)], capture_output=True, text=True, check=False)
        processes = [first, *map(int, found.stdout.split())]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(_is_alive(process) for process in processes):
            sleep(0.01)  # it is nobody's child here, so there is nothing to wait for
        # Where nobody takes dead processes away it would count as running.
        for each in (self.data / "postmaster.pid", self.directory / f".s.PGSQL.{self.port}.lock"):
            each.unlink()

    def promote(self) -> None:
        self._control("promote")

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def run(self, sql: str) -> str:
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qAtX", "-c", sql, "postgres"]
        return self._do(*command)

    def _control(self, *words: str) -> None:
        self._do("pg_ctl", "-D", self.data, "-w", "-t", "60", *words)

    def _do(self, name: str, *words: object) -> str:
        binaries = _binaries()
        assert binaries is not None
        as_owner = []
        if os.geteuid() == 0:
            as_owner = ["setpriv", f"--reuid={_OWNER[0]}", f"--regid={_OWNER[1]}", "--clear-groups"]
        with tempfile.TemporaryFile() as said:
            # A file and no pipe: a server that was started keeps what it was given open.
            done = subprocess.run(
                [*as_owner, binaries / name, *map(str, words)],
                cwd=self.directory,
                stdout=said,
                stderr=said,
                check=False,
            )
            said.seek(0)
            text = said.read().decode()
        log = self.directory / "log"
        assert done.returncode == 0, f"{name}: {text}{log.read_text()[-2000:] if log.exists() else ''}"
        return text


@contextmanager
def servers(count: int = 1) -> Iterator[list[Server]]:
    """Some servers, of which the first is filled and none is started; whatever runs of them ends with the block."""
    with tempfile.TemporaryDirectory(prefix="es_power-servers-") as name:
        Path(name).chmod(0o755)
        made = [Server(Path(name) / str(number)) for number in range(count)]
        made[0].init()
        try:
            yield made
        finally:
            for each in made:
                with suppress(AssertionError):
                    each.stop()
                shutil.rmtree(each.data, ignore_errors=True)


class Wire:
    """A TCP proxy to a server: what passes can be cut, or swallowed without a word."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._passes = threading.Event()
        self._passes.set()
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and let none come to be."""
        self.is_cut = True
        ended, self._open = self._open, set()
        for each in ended:
            _end(each)
        self._passes.set()

    def swallow(self) -> None:
        """Pass nothing on, and say nothing of it."""
        self._passes.clear()

    def mend(self) -> None:
        self.is_cut = False
        self._passes.set()

    def close(self) -> None:
        self.cut()
        _end(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server)) as server:
            pair = {client: server, server: client}
            self._open |= pair.keys()
            while not self.is_cut:
                for source in select.select(list(pair), [], [])[0]:
                    if not (some := source.recv(65536)):
                        return
                    self._passes.wait()
                    if self.is_cut:
                        return
                    pair[source].sendall(some)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


def _is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
