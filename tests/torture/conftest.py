"""What a test of a fault is given: `count`, `seed` and `report`; see `frame`."""

from collections.abc import Callable

import pytest

from tests.torture import frame


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
