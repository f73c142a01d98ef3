"""What a database says when it refuses, in words that tell a person what to do.

The database's own error stays as `__cause__`.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from es_power.errors import LogError, LogNotFoundError, LogUnavailableError

_SQLITE: Final[Mapping[int, Callable[[str], LogError]]] = {
    sqlite3.SQLITE_FULL: lambda place: LogUnavailableError(
        f"the disk that holds {place} is full; free some space there. Nothing that was acknowledged is lost"
    ),
    sqlite3.SQLITE_READONLY: lambda place: LogUnavailableError(
        f"{place} can only be read here; check the owner and the mode of the file and its directory, and the mount"
    ),
    sqlite3.SQLITE_BUSY: lambda place: LogUnavailableError(
        f"another process holds the lock of {place} for too long; `fuser -v` on the file names it"
    ),
    sqlite3.SQLITE_CANTOPEN: lambda place: LogUnavailableError(
        f"{place} cannot be opened; check the owner and the mode of the file and of its directory"
    ),
    sqlite3.SQLITE_IOERR: lambda place: LogUnavailableError(
        f"the disk that holds {place} reports an error; look at the kernel's log (`journalctl -k`)"
    ),
    sqlite3.SQLITE_CORRUPT: lambda place: LogError(
        f"{place} is damaged; stop the service, keep a copy of the file, and put back a backup"
    ),
    sqlite3.SQLITE_NOTADB: lambda place: LogNotFoundError(
        f"{place} is a file of another kind, not a log; give the path of a log with --log or ES_POWER_LOG"
    ),
}

#: By SQLSTATE (PostgreSQL's appendix A).
_POSTGRES: Final[Mapping[str, Callable[[str], LogError]]] = {
    "53100": _SQLITE[sqlite3.SQLITE_FULL],
    "25006": lambda place: LogUnavailableError(
        f"{place} is a standby or read-only, and cannot be written; give the primary server with --log or ES_POWER_LOG"
    ),
    "42501": lambda place: LogUnavailableError(
        f"the role in {place} lacks a privilege; let the owner of the tables grant it, or use the owner's role"
    ),
    "42P01": lambda place: LogNotFoundError(f"there is no log at {place}; `es-power log upgrade` creates one"),
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


def _explain(error: BaseException | None, place: str) -> LogError:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    explain = _SQLITE.get(primary) or _POSTGRES.get(getattr(error, "sqlstate", None) or "")
    if explain is not None:
        return explain(place)
    said = " ".join(str(error).split())
    return LogUnavailableError(f"the database at {place} refuses: {said}")
