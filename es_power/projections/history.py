"""The history of each VM on each host: its events and changes, and runs of equal observations.

An entry tells where in the log its facts are; what they say is read there. A run holds every observation that said the
same thing with nothing in between; while it is open, the sweeps that confirm it are counted by the host, not by each of
its runs (`Entry.through`), for the same reason as in `fleet`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from es_power.domain.decisions import CommandEvent
from es_power.domain.events import (
    ClockJumped,
    GapClosed,
    GapOpened,
    HypervisorEvent,
    InstanceId,
    InstanceNamed,
    InventoryRecorded,
    NovaStopObserved,
    Position,
    RecordCleared,
    RecordDeclared,
    Recorded,
    RecordNotFound,
    RecordObserved,
    ServiceStarted,
    ServiceStopped,
    StateObserved,
)
from es_power.domain.host import Host
from es_power.domain.logged import FactImported, LoggedEvent, QemuLogOpened
from es_power.domain.states import PowerState
from es_power.domain.streams import is_imported, observed_host
from es_power.domain.time import Timestamp
from es_power.projections import imported
from es_power.projections.digests import line, of_lines
from es_power.projections.fleet import Change, Fleet

OF_A_HOST = (GapOpened, GapClosed, ServiceStarted, ServiceStopped, ClockJumped)
"""Facts of a host that belong in the history of each of its VMs."""

OF_AN_INSTANCE = (
    RecordDeclared,
    RecordCleared,
    RecordObserved,
    RecordNotFound,
    NovaStopObserved,
    LoggedEvent,
    QemuLogOpened,
    CommandEvent,
)
"""Facts about an instance that were not seen on a host by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a history: an event, or a run of equal observations."""

    #: None: a fact about the whole host.
    instance: InstanceId | None
    #: The observer's stream, or the stream of a record or command.
    stream: str
    #: The (first) fact: its place in the log, its place in a sweep, the name of its class.
    position: Position
    index: int | None
    kind: str
    observed_at: Timestamp
    recorded_at: Timestamp
    #: What the fact left the power_state at, and whether that was a change.
    power_state: PowerState | None = None
    changed: bool = False
    #: An observation that lost to a newer event.
    stale: bool = False
    #: Of a run: libvirt's answer, the newest observation, and their number.
    state: int | None = None
    reason: int | None = None
    last_position: Position
    last_observed_at: Timestamp
    count: int = 1
    #: Whether the next equal observation belongs to this run.
    open: bool = False
    #: How many sweeps of the host are counted in `count`, where sweeps that say nothing new confirm an open run.
    sweeps: int | None = None

    @property
    def place(self) -> tuple[Position, int]:
        """Where in the log it stands, and where in a sweep; -1: in none."""
        return self.position, -1 if self.index is None else self.index

    def through(self, host: Host) -> "Entry":
        """The entry with the sweeps counted that confirmed it since it was written."""
        if self.sweeps is None or host.sweeps <= self.sweeps:
            return self
        return replace(
            self,
            count=self.count + host.sweeps - self.sweeps,
            last_position=host.sweep_position,
            last_observed_at=host.swept_at,
            sweeps=host.sweeps,
        )


class History:
    """The open runs, as a fold over facts; what is closed goes to whoever keeps it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        #: The open run of each VM on each stream.
        self.open: dict[tuple[InstanceId, str], Entry] = {}

    def apply(self, recorded: Recorded, changes: Sequence[Change], *, before: Host) -> Iterator[Entry]:
        """Give the entries that one record adds or changes; one of the same place replaces the one before.

        `before` is the host as it was before this record: a run that ends here was confirmed by the sweeps until then.
        """
        event = recorded.event
        if is_imported(recorded.stream):
            yield from told_entries(recorded)
        elif isinstance(event, OF_A_HOST) and observed_host(recorded.stream) is not None:
            if isinstance(event, GapOpened | ServiceStarted | ClockJumped):
                for key in [key for key in self.open if key[1] == recorded.stream]:
                    yield self._close(key, before)
            yield _entry(recorded, None)
        elif isinstance(event, OF_AN_INSTANCE):
            yield _entry(recorded, event.instance)
        elif isinstance(event, InventoryRecorded):
            yield from self._leave(recorded.stream, before)
        for change in changes:
            key = (change.instance, change.stream)
            if isinstance(change.recorded.event, StateObserved) and not change.stale:
                yield from self._observed(key, change, change.recorded.event, before)
            elif not isinstance(change.recorded.event, InstanceNamed):
                if key in self.open:
                    yield self._close(key, before)
                yield _entry(change.recorded, change.instance, change)

    def _observed(
        self, key: tuple[InstanceId, str], change: Change, event: StateObserved, before: Host
    ) -> Iterator[Entry]:
        place = self._fleet.places[change.stream]
        # Only the sweeps of an inventory that lists the VM confirm what it said.
        counted = place.host.sweeps if event.state is not None and change.instance in place.order else None
        run = self.open.get(key)
        if run is not None and (run.state, run.reason) == (event.state, event.reason):
            run = run.through(before)
            self.open[key] = replace(
                run,
                count=run.count + 1,
                last_position=change.recorded.position,
                last_observed_at=event.observed_at,
                sweeps=counted,
            )
        else:
            if run is not None:
                yield self._close(key, before)
            self.open[key] = replace(
                _entry(change.recorded, change.instance, change),
                state=event.state,
                reason=event.reason,
                open=True,
                sweeps=counted,
            )
        yield self.open[key]

    def _leave(self, stream: str, before: Host) -> Iterator[Entry]:
        """Stop counting sweeps for the runs of VMs that the new inventory does not list."""
        listed = self._fleet.places[stream].order
        for key, run in self.open.items():
            if key[1] == stream and run.sweeps is not None and key[0] not in listed:
                self.open[key] = replace(run.through(before), sweeps=None)
                yield self.open[key]

    def _close(self, key: tuple[InstanceId, str], before: Host) -> Entry:
        return replace(self.open.pop(key).through(before), open=False, sweeps=None)


def digest(entries: Iterable[Entry], fleet: Fleet) -> str:
    """SHA-256 over entries of all VMs, with open runs counted up to where the fleet is."""
    counted = sorted(
        (entry.through(fleet.places[entry.stream].host) if entry.open else entry for entry in entries),
        key=lambda entry: entry.place,
    )
    return of_lines(map(line, counted))


def told_entries(recorded: Recorded) -> Iterator[Entry]:
    """The entries of what was imported, which is told as it is: each observation is one."""
    # What another log of ours had is of kinds by other names: nothing that looks for our own takes it for that.
    mark = imported.MARK if isinstance(recorded.event, FactImported) else ""
    for each in imported.told(recorded):
        event = each.event
        kind, state = f"{mark}{type(event).__name__}", imported.power_state(event)
        if isinstance(event, (HypervisorEvent, StateObserved, *OF_AN_INSTANCE)):
            yield replace(_entry(each, event.instance), kind=kind, power_state=state)
        elif isinstance(event, GapOpened):
            yield replace(_entry(each, None), kind=kind, observed_at=event.since)
        elif isinstance(event, OF_A_HOST):
            yield replace(_entry(each, None), kind=kind)


def _entry(recorded: Recorded, instance: InstanceId | None, change: Change | None = None) -> Entry:
    return Entry(
        instance=instance,
        stream=recorded.stream,
        position=recorded.position,
        index=recorded.index,
        kind=type(recorded.event).__name__,
        observed_at=recorded.event.observed_at,
        recorded_at=recorded.recorded_at,
        power_state=change.after.power_state if change else None,
        changed=change is not None and change.after.power_state != change.before.power_state,
        stale=change is not None and change.stale,
        last_position=recorded.position,
        last_observed_at=recorded.event.observed_at,
    )
