"""What README.md and docs/ show, run: each ```console block asks the night's log, and shows exactly what is printed.

A line ``$ command`` is run, what follows it is what it printed, its notes on standard error included. A ```python block
is run too, and the ```text block right after it is what that printed. What is only to be typed is in ```sh blocks.

``python -m tests.acceptance.documents`` writes the pages' outputs anew; read the difference before you commit it.
"""

import io
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import libvirt
import trio

from es_power.cli import doctor, main
from es_power.ingest import clock
from es_power.log import schema
from es_power.log.database import Place
from tests.acceptance.night import CI_LOG, HOST, NOW, write_night

CHECKOUT = Path(__file__).parents[2]
QUIET = {"ES_POWER_API_ENABLED": "false", "ES_POWER_METRICS_ENABLED": "false"}
"""Listen at no port, which another service on this machine may have."""

LOG = "/var/lib/es-power/log.db"
"""Where the pages say that the log is."""

BLOCK = re.compile(r"^```(console|python|text|sh|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    kind: str
    text: str
    #: Where its text is in the page.
    start: int
    end: int


def pages() -> list[Path]:
    """Everything that users read."""
    return [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The page's blocks in order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each[1], each[2], each.start(2), each.end(2)) for each in found]


def run(page: Path, log: Path) -> str:
    """Give the page with each output as it is now."""
    text = page.read_text(encoding="utf-8")
    fresh = list(blocks(page))
    for place, block in enumerate(blocks(page)):
        if block.kind == "console":
            fresh[place] = Block("console", _console(block.text, log), block.start, block.end)
        elif block.kind == "python" and place + 1 < len(fresh) and fresh[place + 1].kind == "text":
            after = fresh[place + 1]
            fresh[place + 1] = Block("text", _python(block.text, log), after.start, after.end)
    for block in reversed(fresh):
        text = text[: block.start] + block.text + text[block.end :]
    return text


def _console(text: str, log: Path) -> str:
    return "".join(f"$ {step[1]}\n{_printed(step[1], log)}" for step in _STEP.finditer(text))


def _printed(command: str, log: Path) -> str:
    if re.search(r"[|;<>&]", command):
        return _in_a_shell(command, log)
    program, *arguments = shlex.split(command)
    assert program == "es-power", f"{command!r} is not es-power; what is only to be typed belongs in a sh block"
    with captured() as out, as_that_night(log):
        main(arguments)
    return out.getvalue()


def _in_a_shell(command: str, log: Path) -> str:
    with TemporaryDirectory() as folder:
        program = Path(folder) / "es-power"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m es_power "$@"\n')
        program.chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", f"exec 2>&1; {command}"],
            env=os.environ | QUIET | {"PATH": path, "ES_POWER_LOG": str(log), "PYTHONPATH": str(CHECKOUT)},
            cwd=here(log),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.stdout


def _python(text: str, log: Path) -> str:
    with captured() as out, as_that_night(log):
        exec(compile(text.replace(LOG, str(log)), "<example>", "exec"), {"__name__": "__main__"})
    return out.getvalue()


def here(log: Path) -> Path:
    """Where the commands are typed; ci-9.log is there, as libvirt on kvm-07 wrote it that night."""
    folder = log.parent / "here"
    folder.mkdir(exist_ok=True)
    (folder / "ci-9.log").write_text(CI_LOG)
    return folder


@contextmanager
def the_log() -> Iterator[Path]:
    """That night's log."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log.db"
        with mock.patch.object(schema, "writer_version", return_value="0.1.0"):
            trio.run(write_night, log)
        yield log


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """Standard output and standard error, as a terminal shows them: one."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        yield out


@contextmanager
def as_that_night(log: Path) -> Iterator[None]:
    """It is 03:21 on kvm-07, whose clock is synchronised and whose log this is, at LOG."""

    def said(place: Place) -> str:
        return LOG if place.path == log else str(place.path)

    environment: Mapping[str, str] = {"ES_POWER_LOG": str(log), "XDG_CONFIG_HOME": str(log.parent)}
    with ExitStack() as stack:
        stack.enter_context(chdir(here(log)))
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(clock.time, "time_ns", return_value=int(NOW)))
        stack.enter_context(mock.patch.object(socket, "gethostname", return_value=HOST))
        stack.enter_context(mock.patch.object(libvirt.virConnect, "getHostname", return_value=HOST))
        stack.enter_context(mock.patch.object(Place, "__str__", said))
        stack.enter_context(mock.patch.object(doctor, "clock_synchronised", return_value=True))
        yield


def _write_anew() -> None:
    with the_log() as log:
        for page in pages():
            page.write_text(run(page, log), encoding="utf-8")


if __name__ == "__main__":
    _write_anew()
