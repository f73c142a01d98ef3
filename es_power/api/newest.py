"""The newest fact that each kind of answer depends on, as a fold over what the service folds: what an ETag is made of.

What was recorded before the service began is not told apart: it counts as recorded where the service began.
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
from es_power.domain.streams import observed_host


@dataclass(slots=True)
class Newest:
    """Positions, by what depends on them."""

    #: Where the service began.
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
                self.begin = position  # any answer may have had the text
            if isinstance(event, CheckpointSealed):
                self.checkpoints = position
            elif isinstance(event, CommandEvent):
                self.commands = position
            elif isinstance(event, InstanceEvent) and not isinstance(event, LoggedEvent | NovaStopObserved):
                self.vms[event.instance] = self.states = position
            elif observed_host(recorded.stream) is not None:
                self.hosts[recorded.stream] = self.states = position
                if isinstance(event, GapOpened | GapClosed | ClockJumped):
                    self.gaps = position

    def of_vm(self, instance: InstanceId, streams: Iterable[str]) -> Position:
        """What one VM's state depends on: its own facts, and those of all hosts that showed it."""
        return max(self.vms.get(instance, self.begin), *(self.hosts.get(stream, self.begin) for stream in streams))

    def of(self, *positions: Position) -> Position:
        """The newest of some, each at least where the service began."""
        return max(self.begin, *positions)
