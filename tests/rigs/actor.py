"""A second process that acts on VMs, as `virsh` in another terminal would: one line in, one line out.

``python -m tests.rigs.actor URI`` reads ``NAME METHOD [ARGUMENT...]``, calls that method of the libvirt domain (or of
the connection, where the name is ``-``), and answers ``ok`` or ``error CODE TEXT``. Arguments are Python literals.
"""

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt


class Actor:
    """The process, seen from the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def act(self, name: str, method: str, *arguments: object) -> None:
        """Have it call a method and wait until it has; RuntimeError where libvirt refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [name, method, *(repr(argument) for argument in arguments)]
        self._process.stdin.write(shlex.join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"{name}.{method}: {answer or 'the actor is gone'}")


@contextmanager
def actor(uri: str) -> Iterator[Actor]:
    """Run one on a URI."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rigs.actor", uri],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Actor(process)
        finally:
            process.kill()


def serve(uri: str) -> None:
    """Do what standard input says, over one connection, opened at the first line and anew after a daemon's end."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection: Any = None
    for line in sys.stdin:
        name, method, *arguments = shlex.split(line)
        for is_last in (False, True):
            try:
                connection = connection or libvirt.open(uri)
                target = connection if name == "-" else connection.lookupByName(name)
                getattr(target, method)(*(ast.literal_eval(argument) for argument in arguments))
                answer = "ok"
            except libvirt.libvirtError as error:
                answer = f"error {error.get_error_code()} {error}"
                if connection is not None and not connection.isAlive() and not is_last:
                    connection = None  # the daemon was ended since the last line: nothing has reached the next one
                    continue
            break
        sys.stdout.write(answer.replace("\n", " ") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
