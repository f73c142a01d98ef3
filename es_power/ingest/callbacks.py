"""What libvirt's thread runs for each event: take the numbers and the time, number the event, no more.

No question goes to libvirt from here (the answer would come over the thread that waits for it), nothing is logged,
nothing waits. Not even trio is woken, since that writes to a socket, nor is the VM's name read, since libvirt's client
does so in C: both let go of the interpreter, and another thread may keep it for milliseconds; the 99th percentile of a
callback that did so was 100 to 800 us. So a callback puts what it was given aside, and libvirt's loop calls `hand_over`
when the callbacks are done, on the same thread: no lock is needed, and no libvirt object leaves it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
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


class _Delivered(NamedTuple):
    kind: type[HypervisorEvent]
    observed_at: Timestamp
    vm: LocalDomain
    number: int
    details: dict[str, int | str]


class EventCallbacks:
    """The callbacks of one connection, one for each kind of event; one thread calls them all, and `hand_over`."""

    def __init__(
        self,
        *,
        connection: int,
        announce: Callable[[Announcement], None],
        clock: Clock,
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        """`call_soon` has libvirt's loop call a function after this round."""
        self._connection = connection
        self._announce = announce
        self._clock = clock
        self._call_soon = call_soon
        self._aside: list[_Delivered] = []
        #: The number of the latest event; any thread may read it.
        self.highest_number = 0

    def by_event_id(self) -> Mapping[int, Callable[..., None]]:
        """Which callback serves which virDomainEventID; each is last given the id."""
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

    def hand_over(self) -> None:
        """Announce what the callbacks put aside, in their order."""
        aside, self._aside = self._aside, []
        for kind, observed_at, vm, number, details in aside:
            event: Any = kind  # each kind has the fields that its callback names
            self._announce(
                Announcement(
                    event(
                        observed_at=observed_at,
                        instance=InstanceId(UUID(bytes=vm.UUID())),
                        connection=self._connection,
                        number=number,
                        **details,
                    ),
                    vm.name(),
                )
            )

    def _put_aside(self, kind: type[HypervisorEvent], vm: LocalDomain, **details: int | str) -> None:
        self.highest_number += 1
        self._aside.append(_Delivered(kind, self._clock(), vm, self.highest_number, details))
        if len(self._aside) == 1:
            self._call_soon(self.hand_over)

    def _lifecycle(self, _: object, vm: LocalDomain, event: int, detail: int, __: object) -> None:
        self._put_aside(LifecycleEvent, vm, event=event, detail=detail)

    def _reboot(self, _: object, vm: LocalDomain, __: object) -> None:
        self._put_aside(RebootReported, vm)

    def _control_error(self, _: object, vm: LocalDomain, __: object) -> None:
        self._put_aside(ControlErrorReported, vm)

    def _watchdog(self, _: object, vm: LocalDomain, action: int, __: object) -> None:
        self._put_aside(WatchdogReported, vm, action=action)

    def _io_error(
        self, _: object, vm: LocalDomain, _path: str, _disk: str, action: int, reason: str, __: object
    ) -> None:
        self._put_aside(IOErrorReported, vm, action=action, reason=reason or "")

    def _power_management(self, _: object, vm: LocalDomain, reason: int, event_id: int) -> None:
        self._put_aside(PowerManagementReported, vm, event_id=event_id, reason=reason)

    def _memory_failure(self, _: object, vm: LocalDomain, recipient: int, action: int, flags: int, __: object) -> None:
        self._put_aside(MemoryFailureReported, vm, recipient=recipient, action=action, flags=flags)
