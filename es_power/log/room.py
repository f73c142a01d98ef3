"""Room kept free beside a log that is a file, for the record of a gap on a disk that is full.

It is given up when events are being lost. From then on the log takes what waits, one gap, and nothing more, or the room
would be used up by what comes next; until there is room again.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from es_power.domain.events import GapOpened
from es_power.domain.ports import Append

SIZE: Final = 1 << 20
"""Bytes: some hundred small appends, with their pages in SQLite's write-ahead log."""


class Room:
    """A file that holds nothing, and is given up when its room is needed; nothing for a log elsewhere."""

    def __init__(self, log: Path | None) -> None:
        self._path = log.with_name(f"{log.name}.room") if log else None
        self._given_up = self._gap_told = False

    def keep(self) -> bool:
        """Take the room where it is not kept yet and there is plenty; whether it is kept."""
        if self._path is None or self._path.exists():
            return self._path is not None
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < 2 * SIZE:
                return False
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o660)
            try:
                os.posix_fallocate(file, 0, SIZE)
            finally:
                os.close(file)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            return False
        self._given_up = self._gap_told = False
        return True

    def admits(self, append: Append) -> bool:
        """Whether an append may be tried."""
        if not self._given_up or self.keep():
            return True
        tells = any(isinstance(each, GapOpened) for write in append.writes for each in write.events)
        admitted = tells or not self._gap_told
        self._gap_told |= tells
        return admitted

    def give_up(self) -> bool:
        """Let the log have it; whether there was any."""
        with suppress(OSError):
            if self._path is not None:
                self._path.unlink()
                self._given_up = True
                return True
        return False
