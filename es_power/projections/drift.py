"""Where a hypervisor shows something else, now, than the log's last word on each VM of its host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from es_power.domain.events import InstanceId
from es_power.domain.instance import Instance
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.states import PowerState
from es_power.domain.streams import observed_host
from es_power.projections.fleet import Place
from es_power.projections.queries import View, texts


class DriftKind(StrEnum):
    """How a VM drifted."""

    UNKNOWN = "unknown to the log"
    MISSING = "missing in libvirt"
    STATE = "another state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A VM as the hypervisor shows it, in libvirt's raw numbers."""

    instance: InstanceId
    name: str
    state: int
    reason: int

    @property
    def power_state(self) -> PowerState | None:
        """None for a number that we do not know."""
        return POWER_STATES.get(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A VM of which the log's last word is not what the hypervisor shows."""

    instance: InstanceId
    name: str | None
    host: str
    kind: DriftKind
    known: Instance | None
    shown: Shown | None
    #: Why the log may be behind; empty where it should not be.
    note: str


async def drift(view: View, stream: str, shown: Sequence[Shown]) -> list[Drift]:
    """Compare all that a host shows with what the log has of it under this observer's stream, in the order of names.

    While nobody sees a host its last word is compared, not UNKNOWN: that there is a gap is no drift.
    """
    place = view.fleet.places.get(stream)
    host, note = observed_host(stream) or stream, _note(place)
    known = {instance: place.get(instance) for instance in place.instances} if place else {}
    present = {instance: each for instance, each in known.items() if not each.gone}
    name_of = await texts(view.log, (each.name for each in present.values()))
    found = [
        Drift(
            instance=instance,
            name=now.name if now else name_of(then.name) if then else None,
            host=host,
            kind=kind,
            known=then,
            shown=now,
            note=note,
        )
        for instance, then, now, kind in _differing(present, {each.instance: each for each in shown})
    ]
    return sorted(found, key=lambda each: (each.name or "", each.instance))


def _differing(
    known: dict[InstanceId, Instance], shown: dict[InstanceId, Shown]
) -> Iterator[tuple[InstanceId, Instance | None, Shown | None, DriftKind]]:
    for instance in known | shown:
        then, now = known.get(instance), shown.get(instance)
        if now is None:
            yield instance, then, None, DriftKind.MISSING
        elif then is None or (then.power_state is None and then.state is None):
            yield instance, None, now, DriftKind.UNKNOWN
        elif then.power_state != now.power_state or (now.power_state is None and then.state != now.state):
            yield instance, then, now, DriftKind.STATE


def _note(place: Place | None) -> str:
    if place is None:
        return "the log has nothing of this host"
    if place.host.blind_since is not None:
        return f"blind: {place.host.blind_reason}"
    return "" if place.host.running else "not observed since the service stopped"
