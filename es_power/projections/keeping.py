"""What keeps commands back, and what a person should look at: holds, breakers and alarms, as a fold over facts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from es_power.domain.decisions import AlarmRaised, BreakerClosed, BreakerOpened, HoldPlaced, HoldReleased
from es_power.domain.events import InstanceId, Recorded
from es_power.projections.digests import line, of_lines


@dataclass(slots=True)
class Keeping:
    """What stands now, each as the record that began it, and what changed since somebody asked."""

    holds: dict[UUID, Recorded] = field(default_factory=dict)
    #: By host.
    breakers: dict[str, Recorded] = field(default_factory=dict)
    #: In the order in which they were raised; an alarm says what was, so nothing ends it.
    alarms: list[Recorded] = field(default_factory=list)

    def apply(self, recorded: Recorded) -> Iterator[tuple[Recorded, bool]]:
        """Fold one record; give what it begins (True) and what it ends (False), each as the record that began it."""
        match recorded.event:
            case HoldPlaced(hold=hold):
                self.holds[hold] = recorded
                yield recorded, True
            case HoldReleased(hold=hold) if hold in self.holds:
                yield self.holds.pop(hold), False
            case BreakerOpened(host=host):
                if host in self.breakers:
                    yield self.breakers.pop(host), False
                self.breakers[host] = recorded
                yield recorded, True
            case BreakerClosed(host=host) if host in self.breakers:
                yield self.breakers.pop(host), False
            case AlarmRaised():
                self.alarms.append(recorded)
                yield recorded, True
            case _:
                return

    def __iter__(self) -> Iterator[Recorded]:
        """All that stands, as the records that began it."""
        yield from self.holds.values()
        yield from self.breakers.values()
        yield from self.alarms

    def take_up(self, recorded: Recorded) -> None:
        """Go on with what stands, as a table has it."""
        for _ in self.apply(recorded):
            pass

    def holds_on(self, instance: InstanceId, host: str) -> list[HoldPlaced]:
        """Every hold that keeps back commands of an instance on a host."""
        placed = [recorded.event for recorded in self.holds.values()]
        return [
            each for each in placed if isinstance(each, HoldPlaced) and (each.instance == instance or each.host == host)
        ]

    def digest(self) -> str:
        """SHA-256 over all that stands."""
        return of_lines(line(recorded) for recorded in sorted(self, key=lambda recorded: recorded.position))
