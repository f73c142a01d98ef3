"""Whose word counts at each time, where several hosts have shown a VM; the rules are `timeline`'s."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from es_power.domain.instance import Instance, owner
from es_power.domain.libvirt_numbers import SHUTOFF_MIGRATED
from es_power.domain.states import UNKNOWN
from es_power.domain.streams import observed_host
from es_power.domain.time import Timestamp
from es_power.projections.spans import Known, Point, merged

ELSEWHERE: Final = "migrated to a host that nobody observes"
CONFLICT: Final = "on at "

Lanes = Mapping[str, Sequence[Point]]
"""What each host's words amount to, by its stream."""


def owned(lanes: Lanes, *, two_spacings: Mapping[str, int]) -> list[Point]:
    """What is known of the VM: each time by the word of the host that owns it then."""
    if len(lanes) == 1:
        [points] = lanes.values()
        return merged(map(_alone, points))
    return merged(_between(lanes, two_spacings))


def _alone(point: Point) -> Point:
    if point.known.migrated and not point.known.is_on and point.state not in (None, UNKNOWN):
        return replace(point, state=UNKNOWN, why=ELSEWHERE)
    return point


def _between(lanes: Lanes, two_spacings: Mapping[str, int]) -> Iterator[Point]:
    """Go through the points of all hosts in the order of time."""
    now: dict[str, Point] = {}
    changes = sorted(
        ((point.at, stream, point) for stream, points in lanes.items() for point in points),
        key=lambda each: (each[0], each[1]),
    )
    for place, (at, stream, point) in enumerate(changes):
        now[stream] = point
        if place + 1 < len(changes) and changes[place + 1][0] == at:
            continue  # what the others say at the same time counts too
        yield replace(_at(now, lanes, at, two_spacings), at=at)


def _at(now: Mapping[str, Point], lanes: Lanes, at: Timestamp, two_spacings: Mapping[str, int]) -> Point:
    found = owner({stream: _instance(point.known) for stream, point in now.items()})
    if found.host is not None:
        return _alone(now[found.host])
    if found.conflict:
        source = _handing_over([now[stream] for stream in found.conflict])
        if source is not None:
            return source
        hosts = " and ".join(observed_host(stream) or stream for stream in found.conflict)
        newest = max((now[stream] for stream in found.conflict), key=lambda point: point.position)
        return replace(newest, state=UNKNOWN, why=f"{CONFLICT}{hosts}", stream=None, is_change=False)
    last = max(now, key=lambda stream: (now[stream].known.left_on, now[stream].known.position))
    point = now[last]
    if point.known.before is not None and (not point.why or point.state is None):
        left = next((each.at for each in lanes[last] if each.known.left_on == point.known.left_on), at)
        arrives = min(_arrivals(lanes, last, at), default=None)
        if arrives is not None and arrives - left <= two_spacings[last]:
            return replace(point, state=point.known.before.value, is_change=False)
    return _alone(point)


def _handing_over(on: Sequence[Point]) -> Point | None:
    """Of hosts that all show it on, the one from which it migrates to the other; None where that is not what it is."""
    leaving = [point for point in on if point.leaves]
    staying = [point for point in on if not point.known.incoming]
    for candidates in (leaving, staying):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _arrivals(lanes: Lanes, left: str, at: Timestamp) -> Iterator[Timestamp]:
    """When each other host shows it on, after it left."""
    for stream, points in lanes.items():
        if stream != left:
            yield from (point.at for point in points if point.at > at and point.known.is_on)


def _instance(known: Known) -> Instance:
    state, reason = SHUTOFF_MIGRATED if known.migrated else (None, None)
    return Instance(
        power_state=known.power_state,
        gone=known.gone,
        position=known.position,
        left_on=known.left_on,
        state=state,
        reason=reason,
    )
