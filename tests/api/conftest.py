"""That night's log, for each test a copy of its own."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.acceptance.night import write_night
from tests.api.house import Running, running


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("night") / "log.db"
    trio.run(write_night, place)
    return place


@pytest.fixture
def night(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path / "log.db"))


@pytest.fixture
async def api(night: Path) -> AsyncIterator[Running]:
    async with running(night) as house:
        yield house
