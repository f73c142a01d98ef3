"""The wheel and the source distribution, built without network: what is in them, and that the suites pass on them."""

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import run

#: What a source distribution may hold at its top; PKG-INFO and .gitignore are hatchling's own.
TOP = {
    *("es_power", "web", "tests", "benchmarks", "scripts", "requirements", "docs", "contrib", ".ci"),
    *("pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("PKG-INFO", ".gitignore"),
}


def build(source: Path, out: Path, *options: str) -> None:
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(source))
    done = run(*command)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("built")
    build(checkout, out)
    return out


@pytest.fixture(scope="session")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


@pytest.fixture(scope="session")
def sdist(built: Path) -> list[Path]:
    """The files of the source distribution, below its one folder."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return [Path(*Path(member.name).parts[1:]) for member in archive.getmembers() if member.isfile()]


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-index", "--no-deps")
    done = run(*pip, "--target", str(folder), str(next(built.glob("*.whl"))))

    assert done.returncode == 0, done.stderr
    return folder


def run_against(installed: Path, elsewhere: Path, program: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program for which es_power is the installed wheel, and make sure of it."""
    check = f"import es_power; assert es_power.__file__.startswith({str(installed)!r}), es_power.__file__\n"
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"} | settings
    return run(sys.executable, "-c", check + program, cwd=elsewhere, env=environment)


def tracked_files(checkout: Path) -> set[str]:
    """The package's files: what git knows, or in an unpacked source distribution what is there."""
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "es_power", cwd=checkout)
    if listing.returncode == 0 and listing.stdout:
        return {name for name in listing.stdout.splitlines() if (checkout / name).exists()}
    files = (path for path in (checkout / "es_power").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(checkout)) for path in files}


def test_the_wheel_holds_the_package_whole_and_nothing_beside_it(wheel: zipfile.ZipFile, checkout: Path) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name and ".data/" not in name}

    assert names == tracked_files(checkout)
    assert [name for name in sorted(names) if wheel.read(name) != (checkout / name).read_bytes()] == []
    assert "es_power/py.typed" in names
    assert any(name.startswith("es_power/log/migrations/") for name in names)


def test_the_wheel_puts_its_man_page_and_completions_where_they_are_looked_for(
    wheel: zipfile.ZipFile, checkout: Path
) -> None:
    shared = {name.partition(".data/data/share/")[2]: name for name in wheel.namelist() if ".data/" in name}
    share = checkout / "contrib/share"
    kept = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()}

    assert {"man/man1/es-power.1", "bash-completion/completions/es-power"} <= kept
    assert set(shared) == kept
    for name, inside in shared.items():
        assert wheel.read(inside) == (share / name).read_bytes()


def test_the_wheel_carries_its_licence_and_its_command(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith("/METADATA")).removesuffix("METADATA")
    metadata = wheel.read(f"{info}METADATA").decode()
    commands = configparser.ConfigParser()
    commands.read_string(wheel.read(f"{info}entry_points.txt").decode())

    assert b"Apache License" in wheel.read(f"{info}licenses/LICENSE")
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert commands["console_scripts"]["es-power"] == "es_power.__main__:main"


def test_the_source_distribution_ships_no_junk(sdist: list[Path]) -> None:
    assert {path.parts[0] for path in sdist} <= TOP
    assert [path for path in sdist if path.suffix in {".pyc", ".db", ".log"} or "__pycache__" in path.parts] == []


def test_the_source_distribution_can_set_itself_up(sdist: list[Path]) -> None:
    needed = ["Makefile", "requirements/runtime.txt", "scripts/setup/venv", "contrib/systemd/es-power.service"]
    needed += ["scripts/web", "web/package-lock.json", "web/src/main.ts"]

    assert [name for name in needed if Path(name) not in sdist] == []


def test_the_wheel_from_the_source_distribution_is_the_wheel_from_the_checkout(
    built: Path, checkout: Path, tmp_path: Path
) -> None:
    build(checkout, tmp_path, "--wheel")

    assert next(tmp_path.glob("*.whl")).read_bytes() == next(built.glob("*.whl")).read_bytes()


def test_the_installed_wheel_finds_what_it_reads_beside_its_code(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    """Its modules are the checkout's to the byte; migrations, its version and its command depend on where it lies."""
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(checkout), "-c", str(checkout / "pyproject.toml")]
    options += [str(checkout / "tests/unit" / suite) for suite in ("log/test_upgrade.py", "cli/test_program.py")]
    program = f"import sys, pytest\nsys.path.append({str(checkout)!r})\nsys.exit(pytest.main({options!r}))"

    done = run_against(installed, tmp_path, program)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_wheel_passes_the_linter_and_the_type_checker(installed: Path, checkout: Path) -> None:
    shutil.copy(checkout / "pyproject.toml", installed)  # where both look for it, and where its paths begin
    lint = (sys.executable, "-m", "ruff", "check", "--no-cache", "es_power")
    # What `make lint` found out of the libraries, and of files of the same bytes, need not be found out again.
    types = (sys.executable, "-m", "mypy", "--cache-dir", checkout / ".mypy_cache", "es_power")

    for command in (lint, types):
        done = run(*command, cwd=installed)

        assert done.returncode == 0, done.stdout + done.stderr
