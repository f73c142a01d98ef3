"""The console program as a process, as people and service managers start it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.acceptance import starts
from tests.acceptance.documents import CHECKOUT, QUIET

PROGRAM = (sys.executable, "-m", "es_power")
WITHIN = 120
"""Seconds after which a program that has not ended, or said what it should, never will; on a busy machine too."""


def environment(home: Path) -> dict[str, str]:
    """Nothing of ours but the checkout, and a home of its own."""
    ours = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(CHECKOUT), "TZ": "UTC"}
    return ours | QUIET


@dataclass(frozen=True)
class Done:
    """How it ended, and what it said."""

    code: int
    out: str
    complaints: list[str]


def ended(code: int, out: str, err: str) -> Done:
    assert "Traceback" not in err, err
    return Done(code, out, err.splitlines())


@dataclass(frozen=True)
class Machine:
    """A home in which the program runs; `weak`: without root's right to write where the mode forbids it."""

    home: Path

    def __call__(self, *arguments: object, weak: bool = False) -> Done:
        """Run the program to its end; where nothing asks for a process of its own, without the start of one."""
        override = _without_override() if weak else ()
        if not override:
            return ended(*starts.run([*map(str, arguments)], environment(self.home), self.home))
        done = subprocess.run(
            [*override, *PROGRAM, *map(str, arguments)],
            env=environment(self.home),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        return ended(done.returncode, done.stdout, done.stderr)

    def shell(self, line: str) -> Done:
        """Run a line as it is pasted."""
        done = subprocess.run(
            ["sh", "-c", line], env=environment(self.home), capture_output=True, text=True, timeout=WITHIN, check=False
        )
        return ended(done.returncode, done.stdout, done.stderr)

    @asynccontextmanager
    async def running(self, *arguments: object) -> AsyncIterator["Running"]:
        """Run the program beside the block; killed at the block's end where it has not ended."""
        process = await trio.lowlevel.open_process(
            [*PROGRAM, *map(str, arguments)],
            env=environment(self.home),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running = Running(process)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.read)
                yield running
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()


class Running:
    """A program that runs."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._said = {"out": bytearray(), "err": bytearray()}
        self._more = trio.Event()
        self._open = 2

    @property
    def pid(self) -> int:
        return self.process.pid

    async def read(self) -> None:
        """Take in what it says until it has ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, self.process.stdout, "out")
            nursery.start_soon(self._read, self.process.stderr, "err")

    async def _read(self, stream: trio.abc.ReceiveStream, name: str) -> None:
        async for chunk in stream:
            self._said[name] += chunk
            self._wake()
        self._open -= 1
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def says(self, words: str) -> None:
        """Wait until it has said something, on either stream."""
        with trio.fail_after(WITHIN):
            while not any(words.encode() in said for said in self._said.values()):
                assert self._open, f"it ended without {words!r}: {self._said}"
                await self._more.wait()

    async def end(self, number: signal.Signals | None = None) -> Done:
        """Wait for its end, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        with trio.fail_after(WITHIN):
            code = await self.process.wait()
            while self._open:
                await self._more.wait()
        return ended(code, self._said["out"].decode(), self._said["err"].decode())


def _without_override() -> tuple[str, ...]:
    """For root: obey the modes of files, as everybody else does; a changed user could not read root's Python."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv is part of util-linux"
    return (setpriv, "--bounding-set", "-dac_override")
