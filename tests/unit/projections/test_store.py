"""Tables that somebody else has written to, or taken away: said plainly, and made anew by the next service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.ports import Append, Write
from es_power.errors import TablesDamagedError
from es_power.log import SqlLog, open_log
from es_power.projections.follower import Follower
from es_power.projections.power_state import digest
from es_power.projections.reader import next_batch, read_models
from es_power.projections.store import Store
from es_power.projections.tables import HISTORY
from es_power.testing.facts import Facts, vm


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqlLog]:
    """A log with tables at its head."""
    facts = Facts()
    facts.start()
    facts.sweep({vm(1): (1, 1), vm(2): (5, 1)})
    async with open_log(tmp_path / "log.db", mode="write") as log:
        for each in facts.records:
            write = Write(stream=each.stream, expected=each.version - 1, events=[each.event])
            await log.append(Append(writes=[write]))
        store = Store(log.database)
        store.create()
        models, step = await read_models(log)
        store.rebuild(models, step)
        yield log


def execute(log: SqlLog, sql: str) -> None:
    with log.database.write() as connection:
        connection.execute(sa.text(sql))


DAMAGES = {
    "a word that is no power_state": "UPDATE power_state SET power_state = 'XX'",
    "bytes that are no host": "UPDATE hosts SET host = x'00'",
    "a host that is missing": "DELETE FROM hosts",
    "a table that is missing": "DROP TABLE power_state",
}


@pytest.mark.parametrize("sql", DAMAGES.values(), ids=DAMAGES.keys())
async def test_damaged_tables_are_named_with_the_mend_and_made_anew_by_a_service(log: SqlLog, sql: str) -> None:
    execute(log, sql)

    with pytest.raises(TablesDamagedError, match=r"replay --rebuild"):
        await read_models(log, Store(log.database))
    follower = await Follower.start(log, Store(log.database))
    while batch := await next_batch(log, follower.models):
        follower.models.apply(batch)
    replayed, _ = await read_models(log)

    assert digest(follower.models.fleet) == digest(replayed.fleet)


async def test_a_history_that_is_damaged_is_named_with_the_mend(log: SqlLog) -> None:
    execute(log, "UPDATE history SET power_state = 'XX'")

    with pytest.raises(TablesDamagedError, match=r"replay --rebuild"):
        Store(log.database).some([sa.select(HISTORY)])


async def test_a_question_before_the_checkpoint_is_answered_from_the_start_of_the_log(log: SqlLog) -> None:
    models, _ = await read_models(log, Store(log.database), until=3)

    assert models.fleet.position == 3
    assert not list(models.fleet)
