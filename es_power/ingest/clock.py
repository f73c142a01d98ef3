"""What the kernel of this machine says of time: the wall clock, how far it can be trusted, and which boot this is."""

import ctypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from es_power.domain.custody import ClockRead
from es_power.domain.events import ClockJumped
from es_power.domain.ports import Clock
from es_power.domain.time import SECOND, Timestamp

JUMP: Final = SECOND
"""Nanoseconds between what the clock reads and what it should read, from which on it was set and not steered.

A leap second is one; a daemon that steers the clock (at most 500 ppm by the kernel's own means) stays below `DRIFT`.
"""

DRIFT: Final = 1_000
"""Of the time that has passed, the part (one in so many) by which a clock may go wrong without having been set."""

_ATOMIC: Final = SECOND // 100
_TRIES: Final = 10

#: Status bits of adjtimex(2), <sys/timex.h>: no daemon disciplines the clock; `offset` is in nanoseconds.
_STA_UNSYNC: Final = 0x0040
_STA_NANO: Final = 0x2000
_MICROSECOND: Final = 1_000


def now() -> Timestamp:
    """Read the wall clock."""
    return Timestamp(time.time_ns())


def steady() -> Timestamp:
    """Read the clock that nobody can set, which goes on while the machine sleeps where the kernel has such a one."""
    try:
        return Timestamp(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    except (AttributeError, OSError):  # not Linux
        return Timestamp(time.monotonic_ns())


class ClockWatch:
    """Notices between two looks that the wall clock was set, since it did not go as the steady one did."""

    def __init__(self, wall: Clock = now, steady: Clock = steady) -> None:
        self._wall = wall
        self._steady = steady
        self._last = self._read()

    def look(self) -> ClockJumped | None:
        """Look; where it was set since the last look, say so."""
        before, passed_before = self._last
        self._last = at, passed = self._read()
        elapsed = passed - passed_before
        expected = Timestamp(before + elapsed)
        if abs(at - expected) <= JUMP + elapsed // DRIFT:
            return None
        return ClockJumped(observed_at=at, expected=expected, looked_at=before)

    def _read(self) -> tuple[Timestamp, Timestamp]:
        """Read both clocks at one moment: a process that was paused between the two would see a jump."""
        for _ in range(_TRIES):
            begun, at, ended = self._steady(), self._wall(), self._steady()
            if ended - begun < _ATOMIC:
                break
        return at, ended


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """How far the wall clock can be trusted."""

    #: Whether the kernel calls it synchronised; None where it cannot be asked (not Linux, a sandbox).
    synchronised: bool | None = None
    #: By how much it is still to be corrected, and by how much it is wrong at most, in nanoseconds; None where nothing
    #: synchronises it, since the kernel's numbers say nothing then.
    offset: int | None = None
    error: int | None = None


class _Timex(ctypes.Structure):
    """The first fields of struct timex; `modes` 0 only asks."""

    _fields_ = [  # type: ignore[mutable-override]  # that is how ctypes wants it
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def clock_state() -> ClockState:
    """Ask the kernel about the clock."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return ClockState()
    timex = _Timex()
    if adjtimex(ctypes.byref(timex)) < 0:
        return ClockState()
    if timex.status & _STA_UNSYNC:
        return ClockState(synchronised=False)
    unit = 1 if timex.status & _STA_NANO else _MICROSECOND
    return ClockState(synchronised=True, offset=timex.offset * unit, error=timex.maxerror * _MICROSECOND)


def clock_read() -> ClockRead:
    """What the kernel says of the clock, as a fact."""
    at, state = now(), clock_state()
    return ClockRead(
        observed_at=at,
        clock_synchronised=state.synchronised,
        clock_offset=state.offset,
        clock_error=state.error,
    )


def clock_synchronised() -> bool | None:
    """Whether the kernel calls the clock synchronised; None where it cannot be asked."""
    return clock_state().synchronised


def boot_id() -> UUID | None:
    """Which boot of this machine it is; None where the kernel does not say (not Linux)."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:
        return None
