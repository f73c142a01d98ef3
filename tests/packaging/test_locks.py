"""The locks say everything that an install needs to know, and nothing about where it comes from."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

LOCKS = ("build", "runtime", "dev", "lock", "nova")


@dataclass(frozen=True, slots=True)
class Lock:
    pins: dict[NormalizedName, Requirement]
    hashes: dict[NormalizedName, list[str]]


def read(checkout: Path, name: str) -> Lock:
    text = (checkout / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    pins: dict[NormalizedName, Requirement] = {}
    hashes: dict[NormalizedName, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line.partition("--hash")[0])
            pins[canonicalize_name(pin.name)] = pin
            hashes[canonicalize_name(pin.name)] = re.findall(r"--hash=(\S+)", line)
    return Lock(pins, hashes)


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


def project(checkout: Path) -> dict[str, Any]:
    return tomllib.loads((checkout / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_packages_versions_and_hashes_and_no_address(checkout: Path, name: str) -> None:
    pin = r"[a-z0-9-]+==\S+( ; [^/]+)? \\"
    digest = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    comment = "# Written by scripts/setup/lock from pyproject.toml."

    lines = (checkout / f"requirements/{name}.txt").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(f"{pin}|{digest}|{comment}", line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_hash(checkout: Path, name: str) -> None:
    assert [package for package, hashes in read(checkout, name).hashes.items() if not hashes] == []


def test_every_requirement_of_the_project_is_locked_at_a_version_that_fits(checkout: Path) -> None:
    content = project(checkout)
    groups = content["dependency-groups"]
    wanted = {
        "runtime": content["project"]["dependencies"],
        "dev": content["project"]["dependencies"] + groups["dev"],
        "build": content["build-system"]["requires"] + groups["build"],
        "lock": groups["lock"],
        "nova": groups["nova-rig"],
    }

    for name, requirements in wanted.items():
        pins = read(checkout, name).pins
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(version(pins[canonicalize_name(requirement.name)])), requirement


def test_a_package_has_one_version_in_all_locks(checkout: Path) -> None:
    dev = read(checkout, "dev").pins
    runtime = read(checkout, "runtime").pins
    build = read(checkout, "build").pins

    assert {name: version(pin) for name, pin in runtime.items()}.items() <= {
        name: version(pin) for name, pin in dev.items()
    }.items()
    assert [name for name in build.keys() & dev.keys() if version(build[name]) != version(dev[name])] == []


@pytest.mark.parametrize("name", ["build", "runtime", "dev"])
def test_what_a_locked_package_requires_is_locked_too(checkout: Path, name: str) -> None:
    """pip installs the locks without looking at dependencies, so a hole would show only at run time."""
    pins = read(checkout, name).pins
    extras = {
        canonicalize_name(requirement.name): requirement.extras
        for requirement in map(Requirement, project(checkout)["project"]["dependencies"])
    }
    holes = []
    for package, pin in pins.items():
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        for text in requires(package) or []:
            requirement = Requirement(text)
            environments = [{"extra": extra} for extra in extras.get(package, ())] or [{"extra": ""}]
            applies = requirement.marker is None or any(map(requirement.marker.evaluate, environments))
            if applies and canonicalize_name(requirement.name) not in pins:
                holes.append(f"{package}: {text}")

    assert holes == []


def imports(folder: Path) -> Iterator[str]:
    """The top names of what the modules below a folder import, ours and the standard library's left out."""
    ours = {"es_power", "tests", "benchmarks", "scripts"} | {module.stem for module in folder.glob("*.py")}
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            tops = {name.partition(".")[0] for name in names}
            yield from tops - sys.stdlib_module_names - ours


@pytest.mark.parametrize(
    ("folder", "groups"),
    [("es_power", ["testing"]), ("tests", ["dev", "build", "nova-rig"]), ("benchmarks", ["dev"]), ("scripts", ["dev"])],
)
def test_what_is_imported_is_declared(checkout: Path, folder: str, groups: list[str]) -> None:
    content = project(checkout)
    known = content["project"]["optional-dependencies"] | content["dependency-groups"]
    lists = [content["project"]["dependencies"], *(known[name] for name in groups)]
    declared = {canonicalize_name(Requirement(text).name) for requirements in lists for text in requirements}
    providers = packages_distributions()

    undeclared = [
        name
        for name in sorted(set(imports(checkout / folder)))
        if declared.isdisjoint(map(canonicalize_name, providers.get(name, [name])))
    ]

    assert undeclared == []


def test_nothing_large_slipped_in(checkout: Path) -> None:
    heavy = {"torch", "numpy", "pandas", "scipy"}

    assert heavy.isdisjoint(read(checkout, "dev").pins)


def test_the_environment_that_runs_these_tests_is_the_locked_one(checkout: Path) -> None:
    """Told only where the environment was made by ``make setup``; a hand-made one may differ."""
    if not (checkout / ".venv/.complete").exists():
        pytest.skip("this environment was not made by make setup")
    from importlib.metadata import version as installed

    different = {}
    for package, pin in read(checkout, "dev").pins.items():
        if pin.marker is None or pin.marker.evaluate():
            try:
                found = installed(package)
            except PackageNotFoundError:
                found = "missing"
            if found != version(pin):
                different[package] = found

    assert different == {}
