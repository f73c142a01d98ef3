"""What was done to a log is named, with its place; a log that nobody touched is intact."""

import sqlite3
from contextlib import closing, contextmanager

import pytest

from es_power.audit.keys import Signer
from es_power.audit.notes import Checkpoint
from es_power.audit.stored import Tree
from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine, verify
from es_power.domain.events import START
from es_power.errors import NoteError
from es_power.log import open_log
from es_power.log.database import Database
from es_power.log.pruned import Pruned, write_pruned
from tests.unit.audit.rigs import SIGNER, checkpoint_of, insider, move_up, recompute, write_log
from tests.unit.log.facts import older_database

RECORDS = 600


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@contextmanager
def a_log(path, records=RECORDS, **how):
    with closing(write_log(path, records, **how)) as database:
        yield database


def found(path, *notes, keys=()):
    with closing(Database(path, mode="read")) as database:
        verdict = examine(database, notes, keys=keys)
    return [(each.kind, each.position) for each in verdict.damage]


def test_a_log_that_nobody_touched_is_intact(path):
    with a_log(path) as database:
        note = checkpoint_of(database)
        verdict = examine(database, [note], keys=[SIGNER.verifier])

    assert verdict.is_intact
    assert (verdict.position, verdict.records, verdict.streams) == (RECORDS, RECORDS, 3)
    assert (verdict.labels, verdict.labels_gone, verdict.labels_unchecked, verdict.unread) == (6, 0, 0, 0)
    assert verdict.vouched == RECORDS
    assert [each.signed for each in verdict.checkpoints] == [True]


def test_an_empty_log_is_intact_and_nothing_vouches_for_it(path):
    with a_log(path, 0) as database:
        verdict = examine(database)

    assert verdict.is_intact
    assert verdict.vouched == START


async def test_a_log_is_verified_while_it_grows_and_tells_how_far_it_is(path):
    with a_log(path):
        reached = []
        async with open_log(path) as log:
            verdict = await verify(log, progress=reached.append)

    assert verdict.is_intact
    assert reached == [256, 512, 600]


def test_a_log_of_schema_1_is_verified_as_it_is(path):
    older_database(1, path).close()
    with insider(path) as connection:
        connection.execute("INSERT INTO labels VALUES (1, X'', ?)", ("x" * 255 + "…",))

    assert found(path) == [(Kind.LABELS, None)]


DONE = {
    "a text is edited": ("UPDATE records SET state = X'00' WHERE position = 77", Kind.EDITED, 77),
    "a hash is edited": ("UPDATE records SET hash = zeroblob(32) WHERE position = 77", Kind.EDITED, 77),
    "a time is edited": ("UPDATE records SET recorded_at = 1 WHERE position = 77", Kind.EDITED, 77),
    "a stream is edited": ("UPDATE records SET stream = 99 WHERE position = 77", Kind.STREAMS, 77),
    "a record is deleted": ("DELETE FROM records WHERE position = 77", Kind.MISSING, 77),
    "records are deleted": ("DELETE FROM records WHERE position BETWEEN 77 AND 500", Kind.MISSING, 77),
    "the end is deleted": ("DELETE FROM records WHERE position > 77", Kind.TRUNCATED, 78),
    "all is deleted": ("DELETE FROM records", Kind.TRUNCATED, 1),
    "the head goes back": ("UPDATE head SET position = 77", Kind.HEAD, 601),
    "the head is gone": ("DELETE FROM head", Kind.HEAD, 601),
    "a record before the first": ("UPDATE records SET position = -5 WHERE position = 77", Kind.INSERTED, -5),
    "a stream's name": ("UPDATE streams SET name = 'x' WHERE no = 2", Kind.STREAMS, None),
    "a stream's id": ("UPDATE streams SET id = zeroblob(16) WHERE no = 2", Kind.STREAMS, 2),
    "a stream's end": ("UPDATE streams SET hash = zeroblob(32) WHERE no = 2", Kind.STREAMS, None),
    "a stream's version": ("UPDATE streams SET version = 3 WHERE no = 2", Kind.STREAMS, None),
    "a stream's number": ("UPDATE streams SET no = 9 WHERE no = 2", Kind.STREAMS, 2),
    "a stream more": (
        "INSERT INTO streams VALUES (4, zeroblob(16), '00000000-0000-0000-0000-000000000000', 0, X'')",
        Kind.STREAMS,
        None,
    ),
    "a label's text": ("UPDATE labels SET text = 'x' WHERE text = 'vm-0'", Kind.LABELS, 1),
    "a long label's text": ("UPDATE labels SET text = 'y' || text WHERE length(text) > 200", Kind.LABELS, 2),
    "a label more": ("INSERT INTO labels VALUES (1, X'', 'x', NULL)", Kind.LABELS, None),
    "a node of the tree": ("UPDATE tree SET hash = zeroblob(32) WHERE number = 1", Kind.TREE, None),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM labels; END", Kind.SCHEMA, None),
    "a text that is no text": (
        "UPDATE records SET topic = CAST(X'ff' AS TEXT) WHERE position = 77",
        Kind.EDITED,
        77,
    ),
    "a label that is no text": ("UPDATE labels SET text = CAST(X'ff' AS TEXT) WHERE text = 'vm-0'", Kind.LABELS, 1),
    "a label that is a number": ("UPDATE labels SET text = X'00' WHERE text = 'vm-0'", Kind.LABELS, 1),
}


@pytest.mark.parametrize("done", DONE)
def test_what_was_done_is_named_with_its_place(path, done):
    sql, kind, position = DONE[done]
    with a_log(path) as database:
        checkpoint_of(database)
    with insider(path) as connection:
        connection.execute(sql)

    assert found(path)[0] == (kind, position)


def test_a_record_that_stands_there_twice_is_named(path):
    with a_log(path):
        pass
    with insider(path) as connection:
        move_up(connection, 77, 1)
        connection.execute(
            "INSERT INTO records SELECT 78, stream, version + 1000, recorded_at, topic, state, hash, NULL "
            "FROM records WHERE position = 40"
        )

    assert found(path)[0] == (Kind.DUPLICATED, 78)


def test_a_record_that_was_put_between_is_named(path):
    with a_log(path):
        pass
    with insider(path) as connection:
        move_up(connection, 77, 1)
        connection.execute("INSERT INTO records VALUES (78, 1, 1000, 1, 'LifecycleEvent:1', X'90', zeroblob(32), NULL)")

    assert found(path)[0] == (Kind.INSERTED, 78)


@pytest.mark.parametrize(("one", "other"), [(77, 78), (77, 80), (40, 500)])
def test_two_records_in_each_others_place_are_named(path, one, other):
    with a_log(path):
        pass
    with insider(path) as connection:
        connection.execute(f"UPDATE records SET position = -1 WHERE position = {one}")
        connection.execute(f"UPDATE records SET position = {one} WHERE position = {other}")
        connection.execute(f"UPDATE records SET position = {other} WHERE position = -1")

    assert found(path)[0] == (Kind.SWAPPED, one)


def test_a_record_whose_place_was_closed_is_named(path):
    with a_log(path):
        pass
    with insider(path) as connection:
        connection.execute("DELETE FROM records WHERE position = 77")
        move_up(connection, 77, -1)

    assert found(path)[0] == (Kind.MISSING, 77)


def test_a_forgotten_label_is_no_damage(path):
    with a_log(path) as database:
        with insider(path) as connection:
            connection.execute("DELETE FROM labels WHERE text = 'vm-0'")
        verdict = examine(database)

    assert verdict.is_intact
    assert (verdict.labels, verdict.labels_gone) == (5, 1)


def test_a_label_that_schema_1_cut_is_counted_and_not_vouched_for(path):
    with a_log(path) as database:
        with insider(path) as connection:
            connection.execute("UPDATE labels SET whole = X'' WHERE text = 'vm-0'")
        verdict = examine(database)

    assert verdict.is_intact
    assert verdict.labels_unchecked == 1


def test_a_page_that_is_damaged_is_named_by_its_number(path):
    with a_log(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
        roots = {root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master")}
    content = bytearray(path.read_bytes())
    leaf = next(
        page for page in range(2, len(content) // size) if content[(page - 1) * size] == 10 and page not in roots
    )
    content[(leaf - 1) * size] = 255
    path.write_bytes(content)
    with closing(Database(path, mode="read")) as database:
        verdict = examine(database)

    assert {each.kind for each in verdict.damage} == {Kind.PAGES}
    assert leaf in {each.page for each in verdict.damage}


def test_a_log_written_anew_fits_but_not_its_checkpoint(path):
    """The control: without the checkpoint nobody can tell."""
    with a_log(path) as database:
        first = checkpoint_of(database)
    with closing(write_log(path.with_name("longer.db"), RECORDS)) as other:
        stranger = checkpoint_of(other)
    with insider(path) as connection:
        connection.execute("UPDATE records SET recorded_at = 1 WHERE position = 77")
        recompute(connection)

    assert found(path) == []
    assert found(path, first) == [(Kind.FORGED, 1)]
    assert found(path, stranger) == [(Kind.FORGED, 1)]


def test_the_change_is_between_the_last_checkpoint_that_holds_and_the_first_that_does_not(path):
    with a_log(path):
        pass
    with closing(Database(path, mode="read")) as database, database.read() as connection:
        tree = Tree(connection)
        notes = [
            SIGNER.sign(Checkpoint(origin=SIGNER.verifier.name, size=size, root=tree.edge(size).root()).text)
            for size in (200, 400, 600)
        ]
    with insider(path) as connection:
        connection.execute("UPDATE records SET recorded_at = 1 WHERE position = 277")
        recompute(connection)
    with closing(Database(path, mode="read")) as database:
        verdict = examine(database, notes)

    assert [(each.kind, each.position, each.until) for each in verdict.damage] == [(Kind.FORGED, 201, 400)]
    assert [each.holds for each in verdict.checkpoints] == [True, False, False]
    assert verdict.vouched == 200


def test_a_log_cut_short_and_mended_ends_before_its_checkpoint(path):
    with a_log(path) as database:
        note = checkpoint_of(database)
    with insider(path) as connection:
        connection.execute("DELETE FROM records WHERE position > 77")
        recompute(connection)
        connection.execute("DELETE FROM streams WHERE no NOT IN (SELECT stream FROM records)")
        connection.execute("DELETE FROM labels WHERE text NOT IN ('vm-0')")

    assert found(path) == []
    assert found(path, note) == [(Kind.TRUNCATED, 78)]


def test_a_checkpoint_that_is_signed_by_another_is_refused(path):
    with a_log(path) as database, pytest.raises(NoteError, match="not signed by kvm-07"):
        examine(database, [checkpoint_of(database)], keys=[Signer.generate(SIGNER.verifier.name).verifier])


def pruned_at(database, position, **changed):
    """Take out the beginning of a log, as `es-power prune` does."""
    with database.read() as connection:
        edge = Tree(connection).edge(position)
    note = SIGNER.sign(Checkpoint(origin=SIGNER.verifier.name, size=position, root=edge.root()).text)
    with database.write() as connection:
        ends = connection.exec_driver_sql(
            f"SELECT stream, max(version), hash FROM records WHERE position <= {position} GROUP BY stream"
        ).fetchall()
        values = {
            "position": position,
            "checkpoint": str(note),
            "edge": edge.nodes,
            "streams": {stream: (version, end) for stream, version, end in ends},
            "pruned_at": 0,
        }
        write_pruned(connection, Pruned(**{**values, **changed}))
        connection.exec_driver_sql(f"DELETE FROM records WHERE position <= {position}")


@pytest.mark.parametrize("position", [1, 255, 256, 300, 599])
def test_a_pruned_log_is_verified_from_the_checkpoint_there(path, position):
    with a_log(path) as database:
        note = checkpoint_of(database)
        pruned_at(database, position)
        verdict = examine(database, [note], keys=[SIGNER.verifier])

    assert verdict.is_intact
    assert (verdict.pruned, verdict.records, verdict.vouched) == (position, RECORDS - position, RECORDS)


def test_a_pruned_prefix_that_does_not_go_with_its_checkpoint_is_named(path):
    with a_log(path) as database:
        other = checkpoint_of(database)
        pruned_at(database, 300, checkpoint=str(other))

        assert [each.kind for each in examine(database).damage] == [Kind.PRUNED]
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE pruned SET checkpoint = 'x'")
        assert [each.kind for each in examine(database).damage] == [Kind.PRUNED]
