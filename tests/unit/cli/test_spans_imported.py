"""Timelines and uptimes of a log that has the import of another one's export: its lanes are that log's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from es_power.domain.events import InstanceId, Position
from es_power.domain.states import Transition
from es_power.domain.time import SECOND, Timestamp, rfc3339
from es_power.ingest import clock
from es_power.ingest.qemu_follow import QemuLogFollower
from es_power.log import open_log
from es_power.projections.queries import look
from es_power.projections.timeline import timeline
from es_power.testing.facts import T0
from tests.unit.cli.conftest import Ask
from tests.unit.cli.test_why_imported import brought
from tests.unit.projections.test_timeline import Timed, told
from tests.unit.story import DB, OFF, RUNNING, WEB

__all__ = ["brought"]

END = 2000
SINCE, UNTIL = ("-S", rfc3339(T0)), ("-U", rfc3339(Timestamp(T0 + END * SECOND)))


@pytest.fixture(autouse=True)
def _it_is_an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time_ns", lambda: T0 + 3600 * SECOND)


def _line(second: float, text: str) -> str:
    return f"{rfc3339(Timestamp(T0 + int(second * SECOND)))[:23].replace('T', ' ')}+0000: {text}\n"


def _started(second: float, vm: InstanceId = WEB) -> str:
    return _line(second, "starting up libvirt version: 9.0.0") + f"LC_ALL=C \\\n-uuid {vm}\n"


def _ended(second: float, reason: str = "shutdown") -> str:
    return _line(second, f"shutting down, reason={reason}")


async def _follow(log: Path, folder: Path, *, at: float) -> None:
    """A service reads what stands in the qemu logs then."""
    async with open_log(log, mode="write", clock=lambda: Timestamp(T0 + int(at * SECOND))) as opened:
        follower = QemuLogFollower(opened, "observer/a/qemu", folder, clock=lambda: Timestamp(T0 + int(at * SECOND)))
        while await follower.look():
            pass


async def _followed(log: Path, folder: Path) -> None:
    """web-1 is seen until 100, was off between 300 and 500 while nobody saw it, and ended at 900, seen by nobody."""
    folder.mkdir()
    (folder / "db-1.log").write_text(_started(-60, DB))
    story = Timed()
    story.name(WEB, "web-1")
    story.at(10).sweep({WEB: RUNNING})
    story.at(400).blind(100)
    story.at(600).seen_again()
    story.at(601).sweep({WEB: RUNNING})
    story.at(700).stopped()
    await story.write(log, tables=0)
    await _follow(log, folder, at=5)
    for at, lines in ((20, _started(6)), (601, _ended(300) + _started(500)), (1500, _ended(900, "destroyed"))):
        with (folder / "web-1.log").open("a") as file:
            file.write(lines)
        await _follow(log, folder, at=at)


def _lane(ask: Ask, log: Path, *options: str) -> list[tuple[float, str | None]]:
    answer = ask("timeline", *SINCE, *UNTIL, "web-1", "--log", log, "-o", "json", *options)
    assert answer.code == 0, answer.err
    rows = answer.rows
    begins = [0.0]
    for row in rows:
        begins.append(begins[-1] + row["seconds"])
    return [(begin, row["power_state"]) for begin, row in zip(begins, rows, strict=False)]


@pytest.mark.parametrize("tables", [False, True])
def test_what_another_log_read_in_qemu_logs_fills_the_same_times_as_there(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path], *, tables: bool
) -> None:
    trio.run(_followed, tmp_path / "log.db", tmp_path / "qemu")
    other = brought(tmp_path / "log.db")
    if tables:
        assert ask("replay", "--rebuild", "--log", other).code == 0
    ours, theirs = _lane(ask, tmp_path / "log.db"), _lane(ask, other)
    uptimes = [
        ask("uptime", *SINCE, *UNTIL, "web-1", "--log", log, "-o", "json").rows for log in (tmp_path / "log.db", other)
    ]

    assert ours == [
        (0, None),
        (6, "RUNNING"),
        (10, "RUNNING"),
        (100, "UNKNOWN"),
        (300, "SHUTDOWN"),
        (500, "RUNNING"),
        (601, "RUNNING"),
        (700, "UNKNOWN"),
        (900, "SHUTDOWN"),
        (1500, "UNKNOWN"),
    ]
    assert _merged(theirs) == _merged(ours)
    assert uptimes[0] == uptimes[1]


def _merged(lane: list[tuple[float, str | None]]) -> list[tuple[float, str | None]]:
    return [each for place, each in enumerate(lane) if place == 0 or lane[place - 1][1] != each[1]]


def test_what_another_log_read_tells_nothing_of_times_at_which_it_saw_the_vm(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    story.at(10).sweep({WEB: OFF})
    story.at(100).announce(WEB, 2, 0)
    # Nova's lines come late, and this one is of a state that was over.
    story.nova(Transition.STARTED, second=99)
    story.nova(Transition.PAUSED, second=101)
    story.at(300).announce(WEB, 5, 0)
    story.nova(Transition.STOPPED, second=300.5)
    story.at(700).sweep({WEB: OFF})
    log = trio.run(story.write, tmp_path / "log.db")
    ours, theirs = _lane(ask, log), _lane(ask, brought(log))

    assert ours == [(0, None), (10, "SHUTDOWN"), (100, "RUNNING"), (300, "SHUTDOWN"), (1900, "UNKNOWN")]
    assert theirs == ours


def test_how_long_another_log_is_believed_is_not_told_by_what_was_imported_later(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    story.at(10).sweep({WEB: RUNNING})
    log = trio.run(story.write, tmp_path / "log.db")
    other = brought(log)
    known, before = trio.run(_known, other, None)
    story.at(600).sweep({WEB: RUNNING})
    brought(trio.run(story.write, tmp_path / "longer.db"))

    assert before == [(0, None), (10, "RUNNING*"), (1210, "UNKNOWN")]
    assert trio.run(_known, other, None)[1] == [(0, None), (10, "RUNNING*"), (1800, "UNKNOWN")]
    assert trio.run(_known, other, known) == (known, before)


async def _known(log: Path, until: Position | None) -> tuple[Position, list[tuple[float, str | None]]]:
    """Where the log stands, and what it tells as it stood at a position."""
    async with open_log(log) as opened:
        view = await look(opened, until=until)
        end = Timestamp(T0 + END * SECOND)
        [found] = await timeline(view, ["web-1"], since=T0, until=end, now=end)
        return view.position, told(list(found.segments))
