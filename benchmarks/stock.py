"""eventsourcing as it comes: the same facts as events of its own, written and read by its own path."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, DomainEvent, event
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, Mapper, UUIDAsHex
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from es_power.domain import events as ours
from es_power.domain.time import moment

SECTION = 500
"""Notifications a select: what eventsourcing's own subscriptions ask for at a time."""


@dataclass(frozen=True)
class LifecycleEvent(DomainEvent):
    """Ours in its words: a stream for each VM, so that the host is said in every event."""

    host: str
    connection: int
    number: int
    event: int
    detail: int


class VirtualMachine(Aggregate):
    """A VM whose lifecycle events are its history."""

    @event("Defined")
    def __init__(self, host: str) -> None:
        self.host = host
        self.last = 0

    @event("Announced")
    def announce(self, connection: int, number: int, event: int, detail: int) -> None:  # noqa: ARG002
        self.last = event


class StockApplication:
    """Its Application on its SQLite recorder, nothing set but the file's name."""

    def __init__(self, path: Path, vms: int) -> None:
        self._application: Application[UUID] = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
        )
        self._vms = [VirtualMachine(host="compute-0000") for _ in range(vms)]
        self._application.save(*self._vms)
        self._number = 0

    def save_one_by_one(self, events: int) -> None:
        """Each event in a save, that is a transaction, of its own."""
        for _ in range(events):
            self._number += 1
            vm = self._vms[self._number % len(self._vms)]
            vm.announce(connection=1, number=self._number, event=3, detail=0)
            self._application.save(vm)

    def close(self) -> None:
        self._application.close()


class StockRepository:
    """Its Application, asked about VMs that have some events each."""

    def __init__(self, path: Path, vms: int, events: int) -> None:
        self._application: Application[UUID] = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
        )
        self.vms: list[UUID] = []
        for _ in range(vms):
            vm = VirtualMachine(host="compute-0000")
            for number in range(1, events):
                vm.announce(connection=1, number=number, event=3, detail=0)
            self._application.save(vm)
            self.vms.append(vm.id)

    def state(self, vm: UUID) -> int:
        """What one VM's last event left it at, by the repository."""
        found: VirtualMachine = self._application.repository.get(vm)
        return found.last

    def page(self, vm: UUID) -> int:
        """The newest hundred of one VM's events; how many there are."""
        return len(list(self._application.events.get(vm, desc=True, limit=100)))

    def as_of(self, at: datetime) -> int:
        """Each VM as its events up to a time left it, which its repository takes no time for; how many there are."""
        folded = {vm: self._fold(vm, at) for vm in self.vms}
        return sum(each is not None for each in folded.values())

    def _fold(self, vm: UUID, at: datetime) -> VirtualMachine | None:
        found: Any = None
        for each in self._application.events.get(vm):
            if each.timestamp > at:
                break
            found = each.mutate(found)
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        self._application.close()


class StockLog:
    """Lifecycle events behind its recorder, mapper and transcoder."""

    def __init__(self, path: Path) -> None:
        transcoder = JSONTranscoder()
        for transcoding in (UUIDAsHex(), DatetimeAsISO(), DecimalAsStr()):
            transcoder.register(transcoding)
        self._mapper: Mapper[UUID] = Mapper(transcoder)
        self._datastore = SQLiteDatastore(str(path))
        self._recorder = SQLiteApplicationRecorder(self._datastore)
        self._recorder.create_table()
        self._versions: dict[UUID, int] = {}

    def write(self, facts: Iterable[tuple[str, ours.LifecycleEvent]]) -> None:
        """Store (host, event) pairs."""
        self._recorder.insert_events([self._mapper.to_stored_event(self._event(*fact)) for fact in facts])

    def _event(self, host: str, fact: ours.LifecycleEvent) -> LifecycleEvent:
        version = self._versions[fact.instance] = self._versions.get(fact.instance, 0) + 1
        return LifecycleEvent(
            originator_id=fact.instance,
            originator_version=version,
            timestamp=moment(fact.observed_at),
            host=host,
            connection=fact.connection,
            number=fact.number,
            event=fact.event,
            detail=fact.detail,
        )

    def replay(self) -> dict[UUID, tuple[str, datetime, int, int]]:
        """Fold all into a dict: what the VM's last event left it at, when, and where."""
        power_states: dict[int, Any] = {2: "RUNNING", 3: "PAUSED", 4: "RUNNING", 5: "SHUTDOWN"}
        view: dict[UUID, tuple[str, datetime, int, int]] = {}
        after = 0
        while notifications := self._recorder.select_notifications(after + 1, SECTION):
            for notification in notifications:
                event: Any = self._mapper.to_domain_event(notification)
                view[event.originator_id] = (
                    power_states[event.event],
                    event.timestamp,
                    event.connection,
                    event.number,
                )
            after = int(notifications[-1].id)
        return view

    def close(self) -> None:
        self._datastore.close()


def default_synchronous(path: Path) -> str:
    """How SQLite syncs where nobody says: eventsourcing does not."""
    connection = sqlite3.connect(path)
    try:
        level = connection.execute("PRAGMA synchronous").fetchone()[0]
    finally:
        connection.close()
    return {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}[level]
