"""The marks of a lane: what each stands for, page by page, and missed ones as the anomalies count them."""

from itertools import count
from pathlib import Path

import pytest

from es_power.domain.decisions import Approved, StopRequested
from es_power.domain.states import VmState
from es_power.domain.streams import actor, command, observer
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections.anomalies import AnomalyKind, anomalies
from es_power.projections.marks import Mark, MarkKind, marks
from es_power.projections.queries import look
from es_power.testing.facts import T0
from tests.unit.projections.test_timeline import Timed
from tests.unit.story import DB, OFF, RUNNING, WEB

END = Timestamp(T0 + 100_000 * SECOND)


def story_of_everything() -> Timed:
    story = Timed()
    story.name(WEB, "web-1")
    story.name(DB, "db-1")
    story.at(0).sweep({WEB: RUNNING, DB: RUNNING})
    story.at(100).announce(WEB, 5, 0)
    story.at(100.1).observe(WEB, *OFF)
    story.at(200).sweep({WEB: OFF, DB: RUNNING})
    story.at(300).sweep({WEB: OFF, DB: OFF})  # nobody announced it
    story.at(400).announce(DB, 2, 0)
    story.at(401).observe(DB, *OFF, number=0)  # asked before it started
    story.at(402).observe(DB, *RUNNING)
    story.at(500).blind(500)
    story.at(600).seen_again()
    story.at(600).sweep({WEB: OFF, DB: OFF})
    return story


def told(some: list[Mark]) -> list[tuple[str, str, float]]:
    names = {WEB: "web-1", DB: "db-1"}
    return [(names[each.instance], each.kind, (each.line.entry.observed_at - T0) / SECOND) for each in some]


WHOLE = [
    ("web-1", MarkKind.OBSERVATION, 0),
    ("db-1", MarkKind.OBSERVATION, 0),
    ("web-1", MarkKind.EVENT, 100),
    ("web-1", MarkKind.OBSERVATION, 100.1),
    ("db-1", MarkKind.MISSED, 300),
    ("db-1", MarkKind.EVENT, 400),
    ("db-1", MarkKind.STALE, 401),
    ("db-1", MarkKind.OBSERVATION, 402),
    ("web-1", MarkKind.OBSERVATION, 600),
    ("db-1", MarkKind.MISSED, 600),
]


@pytest.mark.parametrize("tables", [0, 6, 10, None])
async def test_marks_stand_for_what_was_announced_observed_missed_and_refused(
    tmp_path: Path, tables: int | None
) -> None:
    await story_of_everything().write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        some = await marks(view, since=T0, until=END, now=END)

        assert told(some) == WHOLE
        assert [each.unseen for each in some if each.kind is MarkKind.MISSED] == [False, True]
        assert told(await marks(view, "db-1", since=T0, until=END, now=END)) == [m for m in WHOLE if m[0] == "db-1"]


@pytest.mark.parametrize("tables", [0, 8, None])
@pytest.mark.parametrize("limit", [1, 3])
async def test_pages_of_marks_hold_what_one_answer_holds(tmp_path: Path, tables: int | None, limit: int) -> None:
    await story_of_everything().write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        view, beyond, found = await look(log), None, []
        for _ in count():
            some = await marks(view, since=T0, until=END, now=END, limit=limit, beyond=beyond)
            found += some
            if len(some) < limit:
                break
            beyond = some[-1].place

    assert told(found) == WHOLE


async def test_missed_marks_are_those_that_anomalies_count(tmp_path: Path) -> None:
    await story_of_everything().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        counted = [
            each.positions[0]
            for each in await anomalies(view, since=T0, until=END, now=END)
            if each.kind in {AnomalyKind.MISSED, AnomalyKind.UNSEEN}
        ]
        some = await marks(view, since=T0, until=END, now=END)

    assert [each.line.entry.position for each in some if each.kind is MarkKind.MISSED] == counted


async def test_only_the_time_that_is_asked_for_has_marks(tmp_path: Path) -> None:
    await story_of_everything().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        since, until = Timestamp(T0 + 100 * SECOND), Timestamp(T0 + 400 * SECOND)
        some = await marks(await look(log), since=since, until=until, now=END)

    assert told(some) == WHOLE[2:5]


async def test_the_steps_of_a_command_are_marks_long_after_the_last_word(tmp_path: Path) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    story.at(0).sweep({WEB: RUNNING})
    story.vouch(WEB, VmState.ACTIVE)
    story.at(100).observe(WEB, *OFF)
    story.plan()
    [request] = [each.event for each in story.records if isinstance(each.event, StopRequested)]
    approved = Approved(
        observed_at=story.at(90_000).now,
        instance=WEB,
        command=request.command,
        actor=actor(observer("a", "qemu")),
        epoch=1,
        by=None,
        why=None,
    )
    story.record(command(request.command), approved)
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        some = await marks(await look(log), since=T0, until=END, now=END)

    assert [kind for _, kind, _ in told(some)] == ["observation", "missed", "command", "command"]
    assert some[-1].line.event == approved
