"""After an error of the disk: what SQLite's write-ahead log holds is written anew before anything is stored."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from es_power.errors import LogRewoundError, LogUnavailableError
from es_power.ingest.stream import OwnStream
from es_power.log import SqlLog, database as module, open_log
from es_power.log.lease import _Claim, lease
from es_power.log.refusals import is_of_the_disk
from es_power.testing.memory import MemoryLog
from tests.unit.log.facts import append_of, lifecycle


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqlLog]:
    async with open_log(tmp_path / "log.db", mode="write") as log:
        await log.append(append_of("a", 0, lifecycle(1)))
        yield log


def fail_once(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next transaction meet an error of the disk."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    check, errors = log.database._require_in_place, [error]

    def require_in_place() -> None:
        if errors:
            raise errors.pop()
        check()

    monkeypatch.setattr(log.database, "_require_in_place", require_in_place)


async def test_the_next_append_finds_the_write_ahead_log_empty(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(log, monkeypatch)
    append = append_of("a", 1, lifecycle(2))
    assert log.database.wal_bytes() > 0
    with pytest.raises(LogUnavailableError, match="reports an error"):
        await log.append(append)
    log.database.make_sure()
    assert log.database.wal_bytes() == 0

    assert await log.append(append) == 2


async def test_while_somebody_reads_nothing_is_accepted_after_an_error(
    log: SqlLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT", 0.01)
    fail_once(log, monkeypatch)
    append = append_of("a", 1, lifecycle(2))
    with log.database.read() as reader:
        reader.execute(sa.text("SELECT * FROM head")).all()
        with pytest.raises(LogUnavailableError, match="reports an error"):
            await log.append(append)
        with pytest.raises(LogUnavailableError, match="is written anew before anything else"):
            await log.append(append)
        log.database.make_sure(insist=False)

    assert await log.append(append) == 2


async def test_what_is_not_in_a_file_has_nothing_to_be_made_sure_of() -> None:
    async with open_log("sqlite://") as log:
        log.database.make_sure()

        assert log.database.wal_bytes() == 0


async def test_a_write_ahead_log_that_is_not_there_holds_nothing(log: SqlLog, tmp_path: Path) -> None:
    log.database.close()
    (tmp_path / "log.db-wal").unlink(missing_ok=True)

    assert log.database.wal_bytes() == 0


def test_a_full_disk_is_no_error_of_the_disk() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    assert not is_of_the_disk(sa.exc.OperationalError("INSERT", {}, full))


async def test_a_lease_is_asked_for_until_the_database_answers(
    log: SqlLog, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    take, refusals = _Claim._take, [1, 2]

    def refuse_at_first(claim: _Claim) -> object:
        if refusals:
            refusals.pop()
            raise LogUnavailableError
        return take(claim)

    monkeypatch.setattr(_Claim, "_take", refuse_at_first)
    async with trio.open_nursery() as nursery, lease(log, "observer/a/test", "one", nursery=nursery) as epoch:
        assert epoch == 1
    assert refusals == []


async def test_a_stream_that_ends_before_what_was_written_to_it_is_refused() -> None:
    stream = OwnStream(MemoryLog(), "observer/a/test", version=7)

    with pytest.raises(LogRewoundError, match="ends at version 0, but 7 was written to it") as caught:
        await stream.append([lifecycle(1)])
    assert (caught.value.checkpoint, caught.value.head, caught.value.stream) == (7, 0, "observer/a/test")
