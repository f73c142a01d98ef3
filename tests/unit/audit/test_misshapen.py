"""SQLite keeps what it is given: whatever stands in a column, a verification ends with a verdict."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine
from es_power.log.database import Database
from tests.unit.audit.rigs import Copies, checkpoint_of, image_of, insider, pruned_at, write_log

RECORDS, CUT = 1300, 1095

ODD = ("NULL", "'abc'", "''", "7", "-1", "9223372036854775807", "1.5", "9e999", "x''", "x'00'")

COLUMNS = {
    "streams": ("no", "id", "name", "version", "hash"),
    "labels": ("id", "salt", "text"),
    "tree": ("level", "number", "hash"),
    "pruned": ("position", "checkpoint", "edge", "archive", "kept", "nodes", "state", "pruned_at"),
    "pruned_streams": ("stream", "version", "hash"),
    "records": ("position", "stream", "version", "recorded_at", "topic", "state", "hash"),
    "head": ("position",),
}

NAMED = {
    "DROP TABLE labels": Kind.LABELS,
    "UPDATE tree SET level = 9223372036854775807 WHERE number = 4": Kind.TREE,
    "UPDATE pruned_streams SET version = 'x'": Kind.PRUNED,
    "UPDATE pruned_streams SET hash = 'x'": Kind.PRUNED,
    "UPDATE pruned SET edge = 7": Kind.PRUNED,
    "UPDATE pruned SET kept = x'00'": Kind.PRUNED,
    "UPDATE pruned SET state = 'x'": Kind.PRUNED,
    "UPDATE pruned SET nodes = 7": Kind.PRUNED,
    "UPDATE pruned SET checkpoint = x'00'": Kind.PRUNED,
    "UPDATE pruned SET position = 'x'": Kind.PRUNED,
    "UPDATE pruned SET archive = 7": Kind.PRUNED,
    "UPDATE pruned SET pruned_at = 7": Kind.PRUNED,
    "UPDATE streams SET name = x'00' WHERE no = 1": Kind.STREAMS,
    f"UPDATE records SET topic = x'00' WHERE position = {CUT - 1}": Kind.PRUNED,
}


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    found = {}
    for name in ("whole", "pruned"):
        with closing(write_log("sqlite://", RECORDS)) as database:
            checkpoint_of(database)
            if name == "pruned":
                pruned_at(database, CUT)
            found[name] = image_of(database)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with closing(write_log(tmp_path / "log.db", RECORDS)) as database:
        pruned_at(database, CUT)
    return tmp_path / "log.db"


@pytest.mark.parametrize(("sql", "kind"), NAMED.items(), ids=NAMED)
def test_what_is_of_another_type_is_damage_that_is_named(path: Path, sql: str, kind: Kind) -> None:
    with insider(path) as connection:
        connection.execute(sql)
    with closing(Database(path, mode="read")) as database:
        kinds = {each.kind for each in examine(database).damage}

    assert kind in kinds


def test_a_log_that_was_not_read_to_its_end_is_not_called_cut_short(path: Path) -> None:
    with closing(Database(path)) as database:
        note = checkpoint_of(database)
        with insider(path) as connection:
            connection.execute("UPDATE pruned_streams SET version = 'x'")
        verdict = examine(database, [note])

    assert [each.kind for each in verdict.damage] == [Kind.PRUNED]
    assert {each.holds for each in verdict.checkpoints} == {None}


@pytest.mark.parametrize("name", ["whole", "pruned"])
@pytest.mark.parametrize("table", COLUMNS)
def test_whatever_stands_in_a_column_it_ends_with_a_verdict(images: dict[str, bytes], name: str, table: str) -> None:
    copies, unseen = Copies(), []
    changes = [f"SET {column} = {odd}" for column in COLUMNS[table] for odd in ODD]
    for change in changes:
        connection = copies.put(images[name])
        with suppress(sqlite3.Error):
            before = connection.total_changes
            connection.execute(f"UPDATE {table} {change} WHERE rowid = (SELECT min(rowid) FROM {table})")
            if connection.total_changes > before and examine(copies.database).is_intact:
                unseen.append(change)

    assert unseen == []


@pytest.mark.parametrize("name", ["whole", "pruned"])
@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.parametrize("done", ["DROP TABLE", "DELETE FROM"])
def test_without_a_table_it_ends_with_a_verdict(images: dict[str, bytes], name: str, table: str, done: str) -> None:
    copies = Copies()
    copies.put(images[name]).execute(f"{done} {table}")

    # The nodes of a whole log can be computed again, and it has none of what stands for records that are gone.
    assert examine(copies.database).is_intact == (name == "whole" and table in {"tree", "pruned", "pruned_streams"})
