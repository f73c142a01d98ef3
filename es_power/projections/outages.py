"""When nobody saw a host around a moment, and whether it was booted anew meanwhile."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from es_power.domain.causes import BEFORE
from es_power.domain.events import (
    GapClosed,
    GapOpened,
    HostSwept,
    InstanceId,
    LifecycleEvent,
    Position,
    Recorded,
    ServiceStarted,
)
from es_power.domain.evidence import Blind, Reboot
from es_power.domain.libvirt_numbers import POWER_STATES, SHUTDOWN, STOPPED
from es_power.domain.states import PowerState
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.projections.changes import Change
from es_power.projections.history import Entry
from es_power.projections.nearby import Few, Wanted
from es_power.projections.queries import View

_NEAR: Final = 16  # beginnings and ends of gaps before the moment, and after it
_RECORDS: Final = 500  # of the host before it went out of sight, in which guests may have been told to go
_KINDS: Final = (GapOpened.__name__, GapClosed.__name__)

_STAYING: Final = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED, None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """What kept a host out of sight around a moment."""

    blind: Sequence[Blind] = ()
    reboot: Reboot | None = None


def gaps_near(stream: str | None, change: Change, until: Position) -> tuple[Few, ...]:
    """What to look for to know the gaps of a host near a change."""
    if stream is None:
        return ()
    here = Wanted(instance=None, stream=stream, kinds=_KINDS, until=until)
    if change.told:
        # Its position says when it was read, so its gaps are found by time.
        return (Few(wanted=replace(here, before=Timestamp(change.fact.at + BEFORE)), limit=2 * _NEAR),)
    return (
        Few(wanted=replace(here, until=change.fact.position), limit=_NEAR),
        Few(wanted=replace(here, after=change.fact.position), limit=_NEAR, oldest=True),
    )


async def outages(
    view: View,
    instance: InstanceId,
    change: Change,
    entries: Collection[Entry],
    *,
    last_seen: Timestamp | None,
    until: Position,
) -> Outages:
    """Read the gaps of a host near a change, and find the one over which it was booted anew, where there is one."""
    if not entries:
        return Outages()
    at = change.fact.at
    facts = await view.log.read_at(sorted(entry.position for entry in entries))
    gaps = list(_gaps([facts[position] for position in sorted(facts)]))
    near = [gap for gap in gaps if gap.lies_near(at if last_seen is None else last_seen, at)]
    reboot = None
    for gap in near:
        if change.to_state not in _STAYING and reboot is None and gap.closed is not None:
            reboot = await _reboot(view, instance, gap, until)
    return Outages(blind=[gap.blind for gap in near], reboot=reboot)


@dataclass(frozen=True, slots=True)
class _Gap:
    opened: Recorded
    since: Timestamp
    closed: Recorded | None
    reason: str

    @property
    def blind(self) -> Blind:
        until = self.closed.event.observed_at if self.closed else None
        return Blind(position=self.opened.position, since=self.since, until=until, reason=self.reason)

    def lies_near(self, began: Timestamp, ended: Timestamp) -> bool:
        """Whether it lies over a moment or begins soon after, as it does where a host goes down."""
        return self.since <= ended + BEFORE and (self.closed is None or self.closed.event.observed_at >= began)


def _gaps(facts: Sequence[Recorded]) -> Iterator[_Gap]:
    opened: Recorded | None = None
    for recorded in facts:
        if isinstance(recorded.event, GapOpened) and opened is None:
            opened = recorded
        elif isinstance(recorded.event, GapClosed) and opened is not None:
            yield _gap(opened, recorded)
            opened = None
    if opened is not None:
        yield _gap(opened, None)


def _gap(opened: Recorded, closed: Recorded | None) -> _Gap:
    event = opened.event
    assert isinstance(event, GapOpened)
    since = event.since
    if closed is not None and isinstance(closed.event, GapClosed):
        # By the clock that says when it ended, where it was set meanwhile.
        since = min(closed.event.since, closed.event.observed_at)
    return _Gap(opened, since, closed, event.reason)


async def _reboot(view: View, instance: InstanceId, gap: _Gap, until: Position) -> Reboot | None:
    """Whether the host bears another boot id after a gap than before it."""
    assert gap.closed is not None
    stream = gap.opened.stream
    before = await _read(view, stream, max(gap.opened.version - 1 - _RECORDS, 0), gap.opened.version - 1)
    since = await _read(view, stream, gap.opened.version - 2, gap.closed.version + 4)
    old = next((boot for each in reversed(before) if (boot := _boot(each)) is not None), None)
    fresh = [each for each in since if each.position <= until and _boot(each) not in {None, old}]
    if old is None or not fresh:
        return None
    told = {found for each in before if (found := _told_to_go(each, gap.since)) is not None} - {instance}
    boot = _boot(fresh[0])
    assert boot is not None
    return Reboot(
        position=fresh[0].position,
        at=fresh[0].event.observed_at,
        before=old,
        after=boot,
        others=max(_others_on(before, gap.since), len(told)),
        told=len(told),
    )


def _boot(recorded: Recorded) -> UUID | None:
    event = recorded.event
    return event.boot_id if isinstance(event, ServiceStarted | HostSwept) else None


def _told_to_go(recorded: Recorded, gone: Timestamp) -> InstanceId | None:
    """The guest that shut down or was ended within the ten minutes before the host was gone."""
    event = recorded.event
    if not isinstance(event, LifecycleEvent) or event.observed_at < gone - BEFORE:
        return None
    told = event.event == SHUTDOWN or (event.event == STOPPED and event.detail in {0, 1})
    return event.instance if told else None


def _others_on(before: Sequence[Recorded], gone: Timestamp) -> int:
    """How many other guests the last sweep from before the ten minutes showed on."""
    sweeps = [each.event for each in before if isinstance(each.event, HostSwept)]
    earlier = [sweep for sweep in sweeps if sweep.observed_at < gone - BEFORE] or sweeps[:1]
    if not earlier:
        return 0
    states = [POWER_STATES.get(state) for state in earlier[-1].states[::2]]
    return max(sum(state is not None and state.is_on for state in states) - 1, 0)


async def _read(view: View, stream: str, after: int, until: int) -> list[Recorded]:
    """The records of a stream between two versions; none where one of them cannot be read."""
    with suppress(UnknownEventError):
        return list(await view.log.read_stream(stream, after=max(after, 0), limit=max(until - max(after, 0), 0)))
    return []
