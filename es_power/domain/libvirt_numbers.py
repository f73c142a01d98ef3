"""libvirt's numbers and their names, from the 9.0 headers; raw numbers are stored, names are looked up when read.

The libvirt module's own constants are those of the library it was built with, so they would change the reading of an
old log. A number that is not in these tables is shown as ``unknown(N)`` and means nothing to a rule.
Sources: virDomainEventType and its detail enums, virDomainState and its reason enums (libvirt-domain.h).
"""

from collections.abc import Mapping
from typing import Final

from es_power.domain.states import PowerState, Transition

EVENTS: Final[Mapping[int, tuple[str, Mapping[int, str]]]] = {
    0: (
        "DEFINED",
        {0: "ADDED", 1: "UPDATED", 2: "RENAMED", 3: "FROM_SNAPSHOT"},
    ),
    1: (
        "UNDEFINED",
        {0: "REMOVED", 1: "RENAMED"},
    ),
    2: (
        "STARTED",
        {0: "BOOTED", 1: "MIGRATED", 2: "RESTORED", 3: "FROM_SNAPSHOT", 4: "WAKEUP"},
    ),
    3: (
        "SUSPENDED",
        {
            0: "PAUSED",
            1: "MIGRATED",
            2: "IOERROR",
            3: "WATCHDOG",
            4: "RESTORED",
            5: "FROM_SNAPSHOT",
            6: "API_ERROR",
            7: "POSTCOPY",
            8: "POSTCOPY_FAILED",
        },
    ),
    4: (
        "RESUMED",
        {0: "UNPAUSED", 1: "MIGRATED", 2: "FROM_SNAPSHOT", 3: "POSTCOPY", 4: "POSTCOPY_FAILED"},
    ),
    5: (
        "STOPPED",
        {0: "SHUTDOWN", 1: "DESTROYED", 2: "CRASHED", 3: "MIGRATED", 4: "SAVED", 5: "FAILED", 6: "FROM_SNAPSHOT"},
    ),
    6: (
        "SHUTDOWN",
        {0: "FINISHED", 1: "GUEST", 2: "HOST"},
    ),
    7: (
        "PMSUSPENDED",
        {0: "MEMORY", 1: "DISK"},
    ),
    8: (
        "CRASHED",
        {0: "PANICKED", 1: "CRASHLOADED"},
    ),
}
"""Lifecycle event number: its name, and the names of its details."""

STATES: Final[Mapping[int, tuple[str, Mapping[int, str]]]] = {
    0: (
        "NOSTATE",
        {0: "UNKNOWN"},
    ),
    1: (
        "RUNNING",
        {
            0: "UNKNOWN",
            1: "BOOTED",
            2: "MIGRATED",
            3: "RESTORED",
            4: "FROM_SNAPSHOT",
            5: "UNPAUSED",
            6: "MIGRATION_CANCELED",
            7: "SAVE_CANCELED",
            8: "WAKEUP",
            9: "CRASHED",
            10: "POSTCOPY",
            11: "POSTCOPY_FAILED",
        },
    ),
    2: (
        "BLOCKED",
        {0: "UNKNOWN"},
    ),
    3: (
        "PAUSED",
        {
            0: "UNKNOWN",
            1: "USER",
            2: "MIGRATION",
            3: "SAVE",
            4: "DUMP",
            5: "IOERROR",
            6: "WATCHDOG",
            7: "FROM_SNAPSHOT",
            8: "SHUTTING_DOWN",
            9: "SNAPSHOT",
            10: "CRASHED",
            11: "STARTING_UP",
            12: "POSTCOPY",
            13: "POSTCOPY_FAILED",
        },
    ),
    4: (
        "SHUTDOWN",
        {0: "UNKNOWN", 1: "USER"},
    ),
    5: (
        "SHUTOFF",
        {
            0: "UNKNOWN",
            1: "SHUTDOWN",
            2: "DESTROYED",
            3: "CRASHED",
            4: "MIGRATED",
            5: "SAVED",
            6: "FAILED",
            7: "FROM_SNAPSHOT",
            8: "DAEMON",
        },
    ),
    6: (
        "CRASHED",
        {0: "UNKNOWN", 1: "PANICKED"},
    ),
    7: (
        "PMSUSPENDED",
        {0: "UNKNOWN"},
    ),
}
"""Domain state number: its name, and the names of its reasons."""

EVENT_IDS: Final[Mapping[str, int]] = {
    "LIFECYCLE": 0,
    "REBOOT": 1,
    "WATCHDOG": 3,
    "IO_ERROR": 4,
    "IO_ERROR_REASON": 6,
    "CONTROL_ERROR": 7,
    "PMWAKEUP": 11,
    "PMSUSPEND": 12,
    "PMSUSPEND_DISK": 14,
    "MEMORY_FAILURE": 25,
}
"""virDomainEventID of the events that bear on power."""

WATCHDOG_ACTIONS: Final[Mapping[int, str]] = {
    0: "NONE",
    1: "PAUSE",
    2: "RESET",
    3: "POWEROFF",
    4: "SHUTDOWN",
    5: "DEBUG",
    6: "INJECTNMI",
}
IO_ERROR_ACTIONS: Final[Mapping[int, str]] = {0: "NONE", 1: "PAUSE", 2: "REPORT"}
CLOSE_REASONS: Final[Mapping[int, str]] = {0: "ERROR", 1: "EOF", 2: "KEEPALIVE", 3: "CLIENT"}
"""virConnectCloseReason."""

_NO_NAMES: Final[tuple[str | None, Mapping[int, str]]] = (None, {})


def _name(names: Mapping[int, str], number: int) -> str:
    return names.get(number) or f"unknown({number})"


def event_name(event: int) -> str:
    """Name a lifecycle event: ``STOPPED``."""
    return EVENTS.get(event, _NO_NAMES)[0] or f"unknown({event})"


def detail_name(event: int, detail: int) -> str:
    """Name the detail of a lifecycle event: ``SHUTDOWN`` for (STOPPED, 0)."""
    return _name(EVENTS.get(event, _NO_NAMES)[1], detail)


def state_name(state: int) -> str:
    """Name a domain state: ``SHUTOFF``."""
    return STATES.get(state, _NO_NAMES)[0] or f"unknown({state})"


def reason_name(state: int, reason: int) -> str:
    """Name the reason of a domain state: ``CRASHED`` for (SHUTOFF, 3)."""
    return _name(STATES.get(state, _NO_NAMES)[1], reason)


POWER_STATES: Final[Mapping[int, PowerState]] = {
    0: PowerState.NOSTATE,
    1: PowerState.RUNNING,
    2: PowerState.RUNNING,
    3: PowerState.PAUSED,
    4: PowerState.SHUTDOWN,
    5: PowerState.SHUTDOWN,
    6: PowerState.CRASHED,
    7: PowerState.SUSPENDED,
}
"""Domain state to power_state (LIBVIRT_POWER_STATE in nova/virt/libvirt/guest.py); others say nothing."""

TRANSITIONS: Final[Mapping[int, Transition]] = {
    2: Transition.STARTED,
    3: Transition.PAUSED,
    4: Transition.RESUMED,
    5: Transition.STOPPED,
    7: Transition.SUSPENDED,
    8: Transition.CRASHED,
}
"""Lifecycle event to transition. Nova drops CRASHED and PMSUSPENDED; SHUTDOWN only announces STOPPED."""

STARTED: Final = 2
STOPPED: Final = 5
SHUTDOWN: Final = 6
"""It begins to shut down; the detail says from which side."""
STOPPED_MIGRATED: Final = (5, 3)
"""The last word of a host that a VM has left."""
SHUTOFF: Final = 5
"""virDomainState: no process of the VM is left."""

PAUSED_MIGRATION: Final = (3, 2)
"""How an observation of the host reads to which a VM is migrating, and of a source that waits for its end."""

SHUTOFF_MIGRATED: Final = (SHUTOFF, 4)
"""How an observation of a host that a VM has left reads."""
