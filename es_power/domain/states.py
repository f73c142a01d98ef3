"""The field's words: Nova's power_state and vm_state, and the transitions of its lifecycle events."""

from enum import StrEnum
from typing import Final


class PowerState(StrEnum):
    """What the hypervisor says of an instance (nova/compute/power_state.py); named by constant."""

    #: Not known to the hypervisor. Not the same as "nobody could ask": see UNKNOWN below.
    NOSTATE = "NOSTATE"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    SHUTDOWN = "SHUTDOWN"
    CRASHED = "CRASHED"
    #: Suspended by the guest's own power management, not paused by the hypervisor.
    SUSPENDED = "SUSPENDED"

    @property
    def number(self) -> int:
        """The number that Nova's API and database use."""
        return _NUMBERS[self]

    @property
    def is_on(self) -> bool:
        """Whether a guest in this state holds its memory: it runs, or would go on where it stood."""
        return self in _ON


_NUMBERS: Final = {
    PowerState.NOSTATE: 0,
    PowerState.RUNNING: 1,
    PowerState.PAUSED: 3,
    PowerState.SHUTDOWN: 4,
    PowerState.CRASHED: 6,
    PowerState.SUSPENDED: 7,
}
_ON: Final = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED})

UNKNOWN: Final = "UNKNOWN"
"""Shown instead of a power_state while nobody can say: blind time, or a state that is too old. Never stored."""


class VmState(StrEnum):
    """What Nova's database says of an instance (nova/compute/vm_states.py)."""

    ACTIVE = "active"
    BUILDING = "building"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    RESCUED = "rescued"
    RESIZED = "resized"
    SOFT_DELETED = "soft-delete"
    DELETED = "deleted"
    ERROR = "error"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"


class Transition(StrEnum):
    """What a lifecycle event announces (nova/virt/event.py)."""

    STARTED = "STARTED"
    STOPPED = "STOPPED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    SUSPENDED = "SUSPENDED"
    CRASHED = "CRASHED"

    @property
    def power_state(self) -> PowerState:
        """The power_state it leaves, until an observation confirms or corrects it."""
        return _AFTER[self]


_AFTER: Final = {
    Transition.STARTED: PowerState.RUNNING,
    Transition.STOPPED: PowerState.SHUTDOWN,
    Transition.PAUSED: PowerState.PAUSED,
    Transition.RESUMED: PowerState.RUNNING,
    Transition.SUSPENDED: PowerState.SUSPENDED,
    Transition.CRASHED: PowerState.CRASHED,
}
