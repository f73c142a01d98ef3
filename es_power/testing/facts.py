"""Facts in a few words, for given/when/then tests: a log that is written line by line, in memory."""

from collections.abc import Iterable
from uuid import UUID

from es_power.domain.decisions import PlanningStarted, StopRequested, StopVerb
from es_power.domain.events import (
    Event,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    InventoryRecorded,
    Label,
    LifecycleEvent,
    Position,
    RecordCleared,
    RecordDeclared,
    Recorded,
    ServiceStarted,
    SettingsRecorded,
    StateObserved,
    Trigger,
)
from es_power.domain.states import VmState
from es_power.domain.streams import DECLARATIONS, observer, planner
from es_power.domain.time import SECOND, Timestamp

SOMEBODY = Label(id=1, digest=b"somebody")
"""A label for who and why, where a test does not care."""

T0 = Timestamp(1_800_000_000 * SECOND)
"""When a test's first fact happens; each later one a second after the one before."""


def vm(number: int) -> InstanceId:
    """The instance of that number: a UUID that is easy to recognise."""
    return InstanceId(UUID(int=(0xE5 << 120) | number))


def stop_requested(
    instance: InstanceId, command: UUID, *, observed_at: Timestamp = T0, host: str = "a"
) -> StopRequested:
    """A process manager's request, where a test does not care what led to it."""
    return StopRequested(
        observed_at=observed_at,
        instance=instance,
        command=command,
        host=host,
        policy="nova-2013",
        policy_version=1,
        rule="f",
        verb=StopVerb.STOP,
        reason="It should be stopped.",
        observation=Position(1),
        observation_index=None,
        record=Position(1),
    )


class Facts:
    """Writes facts as one or more observers would, and keeps them as the log would."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []
        self._versions: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        #: The inventory in force at each host, and its version.
        self._inventories: dict[str, tuple[tuple[InstanceId, ...], int]] = {}

    @property
    def now(self) -> Timestamp:
        """The time of the next fact."""
        return Timestamp(T0 + len(self.records) * SECOND)

    def record(self, stream: str, event: Event) -> Recorded:
        """Append any event to any stream."""
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        recorded = Recorded(
            position=Position(len(self.records) + 1),
            stream=stream,
            version=version,
            recorded_at=self.now,
            event=event,
        )
        self.records.append(recorded)
        return recorded

    def start(self, host: str = "a", *, policy: str = "nova-2013", planned: bool = True) -> Recorded:
        """An observer starts on a host, and (unless told otherwise) a process manager for it."""
        stream = observer(host, "qemu")
        self.record(
            stream,
            ServiceStarted(
                observed_at=self.now,
                epoch=1,
                holder="test",
                version="0",
                uri="qemu:///system",
                host=host,
                driver="qemu",
            ),
        )
        first = self.record(
            stream, SettingsRecorded(observed_at=self.now, spacing=600.0, policy=policy, policy_version=1)
        )
        if planned:
            self.record(planner(stream), PlanningStarted(observed_at=self.now, policy=policy, policy_version=1))
        return first

    def announce(self, instance: InstanceId, event: int, detail: int, host: str = "a") -> Recorded:
        """Libvirt delivers a lifecycle event, with the next number of its connection."""
        number = self._numbers[host] = self.number(host) + 1
        return self.record(
            observer(host, "qemu"),
            LifecycleEvent(
                observed_at=self.now, instance=instance, connection=1, number=number, event=event, detail=detail
            ),
        )

    def number(self, host: str = "a") -> int:
        """The highest event number that the host has handed out."""
        return self._numbers.get(host, 0)

    def observe(
        self,
        instance: InstanceId,
        state: int | None,
        reason: int | None = 0,
        host: str = "a",
        *,
        number: int | None = None,
    ) -> Recorded:
        """`get_info` answers; `number` is the highest event number when it was asked, now unless told otherwise."""
        return self.record(
            observer(host, "qemu"),
            StateObserved(
                observed_at=self.now,
                instance=instance,
                asked_at=self.now,
                state=state,
                reason=None if state is None else reason,
                trigger=Trigger.EVENT,
                connection=1,
                number=self.number(host) if number is None else number,
            ),
        )

    def sweep(
        self, states: dict[InstanceId, tuple[int, int]], host: str = "a", *, number: int | None = None
    ) -> Recorded:
        """One bulk answer; the inventory is recorded first where its members changed."""
        stream = observer(host, "qemu")
        members = tuple(sorted(states))
        if host not in self._inventories or self._inventories[host][0] != members:
            listed = self.record(stream, InventoryRecorded(observed_at=self.now, instances=members))
            self._inventories[host] = members, listed.version
        return self.record(
            stream,
            HostSwept(
                observed_at=self.now,
                asked_at=self.now,
                inventory=self._inventories[host][1],
                connection=1,
                number=self.number(host) if number is None else number,
                states=bytes(byte for member in members for byte in states[member]),
            ),
        )

    def gap(self, host: str = "a", reason: GapReason = GapReason.CONNECTION_LOST) -> Recorded:
        """Nobody sees the host from now on."""
        return self.record(observer(host, "qemu"), GapOpened(observed_at=self.now, since=self.now, reason=reason))

    def seen_again(self, host: str = "a") -> Recorded:
        """The host is seen again."""
        return self.record(
            observer(host, "qemu"),
            GapClosed(observed_at=self.now, since=self.now, reason=GapReason.CONNECTION_LOST),
        )

    def declare(self, instance: InstanceId, vm_state: VmState, task_state: str | None = None) -> Recorded:
        """A person vouches for an instance."""
        return self.record(
            DECLARATIONS,
            RecordDeclared(
                observed_at=self.now,
                instance=instance,
                vm_state=vm_state,
                task_state=task_state,
                by=SOMEBODY,
                why=SOMEBODY,
            ),
        )

    def clear(self, instance: InstanceId) -> Recorded:
        """Nobody vouches for it any more."""
        return self.record(
            DECLARATIONS, RecordCleared(observed_at=self.now, instance=instance, by=SOMEBODY, why=SOMEBODY)
        )

    def extend(self, stream: str, events: Iterable[Event]) -> None:
        """Append several events to one stream."""
        for event in events:
            self.record(stream, event)
