"""The table of figures, and the page in the documentation that keeps it."""

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import libvirt

from benchmarks.figures import Figure
from es_power.identity import package_version

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_BEGIN: Final = "<!-- measured: written by `python -m benchmarks --write` -->"
_END: Final = "<!-- end of measured -->"
_HEAD: Final = ("figure", "target", "median", "min to max", "")


def table(figures: Sequence[Figure]) -> str:
    """All figures, and under each what was measured."""
    return "\n".join(f"{_line(figure)}\n    {figure.detail}" for figure in figures)


def _line(figure: Figure) -> str:
    target = str(figure.target or "")
    return f"{figure.name:66} {target:34} {_number(figure.median, figure):>12}  {_spread(figure):22} {figure.verdict}"


def written(page: str, figures: Sequence[Figure]) -> str:
    """The page with these figures in the place of the last ones; what people wrote around them stays."""
    lines = [
        _BEGIN,
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {_versions()}.",
        "",
        "| figure | target | median | min to max | |",
        "|---|---|---|---|---|",
        *(
            f"| {figure.name}<br>{figure.detail} | {figure.target or ''} | {_number(figure.median, figure)} "
            f"| {_spread(figure)} | {figure.verdict} |"
            for figure in figures
        ),
        "",
        _END,
    ]
    before, rest = page.split(_BEGIN)
    return before + "\n".join(lines) + rest.split(_END)[1]


def _number(value: float, figure: Figure) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    unit = f" {figure.unit}"
    return f"{value:,.{digits}f}{unit}"


def _spread(figure: Figure) -> str:
    if len(figure.seen) == 1:
        return "one run"
    return f"{_number(min(figure.seen), figure)} to {_number(max(figure.seen), figure)}"


def machine() -> str:
    """Processor, cores and memory of this machine."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = model[1].strip() if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def _versions() -> str:
    packages = ("eventsourcing", "SQLAlchemy", "msgspec", "trio", "libvirt-python")
    numbers = [f"es-power {package_version()}", *(f"{name} {version(name)}" for name in packages)]
    library = libvirt.getVersion()
    return ", ".join(
        [
            f"Python {platform.python_version()}",
            f"SQLite {sqlite3.sqlite_version}",
            f"libvirt {library // 1_000_000}.{library // 1000 % 1000}.{library % 1000}",
            *numbers,
        ]
    )
