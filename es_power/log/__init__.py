"""The append-only log: `open_log` is all of it that others need."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time_ns

import trio

from es_power.domain.ports import Clock
from es_power.domain.time import Timestamp
from es_power.log.database import Database, Mode
from es_power.log.upgrade import check_schema, ensure_schema
from es_power.log.writer import POLL, SqlLog

__all__ = ["SqlLog", "open_log"]


def _wall_clock() -> Timestamp:
    return Timestamp(time_ns())


@asynccontextmanager
async def open_log(
    place: str | Path, *, mode: Mode = "read", clock: Clock = _wall_clock, poll: float = POLL
) -> AsyncIterator[SqlLog]:
    """Open the log at a path, a ``postgresql://`` URL, or ``sqlite://`` for one in memory.

    To write creates it where there is none, and upgrades an older SQLite log after a copy. To read changes nothing, and
    works while a service writes and when it is down. `poll` is the number of seconds between two looks for what other
    processes appended. Raises LogNotFoundError, LogSchemaError, LogUnavailableError.
    """
    database = Database(place, mode=mode)
    try:
        prepare = ensure_schema if mode == "write" or database.in_memory else check_schema
        await trio.to_thread.run_sync(prepare, database)
        yield SqlLog(database, clock=clock, poll=poll)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(database.close)
