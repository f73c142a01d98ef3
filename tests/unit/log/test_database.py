"""Places, durability, and what the databases say when they refuse."""

import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from es_power.errors import LogError, LogNotFoundError, LogUnavailableError
from es_power.log import database as module
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.database import Database, Place, parse_place
from es_power.log.queries import Queries
from es_power.log.refusals import translate_errors
from es_power.log.schema import HEAD
from es_power.log.upgrade import check_schema, ensure_schema
from tests.unit.log.facts import append_of, clock, lifecycle, new_database


@pytest.fixture
def path(tmp_path):
    """A log with one record."""
    path = tmp_path / "log.db"
    with closing(new_database(path)) as database:
        commit(database, 0)
    return path


def commit(database, expected):
    return Appender(database, clock).commit([prepare(append_of("a", expected, lifecycle(1)), Codec())])


def head(database):
    return Queries(database, Codec()).head()


# ------------------------------------------------------------------------------------------------------ places


def test_a_place_is_a_path_or_an_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert parse_place("log.db") == Place(path=tmp_path / "log.db")
    assert parse_place(tmp_path / "log.db") == Place(path=tmp_path / "log.db")
    assert parse_place("sqlite:///log.db") == Place(path=tmp_path / "log.db")
    assert parse_place("sqlite:////var/lib/log.db") == Place(path=Path("/var/lib/log.db"))
    assert parse_place("sqlite://") == parse_place(":memory:") == parse_place("sqlite:///:memory:") == Place()
    assert str(Place()) == "the log in memory"
    assert str(Place(path=Path("/log.db"))) == "/log.db"


def test_a_password_is_never_shown():
    place = parse_place("postgresql://es_power:secret@db/es_power")

    assert place.url is not None
    assert place.url.drivername == "postgresql+psycopg"
    assert "secret" not in str(place)
    assert "es_power:***@db" in str(place)


@pytest.mark.parametrize("place", ["mysql://db/x", "http://es_power", "postgresql://host:port/x"])
def test_a_place_of_another_kind_is_refused(place):
    with pytest.raises(LogNotFoundError, match="postgresql://"):
        parse_place(place)


def test_a_path_may_have_characters_that_mean_something_in_an_uri(tmp_path):
    path = tmp_path / "a?b=c#d%41 e.db"
    with closing(new_database(path)):
        pass

    assert [each.name for each in tmp_path.iterdir()] == [path.name]


# -------------------------------------------------------------------------------------------------- durability


def test_every_connection_that_writes_is_set_to_be_durable(path):
    with closing(Database(path)) as database, database.write() as one, database.read() as other:
        for connection in (one, other):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_database_that_does_not_take_the_setting_accepts_no_append(path, monkeypatch):
    monkeypatch.setattr(module, "_FULL", 3)
    with closing(Database(path)) as database, pytest.raises(LogUnavailableError, match="synchronous is 2, not 3"):
        commit(database, 1)


def test_a_log_that_was_removed_is_not_made_anew_by_a_writer(path):
    path.unlink()
    with closing(Database(path)) as database, pytest.raises(LogUnavailableError, match="check that it is there"):
        commit(database, 1)
    assert not path.exists()


# ----------------------------------------------------------------------------------------------------- refusals


def test_a_full_disk_is_named_and_nothing_is_half_written(path):
    with closing(Database(path)) as database:

        @sa.event.listens_for(database.engine, "connect")
        def limit(connection, _record):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 1}")

        large = [lifecycle(number) for number in range(500)]
        with pytest.raises(LogUnavailableError, match=r"is full; free some space") as caught:
            Appender(database, clock).commit([prepare(append_of("a", 1, *large), Codec())])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert head(database) == 1
        assert commit(database, 1) == [2]


def test_a_log_opened_for_reading_cannot_be_written(path):
    with closing(Database(path, mode="read")) as database, pytest.raises(LogUnavailableError, match="only be read"):
        commit(database, 1)


def test_a_log_that_another_process_keeps_locked_is_busy(path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT", 0.01)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(Database(path)) as database,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailableError, match="has held the lock"):
            commit(database, 1)
        assert head(database) == 1


def test_a_file_of_another_kind_is_no_log(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no log, by far. " * 100)
    for mode in ("read", "write"):
        with closing(Database(path, mode=mode)) as database, pytest.raises(LogNotFoundError, match="another kind"):
            check_schema(database)


def test_a_damaged_file_is_told_from_an_unavailable_one(path):
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with closing(Database(path, mode="read")) as database, pytest.raises(LogError, match="is damaged") as caught:
        head(database)
    assert not isinstance(caught.value, LogUnavailableError)


def test_a_log_that_is_not_there_cannot_be_read(tmp_path):
    with (
        closing(Database(tmp_path / "log.db", mode="read")) as database,
        pytest.raises(LogNotFoundError, match="there is no log at"),
    ):
        check_schema(database)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_driver_itself_are_translated_too():
    with pytest.raises(LogUnavailableError, match="refuses: no such table: t"), translate_errors("here"):
        sqlite3.connect(":memory:").execute("SELECT * FROM t")


# ------------------------------------------------------------------------------- reading where nothing can be written


@pytest.fixture
def readonly_path():
    """A log in a directory that this process may read but not write."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "log.db"
        with closing(new_database(path)) as database:
            commit(database, 0)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        yield path
        path.parent.chmod(0o755)


@contextmanager
def somebody():
    """Act as a user without rights, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_log_is_read_where_nothing_can_be_written_and_no_service_runs(readonly_path):
    with somebody(), closing(Database(readonly_path, mode="read")) as database:
        check_schema(database)
        assert head(database) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else while it writes itself")
def test_a_service_that_begins_to_write_meanwhile_makes_the_reader_ask_again(readonly_path):
    with closing(Database(readonly_path, mode="read")) as database:
        with somebody():
            assert head(database) == 1
        readonly_path.chmod(0o644)
        with closing(Database(readonly_path)) as writer:
            assert commit(writer, 1) == [2]
        with somebody():
            with pytest.raises(LogUnavailableError, match="ask again"):
                head(database)
            assert head(database) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else while it writes itself")
def test_a_log_in_use_is_read_by_somebody_who_cannot_write_there(readonly_path):
    readonly_path.chmod(0o644)
    with closing(Database(readonly_path)) as writer:
        commit(writer, 1)
        with somebody(), closing(Database(readonly_path, mode="read")) as database:
            assert head(database) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else while it writes itself")
def test_a_log_in_use_by_somebody_who_keeps_it_to_himself_is_not_read_as_it_stands(readonly_path):
    readonly_path.chmod(0o644)
    with closing(Database(readonly_path)) as writer:
        commit(writer, 1)
        for beside in readonly_path.parent.glob("log.db-*"):
            beside.chmod(0)
        with (
            somebody(),
            closing(Database(readonly_path, mode="read")) as database,
            pytest.raises(LogUnavailableError, match=r"cannot be opened|can only be read"),
        ):
            head(database)


def test_a_log_that_this_user_may_not_open_says_so(readonly_path):
    readonly_path.chmod(0)
    with (
        somebody(),
        closing(Database(readonly_path, mode="read")) as database,
        pytest.raises(LogUnavailableError, match="cannot be opened"),
    ):
        head(database)


def test_no_room_for_the_file_of_shared_memory_is_a_full_disk_too():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE

    with pytest.raises(LogUnavailableError, match="is full"), translate_errors("/log.db"):
        raise error


def test_a_postgres_place_is_named_without_its_password_and_our_driver():
    assert str(parse_place("postgresql://me:secret@host/db")) == "postgresql://me:***@host/db"


def test_a_copy_is_one_file_with_all_that_was_written(path, tmp_path):
    copy = tmp_path / "copy.db"
    with closing(Database(path, mode="write")) as database:
        commit(database, 1)
        database.copy_to(copy)
        commit(database, 2)

    assert sorted(each.name for each in tmp_path.glob("copy*")) == ["copy.db"]
    with closing(Database(copy)) as database:
        assert head(database) == 2


def test_the_write_ahead_log_is_emptied_unless_somebody_reads(path):
    with closing(Database(path, mode="write")) as database, closing(Database(path)) as reader:
        commit(database, 1)
        with reader.read() as connection:
            connection.execute(sa.select(HEAD))
            commit(database, 2)
            assert not database.empty_wal()
        assert database.empty_wal()
        assert database.wal_bytes() == 0


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_log_that_was_deleted_in_use_takes_nothing_any_more(tmp_path: Path, suffix: str) -> None:
    database = Database(tmp_path / "log.db")
    ensure_schema(database)
    (tmp_path / f"log.db{suffix}").unlink()

    with pytest.raises(LogNotFoundError, match="deleted or replaced"), database.write() as connection:
        connection.execute(sa.update(HEAD).values(position=1))
    database.close()


def test_a_log_that_was_replaced_in_use_takes_nothing_any_more(tmp_path: Path) -> None:
    database, other = Database(tmp_path / "log.db"), Database(tmp_path / "other.db")
    for each in (database, other):
        ensure_schema(each)
    other.close()
    (tmp_path / "other.db").replace(tmp_path / "log.db")

    with pytest.raises(LogNotFoundError, match="deleted or replaced"), database.write() as connection:
        connection.execute(sa.update(HEAD).values(position=1))
    database.close()


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_directory_is_no_log(tmp_path: Path, mode: Literal["read", "write"]) -> None:
    with pytest.raises(LogNotFoundError, match=r"is a directory; name a file in it, such as .*/log.db"):
        Database(tmp_path, mode=mode)


def test_a_schema_whose_names_are_no_text_any_more_is_damage(tmp_path):
    """Found by turning bits: what SQLite says of it cannot be decoded, and its driver raised that."""
    path = tmp_path / "log.db"
    new_database(path).close()
    path.write_bytes(path.read_bytes().replace(b"tableheadhead", b"table\xe5eadhead"))
    with closing(Database(path, mode="read")) as database, pytest.raises(LogError, match="is damaged"):
        check_schema(database)


def test_a_log_is_written_by_a_link_to_it(tmp_path: Path) -> None:
    new_database(tmp_path / "log.db").close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "log.db")
    with closing(Database(tmp_path / "elsewhere" / "link.db")) as database:
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE head SET written_by = 'somebody'")
        assert database.place.path == tmp_path / "log.db"
        assert [each.name for each in (tmp_path / "elsewhere").iterdir()] == ["link.db"]


def test_a_link_that_leads_to_itself_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.db").symlink_to(tmp_path / "log.db")
    with pytest.raises(LogNotFoundError, match="leads to itself"):
        Database(tmp_path / "log.db")
