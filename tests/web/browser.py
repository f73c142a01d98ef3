"""The steps that a browser takes on the page, which `web/e2e` has: one node and one Chromium take all of them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.acceptance.documents import CHECKOUT
from tests.web.world import World

WEB = CHECKOUT / "web"
STEPS = WEB / "e2e" / "steps"

_NAMED = re.compile(r"^step\('(.+)', async", re.MULTILINE)


def missing_parts() -> str | None:
    """Say what a browser lacks here; None where nothing does."""
    for program, package in {"node": "nodejs", "chromium": "chromium"}.items():
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    if not (WEB / "node_modules" / "playwright-core").exists():
        return "web/node_modules is not there: scripts/setup/web"
    return None


def names() -> list[str]:
    """All steps in their order, read from their files, since where no node is they are told as skipped."""
    return [name for path in sorted(STEPS.glob("*.mjs")) for name in _NAMED.findall(path.read_text())]


class Browser:
    """The process that drives Chromium, seen from the tests."""

    def __init__(self, process: subprocess.Popen[str], world: World) -> None:
        self._process = process
        self._world = world

    def take(self, step: str) -> None:
        """Have it take a step, and do meanwhile to the world what it asks for; AssertionError says what was not so."""
        message = self._exchange({"step": step})
        while "ask" in message:
            answer = getattr(self._world, message["ask"])(*message["with"])
            message = self._exchange({"answer": answer})
        if message["failed"]:
            raise AssertionError(message["failed"])

    def _exchange(self, message: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser's process ended; what it said last is above"
        return json.loads(line)


@contextmanager
def browser(world: World) -> Iterator[Browser]:
    """Run one, which has its profile and everything else in a folder that it removes."""
    with subprocess.Popen(
        ["node", WEB / "e2e" / "run.mjs", world.url],
        env=os.environ | {"TZ": "UTC"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Browser(process, world)
        assert process.stdin is not None
        process.stdin.close()  # which ends it
