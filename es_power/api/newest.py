"""The newest fact that each kind of answer depends on, as a fold over what the service folds: what an ETag is made of.

What was recorded before the service began is not told apart: it counts as recorded where the service began. So does
what was recorded before a text was forgotten, since any answer may have had the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from es_power.domain.custody import CheckpointSealed, LabelsForgotten
from es_power.domain.decisions import CommandEvent
from es_power.domain.events import (
    START,
    ClockJumped,
    GapClosed,
    GapOpened,
    InstanceEvent,
    InstanceId,
    NovaStopObserved,
    Position,
    Recorded,
)
from es_power.domain.logged import LoggedEvent
from es_power.domain.streams import is_imported, observed_host
from es_power.projections import imported
from es_power.projections.queries import View


@dataclass(slots=True)
class Newest:
    """Positions, by what depends on them."""

    #: Where the service began, or a text was forgotten.
    begin: Position = START
    hosts: dict[str, Position] = field(default_factory=dict)
    vms: dict[InstanceId, Position] = field(default_factory=dict)
    #: Anything that bears on any state, on commands, on gaps.
    states: Position = START
    commands: Position = START
    gaps: Position = START
    checkpoints: Position = START

    def apply(self, batch: Iterable[Recorded]) -> None:
        """Fold what was recorded."""
        for recorded in batch:
            event, position = recorded.event, recorded.position
            if isinstance(event, LabelsForgotten):
                self.begin = position
            if is_imported(recorded.stream):
                # It bears on nothing but that a VM is known, and by which name.
                self.vms.update(dict.fromkeys(imported.instances(event), position))
                self.states = position
            elif isinstance(event, CheckpointSealed):
                self.checkpoints = position
            elif isinstance(event, CommandEvent):
                self.commands = position
            elif isinstance(event, InstanceEvent) and not isinstance(event, LoggedEvent | NovaStopObserved):
                self.vms[event.instance] = self.states = position
            elif observed_host(recorded.stream) is not None:
                self.hosts[recorded.stream] = self.states = position
                if isinstance(event, GapOpened | GapClosed | ClockJumped):
                    self.gaps = position

    def of_vm(self, view: View, instance: InstanceId) -> Position:
        """What one VM's state depends on: its own facts, and those of all hosts that showed it."""
        hosts = (self.hosts.get(stream, self.begin) for stream in view.fleet.seen_on.get(instance, ()))
        return self.of(view, self.vms.get(instance, self.begin), *hosts, *view.fleet.quarantined)

    def of_states(self, view: View, *others: Position) -> Position:
        """What all VMs' states depend on."""
        # A record that is set aside is in no batch, and leaves VMs in doubt.
        return self.of(view, self.states, *view.fleet.quarantined, *others)

    def of(self, view: View, *positions: Position) -> Position:
        """The newest of what an answer by a view depends on; of another time than now, that is all that it knows."""
        if view.then is not None:
            return max(self.begin, view.position)
        # What was folded since the view was taken is not in the answer: its tag must not say so.
        return min(max(self.begin, *positions), view.position)
