"""The schema: created once, upgraded after a copy, refused when newer."""

import os
import sqlite3
from contextlib import closing
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from es_power.domain.events import HostSwept
from es_power.domain.time import Timestamp
from es_power.errors import LogNotFoundError, LogSchemaError, LogUnavailableError
from es_power.log import open_log, schema, upgrade as module
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.log.upgrade import check_schema, ensure_schema, upgrade
from tests.unit.log.facts import append_of, clock, lifecycle, new_database, older_database, write_next_schema


@pytest.fixture
def next_schema(tmp_path_factory, monkeypatch):
    write_next_schema(tmp_path_factory.mktemp("migrations"), monkeypatch)
    return monkeypatch


def columns(path, table):
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_the_migrations_make_the_tables_that_the_code_uses():
    with closing(Database(":memory:")) as database, database.write() as connection:
        module.migrate(connection)

        assert compare_metadata(MigrationContext.configure(connection), schema.METADATA) == []


def test_a_new_log_is_what_all_migrations_make():
    with closing(new_database()) as made, closing(Database(":memory:")) as migrated:
        with migrated.write() as connection:
            module.migrate(connection)

        assert contents(migrated) == contents(made)


def contents(database):
    """The columns, keys and indexes of each table, and the rows of those that begin with some."""
    with database.read() as connection:
        of = sa.inspect(connection)
        tables = {
            name: (
                [(each["name"], str(each["type"]), each["nullable"]) for each in of.get_columns(name)],
                of.get_pk_constraint(name)["constrained_columns"],
                [(each["name"], each["column_names"], each["unique"], only(each)) for each in of.get_indexes(name)],
                of.get_unique_constraints(name),
            )
            for name in of.get_table_names()
        }
        rows = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in tables}
    return tables, {**rows, "head": [(position, "") for position, _ in rows["head"]]}


def only(index):
    """What a partial index says of its rows."""
    return str(index.get("dialect_options", {}).get("sqlite_where")).replace('"', "")


def test_the_last_migration_is_the_schema_that_the_code_writes():
    config = Config()
    config.set_main_option("script_location", module._MIGRATIONS)

    assert ScriptDirectory.from_config(config).get_current_head() == f"{schema.CURRENT:04}"


def test_a_log_is_created_with_the_directories_above_it(tmp_path):
    path = tmp_path / "var" / "lib" / "log.db"
    upgrade(path)
    upgrade(path)

    assert [each.name for each in path.parent.iterdir()] == ["log.db"]
    with closing(Database(path, mode="read")) as database:
        check_schema(database)


async def test_an_older_log_is_upgraded_after_a_copy(tmp_path, next_schema):
    path = tmp_path / "log.db"
    with next_schema.context() as older:
        older.setattr(schema, "CURRENT", schema.CURRENT - 1)
        async with open_log(path, mode="write") as log:
            await log.append(append_of("a", 0, lifecycle(1)))
    async with open_log(path, mode="write") as log:
        assert await log.head() == 1

    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.db", f"log.db.bak-{schema.CURRENT - 1}"]
    assert "forgotten_at" in columns(path, "labels")
    copy = tmp_path / f"log.db.bak-{schema.CURRENT - 1}"
    assert "forgotten_at" not in columns(copy, "labels")
    async with open_log(copy) as log:
        assert [each.event for each in await log.read(after=0)] == [lifecycle(1)]


async def test_a_reader_reads_an_older_log_on_and_leaves_it_as_it_is(tmp_path, next_schema):
    path = tmp_path / "log.db"
    with next_schema.context() as older:
        older.setattr(schema, "CURRENT", schema.CURRENT - 1)
        async with open_log(path, mode="write") as log:
            await log.append(append_of("a", 0, lifecycle(1)))
    async with open_log(path) as log:
        assert await log.head() == 1
    assert "forgotten_at" not in columns(path, "labels")


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_newer_log_is_refused_with_both_versions_and_the_mend(tmp_path, next_schema, mode):
    path = tmp_path / "log.db"
    with next_schema.context() as newer:
        newer.setattr(schema, "writer_version", lambda: "9.9")
        upgrade(path)
    next_schema.setattr(schema, "CURRENT", schema.CURRENT - 1)
    with pytest.raises(LogSchemaError) as caught:
        async with open_log(path, mode=mode):
            pass

    for part in (f"schema {schema.CURRENT + 1}", "es_power 9.9", schema.writer_version(), "upgrade es_power"):
        assert part in str(caught.value)


def test_a_failed_upgrade_leaves_the_log_as_it_was(tmp_path, next_schema):
    path = tmp_path / "log.db"
    with next_schema.context() as older:
        older.setattr(schema, "CURRENT", schema.CURRENT - 1)
        upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE labels ADD COLUMN forgotten_at")
    with pytest.raises(LogUnavailableError, match="duplicate column"):
        upgrade(path)

    next_schema.setattr(schema, "CURRENT", schema.CURRENT - 1)
    with closing(Database(path)) as database:
        ensure_schema(database)


def test_a_text_that_schema_1_cut_is_marked_since_nobody_can_check_its_digest_any_more(tmp_path):
    path = tmp_path / "log.db"
    texts = ["kvm", "x" * 255, "x" * 255 + "…", "a\ufffdb"]
    older_database(1, path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(n, b"", text) for n, text in enumerate(texts)])
        connection.commit()
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT whole FROM labels ORDER BY id").fetchall() == [
            (None,),
            (None,),
            (b"",),
            (b"",),
        ]


def test_tables_of_another_program_are_left_alone(tmp_path):
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(LogNotFoundError, match="another program's tables"):
        upgrade(path)
    with closing(Database(path, mode="read")) as database, pytest.raises(LogNotFoundError, match="another program's"):
        check_schema(database)

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('6f0ab1c3')")
        connection.commit()
    with pytest.raises(LogNotFoundError, match="another program's tables"):
        upgrade(path)


def test_a_log_that_cannot_be_created_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailableError, match="cannot be created: File exists"):
        upgrade(tmp_path / "file" / "log.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere" / "log.db")
    with pytest.raises(LogUnavailableError, match="cannot be created: No such file"):
        upgrade(tmp_path / "link.db")
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogNotFoundError, match="is a directory"):
        upgrade(tmp_path / "log.db")


def test_a_log_is_not_written_by_a_second_name_that_a_restore_left(tmp_path):
    new_database(tmp_path / "log.db").close()
    os.link(tmp_path / "log.db", tmp_path / "log.db.replaced-1")
    with (
        closing(Database(tmp_path / "log.db.replaced-1")) as database,
        pytest.raises(LogUnavailableError, match="delete that name"),
    ):
        ensure_schema(database)
    (tmp_path / "log.db").unlink()
    with closing(Database(tmp_path / "log.db.replaced-1")) as database:
        ensure_schema(database)  # it was kept aside, and is a log of its own


def test_the_writers_version_is_that_of_the_package_or_says_that_there_is_none(monkeypatch):
    monkeypatch.setattr(schema, "version", lambda _name: "1.2")
    assert schema.writer_version() == "1.2"

    def missing(name):
        raise schema.PackageNotFoundError(name)

    monkeypatch.setattr(schema, "version", missing)
    assert schema.writer_version() == "an unreleased version"


def test_the_file_of_an_unchanged_sweep_of_50_vms_grows_by_at_most_400_bytes(tmp_path):
    """The budget, all in all: record, indexes and the slack of the pages. Twenty hosts, as in the year of the issue."""
    sweeps, hosts, boot = 400, 20, uuid4()
    path = tmp_path / "log.db"
    codec = Codec()
    with closing(new_database(path)) as database:
        appender = Appender(database, clock)
        before = path.stat().st_size
        for number in range(sweeps):
            at = Timestamp(clock() + number)
            swept = HostSwept(
                observed_at=at,
                asked_at=at,
                inventory=2,
                connection=300,
                number=70_000,
                states=b"\1\1" * 50,
                boot_id=boot,
                clock_synchronised=True,
                clock_offset=-1_234_567,
                clock_error=2_345_000,
            )
            group = [prepare(append_of(f"observer/kvm-{host:02}/qemu", number, swept), codec) for host in range(hosts)]
            assert appender.commit(group)[-1] == (number + 1) * hosts
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert (path.stat().st_size - before) / (sweeps * hosts) <= 400


def test_a_log_has_the_tables_of_the_schema_and_no_other():
    with closing(new_database()) as database, database.read() as connection:
        names = set(sa.inspect(connection).get_table_names())

    assert names == {*schema.METADATA.tables, "alembic_version"}
