"""What is out of the ordinary in a log, counted: each a row that is derived from facts, and the same in every replay.

1. *Missed event*: an observation found another power_state than was known, and no event had announced it. Not the first
   word about a VM on a host, nor that one which was off is gone, or there again and off, nor that a guest which has
   started is paused until it has come in.
2. *Unseen change*: the same, where the host was out of sight in between, so that nobody could hear of it.
3. *Flapping*: a VM's power_state on a host changed at least 6 times within 10 minutes.
4. *Storm*: a host delivered at least 100 lifecycle events within 10 seconds.
5. *Stale report*: answers about a VM that lost to an event handed out after they were asked for.
6. *Conflict*: two hosts showed a VM on, and it was no migration.
7. *Clock jump*: a host's clock was set; the time between what it should have read and what it read then.

Flapping, storms and stale reports last until it is calm for as long as their window (10 minutes, 10 seconds, 10
minutes), and are one row. Only what our own observers heard and saw counts: an imported line never makes an anomaly.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import Final

from es_power.domain.events import ClockJumped, GapOpened, InstanceId, Position, Recorded, ServiceStopped, StateObserved
from es_power.domain.streams import observed_host
from es_power.domain.time import SECOND, Timestamp
from es_power.projections import stored
from es_power.projections.history import Entry
from es_power.projections.lanes import HostWord
from es_power.projections.owned import CONFLICT
from es_power.projections.queries import View
from es_power.projections.spans import after
from es_power.projections.timeline import chosen, known, names_of, timespan
from es_power.projections.window import Window, announcements, clock_jumps, windows

__all__ = ["Anomaly", "AnomalyKind", "anomalies"]


class AnomalyKind(StrEnum):
    """What is out of the ordinary."""

    MISSED = "missed event"
    UNSEEN = "unseen change"
    FLAPPING = "flapping"
    STORM = "storm"
    STALE = "stale report"
    CONFLICT = "conflict"
    CLOCK = "clock jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One thing out of the ordinary, with its time and how many facts it is made of."""

    kind: AnomalyKind
    #: Of a conflict, all of them.
    hosts: tuple[str, ...]
    #: None: it is about the host.
    instance: InstanceId | None
    name: str | None = None
    since: Timestamp
    until: Timestamp
    count: int
    #: Where in the log it begins and ends; once, where that is the same.
    positions: tuple[Position, ...]


_LEAST_CHANGES: Final = 6
_LEAST_EVENTS: Final = 100
_MINUTES: Final = 600 * SECOND
_SECONDS: Final = 10 * SECOND

#: PAUSED for a migration that comes in, or since qemu is just starting: STARTED has announced it already.
_NEVER_ANNOUNCED: Final = frozenset({(3, 2), (3, 11)})

_OBSERVED: Final = StateObserved.__name__
BLINDING: Final = (GapOpened.__name__, ServiceStopped.__name__)
"""Facts from which on a host is out of sight."""


@dataclass(frozen=True, slots=True)
class _Time:
    since: Timestamp
    until: Timestamp

    def __contains__(self, at: Timestamp) -> bool:
        return self.since <= at < self.until


async def anomalies(
    view: View, vms: Collection[str] | None = None, *, since: Timestamp, until: Timestamp, now: Timestamp
) -> list[Anomaly]:
    """What was out of the ordinary between two times, in the order of time; raises as `timelines` does.

    Of hosts (storms, clock jumps) only where no VMs are named.
    """
    view, end = await timespan(view, since=since, until=until, now=now)
    time = _Time(since, end)
    instances = await chosen(view, vms)
    found: list[Anomaly] = []
    async with aclosing(windows(view, instances, since=since, until=end)) as read:
        async for window in read:
            found += _of_a_vm(window, time)
    if vms is None:
        bursts: dict[str, _Bursts] = {}
        async with aclosing(announcements(view, since=since, until=end)) as some:
            async for batch in some:
                for stream, at, position in batch:
                    if at in time:
                        burst = bursts.setdefault(stream, _Bursts(_LEAST_EVENTS, _SECONDS))
                        found += _storms(stream, burst.add(at, position))
        found += chain.from_iterable(_storms(stream, burst.end()) for stream, burst in bursts.items())
        found += [_jump(each) for each in await clock_jumps(view) if each.event.observed_at in time]
    names = await names_of(view, list({each.instance for each in found if each.instance is not None}))
    named = [replace(each, name=names[each.instance]) if each.instance else each for each in found]
    return sorted(named, key=lambda each: (each.since, each.kind, each.hosts, each.positions))


def _storms(stream: str, bursts: Iterable["_Burst"]) -> Iterator[Anomaly]:
    for burst in bursts:
        yield _anomaly(AnomalyKind.STORM, stream, None, burst)


def _of_a_vm(window: Window, time: _Time) -> Iterator[Anomaly]:
    """All that is about one VM."""
    for stream, words in sorted(window.words.items()):
        of_host = window.of_hosts.get(stream, ())
        changes, stale = _Bursts(_LEAST_CHANGES, _MINUTES), _Bursts(1, _MINUTES)
        flapping: list[_Burst] = []
        refused: list[_Burst] = []
        blind = blinded(of_host)
        for before, entry in _with_the_one_before(words):
            if entry.observed_at not in time:
                continue
            if entry.stale:
                refused += stale.add(entry.observed_at, entry.position)
            elif before is not None and entry.changed:
                flapping += changes.add(entry.observed_at, entry.position)
                if kind := unannounced(before, entry, blind):
                    yield _found(window.instance, stream, kind, before, entry)
        for burst_kind, bursts in (
            (AnomalyKind.FLAPPING, [*flapping, *changes.end()]),
            (AnomalyKind.STALE, [*refused, *stale.end()]),
        ):
            for burst in bursts:
                yield _anomaly(burst_kind, stream, window.instance, burst)
    if len(window.words) > 1:
        yield from _conflicts(window, time)


def _with_the_one_before(words: Sequence[Entry]) -> Iterator[tuple[Entry | None, Entry]]:
    """Each word, and the newest one before it that was not refused and left a state."""
    before: Entry | None = None
    for entry in words:
        yield before, entry
        if stored.is_word(entry):
            before = entry


def unannounced(before: Entry, entry: Entry, blind: Iterable[Position]) -> AnomalyKind | None:
    """Whether a word about a VM shows a change that no event had announced; None where it does not.

    `before` is the newest word of the same host that was not refused; `blind` is where the host went out of sight.
    """
    if entry.stale or not entry.changed or entry.kind != _OBSERVED or _needs_no_event(before, entry):
        return None
    unseen = any(before.position < position < entry.position for position in blind)
    return AnomalyKind.UNSEEN if unseen else AnomalyKind.MISSED


def blinded(of_host: Iterable[HostWord | Entry]) -> list[Position]:
    """Where a host went out of sight."""
    return [each.position for each in of_host if each.kind in BLINDING]


def _needs_no_event(before: Entry, entry: Entry) -> bool:
    """Whether it was off and is gone now, or the other way round; or is paused until it has come in, or is up."""
    if (entry.state, entry.reason) in _NEVER_ANNOUNCED:
        return True
    gone = before.kind == _OBSERVED and before.state is None
    went = entry.state is None
    was_on = before.power_state is not None and before.power_state.is_on
    is_on = entry.power_state is not None and entry.power_state.is_on
    return (went and not was_on) or (gone and not is_on)


def _found(instance: InstanceId, stream: str, kind: AnomalyKind, before: Entry, entry: Entry) -> Anomaly:
    return Anomaly(
        kind=kind,
        hosts=(observed_host(stream) or stream,),
        instance=instance,
        since=min(before.last_observed_at, entry.observed_at),
        until=entry.observed_at,
        count=1,
        positions=(entry.position,),
    )


def _jump(recorded: Recorded) -> Anomaly:
    event = recorded.event
    assert isinstance(event, ClockJumped)
    return Anomaly(
        kind=AnomalyKind.CLOCK,
        hosts=(observed_host(recorded.stream) or recorded.stream,),
        instance=None,
        since=min(event.expected, event.observed_at),
        until=max(event.expected, event.observed_at),
        count=1,
        positions=(recorded.position,),
    )


def _conflicts(window: Window, time: _Time) -> Iterator[Anomaly]:
    for point, end in after(known(window)):
        if point.why.startswith(CONFLICT) and point.at < time.until and end > time.since:
            yield Anomaly(
                kind=AnomalyKind.CONFLICT,
                hosts=tuple(point.why.removeprefix(CONFLICT).split(" and ")),
                instance=window.instance,
                since=max(point.at, time.since),
                until=min(end, time.until),
                count=1,
                positions=(point.position,),
            )


def _anomaly(kind: AnomalyKind, stream: str, instance: InstanceId | None, burst: "_Burst") -> Anomaly:
    return Anomaly(
        kind=kind,
        hosts=(observed_host(stream) or stream,),
        instance=instance,
        since=burst.since,
        until=burst.until,
        count=burst.count,
        positions=tuple(dict.fromkeys((burst.first, burst.last))),
    )


@dataclass(frozen=True, slots=True)
class _Burst:
    """Many in a short time: from the first one to the last one before it was calm."""

    since: Timestamp
    until: Timestamp
    first: Position
    last: Position
    #: The numbers of the first and of the last one.
    begin: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.begin + 1


class _Bursts:
    """Finds bursts in what comes in the order of the log: at least so many within so many nanoseconds."""

    __slots__ = ("_least", "_number", "_open", "_recent", "_within")

    def __init__(self, least: int, within: int) -> None:
        self._least = least
        self._within = within
        self._recent: deque[tuple[Timestamp, Position, int]] = deque(maxlen=least)
        self._number = 0
        self._open: _Burst | None = None

    def add(self, at: Timestamp, position: Position) -> Iterator[_Burst]:
        """Take one in; a burst that is over comes out."""
        self._number += 1
        self._recent.append((at, position, self._number))
        since, first, begin = self._recent[0]
        if len(self._recent) < self._least or at - since > self._within:
            return
        if self._open is not None and (begin <= self._open.end or since - self._open.until <= self._within):
            self._open = replace(self._open, until=max(at, self._open.until), last=position, end=self._number)
            return
        yield from self.end()
        self._open = _Burst(min(since, at), max(since, at), first, position, begin, self._number)

    def end(self) -> Iterator[_Burst]:
        """Nothing more will come: the burst that is not over."""
        if self._open is not None:
            yield self._open
        self._open = None
