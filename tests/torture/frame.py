"""How often a fault is tried, and the line that says what was seen.

In ``make test`` a fault is tried a few times, and nothing is written. ``make torture`` tries each as often as
`faults.toml` promises, or as ``COUNT=500`` or ``COUNT=0.1`` says, and appends a line for each to
docs/reliability.jsonl, also where it did not hold: from these lines alone `scripts/reliability.py` writes
docs/reliability.md.
"""

import json
import os
import sqlite3
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from time import monotonic
from typing import Any, Final, Self

import pytest

from benchmarks.report import machine

CHECKOUT: Final = Path(__file__).parents[2]

FAULTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(Path(__file__).with_name("faults.toml").read_text())

TIER: Final = "ES_POWER_TORTURE"
"""The variable with ``full``, a number, or a fraction written with a point; not set in ``make test``."""

SEED: Final = "ES_POWER_TORTURE_SEED"
"""The variable with the seed to draw from: by it a run that found something is run again."""

RESULTS: Final = "ES_POWER_TORTURE_RESULTS"
"""The variable with the file that results are appended to."""


@dataclass(frozen=True, slots=True)
class Tier:
    """How much of what is promised is tried in this run."""

    #: None for the quick one.
    wanted: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the variable; ValueError where it makes no sense."""
        tier = cls(environment.get(TIER) or None)
        tier.count(1, 1)
        return tier

    @property
    def is_quick(self) -> bool:
        return self.wanted is None

    def count(self, quick: int, full: int) -> int:
        """How many cases to try, of these two promises."""
        if self.wanted is None:
            return quick
        if self.wanted == "full":
            return full
        if "." in self.wanted:
            return min(full, max(1, round(full * float(self.wanted))))
        return min(full, int(self.wanted))

    def seed(self, environment: Mapping[str, str]) -> int:
        """What to draw from: always the same in the quick tier, another one in each run of the full one."""
        if chosen := environment.get(SEED):
            return int(chosen)
        return 0 if self.is_quick else SystemRandom().getrandbits(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was seen of one fault in one run: a line of the file of results."""

    fault: str
    #: UTC, when it ended.
    date: str
    machine: str
    #: What was tried; with ``+`` where the code had been changed since.
    commit: str
    tried: int
    held: int
    #: How many were promised, where that is only known when it runs.
    promised: int
    seconds: float
    seed: int
    #: The broken variant, and how often it was caught.
    control: str
    #: What else was counted.
    detail: str


def _commit() -> str:
    """The commit of this checkout, with ``+`` where its code is not what was committed."""
    try:
        head = _git("rev-parse", "--short=9", "HEAD")
        changed = _git("status", "--porcelain", "--", "es_power", "tests")
    except (OSError, subprocess.CalledProcessError):
        return "no checkout"
    return f"{head}{'+' if changed else ''}"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout.strip()


@dataclass(slots=True)
class Bench:
    """What one test tries, and where it says what came of it."""

    tier: Tier
    seed: int
    results: Path | None
    begun: float = field(default_factory=monotonic)
    #: As it was then: a checkout may move on while it is tortured for hours.
    commit: str = field(default_factory=_commit)
    promises: list[tuple[int, int]] = field(default_factory=list)

    def count(self, quick: int, full: int) -> int:
        """How many cases to try: `quick` in ``make test``, `full` or what was asked for in ``make torture``.

        Where that is none, the test is skipped.
        """
        self.promises.append((quick, full))
        return self.tier.count(quick, full) or pytest.skip("tried in `make torture` only")

    def report(self, fault: str, *, tried: int, held: int, control: str, detail: str = "") -> None:
        """Say how many of the cases that were tried held, and which broken variant was caught how often.

        `fault` is a table's name in `faults.toml`. The line is written first, and then the test fails where one case
        did not hold, or where nothing was tried.
        """
        promise = FAULTS[fault]["quick"], FAULTS[fault]["full"]
        kept = [pair for pair in self.promises if all(map(_is_kept, promise, pair))]
        assert kept, f"faults.toml promises {promise} of {fault}; the test counts {self.promises}"
        assert control, "which broken variant was caught?"
        result = Result(
            fault=fault,
            date=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            machine=f"{machine()}, SQLite {sqlite3.sqlite_version}",
            commit=self.commit,
            tried=tried,
            held=held,
            promised=kept[-1][1],
            seconds=round(monotonic() - self.begun, 1),
            seed=self.seed,
            control=control,
            detail=detail,
        )
        if self.results is not None:
            with self.results.open("a", encoding="utf-8") as results:
                results.write(json.dumps(asdict(result)) + "\n")
        assert held == tried > 0, f"{tried - held} of {tried} did not hold: {result}"


def _is_kept(promised: int | str, counted: int) -> bool:
    return isinstance(promised, str) or promised == counted


def nobodys(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of an es_power that is tried: without the variables of a torture, which it refuses as unknown."""
    return {name: value for name, value in environment.items() if not name.startswith("ES_POWER_")}


def bench(environment: Mapping[str, str] = os.environ) -> Bench:
    """The bench of one test, as the environment says."""
    tier, results = Tier.of(environment), environment.get(RESULTS)
    return Bench(tier, tier.seed(environment), Path(results) if results else None)
