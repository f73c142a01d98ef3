"""The history of one VM: events, runs, opened runs, and what its hosts went through meanwhile."""

from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings

from es_power.domain.events import GapOpened, LifecycleEvent, Position, RecordDeclared, StateObserved
from es_power.domain.ports import Append, Write
from es_power.log import open_log
from es_power.projections.narrative import Line, follow, history
from es_power.projections.queries import look
from es_power.testing.facts import Facts, vm
from tests.property.logs import LOGS, Act, write
from tests.unit.story import DB, OFF, RUNNING, WEB, Story, one_host


def told(lines: list[Line]) -> list[tuple[int, str, int]]:
    return [(line.entry.position, line.entry.kind, line.entry.count) for line in lines]


@pytest.mark.parametrize("tables", [0, 9, 12, None])
async def test_a_history_tells_events_runs_records_commands_and_gaps_in_order(
    tmp_path: Path, tables: int | None
) -> None:
    await one_host().write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        lines = await history(await look(log), "web-1")

    assert told(lines) == [
        (8, "StateObserved", 4),
        (10, "RecordDeclared", 1),
        (12, "StopRequested", 1),
        (18, "LifecycleEvent", 1),
        (19, "StateObserved", 1),
        (20, "Withdrawn", 1),
        (21, "GapOpened", 1),
    ]
    assert isinstance(lines[1].event, RecordDeclared)
    assert (lines[1].by, lines[1].why, lines[1].host) == ("alice", "not needed", None)
    assert isinstance(lines[3].event, LifecycleEvent)
    assert isinstance(lines[6].event, GapOpened)
    assert [line.host for line in lines] == ["a", None, "a", "a", "a", "a", "a"]
    assert [line.entry.changed for line in lines] == [True, False, False, True, False, False, False]


@pytest.mark.parametrize("tables", [0, None])
async def test_opened_each_observation_of_a_run_is_a_line_with_its_place(tmp_path: Path, tables: int | None) -> None:
    await one_host().write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        lines = await history(await look(log), "web-1", opened=True)

    observed = [line for line in lines if line.entry.kind == "StateObserved"]
    assert [(line.entry.position, line.entry.index) for line in observed] == [
        (8, 0),
        (9, 0),
        (11, None),
        (17, 0),
        (19, None),
    ]
    assert [line.entry.changed for line in observed] == [True, False, False, False, False]
    assert not any(line.is_run for line in lines)
    assert all(isinstance(line.event, StateObserved) for line in observed)


async def test_a_run_that_reaches_into_the_time_asked_for_is_shown_whole(tmp_path: Path) -> None:
    await one_host().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        run = await history(view, "web-1", after=Position(10), until=Position(11))
        opened = await history(view, "web-1", after=Position(10), until=Position(17), opened=True)

    assert told(run) == [(8, "StateObserved", 4)]
    assert [line.entry.position for line in opened] == [11, 12, 17]


async def test_what_befell_a_host_before_a_vm_came_and_after_it_went_is_not_its_history(tmp_path: Path) -> None:
    await one_host().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        lines = await history(await look(log), "old-1")

    assert told(lines) == [(8, "StateObserved", 2), (15, "StateObserved", 1)]
    assert lines[-1].entry.state is None


async def test_an_answer_older_than_an_event_is_a_line_of_its_own_and_stale(tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.name(WEB, "web-1")
    story.sweep({WEB: RUNNING})
    story.announce(WEB, 5, 0)
    story.sweep({WEB: RUNNING}, number=0)
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        late = (await history(await look(log), "web-1"))[-1]

    assert (late.entry.stale, late.is_run) == (True, False)
    assert isinstance(late.event, StateObserved)
    assert late.event.state == 1


async def test_following_gives_each_new_observation_by_itself(tmp_path: Path) -> None:
    story = one_host()
    known = len(story.records)
    await story.write(tmp_path / "log.db", tables=0)
    story.seen_again()
    story.sweep({WEB: OFF, DB: OFF})
    story.sweep({WEB: OFF, DB: OFF})
    story.announce(WEB, 2, 0)
    story.observe(DB, *OFF)
    story.observe(WEB, *RUNNING)
    story.sweep({DB: OFF})
    story.gap()
    seen: list[Line] = []
    async with open_log(tmp_path / "log.db", mode="write", poll=0.01) as log, trio.open_nursery() as nursery:
        view = await look(log)

        async def listen() -> None:
            async with aclosing(follow(view, WEB)) as lines:
                async for line in lines:
                    seen.append(line)
                    if line.entry.position == len(story.records):
                        nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        for recorded in story.records[known:]:
            await log.append(
                Append(writes=[Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])])
            )
        with trio.move_on_after(10):
            await trio.sleep_forever()

    assert [(line.entry.position - known, line.entry.kind, line.entry.changed) for line in seen] == [
        (1, "GapClosed", False),
        (2, "StateObserved", False),
        (3, "StateObserved", False),
        (4, "LifecycleEvent", True),
        (6, "StateObserved", False),
        (9, "GapOpened", False),
    ]


@settings(max_examples=40, deadline=None)
@given(LOGS)
def test_opened_runs_have_as_many_lines_as_they_count(acts: list[Act]) -> None:
    facts = write(acts)

    async def ask() -> None:
        async with open_log("sqlite://") as log:
            await put(facts, log)
            view = await look(log)
            for number in range(1, 5):
                if vm(number) in view.fleet.seen_on:
                    closed = await history(view, str(vm(number)))
                    opened = await history(view, str(vm(number)), opened=True)

                    assert sum(line.entry.count for line in closed) == len(opened)
                    assert [_place(line) for line in opened] == sorted(_place(line) for line in opened)

    trio.run(ask)


def _place(line: Line) -> tuple[int, int]:
    return line.entry.position, -1 if line.entry.index is None else line.entry.index


async def put(facts: Facts, log) -> None:
    for recorded in facts.records:
        write = Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])
        await log.append(Append(writes=[write]))
