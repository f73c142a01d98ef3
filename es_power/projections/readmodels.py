"""All read models over one pass through the log, live and in replay alike."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from es_power.domain.command import Command
from es_power.domain.decisions import Confirmed, Retried, Withdrawn
from es_power.domain.events import (
    START,
    InstanceEvent,
    InstanceId,
    Position,
    RecordCleared,
    RecordDeclared,
    Recorded,
    RecordNotFound,
    RecordObserved,
)
from es_power.domain.host import Host, Vouched
from es_power.domain.policy import Policy
from es_power.domain.streams import is_imported
from es_power.projections.command_table import CommandTable
from es_power.projections.fleet import Fleet
from es_power.projections.history import Entry, History
from es_power.projections.keeping import Keeping
from es_power.projections.quarantine import failed
from es_power.projections.stop_commands import Derived, StopCommands
from es_power.projections.times import Block, Times

_NO_HOST = Host()


@dataclass(slots=True)
class Step:
    """What a batch of records led to: what a store has to write, and what a process manager has to append."""

    #: The position that it begins after.
    since: Position = START
    #: History entries by their place in the log; the newest of a place counts.
    entries: dict[tuple[int, int | None], Entry] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    #: What keeps commands back, by where it began: the record, and whether it stands.
    keeping: dict[int, tuple[Recorded, bool]] = field(default_factory=dict)
    vouched: set[InstanceId] = field(default_factory=set)
    #: The times of blocks of positions, by their numbers.
    times: dict[int, Block] = field(default_factory=dict)
    #: The fleet as it was, by position.
    snapshots: dict[Position, bytes] = field(default_factory=dict)
    #: Instances that have to be looked at: their record says something else now, or a command is out of the way.
    look_at: set[InstanceId] = field(default_factory=set)
    #: The commands that the facts call for, in the order of the facts.
    derived: list[Derived] = field(default_factory=list)

    def add(self, later: "Step") -> None:
        """Take in a later step; what it says of the same row counts."""
        self.entries.update(later.entries)
        self.commands.update(later.commands)
        self.keeping.update(later.keeping)
        self.vouched |= later.vouched
        self.times.update(later.times)
        self.snapshots.update(later.snapshots)
        self.derived += later.derived

    def copy(self) -> "Step":
        """The same as of now, without what is for process managers."""
        return Step(
            since=self.since,
            entries=dict(self.entries),
            commands=dict(self.commands),
            keeping=dict(self.keeping),
            vouched=set(self.vouched),
            times=dict(self.times),
            snapshots=dict(self.snapshots),
        )


class ReadModels:
    """The fleet, its history, its stop commands as recorded and what keeps them back, and those its facts call for."""

    def __init__(self, fleet: Fleet | None = None, *, whatif: Policy | None = None, resume: bool = False) -> None:
        """Empty, or with a fleet that was folded by itself, which has no history."""
        self.fleet = fleet or Fleet()
        self.history = History(self.fleet)
        self.commands = CommandTable()
        self.keeping = Keeping()
        self.times = Times(self.fleet.position)
        self.derivation = StopCommands(self.fleet, whatif=whatif, resume=resume)

    def apply(self, batch: Iterable[Recorded]) -> Step:
        """Fold records in the order of their positions; what cannot be folded is set aside (`Fleet.quarantined`)."""
        step = Step(since=self.fleet.position)
        for recorded in batch:
            for block in self.times.apply(recorded):
                step.times[block.number] = block
            try:
                self._apply(recorded, step)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with one fact, the others are folded)
                self.fleet.set_aside(failed(recorded, error))
        return step

    def copy(self) -> "ReadModels":
        """The same as of now, to be asked while these go on; it derives no commands."""
        copied = ReadModels(self.fleet.copy())
        copied.history.open = dict(self.history.open)
        copied.commands.rows = dict(self.commands.rows)
        copied.keeping.holds = dict(self.keeping.holds)
        copied.keeping.breakers = dict(self.keeping.breakers)
        copied.keeping.alarms = list(self.keeping.alarms)
        return copied

    def _apply(self, recorded: Recorded, step: Step) -> None:
        event = recorded.event
        said = self.fleet.vouched.get(event.instance) if isinstance(event, InstanceEvent) else None
        place = self.fleet.places.get(recorded.stream)
        before = place.host if place else _NO_HOST
        changes = self.fleet.apply(recorded)
        for entry in self.history.apply(recorded, changes, before=before):
            step.entries[entry.position, entry.index] = entry
        if is_imported(recorded.stream):
            return  # it is told, and nothing follows from it
        row = self.commands.apply(recorded)
        if row is not None:
            step.commands[row.position] = row
        if isinstance(event, RecordDeclared | RecordCleared | RecordObserved | RecordNotFound):
            step.vouched.add(event.instance)
            if _says_something_else(said, self.fleet.vouched.get(event.instance)):
                step.look_at.add(event.instance)
        elif isinstance(event, Retried | Withdrawn | Confirmed):
            step.look_at.add(event.instance)
        for standing, stands in self.keeping.apply(recorded):
            step.keeping[standing.position] = standing, stands
        step.derived += self.derivation.apply(recorded, changes)


def _says_something_else(before: Vouched | None, after: Vouched | None) -> bool:
    if before is None or after is None:
        return before is not after
    return not after.says(before)
