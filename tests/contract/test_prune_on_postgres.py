"""Pruning on PostgreSQL: what was observed up to a checkpoint goes, as on SQLite, and the log is true in both ways."""

from pathlib import Path

import pytest

from es_power.log import open_log
from es_power.replay import rebuild
from es_power.upkeep import remaining
from tests.postgres import Cluster
from tests.unit.upkeep.sealed import prune_before, write
from tests.unit.upkeep.test_pruning import AFTER_FIRST, AFTER_SECOND, FIRST, HEAD, SECOND_SEAL, STORY, checked

pytestmark = pytest.mark.postgres


async def test_a_log_on_postgresql_is_pruned_and_pruned_further(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remaining, "NEAR", 1)
    await write(STORY, place := postgres.url())
    async with open_log(place, mode="write") as log:
        assert await checked(log) is None

        for time, cut in ((AFTER_FIRST, FIRST), (AFTER_SECOND, SECOND_SEAL)):
            done = await prune_before(log, time, tmp_path)
            assert done.count > 0
            assert await checked(log) == cut
            await rebuild(log)
            assert await checked(log) == cut
        assert len(await log.read(after=SECOND_SEAL, limit=1000)) == HEAD - SECOND_SEAL + 2  # and that it was pruned
