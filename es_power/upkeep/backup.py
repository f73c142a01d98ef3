"""A backup: one file that is a log, as the log was at one moment, out of SQLite or PostgreSQL, while services write on.

It is written beside its name, brought to disk, read from its first byte to its last, and only then gets its name. So
whatever bears a backup's name is whole. What a kill leaves behind ends in ``.partial``, and the next backup clears it:
nobody holds its lock any more, as somebody does who is still writing to the same name.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
import trio

from es_power.domain.events import Position
from es_power.domain.time import Timestamp, moment
from es_power.errors import BackupError
from es_power.log import SqlLog, open_log
from es_power.log.database import Database, Place, run
from es_power.log.folders import sync
from es_power.log.schema import CURRENT, LEASES, METADATA
from es_power.log.upgrade import alone, ensure_schema, stored_schema
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
    try:
        with _partial(file, mode=_mode_of(log.database)) as partial:
            await trio.to_thread.run_sync(_copy, log.database, partial)
            async with open_log(partial) as copy:
                ending = await check(copy)
            await trio.to_thread.run_sync(keep, partial, file)
    except OSError as error:
        raise BackupError(f"{file}.*.partial cannot be written: {error.strerror}") from error
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


def _mode_of(database: Database) -> int:
    """The mode of the log itself: who may not read the one should not read the other."""
    return (database.place.path.stat().st_mode & 0o666) if database.place.path else 0o600


@contextmanager
def _partial(file: Path, *, mode: int) -> Iterator[Path]:
    """Make a file of one's own beside a name, locked as long as the block runs, and clear what is left of others'."""
    for left in file.parent.glob(f"{escape(file.name)}.*.partial"):
        _clear_unheld(left)
    while (made := _make_held(file.with_name(f"{file.name}.{uuid4().hex}.partial"), mode)) is None:
        pass
    partial, handle = made
    try:
        yield partial
    finally:
        clear(partial)
        os.close(handle)


def _make_held(partial: Path, mode: int) -> tuple[Path, int] | None:
    """Make a file and lock it; None where somebody took it for one that was left before it was locked."""
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink:
        return partial, handle
    os.close(handle)
    return None


def _clear_unheld(left: Path) -> None:
    with suppress(OSError):  # somebody else's, or gone by now
        handle = os.open(left, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clear(left)
        finally:
            os.close(handle)


def _copy(database: Database, partial: Path) -> None:
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
        run(writing, insert, list(values))


def clear(file: Path) -> None:
    """Take away what an earlier try left behind, and what SQLite has beside it."""
    for each in (file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        each.unlink(missing_ok=True)


def keep(partial: Path, file: Path) -> None:
    """Give a file that is whole and on disk its name, unless that was taken meanwhile."""
    taken = BackupError(f"{file} is there already; name another file, or a directory")
    try:
        os.link(partial, file)
    except FileExistsError:
        raise taken from None
    except OSError:
        # A file system without links, where a new name takes the place of an old one: nobody else gives one meanwhile.
        with alone(Place(path=file)):
            if file.exists() or file.is_symlink():
                raise taken from None
            partial.rename(file)
    else:
        partial.unlink()
    sync(file.parent)


def settle(file: Path) -> None:
    """Put all of a log into its one file, that nobody has open: SQLite's write-ahead log is moved into it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
