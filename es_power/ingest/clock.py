"""What the kernel of this machine says of time: the wall clock, whether it is disciplined, and which boot this is."""

import ctypes
import time
from pathlib import Path
from typing import Final
from uuid import UUID

from es_power.domain.time import Timestamp

#: Status bit of adjtimex(2), <sys/timex.h>: no daemon disciplines the clock.
_STA_UNSYNC: Final = 0x0040


def now() -> Timestamp:
    """Read the wall clock."""
    return Timestamp(time.time_ns())


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


def clock_synchronised() -> bool | None:
    """Whether the kernel calls the clock synchronised; None where it cannot be asked (not Linux, a sandbox)."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    timex = _Timex()
    if adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _STA_UNSYNC


def boot_id() -> UUID | None:
    """Which boot of this machine it is; None where the kernel does not say (not Linux)."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:
        return None
