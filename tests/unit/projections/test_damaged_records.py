"""One record that cannot be read hides nothing else, whichever it is, with tables and without."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.states import VmState
from es_power.log import open_log
from es_power.log.database import Database
from es_power.projections.explain import commands
from es_power.projections.gaps import gaps
from es_power.projections.narrative import history
from es_power.projections.queries import look, status
from es_power.projections.tables import METADATA
from tests.unit.story import DB, OFF, RUNNING, WEB, Story


def story() -> Story:
    told = Story()
    told.start()
    told.name(WEB, "web-1")
    told.name(DB, "db-2")
    told.sweep({WEB: RUNNING, DB: RUNNING})
    told.vouch(WEB, VmState.ACTIVE)
    told.sweep({WEB: RUNNING, DB: RUNNING})
    told.gap()
    told.seen_again()
    told.announce(WEB, 5, 0)
    told.observe(WEB, *OFF)
    told.plan()
    told.sweep({WEB: OFF, DB: RUNNING})
    return told


def break_record(place: Path, position: int) -> None:
    database = Database(place)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE records SET state = x'c1' WHERE position = :p"), {"p": position})
    database.close()


def drop_tables(place: Path) -> None:
    database = Database(place)
    with database.write() as connection:
        METADATA.drop_all(connection)
    database.close()


@pytest.mark.parametrize("position", range(1, len(story().records) + 1))
@pytest.mark.parametrize("prepare", [lambda _: None, drop_tables])
async def test_the_others_are_answered(tmp_path: Path, position: int, prepare: Callable[[Path], None]) -> None:
    place = tmp_path / "log.db"
    await story().write(place)
    break_record(place, position)
    prepare(place)

    async with open_log(place) as log:
        view = await look(log)
        [db] = await status(view, str(DB), now=story().now)
        for opened in (False, True):
            assert await history(view, str(WEB), opened=opened)
        await gaps(view)
        await commands(view)

    assert db.row.instance == DB
    if prepare is drop_tables:
        assert position in view.fleet.quarantined


async def test_an_inventory_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    place, told = tmp_path / "log.db", story()
    await told.write(place)
    [position] = [each.position for each in told.records if type(each.event).__name__ == "InventoryRecorded"]
    break_record(place, position)

    async with open_log(place) as log:
        view = await look(log)

    assert [position] == list(view.fleet.quarantined)
