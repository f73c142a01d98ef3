"""What stands beside a log says how far it had come, also where the log itself cannot say who has it."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
import trio

from es_power.errors import LeaseHeldError
from es_power.log import open_log
from es_power.log.database import Database
from es_power.log.lease import lease, no_service
from es_power.log.marks import lacking, lease_file, marked, write_mark
from es_power.testing.log_contract import append_of, lifecycle


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "the disk is full")


async def test_a_mark_names_the_last_record_and_an_older_one_stays_where_the_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, beside = tmp_path / "log.db", lease_file(tmp_path / "log.db", "a")
    async with open_log(place, mode="write") as log:
        write_mark(log.database, "a")  # nobody had a lease
        beside.touch()
        write_mark(log.database, "a")  # of an empty log there is nothing to say
        assert (marked(place), lacking(log.database)) == (0, 0)
        await log.append(append_of("a", 0, lifecycle(1)))
        write_mark(log.database, "a")
        await log.append(append_of("a", 1, lifecycle(2)))
        monkeypatch.setattr(os, "ftruncate", full)
        write_mark(log.database, "a")

        assert (marked(place), lacking(log.database)) == (1, 0)
        beside.write_bytes(b"1 " + b"00" * 32 + b"\n")
        assert lacking(log.database) == 1


@pytest.mark.parametrize("content", [b"", b"no log at all" * 1000])
def test_a_lease_is_seen_also_where_the_log_cannot_say_whose_it_is(tmp_path: Path, content: bytes) -> None:
    place, beside = tmp_path / "log.db", tmp_path / "log.db.lease-01"
    place.write_bytes(content)
    handle = os.open(beside, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    database = Database(place, mode="read")
    try:
        with pytest.raises(LeaseHeldError, match="is held by another service"), no_service(database):
            pass
    finally:
        os.close(handle)
    with no_service(database):
        database.close()


async def test_a_lease_of_a_stream_that_the_log_does_not_know_is_seen_too(tmp_path: Path) -> None:
    place = tmp_path / "log.db"
    async with (
        open_log(place, mode="write") as log,
        trio.open_nursery() as nursery,
        lease(log, "observer/a/qemu", "somebody", nursery=nursery),
    ):
        pass
    handle = os.open(tmp_path / "log.db.lease-01", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    database = Database(place, mode="read")
    try:
        with pytest.raises(LeaseHeldError, match="is held by another service"), no_service(database):
            pass
    finally:
        os.close(handle)
        database.close()
