"""What a database says when it refuses, in words that tell a person what to do.

The database's own error stays as `__cause__`.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from es_power.errors import LogError, LogFullError, LogNotFoundError, LogUnavailableError

_FULL: Final = "the disk that holds {place} is full; free some space there. Nothing that was acknowledged is lost"

_DAMAGED: Final = "{place} is damaged; stop the service, keep a copy of the file, and put back a backup"

#: By SQLite's result code: an extended one where it says more than the primary one in its last byte.
_SQLITE: Final[Mapping[int, tuple[type[LogError], str]]] = {
    sqlite3.SQLITE_FULL: (LogFullError, _FULL),
    # There was no room for the file of shared memory beside the log.
    sqlite3.SQLITE_IOERR_SHMSIZE: (LogFullError, _FULL),
    sqlite3.SQLITE_READONLY: (
        LogUnavailableError,
        "{place} can only be read; check the owner and the mode of the file and its directory, and the mount",
    ),
    sqlite3.SQLITE_BUSY: (
        LogUnavailableError,
        "another process has held the lock of {place} for too long; `fuser -v` on the file names it",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        LogUnavailableError,
        "{place} cannot be opened; check that it is there, and the owner and mode of the file and its directory",
    ),
    sqlite3.SQLITE_IOERR: (
        LogUnavailableError,
        "the disk that holds {place} reports an error; look at the kernel's log (`journalctl -k`)",
    ),
    sqlite3.SQLITE_CORRUPT: (LogError, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (
        LogNotFoundError,
        "{place} is a file of another kind, not a log; give the path of a log with --log or ES_POWER_LOG",
    ),
}

_LOCKED: Final = "55P03"  # lock_not_available

#: By SQLSTATE (PostgreSQL's appendix A).
_POSTGRES: Final[Mapping[str, tuple[type[LogError], str]]] = {
    "53100": (LogFullError, _FULL),
    "25006": (
        LogUnavailableError,
        "{place} can only be read; give the primary server, opened for writing, with --log or ES_POWER_LOG",
    ),
    _LOCKED: (
        LogUnavailableError,
        "another process has held a lock of {place} for too long; where it stood still it was cut off, so try again",
    ),
    "42501": (
        LogUnavailableError,
        "the role in {place} lacks a privilege; let the owner of the tables grant it, or use the owner's role",
    ),
}


@contextmanager
def translate_errors(place: str) -> Iterator[None]:
    """Turn what the database raises inside into a LogError about `place`."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _explain(error.orig, place) from error
    except sqlite3.Error as error:
        raise _explain(error, place) from error
    except UnicodeDecodeError as error:
        # SQLite's words about a damaged schema hold a part of it, which need not be text: then its driver fails.
        raise LogError(_DAMAGED.format(place=place)) from error


def is_of_the_disk(error: sa.exc.DBAPIError | sqlite3.Error) -> bool:
    """Tell whether SQLite could not read, write or sync a file, so that it is unknown what of it is on disk."""
    said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return getattr(said, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def waited_in_vain(error: sa.exc.DBAPIError | sqlite3.Error) -> bool:
    """Tell whether PostgreSQL gave up waiting for a lock."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == _LOCKED


def undecodable(error: BaseException) -> bool:
    """Tell whether SQLite's driver met a text that is not UTF-8; it has no code for that."""
    return "Could not decode to UTF-8" in str(error)


def _explain(error: BaseException | None, place: str) -> LogError:
    code = getattr(error, "sqlite_errorcode", 0)
    known = _SQLITE.get(code) or _SQLITE.get(code & 0xFF) or _POSTGRES.get(getattr(error, "sqlstate", None) or "")
    if known:
        kind, text = known
        return kind(text.format(place=place))
    if isinstance(error, sqlite3.Error) and undecodable(error):
        return LogError(_DAMAGED.format(place=place))
    said = " ".join(str(error).split())
    return LogUnavailableError(f"the database at {place} refuses: {said}")
