"""Facts of other logs that were imported from their exports: opened, to be told and never to be acted on."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from es_power.domain.events import (
    Event,
    HostSwept,
    InstanceEvent,
    InstanceId,
    LifecycleEvent,
    Position,
    Recorded,
    StateObserved,
    Trigger,
)
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.logged import FactImported
from es_power.domain.states import PowerState
from es_power.domain.streams import imported, observed_host
from es_power.domain.time import NEVER, SECOND, Timestamp
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.log.codec import Codec

MARK: Final = "Imported"
"""Before the kind of an entry that stands for a fact of another log."""

EXPORTS: Final = imported("jsonl", "")
"""How the streams of such facts begin."""

_STALE: Final = 1200 * SECOND  # two spacings of a service's sweeps, unless it was set otherwise
_AT_ONCE: Final = 1000  # records that are read

_CODEC: Final = Codec()


def unwrap(recorded: Recorded) -> Recorded:
    """Give an imported fact as its own log had it; all else, and what cannot be read, as it is."""
    event = recorded.event
    if not isinstance(event, FactImported) or (fact := opened(event)) is event:
        return recorded
    return Recorded(
        position=Position(event.position),
        stream=event.stream,
        version=event.version,
        recorded_at=event.recorded_then,
        event=fact,
        index=event.index,
    )


def opened(event: Event) -> Event:
    """Give the fact inside an imported one; any other as it is, and one that cannot be read."""
    if not isinstance(event, FactImported):
        return event
    try:
        return _CODEC.decode(event.topic, event.state)
    except UnknownEventError:
        return event


def told(recorded: Recorded) -> Iterator[Recorded]:
    """Give what an imported record tells of VMs: itself opened, and a sweep as the observations that are new in it."""
    event = recorded.event
    fact = opened(event)
    if isinstance(event, FactImported) and isinstance(fact, HostSwept):
        for index, (instance, state, reason) in enumerate(event.told):
            yield replace(recorded, event=_observed(fact, instance, state, reason), index=index)
    else:
        yield replace(recorded, event=fact)


def part_of(recorded: Recorded, index: int | None) -> Event:
    """Give what the entry at this place of an imported record says."""
    for each in told(recorded):
        if each.index == index:
            return each.event
    return opened(recorded.event)


def instances(event: Event) -> Iterator[InstanceId]:
    """Give the VMs that an imported fact tells of."""
    if isinstance(event, FactImported):
        yield from (instance for instance, _, _ in event.told)
    fact = opened(event)
    if isinstance(fact, InstanceEvent):
        yield fact.instance


def power_state(event: Event) -> PowerState | None:
    """The power_state that a fact by itself says; None where it says none."""
    match event:
        case LifecycleEvent(transition=transition):
            return transition.power_state if transition else None
        case StateObserved(state=None):
            return PowerState.NOSTATE
        case StateObserved(state=int(state)):
            return POWER_STATES.get(state)
        case _:
            return None


async def believed_until(log: SqlLog, stream: str, *, known: Position) -> Timestamp:
    """Until when another log would have told of a change: two spacings after the last that is imported of what it saw.

    What it had from other programs' logs does not count: that may be of a time when it had ended long before. What was
    imported after the position `known` is left out.
    """
    version = await log.version(stream)
    while version > 0:
        begin = max(version - _AT_ONCE, 0)
        with suppress(UnknownEventError):
            for recorded in reversed(await log.read_stream(stream, after=begin, limit=version - begin)):
                event = recorded.event
                if recorded.position > known or not isinstance(event, FactImported):
                    continue
                if observed_host(event.stream) is not None:
                    return Timestamp(event.observed_at + _STALE)
        version = begin
    return NEVER


def _observed(sweep: HostSwept, instance: InstanceId, state: int, reason: int) -> StateObserved:
    return StateObserved(
        observed_at=sweep.observed_at,
        instance=instance,
        asked_at=sweep.asked_at,
        state=state,
        reason=reason,
        trigger=Trigger.SWEEP,
        connection=sweep.connection,
        number=sweep.number,
    )
