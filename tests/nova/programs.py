"""Programs of the rig: each in a process group of its own, with a file for what it prints, ended by its process id."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

PATIENCE = 90.0
"""Seconds until the rig gives up on something that a service should do; a busy machine needs some."""

# Though the tests crash: an abort skips every fixture's end.
_ENDING_WITH_US = ("setpriv", "--pdeathsig", "KILL")

# For the kernel, whoever starts a program is a thread: this one lives as long as the tests do.
_STARTER = ThreadPoolExecutor(max_workers=1)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def answers_http(port: int, path: str = "/") -> bool:
    """Whether a web server gives an answer that is no error of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], what: str, *, patience: float = PATIENCE, pause: float = 0.1) -> None:
    """Ask again and again until it holds; RuntimeError, which says what was waited for, after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(pause)


def unread(port: int, sender: "Program") -> int:
    """How many bytes of a program's stand unread at a port of 127.0.0.1, whose owner hangs."""
    sockets = sender.sockets()
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # Its columns: number, near and far address, state, bytes to be sent and to be read; the tenth is the inode.
    senders = {row[1] for row in table if row[9] in sockets}
    return sum(
        int(queues.partition(":")[2], 16)
        for _, near, far, _, queues, *_ in table
        if far in senders and int(near.partition(":")[2], 16) == port
    )


class Program:
    """One program that can be started, hung and killed, again and again; from any thread."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.output = cwd / f"{name}.out"
        self._command = command
        self._cwd = cwd
        self._environment = os.environ | {"PYTHONWARNINGS": "ignore", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it may take a while until it serves."""
        assert not self.running, f"{self.name} runs already"
        with self.output.open("ab") as output:
            begin = partial(
                subprocess.Popen,
                [*_ENDING_WITH_US, *self._command],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._process = _STARTER.submit(begin).result()

    def serves(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; RuntimeError, with the end of what it printed, where it does not."""

        def holds() -> bool:
            if not self.running:
                raise RuntimeError(f"{self.name} ended: {self.tail()}")
            return condition()

        wait_until(holds, f"{self.name} served")

    def run(self) -> None:
        """Run a program that ends by itself, and wait for that; RuntimeError where it failed."""
        with self.output.open("ab") as output:
            done = subprocess.run(
                [*_ENDING_WITH_US, *self._command],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{self.name} failed with {done.returncode}: {self.tail()}")

    def tail(self) -> str:
        """The last of what it printed."""
        return self.output.read_text(errors="replace")[-2000:]

    def hang(self) -> None:
        """Let all of it stand still: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on after `hang`."""
        self._signal(signal.SIGCONT)

    def sockets(self) -> set[str]:
        """The inodes of its sockets, those of its children too."""
        assert self._process is not None
        found: set[str] = set()
        for fd in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):  # whose process, or file, is gone meanwhile
                if os.getpgid(int(fd.parts[2])) == self._process.pid:
                    found.add(str(fd.readlink()).removeprefix("socket:[").removesuffix("]"))
        return found

    def kill(self) -> None:
        """End it and whatever it started as a crash would, in the middle of anything; nothing where it has ended."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=20)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
