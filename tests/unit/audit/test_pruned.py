"""Whoever may write the database of a pruned log changes what was kept of its beginning, and all that is said of it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.audit.notes import Note
from es_power.audit.verdict import Kind, Verdict
from es_power.audit.verifying import examine
from es_power.domain.custody import LogPruned
from es_power.domain.events import Position
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.log.append import Appender, prepare
from es_power.log.chain import link
from es_power.log.database import Database
from es_power.log.labels import make_label
from es_power.log.pruned import Pruned, read_nodes, read_pruned, read_state, write_pruned
from es_power.log.schema import LABELS
from es_power.testing.log_contract import append_of, lifecycle
from tests.unit.audit.rigs import CODEC, SIGNER, checkpoint_of, pruned_at, write_log

RECORDS, CUT = 1300, 1095
SAID = RECORDS + 1  # where the log says that it was pruned

Way = Callable[[sa.Connection, Pruned], Pruned]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(write_log(tmp_path / "log.db", RECORDS)) as written:
        pruned_at(written, CUT)
        yield written


def checked(database: Database, *notes: Note) -> Verdict:
    return examine(database, notes, keys=[SIGNER.verifier])


def found(database: Database, *notes: Note) -> list[tuple[Kind, Position | None]]:
    return [(each.kind, each.position) for each in checked(database, *notes).damage]


def say_again(database: Database, change: Way) -> None:
    """Change what stands before the cut, and append a fact that says so."""
    with database.write() as connection:
        before, state, nodes = read_pruned(connection), read_state(connection), read_nodes(connection)
        assert before is not None
        assert state is not None
        pruned = change(connection, before)
        write_pruned(connection, pruned, state, nodes)
        version = connection.exec_driver_sql("SELECT version FROM streams WHERE no = 4").scalar_one()
    label, text = make_label("root")
    fact = LogPruned(
        observed_at=Timestamp(3),
        position=Position(CUT),
        root=b"",
        state=pruned.digest(state),
        count=1,
        archive=label,
        by=label,
    )
    Appender(database, lambda: Timestamp(3)).commit([prepare(append_of(AUDIT, version, fact, labels=[text]), CODEC)])


def put(connection: sa.Connection, pruned: Pruned, position: int, version: int) -> Pruned:
    """Have another observation at a position, with the hash that it should have."""
    number = 1 + (position - 1) % 3
    stream = connection.exec_driver_sql(f"SELECT id FROM streams WHERE no = {number}").scalar_one()
    topic, state = CODEC.encode(lifecycle(10**6))
    previous, _ = pruned.kept.get(Position(position), (bytes(32), b""))
    own = link(previous, stream, version, position, 7, topic, state)
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, 7, ?, ?, ?, NULL)",
        (position, number, version, topic, state, own),
    )
    streams = {number: (version, own)} if position > CUT - 3 else {}
    kept = {**pruned.kept, Position(position): (previous, own)}
    return replace(pruned, kept=kept, streams={**pruned.streams, **streams})


def edited(connection: sa.Connection, pruned: Pruned) -> Pruned:
    return put(connection, pruned, CUT - 2, CUT // 3)


def inserted(connection: sa.Connection, pruned: Pruned) -> Pruned:
    return put(connection, pruned, 700, 234)


def deleted(connection: sa.Connection, pruned: Pruned) -> Pruned:
    connection.exec_driver_sql(f"DELETE FROM records WHERE position = {CUT - 1}")
    kept = {position: hashes for position, hashes in pruned.kept.items() if position != CUT - 1}
    return replace(pruned, kept=kept, streams={no: end for no, end in pruned.streams.items() if no != 2})


def test_what_was_kept_is_proved_by_the_checkpoint_at_the_cut(database: Database) -> None:
    verdict = checked(database, checkpoint_of(database))

    assert verdict.is_intact
    assert (verdict.pruned_said, verdict.remains_vouched) == (SAID, True)


@pytest.mark.parametrize(("change", "position"), [(edited, CUT - 2), (inserted, 700), (deleted, None)])
def test_a_change_before_the_cut_is_found_though_a_later_fact_says_it(
    database: Database, change: Way, position: Position | None
) -> None:
    note = checkpoint_of(database)
    say_again(database, change)

    damage = found(database, note)

    # The fact that says other things than the first one, and what it would have us believe.
    assert (Kind.PRUNED, SAID + 1) in damage
    assert (Kind.PRUNED, CUT) in damage
    assert position is None or (Kind.PRUNED, position) in damage


@pytest.mark.parametrize(("change", "position"), [(edited, CUT - 2), (inserted, 700)])
def test_a_record_before_the_cut_is_proved_though_nothing_vouches_for_what_is_said(
    database: Database, change: Way, position: int
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM records WHERE position = {SAID}")
        connection.exec_driver_sql("UPDATE streams SET version = 0, hash = zeroblob(32) WHERE no = 4")
        connection.exec_driver_sql(f"UPDATE head SET position = {RECORDS}")
    say_again(database, change)

    assert (Kind.PRUNED, position) in found(database)


def test_two_who_pruned_at_once_say_the_same(database: Database) -> None:
    say_again(database, lambda _, pruned: pruned)

    assert found(database, checkpoint_of(database)) == []


def test_what_is_said_after_the_last_checkpoint_is_not_vouched_for(tmp_path: Path) -> None:
    with closing(write_log(tmp_path / "log.db", RECORDS)) as database:
        note = checkpoint_of(database)
        assert checked(database, note).remains_vouched is None
        pruned_at(database, CUT)

        verdict, without = checked(database, note), checked(database)
        later = checked(database, note, checkpoint_of(database))

    assert verdict.is_intact
    assert (verdict.vouched, verdict.remains_vouched) == (RECORDS, False)
    assert without.remains_vouched is False
    assert later.remains_vouched is True


@pytest.mark.parametrize("number", range(5))
def test_a_node_of_a_pruned_log_that_was_changed_is_found(database: Database, number: int) -> None:
    """The last one is over the cut, and is computed; the others lead to the edge, or do not."""
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE tree SET hash = zeroblob(32) WHERE level = 8 AND number = {number}")

    [damage] = checked(database).damage

    assert damage.kind is Kind.TREE
    assert (damage.position, damage.until) == ((None, None) if number == 4 else (1, 1024))


def test_a_node_that_is_gone_before_the_cut_leaves_records_unproved(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM tree")

    assert found(database) == [(Kind.TREE, 1)]


@pytest.mark.parametrize("place", ["level = 9223372036854775807", "level = -1", "number = -1", "level = 16"])
def test_a_node_in_a_place_that_is_none_is_damage(database: Database, place: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE tree SET {place} WHERE level = 8 AND number = 4")

    assert found(database) == [(Kind.TREE, None)]


def test_a_text_taken_from_a_record_that_stays_before_the_cut_is_found(tmp_path: Path) -> None:
    with closing(write_log(tmp_path / "log.db", RECORDS)) as database:
        pruned_at(database, 6)
        assert checked(database).is_intact
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM labels WHERE text = 'vm-4'")

        assert found(database) == [(Kind.LABELS, 5)]


def test_a_text_that_no_record_that_stays_refers_to_is_found(database: Database) -> None:
    _, text = make_label("nobody")
    with database.write() as connection:
        connection.execute(sa.insert(LABELS).values(id=text.id, salt=text.salt, text=text.text))

    assert found(database) == [(Kind.LABELS, None)]
