"""What holds for every test: none depends on the speed of its machine, and none is counted that need not be."""

import gc
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

import coverage
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same cases on every machine, so that what fails there fails here. Other cases: HYPOTHESIS=new make test TESTS=...
settings.register_profile("new", settings.get_profile("any machine"))
settings.register_profile("same", settings.get_profile("any machine"), derandomize=True, database=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

UNCOUNTED: Final = (
    *("acceptance", "api", "crash", "packaging", "stateful", "torture", "web"),
    *("unit/cli", "unit/dispatch", "unit/nova", "unit/test_benchmarks.py", "unit/test_output.py"),
    "unit/projections/test_migration_orders.py",
)
"""What runs no line of the domain or the log that no other test runs: counting the lines that are run makes it take
twice as long, or three times."""

FIRST: Final = ("torture", "stateful", "acceptance", "packaging")
"""What takes longest: at the end, one processor would wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not _is_in(item, FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    # Its own marker, no_cover, ends one coverage of two: pytest-cov begins a second one in each of xdist's workers.
    stopped: list[coverage.Coverage] = []
    while _is_in(item, UNCOUNTED) and (running := coverage.Coverage.current()):
        running.stop()
        stopped.append(running)
    try:
        return (yield)
    finally:
        for each in reversed(stopped):
            each.start()


def _is_in(item: pytest.Item, places: Sequence[str]) -> bool:
    return any(item.path.is_relative_to(Path(__file__).parent / each) for each in places)


def pytest_collection_finish() -> None:
    # What all the tests share stays to the end, so the collector need not look through it ten thousand times.
    gc.collect()
    gc.freeze()
