"""The schema of a log: created, checked, and brought up to date.

A service creates its log and upgrades its own SQLite file, after a copy of it; a PostgreSQL log, which others may read,
is upgraded only when a person says so (`es-power log upgrade`). A reader changes nothing: it reads an older schema on
and refuses a newer one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from es_power.errors import LogNotFoundError, LogSchemaError, LogUnavailableError
from es_power.log import schema
from es_power.log.database import Database, Place, tables_in
from es_power.log.folders import ASIDE, is_one_file, make_folder
from es_power.log.schema import HEAD

_MIGRATIONS: Final = "es_power.log:migrations"

_LOCK: Final = int.from_bytes(b"es_power")
"""The number of PostgreSQL's advisory lock for whoever changes the schema."""

_ANOTHERS: Final = "{} holds another program's tables; give the log a place of its own"

_VERSION: Final = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
"""alembic's own table, as alembic makes it."""


def ensure_schema(database: Database, *, upgrade_postgres: bool = False) -> None:
    """Create the log where there is none, and upgrade an older one in SQLite, after a copy to ``<log>.bak-<version>``.

    Raises LogSchemaError for a newer schema, and for an older one in PostgreSQL unless asked to upgrade it. Several
    processes may do this at once: all but the first find it done.
    """
    with ExitStack() as stack:
        stack.enter_context(alone(database.place))
        create_file(database.place)
        connection = stack.enter_context(database.write())
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        stored = stored_schema(connection, database.place)
        if stored == 0 and tables_in(connection):
            raise LogNotFoundError(_ANOTHERS.format(database.place))
        if 0 < stored < schema.CURRENT:
            if not (database.is_sqlite or upgrade_postgres):
                raise LogSchemaError(
                    f"{database.place} has schema {stored}, and this es_power writes {schema.CURRENT}: make a backup, "
                    "then run `es-power log upgrade`"
                )
            if database.place.path:
                _copy(database.place.path, stored)
        if stored == 0:
            _make(database, connection)
        elif stored < schema.CURRENT:
            migrate(connection)
        connection.execute(sa.update(HEAD).values(written_by=schema.writer_version()))


def check_schema(database: Database) -> None:
    """Raise LogNotFoundError where there is no log to read, and LogSchemaError where it is newer than this es_power."""
    with database.read() as connection:
        if stored_schema(connection, database.place) == 0:
            if tables_in(connection):
                raise LogNotFoundError(_ANOTHERS.format(database.place))
            raise LogNotFoundError(
                f"there is no log at {database.place}; `es-power run` and `es-power demo` create one"
            )


def upgrade(place: str | Path) -> None:
    """Create or upgrade the log at this place, in PostgreSQL too: what `es-power log upgrade` does."""
    database = Database(place)
    try:
        ensure_schema(database, upgrade_postgres=True)
    finally:
        database.close()


def stored_schema(connection: sa.Connection, place: Place) -> int:
    """Give the number of the stored schema, 0 where there is none."""
    if "alembic_version" not in tables_in(connection):
        return 0
    name = str(connection.scalar(sa.select(_VERSION)))
    if not name.isdigit():
        raise LogNotFoundError(f"{place} holds another program's tables; give the log a place of its own")
    stored = int(name)
    if stored > schema.CURRENT:
        # Every later schema keeps this column, for this message.
        writer = connection.scalar(sa.select(HEAD.c.written_by))
        raise LogSchemaError(
            f"{place} has schema {stored}, written by es_power {writer}; this is es_power {schema.writer_version()}, "
            f"which knows schemas up to {schema.CURRENT}: upgrade es_power on this machine to {writer} or later"
        )
    return stored


def _make(database: Database, connection: sa.Connection) -> None:
    """Make the tables of a new log as migrations would, which takes a tenth of the time; a test holds the two equal."""
    database.create(schema.METADATA.sorted_tables, connection)
    database.create([_VERSION], connection)
    connection.execute(sa.insert(HEAD).values(position=0, written_by=""))
    connection.execute(sa.insert(_VERSION).values(version_num=f"{schema.CURRENT:04}"))


def migrate(connection: sa.Connection) -> None:
    """Bring a log up to the schema that this es_power writes, from any older one or from none."""
    from alembic import command, config  # noqa: PLC0415 - it takes a third of the time in which a question starts

    settings = config.Config()
    settings.set_main_option("script_location", _MIGRATIONS)
    settings.attributes["connection"] = connection
    command.upgrade(settings, f"{schema.CURRENT:04}")


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Keep other processes from creating, opening to write, or replacing the same file inside the block.

    SQLite's own locks do not cover its first moments, and know nothing of a file that takes another's name.

    The lock is on the directory: a lock on the file itself would end SQLite's (POSIX drops all locks of a process on a
    file when it closes any handle of it), and a lock file would be one more thing to explain.
    """
    if place.path is None:
        yield
        return
    try:
        make_folder(place.path.parent)
        directory = os.open(place.path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LogUnavailableError(f"{place} cannot be created: {error.strerror}; check its directory") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def create_file(place: Place) -> None:
    """Make an empty file where there is none, or LogUnavailableError; nothing for a log that is no file."""
    if place.path is None:
        return
    _require_only_name(place.path)
    try:
        if not place.path.exists():  # to close one that is open elsewhere in this process would end SQLite's locks
            # As the umask says: an actor with a user of its own writes the log too, through their group.
            os.close(os.open(place.path, os.O_RDONLY | os.O_CREAT, 0o666))
    except OSError as error:
        raise LogUnavailableError(f"{place} cannot be created: {error.strerror}; check its directory") from error


def _require_only_name(path: Path) -> None:
    """Refuse to write by the name under which a restore that was killed had begun to keep the old log aside.

    While the log has both names, SQLite would keep a write-ahead log beside each, and write over what the other did.
    """
    name, is_aside, _ = path.name.partition(ASIDE)
    first = path.with_name(name)
    if is_aside and is_one_file(path, first):
        raise LogUnavailableError(
            f"{path} is {first} by a second name, which a restore left that was killed: delete that name (the log "
            "stays), or run the restore again"
        )


def _copy(path: Path, stored: int) -> None:
    """Copy a log as it is now; the copy has its name only when it is whole."""
    copy = path.with_name(f"{path.name}.bak-{stored}")
    partial = copy.with_name(f"{copy.name}.partial")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as target:
        source.backup(target)
    partial.replace(copy)
