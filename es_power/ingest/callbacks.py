"""What libvirt's thread runs for each event: copy numbers and the time, number the event, hand it over.

No question goes to libvirt from here (it would wait for the thread that it runs on), nothing is logged, nothing waits.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypedDict
from uuid import UUID

from es_power.domain.events import (
    ControlErrorReported,
    HypervisorEvent,
    InstanceId,
    IOErrorReported,
    LifecycleEvent,
    MemoryFailureReported,
    PowerManagementReported,
    RebootReported,
    WatchdogReported,
)
from es_power.domain.libvirt_numbers import EVENT_IDS
from es_power.domain.ports import Clock
from es_power.domain.time import Timestamp
from es_power.ingest.hypervisor import Announcement


class LocalDomain(Protocol):
    """The part of a libvirt domain object that is answered from memory, without asking the daemon."""

    def name(self) -> str:
        """Its name."""

    def UUID(self) -> bytes:  # noqa: N802  # libvirt's name
        """Its UUID."""


class _Origin(TypedDict):
    observed_at: Timestamp
    instance: InstanceId
    connection: int
    number: int


class EventCallbacks:
    """The callbacks of one connection, one for each kind of event; one thread calls them all."""

    def __init__(self, *, connection: int, announce: Callable[[Announcement], None], clock: Clock) -> None:
        self._connection = connection
        self._announce = announce
        self._clock = clock
        #: The number of the latest event; any thread may read it.
        self.highest_number = 0

    def by_event_id(self) -> Mapping[int, Callable[..., None]]:
        """Which callback serves which virDomainEventID; each takes the arguments libvirt-python gives that kind."""
        return {
            EVENT_IDS["LIFECYCLE"]: self._lifecycle,
            EVENT_IDS["REBOOT"]: self._reboot,
            EVENT_IDS["CONTROL_ERROR"]: self._control_error,
            EVENT_IDS["WATCHDOG"]: self._watchdog,
            EVENT_IDS["IO_ERROR_REASON"]: self._io_error,
            EVENT_IDS["PMSUSPEND"]: self._power_management,
            EVENT_IDS["PMSUSPEND_DISK"]: self._power_management,
            EVENT_IDS["PMWAKEUP"]: self._power_management,
            EVENT_IDS["MEMORY_FAILURE"]: self._memory_failure,
        }

    def _origin(self, vm: LocalDomain) -> _Origin:
        self.highest_number += 1
        return {
            "observed_at": self._clock(),
            "instance": InstanceId(UUID(bytes=vm.UUID())),
            "connection": self._connection,
            "number": self.highest_number,
        }

    def _hand_over(self, event: HypervisorEvent, vm: LocalDomain) -> None:
        self._announce(Announcement(event, vm.name()))

    def _lifecycle(self, _: object, vm: LocalDomain, event: int, detail: int, __: object) -> None:
        self._hand_over(LifecycleEvent(**self._origin(vm), event=event, detail=detail), vm)

    def _reboot(self, _: object, vm: LocalDomain, __: object) -> None:
        self._hand_over(RebootReported(**self._origin(vm)), vm)

    def _control_error(self, _: object, vm: LocalDomain, __: object) -> None:
        self._hand_over(ControlErrorReported(**self._origin(vm)), vm)

    def _watchdog(self, _: object, vm: LocalDomain, action: int, __: object) -> None:
        self._hand_over(WatchdogReported(**self._origin(vm), action=action), vm)

    def _io_error(
        self, _: object, vm: LocalDomain, _path: str, _disk: str, action: int, reason: str, __: object
    ) -> None:
        self._hand_over(IOErrorReported(**self._origin(vm), action=action, reason=reason or ""), vm)

    def _power_management(self, _: object, vm: LocalDomain, reason: int, event_id: int) -> None:
        self._hand_over(PowerManagementReported(**self._origin(vm), event_id=event_id, reason=reason), vm)

    def _memory_failure(self, _: object, vm: LocalDomain, recipient: int, action: int, flags: int, __: object) -> None:
        self._hand_over(MemoryFailureReported(**self._origin(vm), recipient=recipient, action=action, flags=flags), vm)
