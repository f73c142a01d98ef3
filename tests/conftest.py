"""What holds for every test: none depends on the speed of its machine."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same cases on every machine, so that what fails there fails here. Other cases: HYPOTHESIS=new make test TESTS=...
settings.register_profile("new", settings.get_profile("any machine"))
settings.register_profile("same", settings.get_profile("any machine"), derandomize=True, database=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))


def pytest_itemcollected(item: pytest.Item) -> None:
    # How a module wants its tests run comes before what pytest-trio gives each of them afterwards.
    item.own_markers += item.parent.iter_markers("trio") if item.parent else ()


def pytest_collection_finish() -> None:
    # What all the tests share stays to the end, so the collector need not look through it ten thousand times.
    gc.collect()
    gc.freeze()
