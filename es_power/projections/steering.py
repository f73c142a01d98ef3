"""Questions about what keeps commands back, and about what a person should look at; the rules of `queries` hold."""

from dataclasses import dataclass
from uuid import UUID

from es_power.domain.decisions import AlarmRaised, BreakerOpened, HoldPlaced
from es_power.domain.events import InstanceId, Position
from es_power.domain.time import Timestamp
from es_power.projections.queries import View, label_of, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBack:
    """A hold that stands."""

    hold: UUID
    #: Exactly one of the two; the VM's name, where it has one.
    host: str | None
    instance: InstanceId | None
    name: str | None
    placed_at: Timestamp
    until: Timestamp | None
    by: str | None
    why: str | None
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A breaker that is open."""

    host: str
    opened_at: Timestamp
    reason: str
    commands: tuple[UUID, ...]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alarm."""

    alarm: str
    host: str | None
    instance: InstanceId | None
    name: str | None
    raised_at: Timestamp
    reason: str
    position: Position


async def holds(view: View) -> list[KeptBack]:
    """The holds that stand, the oldest first."""
    standing = sorted(view.models.keeping.holds.values(), key=lambda recorded: recorded.position)
    placed = [(each.position, each.event) for each in standing if isinstance(each.event, HoldPlaced)]
    names = {event.instance: label_of(view.fleet, event.instance) for _, event in placed if event.instance}
    text_of = await texts(
        view.log, [*names.values(), *(event.by for _, event in placed), *(event.why for _, event in placed)]
    )
    return [
        KeptBack(
            hold=event.hold,
            host=event.host,
            instance=event.instance,
            name=text_of(names[event.instance]) if event.instance else None,
            placed_at=event.observed_at,
            until=event.until,
            by=text_of(event.by),
            why=text_of(event.why),
            position=position,
        )
        for position, event in placed
    ]


def breakers(view: View) -> list[Tripped]:
    """The breakers that are open, by host."""
    return [
        Tripped(
            host=host,
            opened_at=recorded.event.observed_at,
            reason=recorded.event.reason,
            commands=recorded.event.commands,
            position=recorded.position,
        )
        for host, recorded in sorted(view.models.keeping.breakers.items())
        if isinstance(recorded.event, BreakerOpened)
    ]


async def alarms(view: View) -> list[Raised]:
    """All alarms that were raised, the oldest first."""
    raised = [(each.position, each.event) for each in view.models.keeping.alarms]
    events = [(position, event) for position, event in raised if isinstance(event, AlarmRaised)]
    names = {event.instance: label_of(view.fleet, event.instance) for _, event in events if event.instance}
    text_of = await texts(view.log, names.values())
    return [
        Raised(
            alarm=event.alarm,
            host=event.host,
            instance=event.instance,
            name=text_of(names[event.instance]) if event.instance else None,
            raised_at=event.observed_at,
            reason=event.reason,
            position=position,
        )
        for position, event in events
    ]
