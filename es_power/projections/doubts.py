"""The question of what was set aside, and whom it leaves in doubt."""

from dataclasses import dataclass

from es_power.domain.streams import host_of
from es_power.projections.quarantine import SetAside
from es_power.projections.queries import View, label_of, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A record that could not be read or applied, and which VMs are in doubt by it."""

    record: SetAside
    #: By name, where it has one; none where all of a host are, or all.
    names: tuple[str, ...]
    host: str | None


async def quarantine(view: View) -> list[Doubt]:
    """The records that were set aside, in the order of the log."""
    asides = [aside for _, aside in sorted(view.fleet.quarantined.items())]
    labels = {each: label_of(view.fleet, each) for aside in asides for each in aside.instances}
    text_of = await texts(view.log, labels.values())
    return [
        Doubt(
            record=aside,
            names=tuple(text_of(labels[each]) or str(each) for each in aside.instances),
            host=host_of(aside.stream),
        )
        for aside in asides
    ]
