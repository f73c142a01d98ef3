"""The database's own check of its structure, where the damage lies outside of records."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from typing import Final, cast

import sqlalchemy as sa

from es_power.audit.verdict import Damage, Kind
from es_power.errors import LogError
from es_power.log.database import Database
from es_power.log.refusals import undecodable

_PAGE: Final = re.compile(r"\b[Pp]age (\d+)")
_TOLD: Final = 100  # problems that are listed
_TICK: Final = 0.1  # seconds between two looks at whether somebody lost patience
_CACHE: Final = 64 << 10  # KiB: records are looked for all over an index, of which SQLite's usual 2 MiB hold little
_CORRUPT: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
)


class PageCheck:
    """SQLite's check of its file, which another thread may end at any time.

    PostgreSQL's pages are its own to check (`pg_amcheck`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The connection while it is ours: of one that went back to the pool, a question of somebody else would end.
        self._driver: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def run(self, connection: sa.Connection | None = None) -> Sequence[Damage]:
        """Check all pages, in a transaction of its own unless one is given."""
        if not self._database.is_sqlite:
            return ()
        found: Sequence[Damage] = ()
        try:
            with nullcontext(connection) if connection is not None else self._database.read() as own, self._using(own):
                try:
                    found = self._told("integrity_check")
                except (sa.exc.DatabaseError, sqlite3.DatabaseError):
                    # Where it cannot go on, what it told before is lost with it; this one looks less deep and tells it.
                    found = self._told("quick_check")
                    raise
        except (sa.exc.DatabaseError, sqlite3.DatabaseError, LogError) as error:
            cause = error.__cause__ or error
            if not found and not is_corrupt(cause):
                raise
            said = " ".join(str(getattr(cause, "orig", cause)).split())
            return found or [Damage(kind=Kind.PAGES, page=_page(said), detail=said)]
        return found

    def interrupt(self) -> None:
        """Have what runs now end with an error."""
        with self._lock:
            if self._driver is not None:
                self._driver.interrupt()

    @contextmanager
    def _using(self, connection: sa.Connection) -> Iterator[None]:
        driver = self._driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        [usual] = driver.execute("PRAGMA cache_size").fetchone()
        driver.execute(f"PRAGMA cache_size = -{_CACHE}")
        try:
            yield
        finally:
            with self._lock:
                self._driver = None
            driver.execute(f"PRAGMA cache_size = {usual}")

    def _told(self, check: str) -> Sequence[Damage]:
        driver = self._driver
        assert driver is not None
        return [
            Damage(kind=Kind.PAGES, page=_page(line), detail=line)
            for (said,) in driver.execute(f"PRAGMA {check}({_TOLD})")
            for line in said.splitlines()
            if line not in {"ok", "*** in database main ***"}
        ]


@contextmanager
def checked_beside(database: Database) -> Iterator[Callable[[Callable[[], None]], Sequence[Damage]]]:
    """Have the pages of a file checked in a thread of its own; give what waits for that, and ticks meanwhile.

    Where the block ends with an error, so does the check.
    """
    check = PageCheck(database)
    with ThreadPoolExecutor(1) as beside:
        future = beside.submit(check.run)

        def found(tick: Callable[[], None]) -> Sequence[Damage]:
            while not future.done():
                wait([future], _TICK)
                tick()
            return future.result()

        try:
            yield found
        except BaseException:
            while not future.done():  # it may just be between two statements
                check.interrupt()
                wait([future], _TICK)
            raise


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
    original = getattr(error, "orig", error)
    code = getattr(original, "sqlite_errorcode", None)
    return undecodable(error) or (code is not None and code & 0xFF in _CORRUPT)


def stands_for_damage(error: LogError) -> bool:
    """Whether a log refuses because its database says that of what it holds."""
    return error.__cause__ is not None and is_corrupt(error.__cause__)


def _page(said: str) -> int | None:
    found = _PAGE.search(said)
    return int(found[1]) if found else None
