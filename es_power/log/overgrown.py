"""A write-ahead log that only grows: SQLite moves it into the file now and then, unless kept from that."""

from typing import Final

import structlog
import trio

from es_power.log.database import Database

LONG: Final = 64 << 20
"""Bytes of SQLite's write-ahead log from which on something keeps it from being moved; it has 4 MiB by itself."""

MEND: Final = "see whether somebody reads it all the time, or its disk is slow"

LOOK: Final = 60.0
"""Seconds between two looks."""

REMIND: Final = 3600.0
"""Seconds after which it is said again."""


class Overgrown:
    """What was said of it last."""

    def __init__(self, place: str) -> None:
        self._place = place
        #: When, in seconds; None: nothing is wrong.
        self._said_at: float | None = None

    def note(self, waiting: int, *, at: float) -> None:
        """Say that it is too long, every hour while it is, and that it is not any more."""
        if waiting > LONG and (self._said_at is None or at >= self._said_at + REMIND):
            self._said_at = at
            structlog.get_logger().warning(
                "the log is not moved into its file", log=self._place, mebibytes_waiting=waiting >> 20, mend=MEND
            )
        elif waiting <= LONG and self._said_at is not None:
            self._said_at = None
            structlog.get_logger().info("the log is moved into its file again", log=self._place)


async def watch_wal(database: Database) -> None:
    """Look after it until cancelled; a log that is no file has none."""
    if database.place.path is None:
        return
    overgrown = Overgrown(str(database.place))
    while True:
        overgrown.note(await trio.to_thread.run_sync(database.wal_bytes), at=trio.current_time())
        await trio.sleep(LOOK)
