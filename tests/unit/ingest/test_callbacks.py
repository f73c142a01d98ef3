"""What libvirt's thread copies, for each kind of event."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

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
from es_power.domain.time import Timestamp
from es_power.ingest.callbacks import EventCallbacks
from es_power.ingest.hypervisor import Announcement

VM_ID = InstanceId(UUID("6695eb01-f6a4-8304-79aa-97f2502e193f"))


class Vm:
    def name(self) -> str:
        return "web"

    def UUID(self) -> bytes:  # noqa: N802
        return VM_ID.bytes


class Rig:
    """Callbacks, and a loop that has not gone into its next round yet."""

    def __init__(self) -> None:
        self.announced: list[Announcement] = []
        self.rounds: list[Callable[[], None]] = []
        self.callbacks = EventCallbacks(
            connection=7, announce=self.announced.append, clock=lambda: Timestamp(5), call_soon=self.rounds.append
        )

    def deliver(self, event_id: int, *arguments: object) -> None:
        self.callbacks.by_event_id()[event_id]("connection", Vm(), *arguments, event_id)


ORIGIN: Any = {"observed_at": Timestamp(5), "instance": VM_ID, "connection": 7, "number": 1}


@pytest.mark.parametrize(
    ("event_id", "arguments", "event"),
    [
        (0, (5, 1), LifecycleEvent(**ORIGIN, event=5, detail=1)),
        (1, (), RebootReported(**ORIGIN)),
        (7, (), ControlErrorReported(**ORIGIN)),
        (3, (3,), WatchdogReported(**ORIGIN, action=3)),
        (6, ("/secret/disk", "virtio0", 1, "enospc"), IOErrorReported(**ORIGIN, action=1, reason="enospc")),
        (6, ("/secret/disk", "virtio0", 1, None), IOErrorReported(**ORIGIN, action=1, reason="")),
        (12, (0,), PowerManagementReported(**ORIGIN, event_id=12, reason=0)),
        (14, (0,), PowerManagementReported(**ORIGIN, event_id=14, reason=0)),
        (11, (0,), PowerManagementReported(**ORIGIN, event_id=11, reason=0)),
        (25, (0, 2, 1), MemoryFailureReported(**ORIGIN, recipient=0, action=2, flags=1)),
    ],
)
def test_each_kind_of_event_is_copied_as_it_came(
    event_id: int, arguments: tuple[object, ...], event: HypervisorEvent
) -> None:
    rig = Rig()

    rig.deliver(event_id, *arguments)
    rig.rounds[0]()

    assert rig.announced == [Announcement(event, "web")]


def test_numbers_rise_over_all_kinds_at_once_and_announcements_come_in_the_next_round() -> None:
    rig = Rig()
    assert rig.callbacks.highest_number == 0

    rig.deliver(0, 3, 0)
    rig.deliver(1)
    rig.deliver(0, 5, 0)

    assert rig.callbacks.highest_number == 3
    assert rig.announced == []
    assert len(rig.rounds) == 1
    rig.rounds[0]()
    assert [announcement.event.number for announcement in rig.announced] == [1, 2, 3]

    rig.deliver(1)

    assert len(rig.rounds) == 2
