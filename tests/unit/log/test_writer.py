"""Group commit: who commits, who waits, and what cancellation leaves behind."""

import sqlite3
import threading
from contextlib import closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from es_power.domain.ports import Append, LabelText, Tracking, Write
from es_power.errors import ConcurrentAppendError, LogError, LogUnavailableError, SealBrokenError, UnknownEventError
from es_power.log import database as database_module, open_log, queries, writer as module
from es_power.log.append import prepare
from es_power.log.chain import Chain
from tests.unit.log.facts import append_of, lifecycle


@pytest.fixture
async def log(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log:
        yield log


class Gate:
    """Holds each commit in its thread until it is let through; `groups` says how many appends each had."""

    def __init__(self, log):
        self._commit = log._appender.commit
        self._open = threading.Semaphore(0)
        self.entered = trio.Event()
        self.groups = []
        log._appender.commit = self.commit

    def commit(self, group):
        self.groups.append(len(group))
        trio.from_thread.run_sync(self.entered.set)
        self._open.acquire()
        return self._commit(group)

    def let_through(self, commits=1):
        self.entered = trio.Event()
        self._open.release(commits)


async def append_in(log, scope, append, outcomes):
    with scope:
        outcomes.append(await log.append(append))


async def test_appends_that_come_during_a_commit_make_the_next_one(log):
    gate = Gate(log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
        await gate.entered.wait()
        for stream in "bcde":
            nursery.start_soon(log.append, append_of(stream, 0, lifecycle(1)))
        await wait_all_tasks_blocked()
        gate.let_through(2)

    assert gate.groups == [1, 4]
    assert await log.head() == 5
    recorded = [each.recorded_at for each in await log.read(after=0)]
    assert len(set(recorded[1:])) == 1


async def test_a_group_takes_in_no_more_once_it_is_large(log, monkeypatch):
    monkeypatch.setattr(module, "GROUP", 3)
    gate = Gate(log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
        await gate.entered.wait()
        for stream in "bcde":
            nursery.start_soon(log.append, append_of(stream, 0, lifecycle(1), lifecycle(2)))
        await wait_all_tasks_blocked()
        gate.let_through(3)

    assert gate.groups == [1, 2, 2]


async def test_a_conflict_fails_alone(log):
    gate, refused = Gate(log), []

    async def loser():
        try:
            await log.append(append_of("b", 7, lifecycle(1)))
        except ConcurrentAppendError as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
        await gate.entered.wait()
        nursery.start_soon(loser)
        nursery.start_soon(log.append, append_of("b", 0, lifecycle(1)))
        await wait_all_tasks_blocked()
        gate.let_through(2)

    assert [(each.stream, each.expected) for each in refused] == [("b", 7)]
    assert await log.version("b") == 1


async def test_an_append_cancelled_before_it_was_picked_up_is_never_written(log):
    gate, scope, outcomes = Gate(log), trio.CancelScope(), []
    append = append_of("b", 0, lifecycle(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
        await gate.entered.wait()
        nursery.start_soon(append_in, log, scope, append, outcomes)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        gate.let_through(2)

    assert scope.cancelled_caught
    assert gate.groups == [1]
    assert await log.find(append.key) is None


@pytest.mark.parametrize("own", [True, False], ids=["its own", "somebody else's"])
async def test_an_append_cancelled_during_a_commit_is_written_and_its_key_tells(log, own):
    gate, scope, outcomes = Gate(log), trio.CancelScope(), []
    append = append_of("b", 0, lifecycle(1))
    async with trio.open_nursery() as nursery:
        if not own:
            nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
            await gate.entered.wait()
            nursery.start_soon(log.append, append_of("c", 0, lifecycle(1)))
            await wait_all_tasks_blocked()
        nursery.start_soon(append_in, log, scope, append, outcomes)
        await wait_all_tasks_blocked()
        if not own:
            gate.let_through()
        await gate.entered.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert not scope.cancelled_caught
        gate.let_through()

    assert scope.cancelled_caught
    assert outcomes == []
    assert (await log.read(after=await log.find(append.key) - 1, limit=1))[0].stream == "b"


async def test_whoever_is_cancelled_as_the_turn_comes_passes_it_on(log):
    scope, outcomes = trio.CancelScope(), []
    log._committing = True  # as if somebody's commit ended in the same moment
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append_in, log, scope, append_of("b", 0, lifecycle(1)), outcomes)
        await wait_all_tasks_blocked()
        nursery.start_soon(append_in, log, trio.CancelScope(), append_of("c", 0, lifecycle(1)), outcomes)
        await wait_all_tasks_blocked()
        scope.cancel()
        log._hand_over()

    assert outcomes == [1]
    assert await log.version("b") == 0
    assert await log.append(append_of("b", 0, lifecycle(1))) == 2


async def test_an_unforeseen_error_reaches_all_its_callers_and_the_log_goes_on(log):
    commit, log._appender.commit = log._appender.commit, lambda _group: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await log.append(append_of("a", 0, lifecycle(1)))
    log._appender.commit = commit

    assert await log.append(append_of("a", 0, lifecycle(1))) == 1


async def test_a_refusal_of_the_database_reaches_the_caller_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_WAIT", 0.01)
    async with open_log(tmp_path / "log.db", mode="write") as log:
        append = append_of("a", 0, lifecycle(1))
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailableError, match="has held the lock"):
                await log.append(append)
            assert await log.find(append.key) is None
            other.execute("ROLLBACK")

        assert await log.append(append) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        append_of("a\0b", 0, lifecycle(1)),
        append_of("a\ud800", 0, lifecycle(1)),
        append_of("a", 0, lifecycle(1), labels=[LabelText(id=1, salt=b"", text="a\0b")]),
        append_of("a", 0, lifecycle(1), labels=[LabelText(id=2**63, salt=b"", text="a")]),
        append_of("a", 0, lifecycle(1), labels=[LabelText(id=-1, salt=b"", text="a")]),
        append_of("a", 0, lifecycle(1), tracking=Tracking(name="a\0b", position=1)),
        append_of("a", 0, lifecycle(1), tracking=Tracking(name="a", position=2**63)),
        append_of("a", 0, lifecycle(None)),
    ],
)
async def test_what_cannot_be_stored_is_refused_before_it_could_spoil_a_group(log, wrong):
    with pytest.raises((TypeError, ValueError)):
        await log.append(wrong)

    assert not log._queue
    assert await log.append(append_of("a", 0, lifecycle(1))) == 1


async def test_the_same_append_twice_in_one_group_is_stored_once(log):
    gate, outcomes = Gate(log), []
    append = append_of("b", 0, lifecycle(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append_of("a", 0, lifecycle(1)))
        await gate.entered.wait()
        for _ in range(2):
            nursery.start_soon(append_in, log, trio.CancelScope(), append, outcomes)
        await wait_all_tasks_blocked()
        gate.let_through(2)

    assert outcomes == [2, 2]
    assert await log.head() == 2


async def test_tracking_moves_on_within_one_group(log):
    def track(position):
        return prepare(Append(writes=(), tracking=Tracking(name="manager", position=position)), log.codec)

    first, second, again = log._appender.commit([track(3), track(5), track(5)])

    assert (first, second) == (0, 0)
    assert isinstance(again, ConcurrentAppendError)
    assert await log.tracked("manager") == 5


async def test_a_label_that_is_there_stays_as_it_is(log):
    label = LabelText(id=1, salt=b"salt", text="first")
    await log.append(append_of("a", 0, labels=[label]))
    await log.append(append_of("a", 0, labels=[LabelText(id=1, salt=b"salt", text="second")]))

    assert await log.labels([1]) == {1: "first"}


async def test_more_labels_than_one_statement_takes_are_found(log):
    rows = [LabelText(id=number, salt=b"", text=str(number)) for number in range(2500)]
    await log.append(append_of("a", 0, labels=rows))

    assert await log.labels(range(2500)) == {number: str(number) for number in range(2500)}


async def test_several_writes_to_one_stream_follow_each_other_in_one_append(log):
    writes = [
        Write(stream="a", expected=0, events=[lifecycle(1)]),
        Write(stream="a", expected=1, events=[lifecycle(2)]),
    ]
    await log.append(Append(writes=writes))

    assert [each.version for each in await log.read_stream("a")] == [1, 2]
    with pytest.raises(ConcurrentAppendError) as caught:
        await log.append(Append(writes=[Write(stream="a", expected=2, events=[lifecycle(3)]), writes[1]]))
    assert (caught.value.expected, caught.value.actual) == (1, 3)


async def test_what_another_process_appends_is_noticed(tmp_path):
    path = tmp_path / "log.db"
    async with open_log(path, mode="write") as other, open_log(path, poll=0.001) as log:
        await other.append(append_of("a", 0, lifecycle(1)))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.wait_beyond, 1)
                await other.append(append_of("a", 1, lifecycle(2)))


# -------------------------------------------------------------------------------------------------- damaged records


def damage(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize("change", ["state = x'c1'", "state = CAST(x'ff' AS TEXT)", "topic = CAST(x'ff' AS TEXT)"])
async def test_a_record_that_cannot_be_decoded_stops_nobody(log, tmp_path, change):
    await log.append(append_of("a", 0, *map(lifecycle, range(1, 6))))
    damage(tmp_path / "log.db", f"UPDATE records SET {change} WHERE position = 3")
    for read in (log.read, log.read_raw):
        assert [len(await read(after=after)) for after in (0, 3)] == [2, 2]
        with pytest.raises(UnknownEventError) as caught:
            await read(after=2)
        assert caught.value.position == 3
    with pytest.raises(UnknownEventError):
        await log.read_stream("a", after=2)
    assert len(await log.read_stream("a", after=3)) == 2
    assert sorted(await log.read_at([1, 3, 5, 9])) == [1, 5]


@pytest.mark.parametrize("read", ["read", "read_raw"])
@pytest.mark.parametrize("change", ["state = x'c1'", "state = CAST(x'ff' AS TEXT)"])
async def test_reading_with_a_chain_names_the_record_that_was_changed(log, tmp_path, read, change):
    await log.append(append_of("a", 0, *map(lifecycle, range(1, 6))))
    chain = Chain()
    assert len(await getattr(log, read)(after=0, limit=2, chain=chain)) == 2
    assert len(await getattr(log, read)(after=2, chain=chain)) == 3
    chain.close(await log.head(), await log.ends())

    damage(tmp_path / "log.db", "UPDATE records SET recorded_at = recorded_at + 1 WHERE position = 4")
    with pytest.raises(SealBrokenError) as caught:
        await getattr(log, read)(after=0, chain=Chain())
    assert caught.value.position == 4

    damage(tmp_path / "log.db", f"UPDATE records SET {change} WHERE position = 2")
    chain = Chain()
    assert len(await getattr(log, read)(after=0, chain=chain)) == 1
    with pytest.raises(SealBrokenError) as caught:
        await getattr(log, read)(after=1, chain=chain)
    assert caught.value.position == 2


async def test_a_name_of_a_stream_that_is_no_text_is_damage_and_no_absent_database(log, tmp_path):
    await log.append(append_of("a", 0, lifecycle(1)))
    damage(tmp_path / "log.db", "UPDATE streams SET name = CAST(x'ff' AS TEXT)")
    # Only records are read whatever they hold, and what follows on the same connection is read as ever.
    damage(tmp_path / "log.db", "UPDATE records SET state = CAST(x'ff' AS TEXT)")
    async with open_log(tmp_path / "log.db", mode="read") as other:
        with pytest.raises(LogError, match="is damaged") as caught:
            await other.read_at([1])
    assert not caught.value.transient


async def test_what_else_the_database_refuses_is_not_taken_for_a_damaged_record(log, tmp_path):
    await log.append(append_of("a", 0, lifecycle(1)))
    damage(tmp_path / "log.db", "DROP TABLE records")
    with pytest.raises(LogUnavailableError, match="no such table"):
        await log.read(after=0)


@pytest.mark.parametrize("read", ["read", "read_raw"])
async def test_a_record_of_a_newer_writer_passes_the_chain_before_it_is_set_aside(log, tmp_path, read, monkeypatch):
    await log.append(append_of("a", 0, *map(lifecycle, range(1, 4))))
    encode, chain = log.codec.encode, Chain()
    monkeypatch.setattr(log.codec, "encode", lambda event: ("LifecycleEvent:99", encode(event)[1]))
    await log.append(append_of("a", 3, lifecycle(4)))
    assert len(await getattr(log, read)(after=0, chain=chain)) == 3
    with pytest.raises(UnknownEventError):
        await getattr(log, read)(after=3, chain=chain)

    chain.close(await log.head(), await log.ends())


async def test_a_scan_visits_in_batches_what_reading_gives(log, tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "_CACHED", 4)
    await log.append(append_of("a", 0, *map(lifecycle, range(1, 12))))
    visited = []
    await log.scan(visited.append, after=0, chain=Chain())

    assert [len(batch) for batch in visited] == [4, 4, 3]
    assert [record for batch in visited for record in batch] == await log.read_raw(after=0)

    for bounds, positions in (({"until": 6}, [2, 3, 4, 5, 6]), ({"limit": 2}, [2, 3]), ({"until": 9, "limit": 1}, [2])):
        visited.clear()
        await log.scan(visited.append, after=1, **bounds)
        assert [record[0] for batch in visited for record in batch] == positions

    damage(tmp_path / "log.db", "UPDATE records SET state = x'c1' WHERE position = 7")
    visited.clear()
    with pytest.raises(UnknownEventError) as caught:
        await log.scan(visited.append, after=0)
    assert caught.value.position == 7
    assert [record[0] for batch in visited for record in batch] == [1, 2, 3, 4, 5, 6]


async def test_a_time_means_the_last_position_recorded_not_after_it(tmp_path):
    times = iter([10, 20, 15])
    async with open_log(tmp_path / "log.db", mode="write", clock=lambda: next(times)) as log:
        for version in range(3):
            await log.append(append_of("a", version, lifecycle(1)))

        assert [await log.position_at(at) for at in (9, 10, 14, 15, 20)] == [0, 1, 1, 3, 3]
        assert [await log.position_at(20, after=after) for after in (2, 3)] == [3, 0]
        assert [await log.position_at(20, until=until) for until in (2, 1)] == [2, 1]


async def test_a_chain_that_begins_in_the_middle_checks_what_follows(log, tmp_path):
    for version in range(3):
        await log.append(append_of("a", version, lifecycle(1)))
        await log.append(append_of(f"b{version}", 0, lifecycle(1)))
    hashes = await log.hashes(after=2, until=5)
    assert len(hashes) == 1

    chain = Chain(2, hashes)
    assert len(await log.read(after=2, until=5, chain=chain)) == 3
    assert chain.position == 5

    damage(tmp_path / "log.db", "UPDATE records SET recorded_at = recorded_at + 1 WHERE position = 3")
    with pytest.raises(SealBrokenError) as caught:
        await log.read(after=2, until=5, chain=Chain(2, await log.hashes(after=2, until=5)))
    assert caught.value.position == 3
