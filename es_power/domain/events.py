"""The facts that were seen, heard and said: immutable, in the past tense, kept as they came.

Rules of this file:
1. An event says what was seen or asked or said, never what follows from it; folds derive that.
2. Raw libvirt numbers are kept; `libvirt_numbers` names them when they are read.
3. `observed_at` is the time at the source. The log adds `recorded_at`, the stream, the version and the position
   (`Recorded`). No time here is ever compared to order facts: order is the position and, at the source,
   (`connection`, `number`).
4. Where a VM was seen is said by the stream (`streams.observed_host`), once, and not by every event.
5. A field is added at the end and with a default; anything else needs a new schema version in `log/codec.py`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, NewType
from uuid import UUID

from es_power.domain.libvirt_numbers import TRANSITIONS
from es_power.domain.states import PowerState, Transition, VmState
from es_power.domain.time import Timestamp, require_timestamp

InstanceId = NewType("InstanceId", UUID)
"""libvirt's UUID of a VM, which is also Nova's instance uuid."""

Position = NewType("Position", int)
"""A record's place in the log: 1, 2, 3 ... without a gap, in the order of commits."""

START: Final = Position(0)
"""Before the first record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text that may be personal or hostile: its id in the label table, and its salted hash.

    The text itself is never in a record, so it can be forgotten while the record's hash stays true.
    """

    id: int
    digest: bytes


# ---------------------------------------------------------------------------------------------------- roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, with the time at its source."""

    #: The fields that hold times, for the check at construction.
    times: ClassVar[tuple[str, ...]] = ("observed_at",)

    observed_at: Timestamp

    def __post_init__(self) -> None:
        for name in self.times:
            require_timestamp(getattr(self, name), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEvent(Event):
    """Something that happened to one instance."""

    instance: InstanceId


# ------------------------------------------------------------------------------------------ the service itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted(Event):
    """An observer took over its stream: the start of an epoch."""

    #: 1 for the first service that ever wrote this stream, then rising by one.
    epoch: int
    #: Who holds the lease: host name and process id, for people.
    holder: str
    version: str
    uri: str
    #: virConnectGetHostname and the driver of the URI, which together name the stream.
    host: str
    driver: str
    boot_id: UUID | None = None
    #: Whether the kernel called the clock synchronised (adjtimex); None where it could not be asked.
    clock_synchronised: bool | None = None
    #: By how much the clock was still to be corrected, and by how much it was wrong at most, in nanoseconds; None where
    #: nothing synchronised it, so that nobody could say.
    clock_offset: int | None = None
    clock_error: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopped(Event):
    """The observer ended in good order; what happens after this nobody sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsRecorded(Event):
    """Every setting that bears on what this stream's facts mean or lead to."""

    #: Seconds between sweeps; a state older than two of these reads UNKNOWN.
    spacing: float
    #: The policy of vouched instances, by name, and its version.
    policy: str
    policy_version: int
    mode: str = "dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock was set: it reads `observed_at`, and should read `expected` by the time that had passed.

    Times of one host that stand on either side of it in the log are by two clocks.
    """

    times: ClassVar[tuple[str, ...]] = ("observed_at", "expected", "looked_at")

    expected: Timestamp
    #: When it was looked at last, by what it read then. After a restart that is when the last service saw the host, and
    #: `expected` is the same: by how much it was set back at least.
    looked_at: Timestamp

    @property
    def by(self) -> int:
        """By how many nanoseconds it was set: forward, or back where it is negative."""
        return self.observed_at - self.expected


# -------------------------------------------------------------------------------------- what libvirt announced


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorEvent(InstanceEvent):
    """An event that libvirt delivered about one VM; libvirt gives it no time, so the callback took one."""

    #: The stream version at which the connection was opened: later connections have larger ones.
    connection: int
    #: Given by the callback: 1, 2, 3 ... in the order of delivery on its connection.
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent(HypervisorEvent):
    """A virDomainEventLifecycle: event and detail as libvirt's raw numbers."""

    event: int
    detail: int

    @property
    def transition(self) -> Transition | None:
        """What it announces; None where it announces nothing about power (defined, undefined, shutting down)."""
        return TRANSITIONS.get(self.event)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootReported(HypervisorEvent):
    """The guest rebooted (VIR_DOMAIN_EVENT_ID_REBOOT); no lifecycle event says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlErrorReported(HypervisorEvent):
    """libvirt lost control of the VM, or its start failed (VIR_DOMAIN_EVENT_ID_CONTROL_ERROR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogReported(HypervisorEvent):
    """The guest's watchdog fired (VIR_DOMAIN_EVENT_ID_WATCHDOG)."""

    action: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IOErrorReported(HypervisorEvent):
    """A disk of the VM failed (VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON); paths are not kept."""

    action: int
    #: libvirt's word: ``enospc``, ``eother`` or empty.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerManagementReported(HypervisorEvent):
    """The guest went to sleep or woke (VIR_DOMAIN_EVENT_ID_PMSUSPEND, PMSUSPEND_DISK, PMWAKEUP)."""

    #: The event id, which says which of the three.
    event_id: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFailureReported(HypervisorEvent):
    """The VM's memory failed (VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE)."""

    recipient: int
    action: int
    flags: int


# ------------------------------------------------------------------------------------------- what was asked for


class Trigger(StrEnum):
    """Why the hypervisor was asked."""

    EVENT = "event"
    SWEEP = "sweep"
    #: The VM was in the inventory, and the bulk call did not list it.
    MISSING = "missing"
    #: A person's record of the VM changed.
    RECORD = "record"
    #: The last look before an act.
    LOOK = "look"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateObserved(InstanceEvent):
    """`get_info` of one VM answered; `observed_at` is when the answer came."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "asked_at")

    asked_at: Timestamp
    #: virDomainState and its reason; both None where libvirt does not know the UUID.
    state: int | None
    reason: int | None
    trigger: Trigger
    #: The connection asked, and the highest event number it had handed out when the question was asked.
    connection: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceNamed(InstanceEvent):
    """The name that libvirt gives a UUID was seen for the first time, or changed."""

    name: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRecorded(Event):
    """All VMs that the host knows, in the order that the sweeps after it refer to."""

    instances: tuple[InstanceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSwept(Event):
    """One bulk answer about all VMs of the inventory; `observed_at` is when it came."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "asked_at")

    asked_at: Timestamp
    #: Version, in the same stream, of the InventoryRecorded that gives the order.
    inventory: int
    connection: int
    number: int
    #: Two bytes for each VM in that order: virDomainState and reason; 255, 255 where `odd` has them.
    states: bytes
    #: (index, state, reason) of the answers that do not fit in bytes.
    odd: tuple[tuple[int, int, int], ...] = ()
    boot_id: UUID | None = None
    #: The clock as in ServiceStarted.
    clock_synchronised: bool | None = None
    clock_offset: int | None = None
    clock_error: int | None = None

    def answer(self, index: int, instance: InstanceId) -> StateObserved:
        """Read one VM's part; `instance` is the one at `index` in the inventory."""
        state, reason = self.states[2 * index], self.states[2 * index + 1]
        for place, odd_state, odd_reason in self.odd:
            if place == index:
                state, reason = odd_state, odd_reason
        return StateObserved(
            observed_at=self.observed_at,
            instance=instance,
            asked_at=self.asked_at,
            state=state,
            reason=reason,
            trigger=Trigger.SWEEP,
            connection=self.connection,
            number=self.number,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCountDiffered(Event):
    """A sweep found another number of VMs than there are records for this host, of which Nova warns too."""

    found: int
    records: int


# --------------------------------------------------------------------------------------------------- blind time


class GapReason(StrEnum):
    """Why nothing could be seen."""

    CONNECTION_LOST = "connection lost"
    #: The daemon held the connection but did not answer.
    KEEPALIVE = "keepalive"
    #: Events came faster than they could be stored, and some were dropped.
    OVERFLOW = "overflow"
    CRASH = "crash"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapOpened(Event):
    """From `since` on nobody sees this host."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "since")

    since: Timestamp
    reason: GapReason


@dataclass(frozen=True, slots=True, kw_only=True)
class GapClosed(Event):
    """The host is seen again from `observed_at` on; the sweep in the same append says what is found."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "since")

    #: Since when nobody saw it, by the clock that gives `observed_at`: where that was set meanwhile, another time than
    #: GapOpened has.
    since: Timestamp
    reason: GapReason
    #: How many events were lost, where that is known.
    lost: int | None = None


# ------------------------------------------------------------------------------------- what others vouch for


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordObserved(InstanceEvent):
    """Nova's record of an instance; `observed_at` is when the answer came."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "asked_at")

    asked_at: Timestamp
    vm_state: VmState
    task_state: str | None
    power_state: PowerState
    #: Nova's host of record (OS-EXT-SRV-ATTR:host); None where it has none.
    host: str | None
    #: Up to where the asker had read the log when it asked: what stands there was known before the answer.
    after: Position = START
    #: The hypervisor's own name of that host (OS-EXT-SRV-ATTR:hypervisor_hostname), which libvirt gives it.
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNotFound(InstanceEvent):
    """Nova was asked for an instance and does not know it (any more): it vouches for it no longer."""

    times: ClassVar[tuple[str, ...]] = ("observed_at", "asked_at")

    asked_at: Timestamp
    after: Position = START


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaStopObserved(InstanceEvent):
    """Nova's own history shows a stop of the instance (os-instance-actions); `observed_at` is when it began.

    Nova's power sync leaves neither user nor project (seen with Nova 34.0.0).
    """

    request_id: str
    by_nova_itself: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDeclared(InstanceEvent):
    """A person vouches for an instance: this is what it is meant to be."""

    vm_state: VmState
    task_state: str | None
    by: Label
    why: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCleared(InstanceEvent):
    """A person's record of an instance ends; nobody vouches for it any more."""

    by: Label
    why: Label


# ----------------------------------------------------------------------------------------------- in the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event where the log put it."""

    position: Position
    stream: str
    #: 1 for the first record of the stream.
    version: int
    recorded_at: Timestamp
    event: Event
    #: The place inside a sweep, where this is one VM's part of it.
    index: int | None = None
