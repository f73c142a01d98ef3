"""Putting a backup in the place of a log.

Rules of this file:
1. Nothing is replaced before what replaces it was read from its first byte to its last, and no service runs meanwhile.
2. What is replaced is kept aside; nothing of it is deleted.
3. The log that is put in place says so already, with all that follows from it (`rewinding`).
4. At whatever point this is killed, the log's name stands for the old log or for the new one, whole.
"""

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Final

import trio

from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import Position
from es_power.domain.time import Timestamp, moment
from es_power.errors import BackupError, LogError, LogUnavailableError
from es_power.log import open_log
from es_power.log.database import LOCK_WAIT, Database, parse_place
from es_power.log.folders import ASIDE, STAGED, is_one_file, sync
from es_power.log.lease import epochs, no_service
from es_power.log.marks import marked
from es_power.upkeep.backup import settle
from es_power.upkeep.checking import check
from es_power.upkeep.rewinding import Begun, begin_again
from es_power.upkeep.saying import said

_BESIDE: Final = ("-wal", "-shm", "-journal")
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was done."""

    begun: Begun
    #: Where the log that was replaced is now; None where there was none.
    aside: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the log that is replaced says to the one that takes its place; little where it cannot be read."""

    #: How far it went, by what it says itself and by the marks beside it.
    head: Position | None = None
    #: The newest epoch of each stream.
    leases: Mapping[str, int] = field(default_factory=dict)
    #: The labels whose texts were erased; a backup of before has them.
    forgotten: Collection[int] = ()


async def restore(place: str | Path, backup: Path, *, by: str, at: Timestamp) -> Restored:
    """Put a backup in the place of a SQLite log, or where there is none.

    LeaseHeldError where a service runs on the log, LogUnavailableError where another program has it open;
    SealBrokenError or LogError where the backup is damaged, LogSchemaError where a newer es_power wrote it.
    """
    path, backup = _two_files(place, backup)
    async with open_log(backup) as found:
        await check(found)
        old = Database(path, mode="read")
        try:
            with no_service(old), _staging(path) as staged:
                known = await _known_of(path)
                await trio.to_thread.run_sync(found.database.copy_to, staged)
                async with open_log(staged, mode="write") as log:
                    begun = await begin_again(
                        log,
                        replaced=known.head,
                        leases=known.leases,
                        forgotten=known.forgotten,
                        source=str(backup),
                        by=by,
                        at=at,
                    )
                await trio.to_thread.run_sync(_finish, staged)
                async with open_log(staged) as written:
                    await check(written)
                aside = await trio.to_thread.run_sync(_put_in_place, staged, path, at)
        except OSError as error:
            raise BackupError(f"{error.filename or path} cannot be written: {error.strerror}") from error
        finally:
            old.close()
    return Restored(begun=begun, aside=aside)


def _two_files(place: str | Path, backup: Path) -> tuple[Path, Path]:
    path = parse_place(place).path
    if path is None:
        raise BackupError(
            "a backup is put back into a file, which --log names; PostgreSQL is put back by its own means, and then "
            "`es-power restore --accept-rewind` says so in the log"
        )
    if is_one_file(path, backup):
        raise BackupError(f"{backup} is the log itself")
    return path, backup.absolute()


async def _known_of(path: Path) -> _Known:
    known = await trio.to_thread.run_sync(marked, path)
    with suppress(LogError):
        async with open_log(path) as old:
            forgotten = [each for each in await said(old) if isinstance(each, LabelsForgotten)]
            return _Known(
                head=max(await old.head(), known),
                leases=await trio.to_thread.run_sync(epochs, old.database),
                forgotten={label for each in forgotten for label in each.labels},
            )
    return _Known(head=known or None)


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """Where the new log is made: on the same file system, in a directory of its own, which a killed try may have left.

    A directory, since SQLite's files beside a log are named after it, and other programs lock the directory it is in.
    """
    directory = path.with_name(f"{path.name}{STAGED}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    try:
        yield directory / path.name
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _finish(staged: Path) -> None:
    """Put all of the new log into its one file, on disk."""
    settle(staged)
    sync(staged)


def _put_in_place(staged: Path, path: Path, at: Timestamp) -> Path | None:
    """Keep what is there aside, and give the new log its name.

    The old one gets its second name before it loses its first, so there is a log under that name at every moment.
    """
    _drop_second_names(path)
    if path.exists():
        _as_its_owner_has_it(path, staged)
    aside = path.with_name(f"{path.name}{ASIDE}{moment(at):%Y%m%dT%H%M%S.%fZ}")
    kept: list[Path] = []
    with _retired(path):
        for end in ("", *_BESIDE):
            old, new = path.with_name(path.name + end), aside.with_name(aside.name + end)
            if old.exists():
                os.link(old, new)
                kept.append(new)
        sync(path.parent)
        for end in _BESIDE:
            path.with_name(path.name + end).unlink(missing_ok=True)
        staged.replace(path)
        sync(path.parent)
    return kept[0] if kept else None


def _drop_second_names(path: Path) -> None:
    """Take away the second names that a try gave which was killed before the log lost its first."""
    for aside in path.parent.glob(f"{escape(path.name)}{ASIDE}*"):
        if is_one_file(path, aside):
            aside.unlink()


def _as_its_owner_has_it(path: Path, staged: Path) -> None:
    """Let the service that wrote the old log write the new one, also where root restores it."""
    shutil.copymode(path, staged)
    with suppress(PermissionError):
        os.chown(staged, path.stat().st_uid, path.stat().st_gid)


@contextmanager
def _retired(path: Path) -> Iterator[None]:
    """Have the old log alone, and all of it in its one file; a damaged one is left as it is.

    Whoever had it open to write finds it replaced with the next append, and whoever waits to open it gets the new one.
    """
    if not path.exists():
        yield
        return
    with closing(sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise LogUnavailableError(
                    f"another program has {path} open; `fuser -v` on the file names it"
                ) from error
        yield
