"""The indexes of a log of many records lead to its records, and where they do not, it is found and said."""

import sqlite3
import sys
from contextlib import closing

import pytest

from es_power.audit import pages
from es_power.audit.indexed import INDEXES, lead
from es_power.audit.pages import PageCheck
from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine
from es_power.log.database import Database
from tests.unit.audit.rigs import insider, write_log

RECORDS = 1_000
PAGE = 4096

#: Each index as a table, by which an entry of it can be changed and its record not.
TABLES = {
    "sqlite_autoindex_records_1": "CREATE TABLE entries (stream, version, position, PRIMARY KEY (stream, version, "
    "position)) WITHOUT ROWID",
    "records_key": "CREATE TABLE entries (key, position, PRIMARY KEY (key, position)) WITHOUT ROWID",
}


@pytest.fixture
def path(tmp_path):
    write_log(tmp_path / "log.db", RECORDS).close()
    with insider(tmp_path / "log.db") as connection:
        connection.execute("UPDATE records SET key = randomblob(16)")
    return tmp_path / "log.db"


@pytest.fixture
def asked(monkeypatch):
    """What SQLite was asked to check."""
    found, tell = [], PageCheck._told
    monkeypatch.setattr(pages, "_MANY", RECORDS)
    monkeypatch.setattr(
        PageCheck, "_told", lambda self, check, **how: found.append((check, *how.values())) or tell(self, check, **how)
    )
    return found


def damage(path):
    """What the check of the pages finds."""
    with closing(Database(path, mode="read")) as database:
        return [each for each in examine(database).damage if each.kind is Kind.PAGES]


def entries(path, index, *statements):
    """Change the entries of an index and nothing else."""
    with insider(path) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'entries', 'entries', ?, ?)", (root, TABLES[index])
        )
    with insider(path) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'entries'")


def test_these_are_the_indexes_of_the_records(path):
    with closing(sqlite3.connect(path)) as connection:
        assert {name for _, name, *_ in connection.execute("PRAGMA index_list('records')")} == INDEXES.keys()
        assert lead(connection)


def test_where_they_lead_no_record_is_looked_for(path, asked):
    assert damage(path) == []
    assert ("quick_check",) in asked
    assert ("integrity_check", '"labels"') in asked
    assert ("integrity_check",) not in asked


@pytest.mark.parametrize(
    ("index", "done"),
    [
        ("sqlite_autoindex_records_1", "DELETE FROM entries WHERE position = 77"),
        ("sqlite_autoindex_records_1", "UPDATE entries SET position = 78 WHERE position = 77"),
        ("sqlite_autoindex_records_1", "UPDATE entries SET position = 154 - position WHERE position IN (76, 78)"),
        ("sqlite_autoindex_records_1", "INSERT INTO entries VALUES (1, 5000, 77)"),
        ("records_key", "DELETE FROM entries WHERE position = 77"),
        ("records_key", "UPDATE entries SET key = zeroblob(16) WHERE position = 77"),
    ],
)
def test_an_entry_that_is_not_that_of_its_record_is_found(path, asked, index, done):
    entries(path, index, done)

    assert damage(path)
    assert ("integrity_check",) in asked


def test_entries_out_of_order_are_found(path, asked):
    image = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_records_1'"
        [page] = connection.execute(sql).fetchone()
    assert image[(page - 1) * PAGE] == 2, "an inner page"
    cell = (page - 1) * PAGE + int.from_bytes(image[(page - 1) * PAGE + 12 :][:2], "big")
    leaf = (int.from_bytes(image[cell:][:4], "big") - 1) * PAGE
    assert image[leaf] == 10, "a leaf"
    first, second = image[leaf + 8 :][:2], image[leaf + 10 :][:2]
    image[leaf + 8 : leaf + 12] = second + first
    path.write_bytes(image)

    assert damage(path)
    assert ("integrity_check",) in asked


@pytest.mark.parametrize("executable", ["/no/such/python", "/bin/false"])
def test_without_a_process_sqlite_looks_for_each(path, asked, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)

    assert damage(path) == []
    assert ("integrity_check",) in asked


def test_a_log_in_memory_is_nobody_elses_to_read(asked):
    with closing(write_log(":memory:", RECORDS)) as database:
        assert examine(database).is_intact
    assert asked == [("integrity_check",)]
