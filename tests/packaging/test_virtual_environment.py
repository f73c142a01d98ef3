"""What building .venv does and when, counted in calls of a stub that stands for Python and pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import run

STUB_PYTHON = """#!/bin/sh
case "$*" in
    *_base_executable*) echo "$0" ;;
    *base_prefix*) cat "{folder}/identity" ;;
    "-m venv "*) echo venv >>{folder}/calls; mkdir -p "$3/bin"; cp "{folder}/pip" "$3/bin/python" ;;
esac
"""

STUB_PIP = """#!/bin/sh
for last; do :; done
echo "pip $last" >>{folder}/calls
! grep -qxF "$last" "{folder}/fails" 2>/dev/null
"""

BUILT = ["system need demo", "venv", "pip requirements/build.txt", "pip requirements/runtime.txt"]
TOOLS = ["pip requirements/dev.txt"]
PROJECT = ["pip ."]


class Project:
    """A checkout of the set-up scripts alone, beside the stubs that they call."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "project"
        shutil.copytree(checkout / "scripts/setup", self.root / "scripts/setup")
        (self.root / "requirements").mkdir()
        for name in ("build", "runtime", "dev"):
            (self.root / f"requirements/{name}.txt").write_text(f"{name}==1\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        (folder / "identity").write_text("3.11.2 /usr\n")
        self.program(folder / "python3", STUB_PYTHON)
        self.program(folder / "pip", STUB_PIP)
        self.program(self.root / "scripts/setup/system", '#!/bin/sh\necho "system $*" >>{folder}/calls\n')

    def program(self, path: Path, text: str) -> None:
        path.write_text(text.replace("{folder}", str(self.folder)))
        path.chmod(0o755)

    def set_up(self, want: str) -> "subprocess.CompletedProcess[str]":
        return run(self.root / "scripts/setup/venv", want, env=os.environ | {"PYTHON": str(self.folder / "python3")})

    def work_of(self, want: str, *, code: int = 0) -> list[str]:
        calls = self.folder / "calls"
        calls.write_text("")
        done = self.set_up(want)

        assert done.returncode == code, done.stderr
        return calls.read_text().splitlines()


@pytest.fixture
def project(checkout: Path, tmp_path: Path) -> Project:
    return Project(checkout, tmp_path)


def test_the_first_run_installs_the_locks_and_the_project_and_the_second_does_nothing(project: Project) -> None:
    assert project.work_of("dev") == BUILT + TOOLS + PROJECT
    assert project.work_of("dev") == []
    assert project.work_of("runtime") == []


def test_the_demo_needs_no_tools_and_tests_add_them_to_what_is_there(project: Project) -> None:
    assert project.work_of("runtime") == BUILT + PROJECT
    assert project.work_of("dev") == ["system need demo", *TOOLS]


@pytest.mark.parametrize("broken", ["requirements/build.txt", "requirements/runtime.txt", "requirements/dev.txt", "."])
def test_an_interrupted_set_up_starts_from_nothing(project: Project, broken: str) -> None:
    (project.folder / "fails").write_text(f"{broken}\n")
    assert project.work_of("dev", code=1)[-1] == f"pip {broken}"
    (project.folder / "fails").unlink()

    assert project.work_of("dev") == BUILT + TOOLS + PROJECT


def test_an_interrupted_addition_starts_from_nothing(project: Project) -> None:
    project.work_of("runtime")
    (project.folder / "fails").write_text("requirements/dev.txt\n")
    project.work_of("dev", code=1)
    (project.folder / "fails").unlink()

    assert project.work_of("runtime") == BUILT + PROJECT


@pytest.mark.parametrize("lock", ["build", "runtime", "dev"])
def test_a_changed_lock_rebuilds(project: Project, lock: str) -> None:
    project.work_of("dev")
    (project.root / f"requirements/{lock}.txt").write_text("other==2\n")

    assert project.work_of("dev") == BUILT + TOOLS + PROJECT


def test_another_python_rebuilds(project: Project) -> None:
    project.work_of("dev")
    (project.folder / "identity").write_text("3.12.1 /usr\n")

    assert project.work_of("dev") == BUILT + TOOLS + PROJECT


def test_a_moved_checkout_rebuilds(project: Project) -> None:
    project.work_of("dev")
    project.root = project.root.rename(project.folder / "moved")

    assert project.work_of("dev") == BUILT + TOOLS + PROJECT


def test_a_changed_project_file_installs_the_project_alone(project: Project) -> None:
    project.work_of("dev")
    (project.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")

    assert project.work_of("dev") == ["system need demo", *PROJECT]


def test_pip_that_fails_says_with_which_file(project: Project) -> None:
    (project.folder / "fails").write_text("requirements/runtime.txt\n")

    assert project.set_up("dev").stderr == "setup: pip could not install --require-hashes -r requirements/runtime.txt\n"
