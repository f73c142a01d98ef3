import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.packaging.conftest import run

Stub = Callable[[str, str], Path]


def choose(checkout: Path, python: str | Path) -> tuple[int, str, str]:
    done = run(checkout / "scripts/setup/python", env=os.environ | {"PYTHON": str(python)})
    return done.returncode, done.stdout, done.stderr


def test_an_old_python_ends_in_one_clear_line(checkout: Path, stub: Stub) -> None:
    old = stub("python3", "echo old 3.9.2")

    code, out, err = choose(checkout, old)

    assert code == 1
    assert out == ""
    assert err == (
        f"es_power needs Python 3.11 or newer, and {old} is 3.9.2: "
        "install a newer one, or name it, PYTHON=/path/to/python3\n"
    )


def test_a_python_that_does_not_run_is_named(checkout: Path) -> None:
    assert choose(checkout, "/nowhere/python3") == (
        1,
        "",
        "es_power cannot run PYTHON=/nowhere/python3: name a Python 3.11 or newer\n",
    )


def test_the_python_of_an_active_environment_answers_with_the_one_it_was_made_from(checkout: Path) -> None:
    code, out, _ = choose(checkout, sys.executable)

    assert code == 0
    assert Path(out.strip()).resolve() == Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    assert sys.prefix == sys.base_prefix or not out.startswith(sys.prefix)


def test_an_old_python_on_the_path_is_passed_over_for_a_newer_one(checkout: Path, stub: Stub) -> None:
    folder = stub("python3", "echo old 3.9.2").parent
    stub("python3.13", f'exec {sys.executable} "$@"')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}

    done = run(
        checkout / "scripts/setup/python", env=environment | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).name.startswith("python3")
