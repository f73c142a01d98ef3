"""The database's own check of its structure, where the damage lies outside of records."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Final, cast

import sqlalchemy as sa

from es_power.audit.verdict import Damage, Kind
from es_power.errors import LogError
from es_power.log.database import Database
from es_power.log.refusals import undecodable

_PAGE: Final = re.compile(r"\b[Pp]age (\d+)")
_TOLD: Final = 100  # problems that are listed
_CORRUPT: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
)


def check_pages(database: Database, connection: sa.Connection | None = None) -> Sequence[Damage]:
    """Have SQLite check its file; PostgreSQL's pages are its own to check (`pg_amcheck`)."""
    if not database.is_sqlite:
        return ()
    found: Sequence[Damage] = ()
    try:
        with nullcontext(connection) if connection is not None else database.read() as own:
            try:
                found = _told(own, "integrity_check")
            except (sa.exc.DatabaseError, sqlite3.DatabaseError):
                # Where it cannot go on, what it told before is lost with it; this one looks less deep, and tells it.
                found = _told(own, "quick_check")
                raise
    except (sa.exc.DatabaseError, sqlite3.DatabaseError, LogError) as error:
        said = " ".join(str(error.__cause__ or error).split())
        return found or [Damage(kind=Kind.PAGES, page=_page(said), detail=said)]
    return found


def _told(connection: sa.Connection, check: str) -> Sequence[Damage]:
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    return [
        Damage(kind=Kind.PAGES, page=_page(line), detail=line)
        for (said,) in driver.execute(f"PRAGMA {check}({_TOLD})")
        for line in said.splitlines()
        if line not in {"ok", "*** in database main ***"}
    ]


def check_schema_objects(connection: sa.Connection) -> Iterator[Damage]:
    """Find triggers and views: es_power makes none, and with them a log would change by itself."""
    if connection.dialect.name != "sqlite":
        return
    query = "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
    for kind, name in connection.exec_driver_sql(query).fetchall():
        yield Damage(kind=Kind.SCHEMA, detail=f"there is a {kind} {name!r}, which es_power did not make")


def is_corrupt(error: BaseException) -> bool:
    """Whether a database says that what it holds cannot be read, and not that it cannot be reached."""
    if isinstance(error, OverflowError | ValueError):
        return True
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlite_errorcode", None)
    return undecodable(error) or (code is not None and code & 0xFF in _CORRUPT)


def _page(said: str) -> int | None:
    found = _PAGE.search(said)
    return int(found[1]) if found else None
