"""What is known of one VM over time, as points from which on something holds, and as segments between two times."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final

from es_power.domain.events import START, InstanceId, Position
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.time import Timestamp

MIXED: Final = "MIXED"
"""Shown for a bucket of time in which more than one thing was the case."""

BEGIN: Final = Timestamp(-(2**63))
"""Before every time."""

END: Final = Timestamp(2**63 - 1)
"""After every time."""


class Source(StrEnum):
    """Who told a state."""

    #: An observer of ours: libvirt's events and answers.
    LIVE = "live"
    #: Another program's log, imported or followed.
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Time in which one thing is known of a VM, or that nothing is; `until` is not part of it."""

    instance: InstanceId
    since: Timestamp
    until: Timestamp
    #: A PowerState; UNKNOWN; None where it did not exist, as far as anybody knows; MIXED in a bucket.
    state: str | None
    #: Why nobody can say; empty where somebody can.
    why_unknown: str = ""
    source: Source | None = None
    #: The host whose word it is.
    host: str | None = None
    #: Where in the log the word stands that it begins with; None before the first one.
    position: Position | None = None
    #: Of a MIXED one: the nanoseconds of each state ("NONE" for None).
    shares: Mapping[str, int] = field(default_factory=dict)

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.until - self.since


NOTHING: Final = "NONE"
"""The share of time in which a VM did not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a host's words amount to, as far as it bears on whose word counts."""

    power_state: PowerState | None = None
    gone: bool = False
    position: Position = START
    #: Where it was last seen to stop being on, and the state it was in before.
    left_on: Position = START
    before: PowerState | None = None
    #: Whether the last word is that it went to another host.
    migrated: bool = False
    #: Whether the last word is that it is coming from another host.
    incoming: bool = False

    @property
    def is_on(self) -> bool:
        """Whether the host holds its memory."""
        return self.power_state is not None and self.power_state.is_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """From `at` on, until the next point."""

    at: Timestamp
    state: str | None
    why: str = ""
    #: The stream of the host, or of the log file, whose word it is.
    stream: str | None = None
    source: Source | None = Source.LIVE
    position: Position = START
    known: Known = Known()
    #: Whether a word that is itself a change begins it: what was before it may be what the change implies.
    is_change: bool = False
    #: Whether the VM leaves this host by a migration when it is on here no more.
    leaves: bool = False

    def says(self, other: "Point") -> bool:
        """Whether both tell a reader the same."""
        mine = (self.state, self.why, self.stream if self.state else None, self.source if self.state else None)
        return mine == (
            other.state,
            other.why,
            other.stream if other.state else None,
            other.source if other.state else None,
        )


def after(points: Sequence[Point]) -> Iterator[tuple[Point, Timestamp]]:
    """Each point with the time until which it holds."""
    for point, following in pairwise(points):
        yield point, following.at
    if points:
        yield points[-1], END


def merged(points: Iterable[Point]) -> list[Point]:
    """The same without points that say nothing new, and without those that hold for no time."""
    found: list[Point] = []
    for point in points:
        if found and found[-1].at >= point.at:
            found.pop()
        if not found or not found[-1].says(point):
            found.append(point)
    return found


def clipped(
    points: Sequence[Point],
    instance: InstanceId,
    hosts: Mapping[str, str | None],
    *,
    since: Timestamp,
    until: Timestamp,
) -> list[Segment]:
    """The segments between two times: they leave out nothing, and none overlaps another."""
    found: list[Segment] = []
    nothing = Point(at=BEGIN, state=None, source=None)
    for point, end in after([nothing, *points]):
        begin, last = max(point.at, since), min(end, until)
        if begin < last:
            says_something = point.state is not None
            found.append(
                Segment(
                    instance=instance,
                    since=begin,
                    until=last,
                    state=point.state,
                    why_unknown=point.why,
                    source=point.source if says_something and point.state != UNKNOWN else None,
                    host=hosts.get(point.stream) if point.stream and says_something else None,
                    position=point.position or None,
                )
            )
    return found


def bucketed(segments: Sequence[Segment], buckets: int) -> list[Segment]:
    """At most so many segments for the same time; equal parts of it, each as what it is alone, or as MIXED.

    Those that are few enough are left as they are. Durations are kept to the nanosecond.
    """
    if len(segments) <= buckets:
        return list(segments)
    begin, whole = segments[0].since, segments[-1].until - segments[0].since
    found: list[Segment] = []
    place = 0
    for number in range(buckets):
        since = Timestamp(begin + whole * number // buckets)
        until = Timestamp(begin + whole * (number + 1) // buckets)
        if since == until:
            continue
        within: list[Segment] = []
        while place < len(segments) and segments[place].since < until:
            segment = segments[place]
            within.append(replace(segment, since=max(segment.since, since), until=min(segment.until, until)))
            if segment.until > until:
                break
            place += 1
        bucket = _mixed(within)
        if found and bucket.state != MIXED and _is_alike(found[-1], bucket):
            found[-1] = replace(found[-1], until=bucket.until)
        else:
            found.append(bucket)
    return found


def _mixed(parts: Sequence[Segment]) -> Segment:
    first = parts[0]
    if len(parts) == 1:
        return first
    shares: dict[str, int] = {}
    for part in parts:
        name = part.state or NOTHING
        shares[name] = shares.get(name, 0) + part.duration
    until = parts[-1].until
    if len(shares) == 1:
        return replace(first, until=until)
    return replace(first, until=until, state=MIXED, why_unknown="", source=None, host=None, shares=shares)


def _is_alike(one: Segment, other: Segment) -> bool:
    return (one.state, one.why_unknown, one.source, one.host) == (
        other.state,
        other.why_unknown,
        other.source,
        other.host,
    )
