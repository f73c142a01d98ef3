"""The live end of the tables: kept by several services together, and mended after a rebuild behind their back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import pytest
import trio

from es_power.domain.decisions import PlanningStarted
from es_power.domain.events import Position, Recorded
from es_power.domain.ports import Append, Write
from es_power.domain.streams import observer, planner
from es_power.errors import LogRewoundError
from es_power.log import SqlLog, open_log
from es_power.projections.follower import Follower
from es_power.projections.readmodels import Step
from es_power.projections.store import Store
from es_power.projections.watcher import GATHER
from es_power.replay import replay, verify
from es_power.testing.facts import T0
from tests.unit.story import DB, RUNNING, WEB, Story


@asynccontextmanager
async def following(log: SqlLog) -> AsyncIterator[Follower]:
    async def listen(_batch: Sequence[Recorded], _step: Step) -> None:
        pass

    follower = await Follower.start(log, Store(log.database))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run, listen)
        await follower.caught_up()
        yield follower
        nursery.cancel_scope.cancel()


async def add(log: SqlLog, story: Story, *, sweeps: int = 3) -> None:
    """Let the story go on, and the log with it, a record at a time."""
    known = len(story.records)
    for _ in range(sweeps):
        story.sweep({WEB: RUNNING, DB: RUNNING})
        story.announce(WEB, 3, 0)
    for recorded in story.records[known:]:
        await log.append(
            Append(writes=[Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])])
        )


async def kept(log: SqlLog, position: int) -> None:
    """Wait until the tables are true at a position."""
    with trio.fail_after(10):
        while Store(log.database).checkpoint() < position:
            await trio.sleep(0.01)


async def test_tables_that_were_rebuilt_behind_a_service_are_brought_up_to_date_by_it(tmp_path: Path) -> None:
    story = Story()
    story.start()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log, following(log):
        await add(log, story)
        await kept(log, len(story.records))
        # Rebuilt from a replay that ended earlier: what the service wrote since is gone.
        earlier = await replay(log, until=Position(5))
        Store(log.database).rebuild(earlier.models, earlier.step)
        assert Store(log.database).checkpoint() == 5
        await add(log, story)
        await kept(log, len(story.records))

        assert (await verify(log))[1] == []


async def test_services_of_one_log_keep_its_tables_together(tmp_path: Path) -> None:
    story = Story()
    story.start()
    await story.write(tmp_path / "log.db")
    async with (
        open_log(tmp_path / "log.db", mode="write", poll=0.01) as log,
        open_log(tmp_path / "log.db", mode="write", poll=0.01) as other,
        following(other) as still_there,
    ):
        async with following(log):
            await add(log, story)
            await kept(log, len(story.records))
        # One ends; the other goes on with the same tables.
        await add(log, story)
        await kept(log, len(story.records))

        assert still_there.models.fleet.position == Position(len(story.records))
        assert (await verify(log))[1] == []


async def test_a_log_that_was_replaced_by_one_that_has_grown_since_is_refused(tmp_path: Path) -> None:
    story = Story()
    story.start()
    await story.write(tmp_path / "log.db")
    raised = pytest.RaisesExc(LogRewoundError, match="is another one than was read")
    with pytest.RaisesGroup(raised, flatten_subgroups=True):
        async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log, following(log):
            await add(log, story)
            await kept(log, len(story.records))
            with log.database.write() as connection:
                connection.exec_driver_sql("UPDATE records SET recorded_at = recorded_at + 1")
            await add(log, story)
            with trio.fail_after(10):
                await trio.sleep_forever()


async def test_a_service_killed_after_its_planner_and_before_its_host_began_has_a_successor_that_plans(
    tmp_path: Path,
) -> None:
    # Found by make torture PART=kills, seed 2116358689: no stop was planned on that log any more.
    stream = observer("a", "qemu")
    begun = PlanningStarted(observed_at=T0, policy="nova-2013", policy_version=1)
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log:
        async with following(log):
            await log.append(Append(writes=[Write(stream=planner(stream), expected=0, events=[begun])]))
            await kept(log, 1)

        async with following(log) as successor:
            assert successor.models.derivation.planned == {stream}


async def test_what_comes_after_a_silence_is_folded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.start()
    await story.write(tmp_path / "log.db")
    known = len(story.records)
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log, following(log) as follower:
        monkeypatch.setattr("es_power.projections.watcher.GATHER", 3600.0)
        follower._read_at = -inf  # nothing came for long
        await add(log, story, sweeps=1)
        with trio.fail_after(30):
            await follower.reached(Position(known + 1))


async def test_what_comes_without_a_silence_is_folded_in_batches(tmp_path: Path) -> None:
    story = Story()
    story.start()
    await story.write(tmp_path / "log.db")
    batches: list[int] = []

    async def listen(batch: Sequence[Recorded], _step: Step) -> None:
        batches.append(len(batch))
        await add(log, story, sweeps=1)  # there is always more, as soon as it looks

    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log, trio.open_nursery() as nursery:
        follower = await Follower.start(log, Store(log.database))
        await add(log, story, sweeps=1)
        begun = trio.current_time()
        nursery.start_soon(follower.run, listen)
        with trio.fail_after(10):
            while len(batches) < 5:
                await trio.sleep(0.01)
        assert trio.current_time() - begun >= 4 * GATHER
        nursery.cancel_scope.cancel()
