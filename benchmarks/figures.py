"""A figure, its target, and how two ways are measured in turn."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised."""

    bound: float
    unit: str
    at_least: bool

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"

    def met_by(self, seen: float) -> bool:
        return seen >= self.bound if self.at_least else seen <= self.bound


def at_least(bound: float, unit: str = "x") -> Target:
    return Target(bound, unit, at_least=True)


def at_most(bound: float, unit: str = "x") -> Target:
    return Target(bound, unit, at_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; a figure without a target is there to explain another."""

    name: str
    target: Target | None
    #: One for each round.
    seen: Sequence[float]
    unit: str = "x"
    #: What was measured, in absolute numbers.
    detail: str

    @property
    def median(self) -> float:
        return median(self.seen)

    @property
    def met(self) -> bool:
        return self.target is None or self.target.met_by(self.median)

    @property
    def verdict(self) -> str:
        return "" if self.target is None else "met" if self.met else "MISSED"


def in_turn(rounds: int, *ways: Callable[[], float]) -> list[list[float]]:
    """Run each way once a round, A B A B; give what each way returned, round by round."""
    results: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, result in zip(ways, results, strict=True):
            gc.collect()
            result.append(way())
    return results


def seconds(work: Callable[[], object]) -> float:
    """Time one piece of work."""
    begin = perf_counter()
    work()
    return perf_counter() - begin


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round, so that each ratio is of two neighbours in time."""
    return [a / b for a, b in zip(above, below, strict=True)]


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def amount(value: float) -> str:
    """Three digits and a thousands' mark, for people."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
