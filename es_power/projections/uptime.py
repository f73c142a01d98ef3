"""How long each VM was up: sums of a timeline's segments, to the nanosecond, and availability as a range.

Up is RUNNING. A paused or suspended VM holds its memory and its guest does not run, so that counts as down, and is told
apart too. NOSTATE and UNKNOWN are time of which nobody knows, and it is neither: availability is lowest if it was down
all that time, and highest if it was up. Time before the VM was there, and after it was gone, is left out.
"""

from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from es_power.domain.events import InstanceId
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.time import Timestamp
from es_power.projections.queries import View
from es_power.projections.spans import Segment
from es_power.projections.timeline import timelines

__all__ = ["Uptime", "summed", "uptime", "uptimes"]

_UNTOLD = frozenset({UNKNOWN, PowerState.NOSTATE})
_PAUSED = frozenset({PowerState.PAUSED, PowerState.SUSPENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptime:
    """One VM's time between two times, in nanoseconds: `up` and `down` and `unknown` are all that it existed."""

    instance: InstanceId
    name: str | None
    since: Timestamp
    until: Timestamp
    up: int
    down: int
    #: The part of `down` in which it was paused or suspended.
    paused: int
    unknown: int

    @property
    def existed(self) -> int:
        """How long it was there, as far as anybody knows."""
        return self.up + self.down + self.unknown

    @property
    def availability(self) -> tuple[float, float] | None:
        """The share of that time in which it was up, at least and at most; None where it was never there."""
        if not self.existed:
            return None
        return self.up / self.existed, (self.up + self.unknown) / self.existed


def summed(
    segments: Iterable[Segment], *, instance: InstanceId, name: str | None, since: Timestamp, until: Timestamp
) -> Uptime:
    """Sum up the segments of one VM."""
    up = down = paused = unknown = 0
    for segment in segments:
        if segment.state is None:
            continue
        if segment.state in _UNTOLD:
            unknown += segment.duration
        elif segment.state == PowerState.RUNNING:
            up += segment.duration
        else:
            down += segment.duration
            paused += segment.duration if segment.state in _PAUSED else 0
    return Uptime(
        instance=instance, name=name, since=since, until=until, up=up, down=down, paused=paused, unknown=unknown
    )


async def uptimes(
    view: View, vms: Collection[str] | None = None, *, since: Timestamp, until: Timestamp, now: Timestamp
) -> AsyncGenerator[Uptime]:
    """How long VMs were up between two times, or until `now`, in the order of their names; raises as `timelines`."""
    async with aclosing(timelines(view, vms, since=since, until=until, now=now)) as each:
        async for found in each:
            yield summed(found.segments, instance=found.instance, name=found.name, since=since, until=min(until, now))


async def uptime(
    view: View, vms: Collection[str] | None = None, *, since: Timestamp, until: Timestamp, now: Timestamp
) -> list[Uptime]:
    """All of `uptimes` at once."""
    async with aclosing(uptimes(view, vms, since=since, until=until, now=now)) as each:
        return [found async for found in each]
