"""The same answers from every database: what a person asks, and what a replay compares."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.log.schema import HEAD
from es_power.projections import store
from es_power.projections.anomalies import anomalies
from es_power.projections.as_of import moment_at
from es_power.projections.explain import commands
from es_power.projections.gaps import gaps
from es_power.projections.narrative import history
from es_power.projections.queries import look, status
from es_power.projections.store import Store
from es_power.projections.timeline import timeline
from es_power.replay import rebuild, verify
from es_power.testing.facts import T0
from tests.unit.night import at, imported_night
from tests.unit.projections.test_timeline import Timed
from tests.unit.story import OFF, RUNNING, WEB, one_host


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "log.db") if request.param == "sqlite" else request.getfixturevalue("postgres").url()


async def test_questions_are_answered_alike(place: str) -> None:
    story = one_host()
    await story.write(place, tables=12)
    async with open_log(place) as log:
        view = await look(log)
        assert [each.name for each in await status(view, now=story.now)] == ["db-1", "web-1"]
        assert [line.entry.position for line in await history(view, "web-1")] == [8, 10, 12, 18, 19, 20, 21]
        assert len(await history(view, "web-1", opened=True)) == 10
        assert [each.row.state for each in await commands(view)] == ["Withdrawn"]
        assert [gap.until for gap in await gaps(view)] == [None]
        assert await log.position_at(story.records[8].recorded_at) == 9


@pytest.mark.parametrize("tables", [0, 8, None])
async def test_two_times_are_answered_alike(place: str, tables: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "EVERY", 5)
    await imported_night().write(place, tables=tables)
    async with open_log(place) as log:
        then, later = await moment_at(log, at("03:13")), await moment_at(log, at("03:30"))
        now, known = await look(log, as_of=then), await look(log, as_of=then, known_at=later)

        assert [each.row.power_state for each in await status(now, now=later.at)] == ["SHUTDOWN"]
        assert [each.row.power_state for each in await status(known, now=later.at)] == ["UNKNOWN"]
        assert [each.row.note for each in await status(known, "web-1", now=later.at)] == ["blind: connection lost"]


async def test_time_is_answered_alike(place: str) -> None:
    story = Timed()
    for second, state in ((0, RUNNING), (600, RUNNING), (1200, OFF)):
        story.at(second).sweep({WEB: state})
    story.at(1300).announce(WEB, 2, 0)
    story.qemu(second=-100)
    await story.write(place)
    async with open_log(place) as log:
        view, since, now = await look(log), Timestamp(T0 - 200 * SECOND), Timestamp(T0 + 1400 * SECOND)
        [found] = await timeline(view, since=since, until=now, now=now)
        some = await anomalies(view, since=since, until=now, now=now)

        states = [None, "RUNNING", "RUNNING", "UNKNOWN", "SHUTDOWN", "RUNNING"]
        assert [each.state for each in found.segments] == states
        assert [each.duration // SECOND for each in found.segments] == [100, 100, 600, 600, 100, 100]
        assert [(each.kind, each.count) for each in some] == [("missed event", 1)]


async def test_a_rebuild_swaps_the_tables_and_a_replay_agrees(place: str) -> None:
    await one_host().write(place, tables=0)
    async with open_log(place, mode="write") as log:
        await rebuild(log)

        assert Store(log.database).checkpoint() == 21
        assert (await verify(log))[1] == []


async def test_a_transaction_that_reads_sees_one_state_while_others_append(place: str) -> None:
    story = one_host()
    await story.write(place)
    async with open_log(place, mode="write") as log:
        with log.database.read() as reading:
            before = reading.scalar(sa.select(HEAD.c.position))
            with log.database.write() as writing:
                writing.execute(sa.update(HEAD).values(position=99))

            assert reading.scalar(sa.select(HEAD.c.position)) == before
