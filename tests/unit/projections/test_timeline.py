"""What is known when: each rule of `projections.timeline` as a story, and what is read for it."""

from pathlib import Path

import pytest

from es_power.domain.events import GapOpened, GapReason, ServiceStopped
from es_power.domain.logged import NovaTransitionLogged, QemuEnded, QemuStarted
from es_power.domain.states import Transition
from es_power.domain.streams import imported, observer, qemu_log
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import InstanceNotFoundError
from es_power.log import open_log
from es_power.projections.queries import look
from es_power.projections.timeline import Segment, timeline
from es_power.testing.facts import SOMEBODY, T0, vm
from tests.unit.story import DB, OFF, PAUSED, RUNNING, WEB, Story

END = 100_000
MIGRATED, SAVED = (5, 3), (5, 4)
SHUTOFF_MIGRATED, PAUSED_MIGRATION = (5, 4), (3, 2)


class Timed(Story):
    """Facts at times of their own, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.second = 0.0
        for host in "ab":
            self.start(host)

    @property
    def now(self) -> Timestamp:
        return Timestamp(T0 + int(self.second * SECOND))

    def at(self, second: float) -> "Timed":
        self.second = second
        return self

    def blind(self, since: float, reason: GapReason = GapReason.CONNECTION_LOST, host: str = "a") -> None:
        """Nobody has seen the host since then, as is noticed now."""
        at = Timestamp(T0 + int(since * SECOND))
        self.record(observer(host, "qemu"), GapOpened(observed_at=self.now, since=at, reason=reason))

    def stopped(self, host: str = "a") -> None:
        self.record(observer(host, "qemu"), ServiceStopped(observed_at=self.now))

    def qemu(self, reason: str | None = None, *, stream: str | None = None, second: float | None = None) -> None:
        """A line of WEB's qemu log: it started, or ended for a reason; read now, true at `second`."""
        at = self.now if second is None else Timestamp(T0 + int(second * SECOND))
        stream = stream or imported("qemu-log", "a")
        if reason is None:
            event = QemuStarted(observed_at=at, instance=WEB, file=SOMEBODY, offset=1)
        else:
            event = QemuEnded(observed_at=at, instance=WEB, file=SOMEBODY, offset=1, reason=reason)
        self.record(stream, event)

    def nova(self, transition: Transition, *, second: float | None = None) -> None:
        at = self.now if second is None else Timestamp(T0 + int(second * SECOND))
        self.record(
            imported("nova-log", "a"),
            NovaTransitionLogged(
                observed_at=at, instance=WEB, file=SOMEBODY, offset=1, logged_at=at, transition=transition
            ),
        )


async def drawn(
    story: Timed, path: Path, *, until: float = END, since: float = 0.0, tables: int | None = None, vm_id: object = WEB
) -> list[Segment]:
    await story.write(path / "log.db", tables=tables)
    async with open_log(path / "log.db") as log:
        found = await timeline(
            await look(log),
            [str(vm_id)],
            since=Timestamp(T0 + int(since * SECOND)),
            until=Timestamp(T0 + int(until * SECOND)),
            now=Timestamp(T0 + END * SECOND),
        )
    return list(found[0].segments)


def told(segments: list[Segment]) -> list[tuple[float, str | None]]:
    """When each begins, and what it is: `live` states as they are, others with their source, unknown with why."""
    return [
        ((segment.since - T0) / SECOND, segment.state if segment.source != "imported" else f"{segment.state}*")
        for segment in segments
    ]


def why(segments: list[Segment]) -> list[str]:
    return [segment.why_unknown for segment in segments if segment.state == "UNKNOWN"]


async def test_before_it_was_seen_there_is_nothing_and_a_state_lasts_two_spacings(tmp_path: Path) -> None:
    story = Timed()
    story.at(10).sweep({WEB: RUNNING})
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, None), (10, "RUNNING"), (1210, "UNKNOWN")]
    assert why(segments) == ["not seen for two spacings"]
    assert [segment.host for segment in segments] == [None, "a", "a"]
    assert [segment.position for segment in segments] == [None, 8, 8]


async def test_an_event_counts_at_once_and_lasts_until_the_next_word(tmp_path: Path) -> None:
    story = Timed()
    story.at(10).sweep({WEB: RUNNING})
    story.at(300).announce(WEB, 3, 0)
    story.at(400).announce(WEB, 4, 0)
    story.at(500).announce(WEB, 5, 0)
    segments = await drawn(story, tmp_path, until=600)

    assert told(segments) == [(0, None), (10, "RUNNING"), (300, "PAUSED"), (400, "RUNNING"), (500, "SHUTDOWN")]


async def test_sweeps_that_confirm_a_state_keep_it_known(tmp_path: Path) -> None:
    story = Timed()
    for n in range(5):
        story.at(600 * n).sweep({WEB: RUNNING})
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (3600, "UNKNOWN")]


async def test_too_few_observations_for_their_time_say_nothing_of_what_was_between(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(9000).sweep({WEB: RUNNING})
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (1200, "UNKNOWN"), (9000, "RUNNING"), (10200, "UNKNOWN")]


async def test_what_no_event_announced_is_unknown_since_it_was_last_seen(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(600).sweep({WEB: RUNNING})
    story.at(1200).sweep({WEB: OFF})
    segments = await drawn(story, tmp_path, until=1300)

    assert told(segments) == [(0, "RUNNING"), (600, "UNKNOWN"), (1200, "SHUTDOWN")]
    assert why(segments) == ["a change that no event announced"]


async def test_an_answer_that_corrects_an_event_leaves_the_time_between_unknown(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: OFF})
    story.at(100).announce(WEB, 2, 0)
    story.at(100.5).observe(WEB, *PAUSED)
    segments = await drawn(story, tmp_path, until=200)

    assert told(segments) == [(0, "SHUTDOWN"), (100, "UNKNOWN"), (100.5, "PAUSED")]


async def test_an_answer_that_is_stale_is_no_sighting(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, 5, 0)
    story.at(101).observe(WEB, *RUNNING, number=0)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (100, "SHUTDOWN"), (1300, "UNKNOWN")]


async def test_blind_time_begins_when_the_gap_did_and_ends_with_the_first_word_after_it(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING, DB: RUNNING})
    story.at(100).announce(WEB, 3, 0)
    story.at(130).blind(90)
    story.at(150).announce(WEB, 5, 0)
    story.at(200).seen_again()
    story.at(210).sweep({WEB: RUNNING, DB: RUNNING})
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING"), (90, "UNKNOWN"), (210, "RUNNING")]
    assert why(segments) == ["blind: connection lost"]


async def test_a_gap_that_is_not_closed_lasts(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).blind(100, GapReason.KEEPALIVE)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN")]


async def test_after_a_service_ended_nobody_sees_until_the_next_one_looks(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).stopped()
    segments = await drawn(story, tmp_path, until=200)
    story.at(5000).start("a")
    story.at(5001).blind(100, GapReason.RESTART)
    story.at(5002).seen_again()
    story.at(5002).sweep({WEB: OFF})
    (tmp_path / "again").mkdir()
    later = await drawn(story, tmp_path / "again", until=5100)

    assert (told(segments), why(segments)) == ([(0, "RUNNING"), (100, "UNKNOWN")], ["blind: the service was stopped"])
    assert (told(later), why(later)) == ([(0, "RUNNING"), (100, "UNKNOWN"), (5002, "SHUTDOWN")], ["blind: restart"])


async def test_a_gap_of_before_a_service_ended_is_not_closed_by_its_next_start(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).blind(100)
    story.at(200).stopped()
    story.at(300).start("a")
    story.at(400).observe(WEB, *RUNNING)
    segments = await drawn(story, tmp_path, until=500)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN")]


async def test_a_vm_that_was_off_was_off_until_it_was_found_gone(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, 5, 1)
    story.at(700).observe(WEB, None)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (100, "SHUTDOWN"), (700, None)]


async def test_a_vm_that_ran_and_is_gone_went_at_an_unknown_time(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(700).observe(WEB, None)
    story.at(5000).observe(WEB, *RUNNING)
    segments = await drawn(story, tmp_path, until=5100)

    assert told(segments) == [(0, "UNKNOWN"), (700, None), (5000, "RUNNING")]


async def test_a_gap_after_it_was_gone_says_nothing_of_it(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: OFF})
    story.at(700).observe(WEB, None)
    story.at(800).blind(750)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "SHUTDOWN"), (700, None)]


async def test_a_state_number_that_means_nothing_is_unknown(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: (99, 0)})
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "UNKNOWN")]


async def test_an_event_that_says_nothing_of_power_is_no_sighting(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(1000).announce(WEB, 0, 1)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (1200, "UNKNOWN")]


async def test_a_second_event_that_says_the_same_is_a_sighting(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).announce(WEB, 4, 0)
    story.at(1000).announce(WEB, 2, 0)
    segments = await drawn(story, tmp_path)

    assert told(segments) == [(0, "RUNNING"), (2200, "UNKNOWN")]


async def test_a_clock_that_was_set_back_leaves_one_state_a_time(tmp_path: Path) -> None:
    story = Timed()
    story.at(1000).sweep({WEB: RUNNING})
    story.at(400).announce(WEB, 5, 0)
    segments = await drawn(story, tmp_path, until=900)

    assert told(segments) == [(0, None), (400, "SHUTDOWN")]


# -------------------------------------------------------------------------------------------------- between hosts


async def test_two_hosts_that_both_show_it_on_are_a_conflict(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).sweep({WEB: RUNNING}, "b")
    story.at(200).announce(WEB, 5, 0)
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN"), (200, "RUNNING")]
    assert why(segments) == ["on at a and b"]


async def test_a_migration_is_handed_over_without_a_hole(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, 2, 1, "b")
    story.at(100.1).observe(WEB, *PAUSED_MIGRATION, "b")
    story.at(160).announce(WEB, 3, 1)
    story.at(160.1).observe(WEB, *PAUSED_MIGRATION)
    story.at(160.2).announce(WEB, 4, 1, "b")
    story.at(160.3).announce(WEB, *MIGRATED)
    story.at(160.4).observe(WEB, *SHUTOFF_MIGRATED)
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING"), (160, "PAUSED"), (160.3, "RUNNING")]
    assert [segment.host for segment in segments] == ["a", "a", "b"]


async def test_a_vm_on_its_way_is_what_it_was_until_it_arrives(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, *MIGRATED)
    story.at(100.1).observe(WEB, None)
    story.at(103).announce(WEB, 4, 1, "b")
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING"), (103, "RUNNING")]
    assert [segment.host for segment in segments] == ["a", "b"]


async def test_a_migration_that_fails_leaves_it_where_it_is(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, 2, 1, "b")
    story.at(110).announce(WEB, 5, 5, "b")
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING")]


async def test_where_nobody_observes_it_is_unknown_while_it_is_known_where_it_left(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, *MIGRATED)
    story.at(101).observe(WEB, *SHUTOFF_MIGRATED)
    story.at(700).observe(WEB, None)
    segments = await drawn(story, tmp_path, until=900)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN"), (700, None)]
    assert why(segments) == ["migrated to a host that nobody observes"]


async def test_one_that_arrives_too_late_was_nobody_knows_where(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).announce(WEB, *MIGRATED)
    story.at(2000).announce(WEB, 2, 0, "b")
    segments = await drawn(story, tmp_path, until=2100)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN"), (1300, "UNKNOWN"), (2000, "RUNNING")]
    assert why(segments) == ["migrated to a host that nobody observes", "not seen for two spacings"]


async def test_the_blind_owner_is_not_spoken_for_by_another(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(10).sweep({WEB: OFF}, "b")
    story.at(100).blind(100)
    segments = await drawn(story, tmp_path, until=200)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN")]


# ---------------------------------------------------------------------------------------- other programs' logs


async def test_a_log_fills_the_time_before_our_first_word(tmp_path: Path) -> None:
    story = Timed()
    story.at(1000).sweep({WEB: RUNNING})
    story.qemu(second=100)
    story.qemu("shutdown", second=400)
    story.qemu(second=500)
    segments = await drawn(story, tmp_path, until=1100)

    assert told(segments) == [
        (0, None),
        (100, "RUNNING*"),
        (400, "SHUTDOWN*"),
        (500, "RUNNING*"),
        (1000, "RUNNING"),
    ]
    assert [segment.host for segment in segments] == [None, "a", "a", "a", "a"]


async def test_a_state_of_a_log_that_the_next_word_does_not_follow_from_is_unknown(tmp_path: Path) -> None:
    story = Timed()
    story.qemu(second=100)
    story.qemu(second=200)
    story.qemu("destroyed", second=300)
    story.at(1000).sweep({WEB: RUNNING})
    segments = await drawn(story, tmp_path, until=1100)

    # A start after a start: an end was not written; running after an end: a start was not.
    assert told(segments) == [(0, None), (100, "UNKNOWN"), (200, "RUNNING*"), (300, "UNKNOWN"), (1000, "RUNNING")]


async def test_the_last_line_of_a_log_holds_until_it_was_read(tmp_path: Path) -> None:
    story = Timed()
    story.at(900).qemu(second=100)
    segments = await drawn(story, tmp_path, until=1100)

    assert told(segments) == [(0, None), (100, "RUNNING*"), (900, "UNKNOWN")]


async def test_a_change_that_was_announced_follows_from_what_a_log_tells(tmp_path: Path) -> None:
    story = Timed()
    story.qemu(second=100)
    story.at(1000).announce(WEB, 5, 0)
    segments = await drawn(story, tmp_path, until=1100)

    assert told(segments) == [(0, None), (100, "RUNNING*"), (1000, "SHUTDOWN")]


@pytest.mark.parametrize("stream", [imported("qemu-log", "a"), qemu_log(observer("a", "qemu"))])
async def test_a_log_fills_blind_time_and_never_what_was_seen(tmp_path: Path, stream: str) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(50).qemu("destroyed", stream=stream)
    story.at(600).blind(100)
    story.at(700).seen_again()
    story.at(701).sweep({WEB: RUNNING})
    story.qemu("shutdown", stream=stream, second=300)
    story.qemu(stream=stream, second=400)
    segments = await drawn(story, tmp_path, until=800)

    assert told(segments) == [
        (0, "RUNNING"),
        (100, "UNKNOWN"),
        (300, "SHUTDOWN*"),
        (400, "RUNNING*"),
        (701, "RUNNING"),
    ]


async def test_a_log_does_not_settle_a_conflict(tmp_path: Path) -> None:
    story = Timed()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).sweep({WEB: RUNNING}, "b")
    story.qemu("destroyed", second=150)
    segments = await drawn(story, tmp_path, until=300)

    assert told(segments) == [(0, "RUNNING"), (100, "UNKNOWN")]


async def test_what_migrated_by_a_log_is_not_off(tmp_path: Path) -> None:
    story = Timed()
    story.qemu(second=100)
    story.qemu("migrated", second=200)
    story.qemu(second=300)
    story.qemu("saved", second=400)
    story.qemu(second=500)
    segments = await alone(story, tmp_path)

    assert told(segments) == [
        (0, None),
        (100, "RUNNING*"),
        (200, "UNKNOWN"),
        (300, "RUNNING*"),
        (400, "SHUTDOWN*"),
        (500, "UNKNOWN"),
    ]


async def alone(story: Timed, path: Path) -> list[Segment]:
    """The timeline of a VM that nobody of ours ever saw."""
    await story.write(path / "log.db")
    async with open_log(path / "log.db") as log:
        [found] = await timeline(
            await look(log), since=T0, until=Timestamp(T0 + 1000 * SECOND), now=Timestamp(T0 + END * SECOND)
        )
    assert found.instance == WEB
    return list(found.segments)


async def test_novas_log_tells_each_transition(tmp_path: Path) -> None:
    story = Timed()
    for second, transition in enumerate(
        [Transition.STARTED, Transition.RESUMED, Transition.PAUSED, Transition.STOPPED]
    ):
        story.nova(transition, second=100 * (second + 1))
    story.at(450).qemu(second=410)
    story.at(500).announce(WEB, 5, 0)
    segments = await drawn(story, tmp_path, until=600)

    assert told(segments) == [
        (0, None),
        (100, "RUNNING*"),
        (300, "PAUSED*"),
        (400, "SHUTDOWN*"),
        (410, "RUNNING*"),
        (500, "SHUTDOWN"),
    ]


# ------------------------------------------------------------------------------------------------------ the asking


@pytest.mark.parametrize("tables", [0, 9, 12, None])
async def test_it_is_the_same_however_far_the_tables_are(tmp_path: Path, tables: int | None) -> None:
    story = Timed()
    for n in range(4):
        story.at(600 * n).sweep({WEB: RUNNING, DB: OFF})
    story.at(1900).announce(WEB, 5, 0)
    story.at(1900.1).observe(WEB, *OFF)
    segments = await drawn(story, tmp_path, until=2000, since=1000, tables=tables)

    assert told(segments) == [(1000, "RUNNING"), (1900, "SHUTDOWN")]


async def test_of_all_vms_those_are_told_that_existed_in_that_time(tmp_path: Path) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    story.name(DB, "db-1")
    story.at(0).sweep({WEB: RUNNING, DB: OFF})
    story.at(100).observe(DB, None)
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view, now = await look(log), Timestamp(T0 + 400 * SECOND)
        both = await timeline(view, since=T0, until=now, now=now)
        one = await timeline(view, since=Timestamp(T0 + 200 * SECOND), until=now, now=now)
        asked = await timeline(view, ["db-1", "db-1"], since=Timestamp(T0 + 200 * SECOND), until=now, now=now)

    assert [each.name for each in both] == ["db-1", "web-1"]
    assert [each.name for each in one] == ["web-1"]
    assert [(each.name, told(list(each.segments))) for each in asked] == [("db-1", [(200, None)])]


async def test_time_that_ends_before_it_begins_or_is_to_come_is_refused(tmp_path: Path) -> None:
    await Timed().write(tmp_path / "log.db")
    later = Timestamp(T0 + 9 * SECOND)
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log)
        with pytest.raises(ValueError, match="before it begins"):
            await timeline(view, since=later, until=T0, now=later)
        with pytest.raises(ValueError, match="still to come"):
            await timeline(view, since=later, until=Timestamp(later + 1), now=T0)
        with pytest.raises(InstanceNotFoundError):
            await timeline(view, [str(vm(9))], since=T0, until=later, now=later)
        assert await timeline(view, since=T0, until=later, now=later) == []
