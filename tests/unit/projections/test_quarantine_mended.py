"""A record that one version cannot read, and the next one can: its VM is folded from its own history then."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import trio

from es_power.domain.decisions import StopRequested
from es_power.domain.events import Position, RecordDeclared
from es_power.domain.ports import Append, Tracking, Write
from es_power.domain.states import VmState
from es_power.domain.streams import observer, planner
from es_power.log import SqlLog, open_log
from es_power.projections.doubts import quarantine
from es_power.projections.lean import fold_fleet
from es_power.projections.power_state import digest
from es_power.projections.quarantine import SetAside
from es_power.projections.queries import find, look, status
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.projections.tables import aside_of, aside_row
from es_power.replay import replay
from tests.unit.projections.test_damaged_records import break_record
from tests.unit.projections.test_follower import following, kept
from tests.unit.story import DB, OFF, RUNNING, WEB, Story

A = observer("a", "qemu")


def story() -> tuple[Story, int]:
    """WEB is meant to be off and runs; the record that says what it is meant to be is the one that is bad."""
    told = Story()
    told.start()
    told.name(WEB, "web-1")
    told.name(DB, "db-1")
    told.sweep({WEB: OFF, DB: RUNNING})
    bad = told.vouch(WEB, VmState.STOPPED)
    told.vouch(DB, VmState.STOPPED)
    told.observe(WEB, *RUNNING)
    told.announce(DB, 3, 0)
    return told, bad.position


def state_of(place: Path, position: int) -> bytes:
    with sqlite3.connect(place) as connection:
        return connection.execute("SELECT state FROM records WHERE position = ?", (position,)).fetchone()[0]


def mend(log: SqlLog, position: int, state: bytes) -> None:
    with log.database.write() as connection:
        connection.exec_driver_sql("UPDATE records SET state = ? WHERE position = ?", (state, position))


@contextmanager
def as_version(version: str) -> Iterator[None]:
    """Let this be another version of es_power."""
    with (
        mock.patch("es_power.projections.tables.package_version", return_value=version),
        mock.patch("es_power.projections.store.package_version", return_value=version),
    ):
        yield


async def broken(place: Path) -> tuple[Story, int, bytes]:
    told, position = story()
    await told.write(place, tables=3)
    whole = state_of(place, position)
    break_record(place, position)
    return told, position, whole


async def test_what_was_set_aside_is_known_by_the_tables_and_by_every_fold(tmp_path: Path) -> None:
    _, position, _ = await broken(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log:
        async with following(log):
            await kept(log, await log.head())
        by_tables = (await look(log)).fleet.quarantined
        by_log = (await read_models(log))[0].fleet.quarantined
        lean = (await fold_fleet(log)).quarantined
        then = await look(log, until=Position(await log.head()))

    assert list(by_tables) == [position]
    assert by_tables == by_log == lean == then.fleet.quarantined
    assert by_tables[Position(position)].kind == RecordDeclared.__name__


async def test_a_version_that_can_read_it_folds_its_vm_anew_and_requests_what_is_called_for(tmp_path: Path) -> None:
    told, position, whole = await broken(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log:
        with as_version("1"):
            async with following(log) as follower:
                await kept(log, await log.head())
                assert follower.models.fleet.doubt(WEB) is not None
                assert follower.models.fleet.doubt(DB) is not None  # what is said does not tell of whom
        tracking = Tracking(name=planner(A), position=await log.head())
        await log.append(Append(writes=(), tracking=tracking))
        mend(log, position, whole)
        with as_version("2"):
            async with following(log) as follower:
                fleet = follower.models.fleet
                assert fleet.quarantined == {}
                assert digest(fleet) == digest((await replay(log)).models.fleet)
                # What was called for long ago is requested by nobody any more; the next sweep calls for it anew.
                with trio.fail_after(10):
                    while follower.models.derivation.open:
                        await trio.sleep(0.01)
                known = len(told.records)
                told.sweep({WEB: RUNNING, DB: RUNNING})
                asked = await requested(log, told, follower, known)

    assert {each.instance for each in asked} == {WEB, DB}


async def requested(log: SqlLog, told: Story, follower, known: int) -> list[StopRequested]:
    derived = []
    apply = follower.models.apply

    def applying(batch):
        step = apply(batch)
        derived.extend(step.derived)
        return step

    with mock.patch.object(follower.models, "apply", applying):
        for recorded in told.records[known:]:
            write = Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])
            await log.append(Append(writes=[write]))
        with trio.fail_after(10):
            await follower.caught_up()
    return [each.event for each in derived if isinstance(each.event, StopRequested)]


async def test_a_version_that_cannot_read_it_either_keeps_its_tables(tmp_path: Path) -> None:
    await broken(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log:
        with as_version("1"):
            async with following(log):
                await kept(log, await log.head())
        with as_version("2"), mock.patch.object(Store, "drop", side_effect=AssertionError):
            async with following(log) as follower:
                assert follower.models.fleet.doubt(WEB) is not None


async def test_a_person_sees_what_was_set_aside_and_whom_it_leaves_in_doubt(tmp_path: Path) -> None:
    told, position, _ = await broken(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        [doubt] = await quarantine(view)
        rows = await status(view, now=told.now)

    assert (doubt.record.position, doubt.record.stream, doubt.names) == (position, "declarations", ())
    # Something newer is known of both: they are shown, and marked.
    assert {f"record {position} was set aside (es-power quarantine)"} == {each.row.note for each in rows}
    assert {"RUNNING", "PAUSED"} == {each.row.power_state for each in rows}
    assert await find(view, "web-1") == WEB


@pytest.mark.parametrize("text", ["\0", "\ud800"])
async def test_a_kind_that_no_database_stores_is_kept_as_it_can_be(tmp_path: Path, text: str) -> None:
    aside = SetAside(position=Position(1), stream="a", kind=text, instances=(WEB, DB), reason=text)

    assert aside_of(aside_row(aside)) == SetAside(
        position=Position(1), stream="a", kind="?", instances=(WEB, DB), reason="?"
    )
