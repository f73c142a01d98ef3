"""Timelines of drawn logs: against a slow reference, whatever part of the log is read, and with exact sums."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from es_power.domain.events import GapClosed, GapOpened, InstanceId, InventoryRecorded, Position, Recorded
from es_power.domain.states import UNKNOWN
from es_power.domain.streams import observed_host, told_host
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections.history import OF_A_HOST, Entry
from es_power.projections.lanes import MISSED, OLD, HostWord
from es_power.projections.power_state import PowerRow, rows_of
from es_power.projections.queries import look
from es_power.projections.readmodels import ReadModels
from es_power.projections.spans import MIXED, NOTHING, Segment, bucketed, clipped
from es_power.projections.timeline import Timeline, known, timeline
from es_power.projections.uptime import summed
from es_power.projections.window import Window
from es_power.testing.facts import T0, Facts, vm
from tests.property.logs import LOGS, Act
from tests.unit.story import RUNNING, Story

PACES = st.lists(st.sampled_from([1, 1, 1, 7, 300, 600, 601, 1501]), min_size=1, max_size=7)
ALL = [vm(number) for number in range(1, 5)]
TWO_SPACINGS = 1200 * SECOND


class Paced(Story):
    """Facts at times that are as far apart as is drawn."""

    def __init__(self, paces: Sequence[int]) -> None:
        super().__init__()
        self._paces = paces

    @property
    def now(self) -> Timestamp:
        whole, rest = divmod(len(self.records), len(self._paces))
        return Timestamp(T0 + SECOND * (whole * sum(self._paces) + sum(self._paces[:rest])))


def write(acts: list[Act], paces: Sequence[int]) -> Paced:
    story = Paced(paces)
    story.start("a")
    story.start("b")
    for act in acts:
        act(story)
    return story


def window(records: Sequence[Recorded], instance: InstanceId) -> Window:
    """Everything that a log says of a VM, without a database."""
    models = ReadModels()
    entries = models.apply(records).entries.values()
    words: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.position):
        if entry.instance == instance and entry.kind in {"LifecycleEvent", "StateObserved"}:
            counted = entry.through(models.fleet.places[entry.stream].host) if entry.open else entry
            words.setdefault(entry.stream, []).append(counted)
    of_hosts: dict[str, list[HostWord]] = {}
    for recorded in records:
        event = recorded.event
        if isinstance(event, OF_A_HOST):
            since = event.since if isinstance(event, GapOpened) else event.observed_at
            word = HostWord(position=recorded.position, kind=type(event).__name__, at=since, reason="x")
            of_hosts.setdefault(recorded.stream, []).append(word)
    return Window(
        instance=instance,
        words=words,
        of_hosts=of_hosts,
        facts={recorded.position: recorded.event for recorded in records},
        logged=(),
        two_spacings=dict.fromkeys(words, TWO_SPACINGS),
    )


def segments_of(story: Facts, instance: InstanceId, *, since: Timestamp, until: Timestamp) -> list[Segment]:
    found = window(story.records, instance)
    return clipped(known(found), instance, {each: told_host(each) for each in found.words}, since=since, until=until)


def at(segments: Sequence[Segment], moment: Timestamp) -> Segment:
    [found] = [segment for segment in segments if segment.since <= moment < segment.until]
    return found


# -------------------------------------------------------------------------------------------- the slow reference


@dataclass
class Then:
    """What the table said at one time, by what was recorded until then."""

    moment: Timestamp
    position: Position
    row: PowerRow | None
    #: Whether the host of the row was blind and has not told of the VM since.
    waiting: bool
    models: ReadModels


def every_moment(records: Sequence[Recorded], instance: InstanceId, end: Timestamp) -> Iterator[Then]:
    """Fold to each time at which something changes, and look at the table: what `status` says then."""
    models, blind, seen_again = ReadModels(), set(), {}
    following = [recorded.event.observed_at for recorded in records[1:]] + [end]
    for recorded, until in zip(records, following, strict=True):
        models.apply([recorded])
        if isinstance(recorded.event, GapOpened):
            blind.add(recorded.stream)
        elif isinstance(recorded.event, GapClosed) and recorded.stream in blind:
            blind.discard(recorded.stream)
            seen_again[recorded.stream] = recorded.position
        if isinstance(recorded.event, InventoryRecorded):
            continue  # its sweep comes in the same append; until then the table takes the one before for its own
        begin = recorded.event.observed_at
        for moment in (begin + 1, begin + (until - begin) // 3 + 1, until - 1):
            rows = list(rows_of(models.fleet, instance, now=Timestamp(moment))) if _is_known(models, instance) else []
            row = rows[0] if rows else None
            stream = None if row is None else f"observer/{row.host}/qemu"
            waiting = row is not None and row.position < seen_again.get(stream, 0)
            yield Then(Timestamp(moment), recorded.position, row, waiting, models)


def _is_known(models: ReadModels, instance: InstanceId) -> bool:
    return instance in models.fleet.seen_on


def _expected(row: PowerRow | None) -> str | None:
    # That it is defined is no word about power.
    return None if row is None or row.gone or not row.position else row.power_state


def _is_excused(then: Then, segment: Segment, entries: Sequence[Entry]) -> bool:
    """Whether the two differ where the rules say that they do, since the timeline knows what came later."""
    row = then.row
    assert row is not None
    runs = [
        entry
        for entry in entries
        if entry.instance == row.instance and entry.kind == "StateObserved" and not entry.stale
    ]
    if then.waiting:  # 3: a state of before the gap is not relied on; in a run, the sweep that ended it confirmed it
        spanning = [entry for entry in runs if entry.observed_at <= then.moment <= entry.last_observed_at]
        if segment.state == UNKNOWN or segment.state in {entry.power_state for entry in spanning}:
            return True  # else it is on at another host too
    if segment.why_unknown == MISSED:  # 5: what was found later
        return any(
            entry.changed and entry.kind == "StateObserved" and entry.position > then.position
            for entry in entries
            if entry.instance == row.instance
        )
    if segment.why_unknown == OLD:  # 4: too few observations for so long a run
        return any(entry.observed_at <= then.moment <= entry.last_observed_at for entry in runs)
    if row.note.startswith("not seen for two"):  # 4: in a run of equal observations
        return any(entry.power_state == segment.state and entry.observed_at <= then.moment for entry in runs)
    if row.note.startswith(("on at", "migrated")):  # 7: a migration
        return segment.state in {"RUNNING", "PAUSED", "SUSPENDED", None}
    # The hosts on which it never was on: the one that was seen last tells, and which that is depends on the end.
    hosts = then.models.fleet.hosts_of(row.instance)
    lefts = [each.left_on for each in hosts.values()]
    return len(lefts) > 1 and lefts.count(max(lefts)) > 1


@given(LOGS, PACES)
@settings(deadline=None, max_examples=60)
def test_each_moment_reads_as_the_table_did_then_but_for_what_was_learnt_later(
    acts: list[Act], paces: list[int]
) -> None:
    story = write(acts, paces)
    end = Timestamp(story.now + 3000 * SECOND)
    models = ReadModels()
    entries = [
        entry.through(models.fleet.places[entry.stream].host) if entry.open else entry
        for entry in models.apply(story.records).entries.values()
    ]
    for instance in ALL:
        segments = segments_of(story, instance, since=T0, until=end)
        for then in every_moment(story.records, instance, end):
            segment = at(segments, then.moment)

            assert _expected(then.row) == segment.state or _is_excused(then, segment, entries), (then.row, segment)


@given(LOGS, PACES)
@settings(deadline=None, max_examples=40)
def test_blind_time_is_never_a_known_state(acts: list[Act], paces: list[int]) -> None:
    story = write(acts, paces)
    end = Timestamp(story.now + 3000 * SECOND)
    blind: dict[str, Timestamp] = {}
    times: list[tuple[str, Timestamp, Timestamp]] = []
    for recorded in story.records:
        if isinstance(recorded.event, GapOpened):
            blind.setdefault(recorded.stream, recorded.event.since)
        elif isinstance(recorded.event, GapClosed) and recorded.stream in blind:
            times.append((recorded.stream, blind.pop(recorded.stream), recorded.event.observed_at))
    times += [(stream, since, end) for stream, since in blind.items()]
    for instance in ALL:
        for segment in segments_of(story, instance, since=T0, until=end):
            if segment.state not in {None, UNKNOWN}:
                overlaps = [
                    (since, until)
                    for stream, since, until in times
                    if observed_host(stream) == segment.host and segment.since < until and since < segment.until
                ]
                assert overlaps == []


# -------------------------------------------------------------------------------------------------- what is read


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log.db"


@given(LOGS, PACES, st.data())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_reading_only_what_bears_on_a_time_tells_what_reading_all_of_it_tells(
    path: Path, acts: list[Act], paces: list[int], data: st.DataObject
) -> None:
    story = write(acts, paces)
    end = Timestamp(story.now + 3000 * SECOND)
    tables = data.draw(st.none() | st.integers(0, len(story.records)))
    since = Timestamp(data.draw(st.integers(T0, end - 1)))
    until = Timestamp(data.draw(st.integers(since + 1, end)))

    async def asked() -> list[Timeline]:
        for each in path.parent.glob("log.db*"):
            each.unlink()
        await story.write(path, tables=tables)
        async with open_log(path) as log:
            return await timeline(await look(log), since=since, until=until, now=end)

    found = {each.instance: list(each.segments) for each in trio.run(asked)}
    expected = {instance: segments_of(story, instance, since=since, until=until) for instance in ALL}
    there = {each: segments for each, segments in expected.items() if any(part.state for part in segments)}

    assert {each: _plain(segments) for each, segments in there.items()} == {
        each: _plain(segments) for each, segments in found.items()
    }


async def test_an_event_that_says_nothing_of_power_hides_no_observation(tmp_path: Path) -> None:
    story = write([], [1])
    story.sweep({ALL[0]: RUNNING})
    story.announce(ALL[0], 0, 0)  # defined
    since = Timestamp(story.now + 600 * SECOND)
    await story.write(place := tmp_path / "log.db")

    async with open_log(place) as log:
        [found] = await timeline(await look(log), since=since, until=Timestamp(since + 1), now=since + SECOND)

    assert [segment.state for segment in found.segments] == ["RUNNING"]


def _plain(segments: Sequence[Segment]) -> list[tuple[object, ...]]:
    return [(each.since, each.until, each.state, bool(each.why_unknown), each.host) for each in segments]


# -------------------------------------------------------------------------------------------------------- sums


@given(LOGS, PACES, st.integers(1, 12), st.integers(1, 10**15), st.integers(1, 10**15))
@settings(deadline=None, max_examples=50)
def test_segments_leave_out_nothing_and_sums_are_exact(
    acts: list[Act], paces: list[int], buckets: int, offset: int, length: int
) -> None:
    story = write(acts, paces)
    since = Timestamp(T0 + offset % (story.now - T0))
    until = Timestamp(since + length % (10_000 * SECOND) + 1)
    for instance in ALL:
        segments = segments_of(story, instance, since=since, until=until)
        some = bucketed(segments, buckets)
        up = summed(segments, instance=instance, name=None, since=since, until=until)
        nothing = sum(each.duration for each in segments if each.state is None)

        for each in (segments, some):
            assert (each[0].since, each[-1].until) == (since, until)
            assert [part.until for part in each[:-1]] == [part.since for part in each[1:]]
            assert all(part.duration > 0 for part in each)
        assert until - since == up.existed + nothing
        assert up.existed == up.up + up.down + up.unknown
        assert up.paused <= up.down
        assert len(some) <= buckets
        assert shares(some) == shares(segments)


def shares(segments: Sequence[Segment]) -> dict[str, int]:
    found: dict[str, int] = {}
    for segment in segments:
        whole = {segment.state or NOTHING: segment.duration}
        for state, share in (segment.shares if segment.state == MIXED else whole).items():
            found[state] = found.get(state, 0) + share
    return found
