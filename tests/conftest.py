"""What holds for every test: none depends on the speed of its machine, and none is counted that need not be."""

import gc
import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same cases on every machine, so that what fails there fails here. Other cases: HYPOTHESIS=new make test TESTS=...
settings.register_profile("new", settings.get_profile("any machine"))
settings.register_profile("same", settings.get_profile("any machine"), derandomize=True, database=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

UNCOUNTED: Final = (
    *("packaging", "stateful", "torture", "web"),
    *("unit/projections/test_migration_orders.py", "unit/test_benchmarks.py", "unit/test_output.py"),
)
"""What runs a long time, and no line of the domain or the log that no other test runs: counting the lines that are run
makes it take up to three times as long."""


FIRST: Final = ("torture", "stateful", "acceptance", "packaging")
"""What takes longest: at the end, one processor would wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    uncounted = [here / each for each in UNCOUNTED]
    for item in items:
        if any(item.path.is_relative_to(place) for place in uncounted):
            item.add_marker("no_cover")
    items.sort(key=lambda item: next(iter(item.path.relative_to(here).parts)) not in FIRST)


def pytest_collection_finish() -> None:
    # What all the tests share stays to the end, so the collector need not look through it ten thousand times.
    gc.collect()
    gc.freeze()
