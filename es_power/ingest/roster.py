"""What an observer remembers of its own stream: which VMs the host has, by what names, in what order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from es_power.domain.events import Event, InstanceId, InstanceNamed
from es_power.domain.ports import LabelText
from es_power.domain.time import Timestamp
from es_power.ingest.hypervisor import Info
from es_power.log.labels import make_label, shown


@dataclass(slots=True, kw_only=True)
class Roster:
    """The VMs of one host as its stream has them; at a start it comes from a fold over the stream."""

    #: The stream's version, its last epoch, and until when its last service saw the host.
    version: int = 0
    epoch: int = 0
    seen_until: Timestamp | None = None
    #: Whether the last service ended in good order, and whether a gap is open.
    stopped: bool = True
    blind_since: Timestamp | None = None
    #: The names of the VMs that are there, None for one that was forgotten; a VM that is gone is not in it.
    names: dict[InstanceId, str | None] = field(default_factory=dict)
    inventory: tuple[InstanceId, ...] = ()
    inventory_version: int = 0

    def new_names(self, seen: Iterable[tuple[InstanceId, str]]) -> dict[InstanceId, str]:
        """The names that are new, out of those that were seen; they are known once the log has them.

        A VM whose name was forgotten is not named again for as long as it is there: it has the same name still.
        """
        # The last events of a VM that is gone bear no name.
        latest = {instance: name for instance, name in seen if name}
        # After a restart no more is known of a very long name than what the log keeps of it.
        return {
            instance: name
            for instance, name in latest.items()
            if self.names.get(instance, "") not in {name, shown(name), None}
        }

    def forget_names(self, instances: Iterable[InstanceId]) -> None:
        """Hold on to the names of these VMs no longer: somebody had them forgotten."""
        self.names.update((instance, None) for instance in instances if instance in self.names)

    def forget(self, gone: Iterable[InstanceId]) -> None:
        """Expect these VMs no more; the log has it that they are gone."""
        for instance in gone:
            self.names.pop(instance, None)

    def missing(self, listed: Sequence[Info]) -> list[InstanceId]:
        """The VMs that should have been listed."""
        return sorted(self.names.keys() - {info.instance for info in listed})

    def has(self, members: tuple[InstanceId, ...]) -> bool:
        """Whether the newest inventory lists exactly these."""
        return members == self.inventory and bool(self.inventory_version)


def naming(names: Mapping[InstanceId, str], at: Timestamp) -> tuple[list[Event], list[LabelText]]:
    """The facts that give VMs these names, with the texts of their labels."""
    made = [(instance, *make_label(name)) for instance, name in names.items()]
    events: list[Event] = [InstanceNamed(observed_at=at, instance=instance, name=label) for instance, label, _ in made]
    return events, [text for _, _, text in made]
