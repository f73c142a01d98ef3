"""All read models over one pass through the log, live and in replay alike."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from es_power.domain.events import (
    START,
    InstanceId,
    Position,
    RecordCleared,
    RecordDeclared,
    Recorded,
    RecordObserved,
)
from es_power.domain.host import Host
from es_power.domain.policy import Policy
from es_power.projections.fleet import Fleet
from es_power.projections.history import Entry, History
from es_power.projections.stop_commands import CommandRow, CommandTable, Derived, StopCommands

_NO_HOST = Host()


@dataclass(slots=True)
class Step:
    """What a batch of records led to: what a store has to write, and what a process manager has to append."""

    #: The position that it begins after.
    since: Position = START
    #: History entries by their place in the log; the newest of a place counts.
    entries: dict[tuple[int, int | None], Entry] = field(default_factory=dict)
    commands: dict[int, CommandRow] = field(default_factory=dict)
    vouched: set[InstanceId] = field(default_factory=set)
    #: The commands that the facts call for, in the order of the facts.
    derived: list[Derived] = field(default_factory=list)

    def add(self, later: "Step") -> None:
        """Take in a later step; what it says of the same row counts."""
        self.entries.update(later.entries)
        self.commands.update(later.commands)
        self.vouched |= later.vouched
        self.derived += later.derived


class ReadModels:
    """The fleet, its history, its stop commands as recorded, and those that its facts call for."""

    def __init__(self, fleet: Fleet | None = None, *, whatif: Policy | None = None, resume: bool = False) -> None:
        """Empty, or with a fleet that was folded by itself, which has no history."""
        self.fleet = fleet or Fleet()
        self.history = History(self.fleet)
        self.commands = CommandTable()
        self.derivation = StopCommands(self.fleet, whatif=whatif, resume=resume)

    def apply(self, batch: Iterable[Recorded]) -> Step:
        """Fold records in the order of their positions; what cannot be folded is set aside (`Fleet.quarantined`)."""
        step = Step(since=self.fleet.position)
        for recorded in batch:
            try:
                self._apply(recorded, step)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with one fact, the others are folded)
                self.fleet.set_aside(recorded.position, f"{type(error).__name__}: {error}")
        return step

    def _apply(self, recorded: Recorded, step: Step) -> None:
        place = self.fleet.places.get(recorded.stream)
        before = place.host if place else _NO_HOST
        changes = self.fleet.apply(recorded)
        for entry in self.history.apply(recorded, changes, before=before):
            step.entries[entry.position, entry.index] = entry
        row = self.commands.apply(recorded)
        if row is not None:
            step.commands[row.position] = row
        if isinstance(recorded.event, RecordDeclared | RecordCleared | RecordObserved):
            step.vouched.add(recorded.event.instance)
        step.derived += self.derivation.apply(recorded, changes)
