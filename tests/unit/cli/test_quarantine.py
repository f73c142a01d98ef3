"""`es-power quarantine`, and where else what was set aside is seen."""

from pathlib import Path

import trio

from es_power.domain.events import START
from es_power.log import open_log
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from tests.unit.cli.conftest import Ask
from tests.unit.projections.test_damaged_records import break_record, drop_tables

DB_ASKED = 14
"""Where the story has an answer about db-1."""


async def fold_anew(place: Path) -> None:
    """Make the tables again, as a service does that finds none."""
    drop_tables(place)
    async with open_log(place, mode="write") as log:
        store = Store(log.database)
        store.create()
        models, step = await read_models(log)
        assert store.save(models, step, since=START)


def test_nothing_is_in_quarantine_of_a_log_that_is_whole(ask: Ask) -> None:
    answer = ask("quarantine", "-o", "json")

    assert (answer.code, answer.rows) == (0, [])


def test_a_record_that_cannot_be_read_is_listed_and_told_wherever_somebody_asks(ask: Ask, log: Path) -> None:
    break_record(log, DB_ASKED)
    trio.run(fold_anew, log)
    listed = ask("quarantine", "--log", log, "-o", "json")
    [row] = listed.rows
    table = ask("quarantine", "--log", log)
    status = ask("status", "db-1", "--log", log)
    doctor = ask("doctor", "--log", log, "--uri", "test:///default", "-o", "json")

    assert listed.code == table.code == 4
    assert (row["position"], row["host"]) == (DB_ASKED, "a")
    assert f"record {DB_ASKED} (StateObserved:1) cannot be read" in status.err
    assert [each["result"] for each in doctor.rows if each["check"] == "log"] == ["finding"]
