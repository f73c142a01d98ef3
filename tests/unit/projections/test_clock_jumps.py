"""What is told where a clock was set: a gap ends after it begins, and of a time shown twice the last word counts."""

from pathlib import Path

import pytest

from es_power.answers.words import fact_words
from es_power.domain.events import ClockJumped, GapClosed, GapOpened, GapReason
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections.gaps import gaps
from es_power.projections.narrative import history
from es_power.projections.power_state import power_rows
from es_power.projections.queries import look
from es_power.testing.facts import T0
from tests.unit.projections.test_anomalies import found, told
from tests.unit.projections.test_timeline import Timed, drawn
from tests.unit.story import OFF, RUNNING, WEB

A = observer("a", "qemu")
HOURS = 3600


def at(second: float) -> Timestamp:
    return Timestamp(T0 + int(second * SECOND))


class SetClock(Timed):
    def set_clock(self, to: float) -> None:
        """The clock, which should read what it does, reads another time from now on."""
        expected, self.second = self.now, to
        self.record(A, ClockJumped(observed_at=self.now, expected=expected, looked_at=expected))

    def seen(self, since: float) -> None:
        self.record(A, GapClosed(observed_at=self.now, since=at(since), reason=GapReason.CONNECTION_LOST))


def segments(some) -> list[tuple[str | None, float, float]]:
    return [(each.state, (each.since - T0) / SECOND, (each.until - T0) / SECOND) for each in some]


@pytest.mark.parametrize("tables", [0, 9, None])
@pytest.mark.parametrize("jump", [-2 * HOURS, 2 * HOURS])
async def test_a_gap_in_which_the_clock_was_set_lasts_as_long_as_it_did(
    tmp_path: Path, jump: int, tables: int | None
) -> None:
    story = SetClock()
    story.at(9000).sweep({WEB: RUNNING})
    story.at(9100).blind(9100)
    story.at(9160).set_clock(9160 + jump)
    await story.write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        [still_open] = await gaps(view)
        blind_since = view.fleet.places[A].host.blind_since
    story.at(9220 + jump).seen(9100 + jump)
    await story.write(tmp_path / "later.db", tables=tables)
    async with open_log(tmp_path / "later.db") as log:
        [closed] = await gaps(await look(log))

    assert (still_open.since, still_open.until) == (at(9100 + jump), None)
    assert blind_since == at(9100 + jump)
    assert (closed.since, closed.until) == (at(9100 + jump), at(9220 + jump))


async def test_a_gap_of_a_log_that_knows_no_jumps_does_not_end_before_it_begins(tmp_path: Path) -> None:
    story = SetClock()
    story.at(9000).blind(9000)
    story.at(1000).seen(9000)
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        [gap] = await gaps(await look(log))

    assert gap.since == gap.until == at(1000)


@pytest.mark.parametrize("tables", [0, 10, None])
async def test_of_a_time_that_the_clock_showed_twice_the_last_word_counts(tmp_path: Path, tables: int | None) -> None:
    story = SetClock()
    for second, state in ((0, OFF), (600, OFF), (1200, OFF), (1800, RUNNING), (2400, RUNNING)):
        story.at(second).sweep({WEB: state})
    story.at(2460).set_clock(660)
    for second in (661, 1261, 1861, 2461):
        story.at(second).sweep({WEB: RUNNING})

    assert segments(await drawn(story, tmp_path, until=2500, tables=tables)) == [
        ("SHUTDOWN", 0, 660),
        ("RUNNING", 660, 2500),
    ]


async def test_a_clock_that_was_set_forward_leaves_a_time_of_which_nobody_knows(tmp_path: Path) -> None:
    story = SetClock()
    story.at(0).sweep({WEB: RUNNING})
    story.at(60).set_clock(9000)
    story.at(9001).sweep({WEB: RUNNING})

    assert segments(await drawn(story, tmp_path, until=9100)) == [
        ("RUNNING", 0, 1200),
        ("UNKNOWN", 1200, 9000),
        ("RUNNING", 9000, 9100),
    ]


async def test_blind_time_goes_on_by_the_new_clock(tmp_path: Path) -> None:
    story = SetClock()
    story.at(5000).sweep({WEB: RUNNING})
    story.at(5100).blind(5100)
    story.at(5200).set_clock(3000)
    story.at(3100).seen(2900)
    story.sweep({WEB: RUNNING})

    assert segments(await drawn(story, tmp_path, until=3200)) == [
        (None, 0, 3000),
        ("UNKNOWN", 3000, 3100),
        ("RUNNING", 3100, 3200),
    ]


async def test_a_state_that_was_old_stays_old_when_the_clock_is_set(tmp_path: Path) -> None:
    story = SetClock()
    story.at(0).sweep({WEB: RUNNING})
    story.at(5000).set_clock(6000)

    assert segments(await drawn(story, tmp_path, until=6100)) == [("RUNNING", 0, 1200), ("UNKNOWN", 1200, 6100)]


async def test_a_jump_stands_in_the_history_of_each_vm_of_its_host(tmp_path: Path) -> None:
    story = SetClock()
    story.name(WEB, "web-1")
    story.at(600).sweep({WEB: RUNNING})
    story.at(90_000).set_clock(0)
    story.at(1).sweep({WEB: RUNNING})
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        lines = await history(view, str(WEB))
        [row] = power_rows(view.fleet, now=at(2))

    kinds = [line.entry.kind for line in lines]
    assert kinds[-3:] == ["StateObserved", "ClockJumped", "StateObserved"]
    assert (row.power_state, row.observed_at) == ("RUNNING", at(1))


@pytest.mark.parametrize("tables", [0, None])
async def test_a_jump_is_an_anomaly_of_its_host(tmp_path: Path, tables: int | None) -> None:
    story = SetClock()
    story.at(600).sweep({WEB: RUNNING})
    story.at(9000).set_clock(1800)

    assert told(await found(story, tmp_path, tables=tables)) == [("clock jump", "a", 1800, 9000, 1)]
    assert await found(story, tmp_path / "2", since=5000) == []


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (93_784, "the clock was set forward by 1 d 2:00:03: it should have read 2027-01-15T08:03:01.000000000Z"),
        (178, "the clock was set back by 0:00:03: it should have read 2027-01-15T08:03:01.000000000Z"),
    ],
)
def test_a_jump_in_words(to: float, words: str) -> None:
    jumped = ClockJumped(observed_at=at(to), expected=at(181), looked_at=at(0))

    assert words == fact_words(jumped)


def test_a_gap_goes_by_no_jump_of_another_time() -> None:
    jumped = ClockJumped(observed_at=at(0), expected=at(7), looked_at=at(0))
    opened = GapOpened(observed_at=at(1), since=at(1), reason=GapReason.CRASH)
    story = SetClock()
    story.record(A, jumped)
    story.record(A, opened)

    assert story.records[-1].event == opened
