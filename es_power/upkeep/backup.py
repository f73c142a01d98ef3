"""A backup: one file that is a log, as the log was at one moment, out of SQLite or PostgreSQL, while services write on.

It is written beside its name, brought to disk, read from its first byte to its last, and only then gets its name. So
whatever bears a backup's name is whole; what a kill leaves behind ends in ``.partial``, and the next backup clears it.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import trio

from es_power.domain.events import Position
from es_power.domain.time import Timestamp, moment
from es_power.errors import BackupError
from es_power.log import SqlLog, open_log
from es_power.log.database import Database
from es_power.log.schema import CURRENT, LEASES, METADATA
from es_power.log.upgrade import ensure_schema, stored_schema
from es_power.upkeep.checking import check

_AT_ONCE: Final = 10_000  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A backup as it was found when it was read again."""

    file: Path
    #: The last record in it, and the hash of that.
    position: Position
    hash: bytes
    size: int


async def back_up(log: SqlLog, destination: Path, *, at: Timestamp) -> BackedUp:
    """Copy a log into a file that is not there yet, or into one of its own in a directory; see this module.

    BackupError where the file cannot be written; SealBrokenError or LogError where the copy is not whole, which says
    that the log is not: then there is no backup.
    """
    file = _named(log, destination, at)
    partial = file.with_name(f"{file.name}.partial")
    try:
        await trio.to_thread.run_sync(_copy, log.database, partial)
        async with open_log(partial) as copy:
            ending = await check(copy)
        await trio.to_thread.run_sync(keep, partial, file)
    except OSError as error:
        raise BackupError(f"{partial} cannot be written: {error.strerror}") from error
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(clear, partial)
    return BackedUp(file=file, position=ending.position, hash=ending.hash, size=file.stat().st_size)


def _named(log: SqlLog, destination: Path, at: Timestamp) -> Path:
    place = log.database.place
    if destination.is_dir():
        name = place.path.name if place.path else "log.db"
        destination /= f"{name}-{moment(at):%Y%m%dT%H%M%S.%fZ}"
    if destination.exists() or destination.is_symlink():
        raise BackupError(f"{destination} is there already; name another file, or a directory")
    if not destination.parent.is_dir():
        raise BackupError(f"there is no directory {destination.parent}; make it first")
    return destination


def _copy(database: Database, partial: Path) -> None:
    clear(partial)
    # With the mode of the log itself: who may not read the one should not read the other.
    mode = (database.place.path.stat().st_mode & 0o666) if database.place.path else 0o600
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    if database.is_sqlite:
        database.copy_to(partial)
    else:
        copy_rows(database, partial)
    sync(partial)


def copy_rows(source: Database, file: Path) -> None:
    """Copy a log's rows into a new SQLite log: all of its tables but the leases, at one moment."""
    target = Database(file)
    try:
        ensure_schema(target)
        with source.read() as reading, target.write() as writing:
            if stored_schema(reading, source.place) != CURRENT:
                raise BackupError(f"{source.place} has an older schema; run `es-power log upgrade`, and then this")
            for table in METADATA.sorted_tables:
                if table is not LEASES:
                    _copy_table(table, reading, writing)
    finally:
        target.close()
    settle(file)


def _copy_table(table: sa.Table, reading: sa.Connection, writing: sa.Connection) -> None:
    names = table.c.keys()
    places = ", ".join("?" * len(names))
    insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 (names of ours)
    writing.execute(sa.delete(table))
    rows = reading.execution_options(yield_per=_AT_ONCE).execute(sa.select(table))
    for some in rows.partitions():
        values: Sequence[tuple[Any, ...]] = [tuple(row) for row in some]
        writing.exec_driver_sql(insert, list(values))


def clear(file: Path) -> None:
    """Take away what an earlier try left behind, and what SQLite has beside it."""
    for each in (file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        each.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep(partial: Path, file: Path) -> None:
    """Give a file that is whole and on disk its name, unless that was taken meanwhile."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise BackupError(f"{file} is there already; name another file, or a directory") from None
    except OSError:
        partial.rename(file)  # a file system without links
    else:
        partial.unlink()
    sync(file.parent)


def settle(file: Path) -> None:
    """Put all of a log into its one file, that nobody has open: SQLite's write-ahead log is moved into it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
