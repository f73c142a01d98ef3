"""npm's packages for the page's development: brought once for each lock, and done without where they cannot be."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import run

Setup = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    """A checkout with nothing but what is asked here."""
    for name in ("scripts/setup/web", "web/package-lock.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def setup(copy: Path, stub: Callable[[str, str], Path]) -> Setup:
    stubs = stub("npm", f"echo . >>{copy}/calls; mkdir -p node_modules").parent

    def answer(verb: str) -> "subprocess.CompletedProcess[str]":
        path = f"{stubs}{os.pathsep}{os.environ['PATH']}"
        return run(copy / "scripts/setup/web", verb, env=os.environ | {"PATH": path})

    return answer


def test_packages_are_brought_once_for_each_lock(setup: Setup, copy: Path) -> None:
    done = [setup("need"), setup("need")]
    with (copy / "web/package-lock.json").open("a") as lock:
        lock.write("\n")
    done += [setup("want")]

    assert [(each.returncode, each.stdout, each.stderr) for each in done] == [(0, "", "")] * 3
    assert (copy / "calls").read_text() == ".\n.\n"


def test_packages_that_cannot_be_brought_are_one_line_and_leave_nothing(
    setup: Setup, copy: Path, stub: Callable[[str, str], Path]
) -> None:
    stub("npm", "mkdir -p node_modules/half; echo npm error network no route >&2; echo more >&2; exit 1")

    needed, wanted = setup("need"), setup("want")

    line = "web: npm could not bring what web/package-lock.json names: npm error network no route\n"
    assert (needed.returncode, needed.stdout, needed.stderr) == (1, "", line)
    assert (wanted.returncode, wanted.stdout, wanted.stderr) == (0, "", "")
    assert not (copy / "web/node_modules").exists()
