"""Processes that cost no start of an interpreter: a program that has imported everything forks one for each line.

The program's module calls `serve`; a test has it with `forks`. What a forked process printed is in the file ``output``
of the directory that its line names.
"""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

_PR_SET_PDEATHSIG = 1


def serve(play: Callable[[str], None], place: Callable[[str], Path]) -> None:
    """For each line of standard input, fork a process that plays it; print its pid, and at its end what it ended with.

    `play` may return, which ends the process with 0, or raise SystemExit. `place` gives a line's directory.
    """
    gc.collect()
    gc.freeze()  # else the first collection of each process copied all that was imported
    for line in sys.stdin:
        if not (process := os.fork()):
            ctypes.CDLL(None).prctl(
                _PR_SET_PDEATHSIG, signal.SIGKILL
            )  # it ends with the program, though that be killed
            with (place(line) / "output").open("a") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            status = 1
            try:
                play(line)
                status = 0
            except SystemExit as ended:
                status = int(ended.code or 0)
            except BaseException:  # noqa: BLE001 (whatever it is, the test shows it)
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def quietly() -> None:
    """Have the processes log warnings alone, where nothing else says what they log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))


class Forks:
    """The program, seen from the test; it plays one line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, line: str) -> int:
        """Have a line played by a process of its own, and give its pid; `wait` for it before the next."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.rstrip("\n") + "\n")
        self._process.stdin.flush()
        return self._number()

    def wait(self) -> int:
        """Wait until the process has ended, and give what it ended with, as `subprocess` would say it."""
        return self._number()

    def play(self, line: str) -> int:
        """Have a line played to its end."""
        self.start(line)
        return self.wait()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def forks(module: str) -> Iterator[Forks]:
    """Run a program that calls `serve`."""
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()
