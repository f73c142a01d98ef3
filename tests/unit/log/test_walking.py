"""All records are walked in one pass, whatever they hold and wherever positions are missing."""

import sqlite3
from contextlib import closing

import pytest

from es_power.log import queries
from es_power.log.queries import walk_rows
from tests.unit.audit.rigs import insider, write_log


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Of 50 records, some are missing, and one holds a text that is none."""
    monkeypatch.setattr(queries, "_BATCHES", 3)
    with closing(write_log(tmp_path / "log.db", 50)) as database:
        with insider(tmp_path / "log.db") as connection:
            connection.execute("DELETE FROM records WHERE position BETWEEN 15 AND 30")
            connection.execute("UPDATE records SET topic = CAST(X'ff' AS TEXT) WHERE position = 33")
        yield database


def test_each_record_is_given_once_and_in_order(database):
    with database.read() as connection:
        batches = list(walk_rows(connection, 3, 7))

    assert [row[0] for rows in batches for row in rows] == [*range(4, 15), *range(31, 51)]
    assert [*map(len, batches)] == [7] * 4 + [3]
    assert [row[4] for rows in batches for row in rows if row[0] == 33] == ["\udcff"]


def test_an_error_of_another_kind_is_the_readers_matter(database):
    with database.read() as connection:
        walking = walk_rows(connection, 0, 1)
        next(walking)
        connection.connection.driver_connection.interrupt()

        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            next(walking)
