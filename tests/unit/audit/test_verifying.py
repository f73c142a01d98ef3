"""What was done to a log is named, with its place; a log that nobody touched is intact."""

import os
import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
import trio

from es_power.audit.keys import Signer
from es_power.audit.notes import Checkpoint
from es_power.audit.pages import PageCheck
from es_power.audit.stored import Tree
from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine, verify
from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import START, InstanceNamed, Label
from es_power.domain.logged import FactImported
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.errors import LogUnavailableError, NoteError
from es_power.log import open_log
from es_power.log.append import Appender, prepare
from es_power.log.database import Database
from es_power.testing.facts import vm
from es_power.testing.log_contract import append_of, lifecycle
from tests.unit.audit.rigs import CODEC, SIGNER, checkpoint_of, insider, move_up, pruned_at, recompute, write_log
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
    # Where the database's own check takes longer, it is told again.
    assert list(dict.fromkeys(reached)) == [256, 512, 600]


async def test_whoever_loses_patience_ends_the_databases_own_check_too(path, monkeypatch):
    endless = "WITH RECURSIVE n (x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    began = threading.Event()

    def check_for_ever(self, check):
        began.set()
        return self._driver.execute(endless).fetchall()

    monkeypatch.setattr(PageCheck, "_told", check_for_ever)
    with a_log(path), trio.CancelScope() as patience:
        async with open_log(path) as log:
            await verify(log, progress=lambda position: began.wait() and position == RECORDS and lose(patience))

    assert patience.cancelled_caught


def lose(patience):
    trio.from_thread.run_sync(patience.cancel)


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
    "a label's text, taken for salt": (
        "UPDATE labels SET salt = CAST(salt || 'vm' AS BLOB), text = '-0' WHERE text = 'vm-0'",
        Kind.LABELS,
        1,
    ),
    "a label's text, said to be cut": ("UPDATE labels SET whole = X'', text = 'x' WHERE text = 'vm-0'", Kind.LABELS, 1),
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


def test_a_text_that_is_gone_is_damage_unless_a_fact_says_that_it_was_forgotten(path):
    with a_log(path) as database:
        with insider(path) as connection:
            connection.execute("DELETE FROM labels WHERE text = 'vm-0'")
        taken = examine(database)
        forget(database, taken.damage[0])
        forgotten = examine(database)

    assert [(each.kind, each.position) for each in taken.damage] == [(Kind.LABELS, 1)]
    assert (taken.labels, taken.labels_gone) == (5, 1)
    assert forgotten.is_intact
    assert (forgotten.labels, forgotten.labels_gone) == (5, 1)


def forget(database, damage):
    """Say that the text was forgotten of which a verification says that it is gone."""
    label = int(damage.detail.split()[4])
    event = LabelsForgotten(observed_at=Timestamp(7), labels=(label,), by=Label(id=label, digest=b""))
    append(database, append_of(AUDIT, 0, event))


def append(database, *appends):
    Appender(database, lambda: Timestamp(7)).commit([prepare(each, CODEC) for each in appends])


def test_many_texts_that_are_gone_are_one_damage(path):
    with a_log(path, labels=3) as database:
        with insider(path) as connection:
            connection.execute("DELETE FROM labels")
        [damage] = examine(database).damage

    assert (damage.kind, damage.position) == (Kind.LABELS, 1)
    assert "and 4 more is gone" in damage.detail


def test_a_text_that_may_have_been_gone_where_its_fact_came_from_is_no_damage(path):
    topic, state = CODEC.encode(
        InstanceNamed(observed_at=Timestamp(1), instance=vm(1), name=Label(id=7, digest=b"somebody"))
    )
    fact = FactImported(
        observed_at=Timestamp(1),
        stream="observer/kvm-9/qemu",
        version=1,
        position=1,
        recorded_then=Timestamp(1),
        topic=topic,
        state=state,
    )
    with a_log(path) as database:
        append(database, append_of("imported/jsonl/x", 0, fact))
        verdict = examine(database)

    assert verdict.is_intact
    assert verdict.labels_gone == 1


def test_a_text_of_a_record_that_cannot_be_read_may_have_been_forgotten_by_it(path):
    with a_log(path) as database:
        append(database, append_of(AUDIT, 0, lifecycle(1)))
        with insider(path) as connection:
            connection.execute("UPDATE records SET topic = 'LabelsForgotten:9' WHERE position = 601")
            connection.execute("DELETE FROM labels WHERE text = 'vm-0'")
            recompute(connection)
        verdict = examine(database)

    assert verdict.is_intact
    assert (verdict.unread, verdict.labels_gone) == (1, 1)


def test_a_label_that_schema_1_cut_is_counted_and_not_vouched_for(path):
    with a_log(path) as database:
        with insider(path) as connection:
            connection.execute("UPDATE labels SET whole = X'' WHERE length(text) > 200")
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


@pytest.mark.parametrize("index", ["sqlite_autoindex_records_1", "records_key"])
def test_an_index_that_gives_another_record_is_found(path, index):
    with a_log(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [size] = connection.execute("PRAGMA page_size").fetchone()
        pages = "SELECT min(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
        [page] = connection.execute(pages, (index,)).fetchone()
    content = bytearray(path.read_bytes())
    begin = (page - 1) * size
    # The first cell says how long it is, and ends with the position of its record.
    cell = begin + int.from_bytes(content[begin + 8 : begin + 10], "big")
    content[cell + content[cell]] ^= 1
    path.write_bytes(content)

    assert {kind for kind, _ in found(path)} == {Kind.PAGES}


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

    assert found(path) == []
    assert found(path, note) == [(Kind.TRUNCATED, 78)]


def test_a_checkpoint_that_is_signed_by_another_is_refused(path):
    other, own = Signer.generate(SIGNER.verifier.name).verifier, SIGNER.verifier
    with a_log(path) as database, pytest.raises(NoteError) as refused:
        examine(database, [checkpoint_of(database)], keys=[other])

    # Two keys of one name are told apart by their ids.
    named = f"not signed by {other.name}+{other.id.hex()}; it says that it is by {own.name}+{own.id.hex()}"
    assert str(refused.value).endswith(named)


@pytest.mark.parametrize("position", [1, 255, 256, 300, 599])
def test_a_pruned_log_is_verified_from_the_checkpoint_there(path, position):
    with a_log(path) as database:
        note = checkpoint_of(database)
        kept = pruned_at(database, position)
        verdict = examine(database, [note], keys=[SIGNER.verifier])

    assert verdict.is_intact
    # The last record of each stream, and the fact that says so.
    assert (verdict.pruned, verdict.records, verdict.vouched) == (position, RECORDS - position + kept + 1, RECORDS)


def test_a_pruned_prefix_that_does_not_go_with_its_checkpoint_is_named(path):
    with a_log(path) as database:
        other = checkpoint_of(database)
        pruned_at(database, 300, checkpoint=str(other))

        assert [each.kind for each in examine(database).damage] == [Kind.PRUNED]
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE pruned SET checkpoint = 'x'")
        assert [each.kind for each in examine(database).damage] == [Kind.PRUNED]


REMAINS = {
    "a record that was kept, in its content": ("UPDATE records SET recorded_at = 1 WHERE position = 299", 299),
    "a record that was kept, hash and all": ("UPDATE records SET hash = zeroblob(32) WHERE position = 300", 300),
    "a record that was kept, taken out": ("DELETE FROM records WHERE position = 298", 298),
    "a record where none was kept": (
        "INSERT INTO records SELECT 7, stream, 7, 0, topic, state, zeroblob(32), NULL FROM records LIMIT 1",
        7,
    ),
    "a record of no stream": ("UPDATE records SET stream = 99 WHERE position = 299", 299),
    "what every fold begins with": ("UPDATE pruned SET state = x'00'", 300),
    "the end of a stream": ("UPDATE pruned_streams SET hash = zeroblob(32) WHERE stream = 2", 300),
    "which records were kept": ("UPDATE pruned SET kept = x''", 300),
    "the fact that says so": ("UPDATE records SET state = x'00' WHERE stream = 4", None),
}


@pytest.mark.parametrize(("sql", "position"), REMAINS.values(), ids=REMAINS.keys())
def test_what_remains_of_a_pruned_beginning_is_found_where_somebody_changed_it(path, sql, position):
    with a_log(path) as database:
        pruned_at(database, 300)
        with database.write() as connection:
            connection.exec_driver_sql(sql)
        found = [each.position for each in examine(database).damage]

    assert found
    assert position is None or position in found


def test_a_reading_that_was_disturbed_is_no_damage(path, monkeypatch):
    reached = []

    def disturbed(self):
        if reached:
            raise LogUnavailableError("a service began to write in the middle of the question; ask again")

    with a_log(path) as database:
        monkeypatch.setattr(Database, "_still_frozen", disturbed)
        with pytest.raises(LogUnavailableError, match="ask again"):
            examine(database, progress=reached.append)


def test_a_file_that_was_cut_off_is_damage_and_not_an_error(path):
    write_log(path, RECORDS).close()
    os.truncate(path, path.stat().st_size // 2)

    [(kind, position)] = set(found(path))

    assert (kind, position) == (Kind.PAGES, None)
