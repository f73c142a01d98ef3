"""Where a log lives, and transactions there: SQLite in a file or in memory, or PostgreSQL.

Acknowledged means on disk: every connection that may write sets its durability and asserts that it took.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

import sqlalchemy as sa

from es_power.errors import LogNotFoundError, LogUnavailableError
from es_power.log.refusals import is_of_the_disk, translate_errors, waited_in_vain

T = TypeVar("T")
Mode = Literal["read", "write"]

LOCK_WAIT: Final = 10.0
"""Seconds that a writer waits for another process' transaction before LogUnavailableError."""

#: What SQLite says where it cannot create the file of shared memory: which of the two depends on the file's mode.
_NO_SHARED_MEMORY: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

#: A network that swallows everything is noticed in half a minute (libpq's words; milliseconds in the last).
_LIBPQ: Final = {
    "application_name": "es-power",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

ABANDONED: Final = 10_000
"""Milliseconds in which a writer that stands still inside a transaction on PostgreSQL is cut off, with its locks.

A service that is paused there, or whose machine is, would keep its successor waiting for as long as the pause lasts.
Where it had sent half of what it had to say, PostgreSQL takes it for busy: then it is cut off by whoever has waited
twice as long.
"""

#: Those of the same name and role that hold a lock here, and from which PostgreSQL has heard nothing for so long.
_CUT_OFF: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity AS other
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
AND application_name = current_setting('application_name')
AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '{} milliseconds'
AND EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE relnamespace = current_schema()::regnamespace
    AND pg_locks.pid = other.pid AND granted AND mode <> 'AccessShareLock'
)
"""

_MADE: Final[dict[tuple[Hashable, bool], object]] = {}
"""What was compiled, by its key and whether it is for SQLite."""

_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"

_FULL: Final = 2  # PRAGMA synchronous, as SQLite reports it


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log is: a file, a PostgreSQL database, or (neither) the memory of this process."""

    path: Path | None = None
    url: sa.URL | None = None

    def __str__(self) -> str:
        if self.url:
            # As a person writes it: without our driver's name, and without the password.
            return self.url.set(drivername="postgresql").render_as_string()
        return str(self.path) if self.path else "the log in memory"


def parse_place(place: str | Path) -> Place:
    """Read a path, ``sqlite:///path``, ``sqlite://`` or ``:memory:``, or ``postgresql://...``."""
    text = str(place)
    if text == ":memory:":
        return Place()
    if "://" not in text:
        # By its own name: what SQLite keeps beside a file is beside that, not beside a link to it.
        return Place(path=_resolved(Path(text)))
    try:
        text.encode()  # a path may be any bytes, a URL is text
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise LogNotFoundError("the log's URL cannot be read; it looks like postgresql://user@host/database") from error
    if url.get_backend_name() == "sqlite":
        return parse_place(url.database or ":memory:")
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return Place(url=url.set(drivername="postgresql+psycopg"))
    raise LogNotFoundError(f"a log is a file or a postgresql:// URL, not {url.get_backend_name()}://")


def _resolved(path: Path) -> Path:
    try:
        found = path.resolve()
    except RuntimeError as error:
        raise LogNotFoundError(f"{path} is a link that leads to itself") from error
    # A link that leads nowhere may lead to what is not mounted: no directory is made for it.
    return found if os.path.isdir(found.parent) else path.absolute()  # noqa: PTH112 (as in `Database`)


class Database:
    """Transactions on one log's database, from any thread; each is a `with` block over a SQLAlchemy connection."""

    def __init__(self, place: str | Path, *, mode: Mode = "write") -> None:
        self.place = parse_place(place)
        if self.place.path and os.path.isdir(self.place.path):  # noqa: PTH112 (Path's own raises where it may not look)
            raise LogNotFoundError(
                f"{self.place} is a directory; name a file in it, such as {self.place.path / 'log.db'}"
            )
        self.mode = mode
        self.in_memory = self.place.path is None and self.place.url is None
        self.is_sqlite = self.place.url is None
        # SQLite has one writer at a time: waiting here is fair, waiting in its busy handler is not.
        # In memory there is one connection for everybody, and closing it under a running statement kills the process.
        self._writing = threading.RLock() if self.is_sqlite else nullcontext()
        self._reading: AbstractContextManager[object] = self._writing if self.in_memory else nullcontext()
        #: Which file is written (device and inode), from the first connection on.
        self._file: tuple[int, int] | None = None
        #: Whether it is unknown how much of what was written last is on disk; see `make_sure`.
        self._doubtful = False
        #: Time and size of a file that is read as it stands, since it cannot be opened as a log in use.
        self._frozen: tuple[int, int] | None = None
        self.engine = self._sqlite() if self.is_sqlite else self._postgres()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the log."""
        with self._reading, translate_errors(str(self.place)), self.engine.connect() as connection:
            if not self.is_sqlite:
                # PostgreSQL's default would show each statement a state of its own.
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection
            self._still_frozen()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed, and on disk, when the block ends without an error.

        On SQLite nobody else writes from its first moment on; on PostgreSQL it is the block that takes a lock.
        """
        with self._writing, translate_errors(str(self.place)):
            if self._doubtful:
                self.make_sure()
            try:
                with (
                    self.engine.connect() as connection,
                    connection.execution_options(begin="BEGIN IMMEDIATE").begin(),
                ):
                    yield connection
                    self._require_in_place()
            except (sa.exc.DBAPIError, sqlite3.Error) as error:
                if is_of_the_disk(error):
                    self._doubtful = True
                    self.engine.dispose()
                if waited_in_vain(error):
                    self._cut_off()
                raise

    def make_sure(self, *, insist: bool = True) -> None:
        """Write what SQLite's write-ahead log holds into the file, sync that, and let the write-ahead log begin anew.

        After an error of the disk this comes before all else. Linux reports a failed fsync once, and calls the pages
        clean: the next fsync succeeds without having written them, though whoever reads finds them in memory. So what
        is found there must be written again before anybody may be told that it is stored. The same holds for what a
        start finds: perhaps the last service died of such an error.

        Raises LogUnavailableError where it fails, and, where one `insist`s, while somebody reads.
        """
        if self.place.path is None:
            return
        if not self.empty_wal() and insist:
            raise LogUnavailableError(
                f"the disk that holds {self.place} had an error; what was written last is written anew before anything "
                "else is, and somebody who reads the log keeps that from happening"
            )
        self._doubtful = False

    def wal_bytes(self) -> int:
        """How much SQLite's write-ahead log holds: some MiB, unless the disk or a reader keeps it from being moved."""
        with suppress(OSError):
            return _wal(self.place.path).stat().st_size if self.place.path else 0
        return 0

    def compile(self, statement: sa.ClauseElement, *parameters: str) -> str:
        """Give the SQL of a statement whose parameters come as a tuple in this order, for `run`."""
        compiled = statement.compile(dialect=self.engine.dialect)
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        assert tuple(compiled.positiontup or ()) == parameters
        return str(compiled)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Give what `make` compiled under this key for the first database of this kind.

        To have SQLAlchemy write what a log needs takes 20 ms, for each log that is opened.
        """
        if (key, self.is_sqlite) not in _MADE:
            _MADE[key, self.is_sqlite] = make()
        return cast(T, _MADE[key, self.is_sqlite])

    def create(self, tables: Sequence[sa.Table], connection: sa.Connection) -> None:
        """Make tables, none of which is there, and their indexes."""

        def statements() -> Sequence[str]:
            made: list[sa.schema.ExecutableDDLElement] = []
            for table in tables:
                made += [sa.schema.CreateTable(table), *map(sa.schema.CreateIndex, table.indexes)]
            return [str(each.compile(dialect=self.engine.dialect)) for each in made]

        for each in self.once(tuple(table.name for table in tables), statements):
            run(connection, each)

    def copy_to(self, path: Path) -> None:
        """Copy SQLite's file as it is at one moment, while others write on, into one file with nothing beside it."""
        with (
            translate_errors(str(self.place)),
            closing(self._connect_sqlite()) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")

    def empty_wal(self) -> bool:
        """Move SQLite's write-ahead log into the file and cut it to nothing; False where a reader stayed in the way."""
        with self._writing, translate_errors(str(self.place)), closing(self._connect_sqlite()) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def vacuum(self, table: sa.Table) -> None:
        """Have PostgreSQL write a table anew into a file of its own, without what was deleted from it."""
        with translate_errors(str(self.place)), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"VACUUM (FULL) {table.name}")

    def close(self) -> None:
        """Close all connections; no transaction may be open."""
        with self._reading:
            self.engine.dispose()

    # ------------------------------------------------------------------------------------------------ SQLite

    def _sqlite(self) -> sa.Engine:
        pool = sa.StaticPool if self.in_memory else sa.QueuePool
        engine = sa.create_engine("sqlite://", creator=self._connect_sqlite, poolclass=pool)

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            # Asked of the driver itself: SQLAlchemy's way to say it costs a small question half as much again.
            driver = cast(sqlite3.Connection, connection.connection.driver_connection)
            driver.execute(connection.get_execution_options().get("begin", "BEGIN"))

        return engine

    def _connect_sqlite(self) -> sqlite3.Connection:
        if self.place.path is None:
            return _open("file::memory:")  # nothing of it is ever in a file
        if self.mode == "read":
            return self._connect_readonly(self.place.path)
        connection = _open(f"{self.place.path.as_uri()}?mode=rw")
        self._file = self._file or _identity(self.place.path)
        _require_durable("journal_mode", connection.execute("PRAGMA journal_mode=WAL").fetchone()[0], "wal")
        connection.execute("PRAGMA synchronous=FULL")
        # What is erased is overwritten; SQLite's default depends on who built it.
        connection.execute("PRAGMA secure_delete=ON")
        _require_durable("synchronous", connection.execute("PRAGMA synchronous").fetchone()[0], _FULL)
        return connection

    def _require_in_place(self) -> None:
        """Refuse a commit where the file was deleted or replaced: SQLite would write on, to a file without a name.

        The same holds for its write-ahead log, where a commit is until SQLite moves it into the file.
        """
        path = self.place.path
        if path and (_identity(path) != self._file or not _wal(path).exists()):
            raise LogNotFoundError(
                f"{path} was deleted or replaced while it was in use, so nothing can be stored in it: stop all that "
                "use it, put it back, and start again"
            )

    def _connect_readonly(self, path: Path) -> sqlite3.Connection:
        """Open a log that may be in use.

        A log in WAL mode has a file of shared memory beside it while it is in use; who reads it at another time must
        be able to create that file. Where that is not allowed and nobody has the log open, the file itself is all
        there is: then it is read as it stands, and `_still_frozen` sees to it that it stood still.
        """
        if not path.exists():
            raise LogNotFoundError(f"there is no log at {path}; `es-power run` and `es-power demo` create one")
        connection = _open(f"{path.as_uri()}?mode=ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF not in _NO_SHARED_MEMORY or _wal(path).exists():
                raise
            self._frozen = _stamp(path)
            connection = _open(f"{path.as_uri()}?mode=ro&immutable=1")
        return connection

    def _still_frozen(self) -> None:
        path = self.place.path
        if path and self._frozen and (_wal(path).exists() or _stamp(path) != self._frozen):
            self.engine.dispose()
            raise LogUnavailableError(f"a service began to write {path} in the middle of the question; ask again")

    # -------------------------------------------------------------------------------------------- PostgreSQL

    def _cut_off(self) -> None:
        """End the sessions of those that stand still with a lock, so that the next try finds none."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(_CUT_OFF.format(ABANDONED))

    def _postgres(self) -> sa.Engine:
        assert self.place.url is not None
        asked = {name: value for name, value in _LIBPQ.items() if name not in self.place.url.query}
        engine = sa.create_engine(self.place.url, paramstyle="format", pool_pre_ping=True, connect_args=asked)

        @sa.event.listens_for(engine, "connect")
        def connect(connection: Any, _record: object) -> None:
            connection.autocommit = True
            connection.execute("SET synchronous_commit = on")
            if self.mode == "read":
                connection.execute("SET default_transaction_read_only = on")
            else:
                connection.execute(f"SET idle_in_transaction_session_timeout = {ABANDONED}")
                connection.execute(f"SET lock_timeout = {2 * ABANDONED}")
            for setting in ("synchronous_commit", "fsync"):
                _require_durable(setting, connection.execute(f"SHOW {setting}").fetchone()[0], "on")
            connection.autocommit = False

        return engine


def run(connection: sa.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """Run what `Database.compile` gave, with its parameters or with each of a list of them; give the driver's cursor.

    SQLite's driver is asked itself, since SQLAlchemy takes 100 us for a question that SQLite answers in 5. On
    PostgreSQL it is SQLAlchemy that knows whether a connection broke.
    """
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(sql, parameters).cursor
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    return driver.executemany(sql, parameters) if isinstance(parameters, list) else driver.execute(sql, parameters)


def scalar(connection: sa.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """Run the same, and give the first value of the first row; None where there is no row."""
    row = run(connection, sql, parameters).fetchone()
    return row[0] if row else None


def tables_in(connection: sa.Connection) -> set[str]:
    """The names of all tables."""
    if connection.dialect.name != "sqlite":
        return set(sa.inspect(connection).get_table_names())
    return {name for (name,) in run(connection, _TABLES)}


def _open(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _require_durable(setting: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise LogUnavailableError(
            f"{setting} is {actual}, not {expected}: an append could be lost, so none is accepted"
        )
