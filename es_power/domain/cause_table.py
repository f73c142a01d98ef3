"""The causes, and the table that tells one from another by what is known of a change.

Rules of this file:
1. What tells one cause from another stands in TABLE, and nowhere else; docs/how-to/why.md has it, written from here.
2. A row rests on *signs*, one for each kind of fact (`causes.signs`): ``event STOPPED (SHUTDOWN)`` is what libvirt
   announced, ``observed SHUTOFF (CRASHED)`` what it answered, ``log: reason=crashed`` what it wrote.
3. The first row of which every part is met by a sign gives the cause, so whatever must not be taken for something else
   comes before it.
4. Where libvirt cannot tell two causes apart, neither does the table: it takes the likelier one and is less sure.

What real qemu 7.2 under libvirt 9.0 does, each of it seen: the end of a guest that powers off, crashes or is saved
comes with a signal of libvirt's own to qemu, since libvirt lets no qemu end by itself; a kill -9 leaves no line of a
signal. qemu names who sent one only while that process is still there: a `kill` is often gone by then.
"""

from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Cause(StrEnum):
    """Why; the names are KubeVirt's where it has one."""

    GUEST_SHUTDOWN = "GuestShutdown"
    PLATFORM_REQUESTED_SHUTDOWN = "PlatformRequestedShutdown"
    HOST_SHUTDOWN = "HostShutdown"
    HOST_KILLED = "HostKilled"
    GUEST_CRASHED = "GuestCrashed"
    QEMU_FAILED = "QemuFailed"
    HOST_DOWN = "HostDown"
    DESTROYED = "Destroyed"
    MIGRATED = "Migrated"
    SAVED = "Saved"
    IO_ERROR_PAUSE = "IOErrorPause"
    WATCHDOG_PAUSE = "WatchdogPause"
    PAUSED_BY_USER = "PausedByUser"
    SUSPENDED = "Suspended"
    UNKNOWN = "Unknown"


MEANINGS: Final[Mapping[Cause, str]] = MappingProxyType(
    {
        Cause.GUEST_SHUTDOWN: "The guest shut down in good order: by itself, or as an ACPI request told it.",
        Cause.PLATFORM_REQUESTED_SHUTDOWN: "es_power or Nova was asked to stop it, and did.",
        Cause.HOST_SHUTDOWN: "The host went down in good order, and told its guests to go before.",
        Cause.HOST_KILLED: "Not the guest and not libvirt: a process on the host ended qemu with a signal.",
        Cause.GUEST_CRASHED: "The guest's kernel panicked, or its watchdog was not fed.",
        Cause.QEMU_FAILED: "qemu died without a word: killed outright (kill -9, no memory), aborted, or not started.",
        Cause.HOST_DOWN: "The host went down under it: it was booted anew, and the VM was off afterwards.",
        Cause.DESTROYED: "Somebody had libvirt end it at once (virsh destroy), past es_power and Nova.",
        Cause.MIGRATED: "It went on running on another host.",
        Cause.SAVED: "Its memory was saved to a file, to go on from there.",
        Cause.IO_ERROR_PAUSE: "qemu paused it, since a disk failed or was full.",
        Cause.WATCHDOG_PAUSE: "qemu paused it, since the guest did not feed its watchdog.",
        Cause.PAUSED_BY_USER: "Somebody had libvirt pause it.",
        Cause.SUSPENDED: "The guest went to sleep by its own power management.",
        Cause.UNKNOWN: "Nothing in the log says why.",
    }
)


class Confidence(StrEnum):
    """How sure a verdict is."""

    #: Nothing else that is known leads to these facts.
    HIGH = "high"
    #: Something else could, but would have to be unusual.
    MEDIUM = "medium"
    #: It is the likeliest of several.
    LOW = "low"

    def lowered(self, steps: int) -> "Confidence":
        """So many steps less sure; there is nothing below low."""
        order = list(Confidence)
        return order[min(order.index(self) + steps, len(order) - 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """A cause, how sure it is, and the signs that it takes: each part is met by any of its signs."""

    cause: Cause
    confidence: Confidence
    parts: tuple[tuple[str, ...], ...]

    def fits(self, said: AbstractSet[str]) -> bool:
        """Whether every part of it is met."""
        return all(not said.isdisjoint(part) for part in self.parts)

    @property
    def is_announced(self) -> bool:
        """Whether it rests on what libvirt announced."""
        return any(sign.startswith("event ") for part in self.parts for sign in part)


def _row(cause: Cause, confidence: Confidence, *parts: str) -> Row:
    return Row(cause, confidence, tuple(tuple(part.split(" | ")) for part in parts))


_HIGH, _MEDIUM, _LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW

# Of these signs two come from more than one fact:
#   host booted anew        a record of the host bears another boot id than those before, and the VM was off afterwards
#   other guests told to go most of the host's other guests shut down within the ten minutes before it was gone
#   on elsewhere            another host showed the VM on at that moment
#   log: no end             libvirt's log of the VM was read beyond the moment, and has no end of qemu in it
TABLE: Final[tuple[Row, ...]] = (
    # What libvirt announced of a stop. A host that shuts down kills, destroys or asks its guests, so it comes first.
    _row(
        Cause.HOST_SHUTDOWN,
        _HIGH,
        "event STOPPED (SHUTDOWN) | event STOPPED (DESTROYED)",
        "host booted anew",
        "other guests told to go",
    ),
    _row(Cause.SAVED, _HIGH, "event STOPPED (SAVED)"),
    _row(Cause.MIGRATED, _HIGH, "event STOPPED (MIGRATED)"),
    _row(
        Cause.GUEST_CRASHED, _HIGH, "event STOPPED (CRASHED)", "event CRASHED (PANICKED) | event CRASHED (CRASHLOADED)"
    ),
    # A core dump that ends the guest: libvirt says CRASHED of it too.
    _row(Cause.DESTROYED, _MEDIUM, "event STOPPED (CRASHED)", "observed PAUSED (DUMP)"),
    _row(Cause.GUEST_CRASHED, _MEDIUM, "event STOPPED (CRASHED)"),
    _row(
        Cause.GUEST_CRASHED,
        _MEDIUM,
        "event STOPPED (SHUTDOWN) | event STOPPED (DESTROYED)",
        "event WATCHDOG (POWEROFF) | event WATCHDOG (SHUTDOWN)",
    ),
    _row(Cause.HOST_KILLED, _MEDIUM, "event STOPPED (FAILED)", "log: signal"),
    _row(Cause.QEMU_FAILED, _HIGH, "event STOPPED (FAILED)", "log: reason=crashed | log: reason=failed"),
    _row(Cause.QEMU_FAILED, _MEDIUM, "event STOPPED (FAILED)"),
    # No guest is ended from the host's side and then read SHUTDOWN by libvirt's own doing: that would be DESTROYED.
    # What is left is a signal, or `quit` to qemu's monitor, and the log's line tells those two apart.
    _row(Cause.HOST_KILLED, _HIGH, "event STOPPED (SHUTDOWN)", "event SHUTDOWN (HOST)", "log: signal"),
    _row(Cause.HOST_KILLED, _MEDIUM, "event STOPPED (SHUTDOWN)", "event SHUTDOWN (HOST)"),
    _row(
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        _HIGH,
        "event STOPPED (SHUTDOWN) | event STOPPED (DESTROYED)",
        "asked: es_power stops it | asked: Nova stops it",
    ),
    _row(
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        _MEDIUM,
        "event STOPPED (SHUTDOWN) | event STOPPED (DESTROYED)",
        "asked: Nova has a task that stops it",
    ),
    _row(Cause.DESTROYED, _HIGH, "event STOPPED (DESTROYED)"),
    _row(Cause.GUEST_SHUTDOWN, _MEDIUM, "event STOPPED (SHUTDOWN)", "event SHUTDOWN (GUEST)"),
    _row(Cause.HOST_KILLED, _MEDIUM, "event STOPPED (SHUTDOWN)", "log: signal by a named process"),
    _row(Cause.GUEST_SHUTDOWN, _LOW, "event STOPPED (SHUTDOWN)"),
    # It is still shutting down, or the event of its end is lost: libvirt answered instead.
    _row(
        Cause.HOST_KILLED,
        _MEDIUM,
        "event SHUTDOWN (HOST)",
        "observed SHUTOFF (SHUTDOWN)",
    ),
    _row(
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        _MEDIUM,
        "event SHUTDOWN (GUEST) | event SHUTDOWN (HOST)",
        "observed SHUTOFF (SHUTDOWN) | observed SHUTOFF (DESTROYED) | observed SHUTDOWN (UNKNOWN)",
        "asked: es_power stops it | asked: Nova stops it | asked: Nova has a task that stops it",
    ),
    _row(Cause.DESTROYED, _MEDIUM, "event SHUTDOWN (HOST)", "observed SHUTOFF (DESTROYED)"),
    _row(Cause.HOST_KILLED, _MEDIUM, "event SHUTDOWN (HOST)", "log: signal by a named process"),
    _row(
        Cause.GUEST_SHUTDOWN,
        _MEDIUM,
        "event SHUTDOWN (GUEST)",
        "observed SHUTOFF (SHUTDOWN) | observed SHUTDOWN (UNKNOWN) | observed SHUTDOWN (USER)",
    ),
    # What libvirt announced of a state in between.
    _row(Cause.GUEST_CRASHED, _HIGH, "event CRASHED (PANICKED) | event CRASHED (CRASHLOADED)"),
    _row(Cause.SUSPENDED, _HIGH, "event PMSUSPENDED (MEMORY) | event PMSUSPENDED (DISK)"),
    _row(Cause.IO_ERROR_PAUSE, _HIGH, "event SUSPENDED (IOERROR)"),
    _row(Cause.WATCHDOG_PAUSE, _HIGH, "event SUSPENDED (WATCHDOG)"),
    _row(Cause.MIGRATED, _HIGH, "event SUSPENDED (MIGRATED) | event SUSPENDED (POSTCOPY)"),
    _row(Cause.MIGRATED, _MEDIUM, "event SUSPENDED (POSTCOPY_FAILED)"),
    _row(Cause.SAVED, _MEDIUM, "event SUSPENDED (PAUSED)", "observed PAUSED (SAVE)"),
    _row(
        Cause.MIGRATED, _MEDIUM, "event SUSPENDED (PAUSED)", "observed PAUSED (MIGRATION) | observed PAUSED (POSTCOPY)"
    ),
    _row(
        Cause.IO_ERROR_PAUSE,
        _MEDIUM,
        "event SUSPENDED (PAUSED)",
        "observed PAUSED (IOERROR) | event IO_ERROR (PAUSE)",
    ),
    _row(
        Cause.WATCHDOG_PAUSE,
        _MEDIUM,
        "event SUSPENDED (PAUSED)",
        "observed PAUSED (WATCHDOG) | event WATCHDOG (PAUSE)",
    ),
    _row(Cause.PAUSED_BY_USER, _HIGH, "event SUSPENDED (PAUSED)", "observed PAUSED (USER)"),
    _row(
        Cause.PAUSED_BY_USER,
        _MEDIUM,
        "event SUSPENDED (PAUSED) | event SUSPENDED (RESTORED) | event SUSPENDED (FROM_SNAPSHOT)",
    ),
    _row(Cause.MIGRATED, _HIGH, "event STARTED (MIGRATED) | event RESUMED (MIGRATED) | event RESUMED (POSTCOPY)"),
    # Nothing was announced, but libvirt's log of the VM tells. In a guest that panicked libvirt ends qemu, with a line.
    _row(Cause.SAVED, _MEDIUM, "log: reason=saved"),
    _row(Cause.MIGRATED, _MEDIUM, "log: reason=migrated"),
    _row(
        Cause.HOST_SHUTDOWN,
        _MEDIUM,
        "log: reason=shutdown | log: reason=destroyed",
        "host booted anew",
        "other guests told to go",
    ),
    _row(
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        _MEDIUM,
        "log: reason=shutdown | log: reason=destroyed",
        "asked: es_power stops it | asked: Nova stops it",
    ),
    _row(
        Cause.HOST_KILLED,
        _MEDIUM,
        "log: reason=shutdown | log: reason=crashed | log: reason=failed",
        "log: signal by a named process",
    ),
    _row(Cause.DESTROYED, _MEDIUM, "log: reason=destroyed"),
    _row(Cause.GUEST_CRASHED, _MEDIUM, "log: reason=crashed", "log: signal by libvirt"),
    _row(Cause.QEMU_FAILED, _MEDIUM, "log: reason=crashed"),
    _row(Cause.QEMU_FAILED, _LOW, "log: reason=failed | log: reason=daemon"),
    _row(Cause.GUEST_SHUTDOWN, _MEDIUM, "log: reason=shutdown", "log: signal by libvirt"),
    _row(Cause.GUEST_SHUTDOWN, _LOW, "log: reason=shutdown"),
    # Nothing was announced and no log tells: the host was booted, or it is what libvirt says when it is asked.
    _row(Cause.HOST_SHUTDOWN, _MEDIUM, "host booted anew", "other guests told to go"),
    _row(Cause.HOST_DOWN, _HIGH, "host booted anew", "log: no end"),
    _row(Cause.HOST_DOWN, _MEDIUM, "host booted anew"),
    _row(Cause.MIGRATED, _MEDIUM, "on elsewhere"),
    _row(
        Cause.MIGRATED, _LOW, "observed SHUTOFF (MIGRATED) | observed PAUSED (MIGRATION) | observed PAUSED (POSTCOPY)"
    ),
    _row(Cause.SAVED, _LOW, "observed SHUTOFF (SAVED) | observed PAUSED (SAVE)"),
    _row(
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        _LOW,
        "observed SHUTOFF (SHUTDOWN) | observed SHUTOFF (DESTROYED) | observed gone | nova log: STOPPED",
        "asked: es_power stops it | asked: Nova stops it | asked: Nova has a task that stops it",
    ),
    _row(Cause.DESTROYED, _LOW, "observed SHUTOFF (DESTROYED)"),
    _row(
        Cause.GUEST_CRASHED,
        _LOW,
        "observed CRASHED (PANICKED) | observed CRASHED (UNKNOWN) | observed PAUSED (CRASHED)",
    ),
    _row(
        Cause.QEMU_FAILED,
        _LOW,
        "observed SHUTOFF (CRASHED) | observed SHUTOFF (FAILED) | observed SHUTOFF (DAEMON)",
    ),
    _row(
        Cause.GUEST_SHUTDOWN,
        _LOW,
        "observed SHUTOFF (SHUTDOWN) | observed SHUTDOWN (USER) | observed SHUTDOWN (UNKNOWN)",
    ),
    _row(Cause.IO_ERROR_PAUSE, _LOW, "observed PAUSED (IOERROR)"),
    _row(Cause.WATCHDOG_PAUSE, _LOW, "observed PAUSED (WATCHDOG)"),
    _row(Cause.SUSPENDED, _LOW, "observed PMSUSPENDED (UNKNOWN)"),
    _row(Cause.PAUSED_BY_USER, _LOW, "observed PAUSED (USER)"),
    _row(Cause.PAUSED_BY_USER, _LOW, "nova log: PAUSED"),
)
"""The first row that fits gives the cause."""

_ALSO: Final[Mapping[Cause, frozenset[str]]] = MappingProxyType(
    {
        Cause.HOST_SHUTDOWN: frozenset(
            {
                "event SHUTDOWN (GUEST)",
                "event SHUTDOWN (HOST)",
                "log: signal",
                "log: signal by libvirt",
                "observed SHUTOFF (SHUTDOWN)",
                "observed SHUTOFF (DESTROYED)",
                "observed SHUTOFF (UNKNOWN)",
            }
        ),
        Cause.HOST_KILLED: frozenset({"observed SHUTOFF (SHUTDOWN)", "observed SHUTOFF (CRASHED)", "log: signal"}),
        Cause.PLATFORM_REQUESTED_SHUTDOWN: frozenset(
            {"event SHUTDOWN (GUEST)", "event SHUTDOWN (HOST)", "log: signal by libvirt"}
        ),
        # In `qemu:///embed` libvirt is no program of its own, and the signal is its user's.
        Cause.DESTROYED: frozenset(
            {"event SHUTDOWN (HOST)", "log: signal by libvirt", "log: signal by a named process"}
        ),
        Cause.GUEST_CRASHED: frozenset(
            {"event SUSPENDED (PAUSED)", "observed SHUTOFF (CRASHED)", "log: signal by libvirt"}
        ),
        Cause.SAVED: frozenset({"event SUSPENDED (PAUSED)", "log: signal by libvirt", "asked: Nova saves it"}),
        Cause.MIGRATED: frozenset({"on elsewhere", "log: signal by libvirt", "asked: Nova moves it"}),
        Cause.PAUSED_BY_USER: frozenset({"asked: Nova pauses it"}),
        Cause.HOST_DOWN: frozenset(
            {f"observed SHUTOFF ({reason})" for reason in ("UNKNOWN", "SHUTDOWN", "CRASHED", "FAILED", "DAEMON")}
        ),
    }
)
"""Signs that go with a cause beside those of its rows."""

OF: Final[Mapping[Cause, frozenset[str]]] = MappingProxyType(
    {
        cause: _ALSO.get(cause, frozenset()).union(*(part for row in TABLE if row.cause is cause for part in row.parts))
        for cause in Cause
    }
)
