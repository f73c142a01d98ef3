"""A log with one host's story, in a directory of its own."""

from pathlib import Path

import pytest
import trio

from tests.unit.story import one_host


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "here" / "log.db"
    place.parent.mkdir()
    trio.run(one_host().write, place)
    return place
