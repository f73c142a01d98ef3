"""Logs to measure with, written through the log's own insert path, thousands of records a commit."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Final

from es_power.domain.events import (
    Event,
    HostSwept,
    InstanceId,
    InstanceNamed,
    InventoryRecorded,
    LifecycleEvent,
    ServiceStarted,
    SettingsRecorded,
    StateObserved,
    Trigger,
)
from es_power.domain.ports import Append, LabelText, Write
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.log.labels import make_label
from es_power.log.upgrade import ensure_schema
from es_power.testing.facts import T0, vm

SPACING: Final = 600

#: Start, suspend, resume, shut down: (event, detail) of libvirt, and (state, reason) after it.
LIFE: Final = (((2, 0), (1, 1)), ((3, 0), (3, 1)), ((4, 0), (1, 5)), ((5, 0), (5, 1)))

BETWEEN_CHANGES: Final = 1000
"""Observations of one VM between two changes of its state: a week, at 600 s."""

_GROUP: Final = 4_000


@dataclass(slots=True)
class HostStream:
    """One host's stream as its observer writes it."""

    name: str
    vms: tuple[InstanceId, ...]
    version: int = 0
    inventory: int = 0
    number: int = 0
    #: When it was started.
    since: Timestamp = T0

    def append(self, *events: Event, labels: Sequence[LabelText] = ()) -> Append:
        self.version += len(events)
        write = Write(stream=self.name, expected=self.version - len(events), events=events)
        return Append(writes=(write,), labels=labels)

    def start(self) -> Append:
        """Say who observes, and name all VMs."""
        self.inventory = self.version + 3
        named = [(instance, *make_label(f"vm-{instance.int % 2**32}")) for instance in self.vms]
        return self.append(
            ServiceStarted(
                observed_at=self.since,
                epoch=1,
                holder="bench",
                version="0",
                uri="test:///",
                host=self.name,
                driver="test",
            ),
            SettingsRecorded(observed_at=self.since, spacing=SPACING, policy="nova-2013", policy_version=1),
            InventoryRecorded(observed_at=self.since, instances=self.vms),
            *(InstanceNamed(observed_at=self.since, instance=instance, name=label) for instance, label, _ in named),
            labels=[text for _, _, text in named],
        )

    def announce(self, at: Timestamp, instance: InstanceId, event: int, detail: int) -> LifecycleEvent:
        self.number += 1
        return LifecycleEvent(
            observed_at=at, instance=instance, connection=1, number=self.number, event=event, detail=detail
        )

    def observe(self, at: Timestamp, instance: InstanceId, state: int, reason: int) -> StateObserved:
        return StateObserved(
            observed_at=at,
            instance=instance,
            asked_at=at,
            state=state,
            reason=reason,
            trigger=Trigger.EVENT,
            connection=1,
            number=self.number,
        )

    def sweep(self, at: Timestamp, states: bytes) -> HostSwept:
        return HostSwept(
            observed_at=at,
            asked_at=Timestamp(at - SECOND // 100),
            inventory=self.inventory,
            connection=1,
            number=self.number,
            states=states,
            boot_id=self.vms[0],
            clock_synchronised=True,
        )


def hosts(number: int, vms: int, *, since: Timestamp = T0) -> list[HostStream]:
    """Hosts with so many VMs each."""
    return [
        HostStream(observer(f"compute-{n:04d}", "test"), tuple(vm(n * vms + i) for i in range(vms)), since=since)
        for n in range(number)
    ]


def lifecycle(events: int, on: list[HostStream]) -> Iterator[Append]:
    """Events of all VMs in turn, as they come: one append each."""
    yield from (host.start() for host in on)
    numbers = count()
    while True:
        for (event, detail), _ in LIFE:
            for place in range(len(on[0].vms)):
                for host in on:
                    n = next(numbers)
                    if n == events:
                        return
                    at = Timestamp(host.since + n * SECOND // 100)
                    yield host.append(host.announce(at, host.vms[place], event, detail))


def sweeps(number: int, on: list[HostStream], *, between_changes: int | None = BETWEEN_CHANGES) -> Iterator[Append]:
    """So many sweeps of each host; a VM that changes has an event and an answer of its own before the next one."""
    chance = random.Random(1)
    states = [bytearray(b"\x01\x01" * len(host.vms)) for host in on]
    lives = {instance: 0 for host in on for instance in host.vms}
    yield from (host.start() for host in on)
    for n in range(number):
        at = Timestamp(T0 + n * SPACING * SECOND)
        for host, known in zip(on, states, strict=True):
            if between_changes and chance.random() < len(host.vms) / between_changes:
                place = chance.randrange(len(host.vms))
                instance = host.vms[place]
                lives[instance] = (lives[instance] + 1) % len(LIFE)
                (event, detail), (state, reason) = LIFE[lives[instance]]
                yield host.append(host.announce(at, instance, event, detail))
                yield host.append(host.observe(at, instance, state, reason))
                known[2 * place : 2 * place + 2] = bytes((state, reason))
            yield host.append(host.sweep(at, bytes(known)))


def write(path: Path, appends: Iterable[Append], *, group: int = _GROUP, in_time: bool = False) -> Path:
    """Make a log of these appends, so many in a commit; returns its path.

    Where it is `in_time`, a commit is recorded when its last fact was seen, so that its others come in a little late.
    """
    database = Database(path)
    ensure_schema(database)
    codec, ticks = Codec(), count(T0)
    rest, last = _watched(appends)
    appender = Appender(database, last if in_time else lambda: Timestamp(next(ticks)))
    while prepared := [prepare(append, codec) for append in islice(rest, group)]:
        for outcome in appender.commit(prepared):
            if isinstance(outcome, Exception):
                raise outcome
    database.close()
    return path


def _watched(appends: Iterable[Append]) -> tuple[Iterator[Append], Callable[[], Timestamp]]:
    """The same appends, and a clock that shows when the last fact of those that were taken was seen."""
    seen = Timestamp(0)

    def watching() -> Iterator[Append]:
        nonlocal seen
        for append in appends:
            seen = max(seen, append.writes[-1].events[-1].observed_at)
            yield append

    return watching(), lambda: seen
