"""What a test of a fault is given: `count`, `seed` and `report`; see `frame`."""

import os
from collections.abc import Callable

import pytest

from tests.torture import frame


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let nothing end what goes on for hours: what a mark says is meant for the quick tier."""
    if frame.TIER in os.environ:
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> frame.Bench:
    assert request.node.get_closest_marker("torture"), "mark it, or `make torture` leaves it out"
    return frame.bench()


@pytest.fixture
def count(bench: frame.Bench) -> Callable[[int, int], int]:
    """How many cases to try: `count(quick, full)`."""
    return bench.count


@pytest.fixture
def seed(bench: frame.Bench) -> int:
    """What everything random is to be drawn from."""
    return bench.seed


@pytest.fixture
def report(bench: frame.Bench) -> Callable[..., None]:
    """Say what was seen, as the test's last word: `report("kills", tried=40, held=40, control="…: 7 of 20 lost")`."""
    return bench.report
