"""One service per stream. Where the lease is a row, memory stands in for PostgreSQL, which has the same rows."""

import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from es_power.errors import LeaseHeldError, LogUnavailableError
from es_power.log import lease as module, open_log
from es_power.log.lease import end_leases, epochs, lease, no_service
from es_power.log.schema import LEASES

STREAM = "observer/kvm-07/qemu"

HOLDER = """
import sys, trio
from es_power.log import open_log
from es_power.log.lease import lease

async def hold():
    async with open_log(sys.argv[1], mode="write") as log, trio.open_nursery() as nursery:
        async with lease(log, "observer/kvm-07/qemu", "kvm-07 (its pid)", nursery=nursery):
            print("held", flush=True)
            await trio.sleep_forever()

trio.run(hold)
"""


@contextmanager
def another_process(path):
    """A process that holds the lease of STREAM, until it is ended by its handle."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


async def test_a_start_after_kill_9_has_the_lease_at_once(tmp_path):
    path = tmp_path / "log.db"
    with another_process(path) as holder:
        async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
            with pytest.raises(LeaseHeldError, match=r"kvm-07 \(its pid\)"):
                async with lease(log, STREAM, "second", nursery=nursery):
                    pass
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            async with lease(log, STREAM, "second", nursery=nursery) as epoch:
                assert epoch == 2


async def test_a_paused_holder_still_has_the_lock_of_its_file(tmp_path):
    path = tmp_path / "log.db"
    with another_process(path) as holder:
        holder.send_signal(signal.SIGSTOP)
        async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
            with pytest.raises(LeaseHeldError):
                async with lease(log, STREAM, "second", nursery=nursery):
                    pass


async def test_each_stream_has_a_lease_of_its_own(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log, trio.open_nursery() as nursery:
        async with (
            lease(log, "observer/kvm-07/qemu", "one", nursery=nursery) as first,
            lease(log, "observer/../../etc/qemu", "two", nursery=nursery) as second,
        ):
            assert first == second == 1
            with pytest.raises(LeaseHeldError, match="is held by one"):
                async with lease(log, "observer/kvm-07/qemu", "three", nursery=nursery):
                    pass
        async with lease(log, "observer/kvm-07/qemu", "three", nursery=nursery) as epoch:
            assert epoch == 2


async def test_a_holder_that_has_not_written_its_name_yet_is_another_service(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log, trio.open_nursery() as nursery:
        claim = module._Claim(log.database, STREAM, "one", 15)
        with claim.file_lock(), pytest.raises(LeaseHeldError, match="another service"):
            async with lease(log, STREAM, "two", nursery=nursery):
                pass


async def test_nobody_has_a_log_alone_while_a_service_has_one_of_its_streams(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log, trio.open_nursery() as nursery:
        async with lease(log, STREAM, "one", nursery=nursery):
            with pytest.raises(LeaseHeldError, match=f"{STREAM} is held by one"), no_service(log.database):
                pass
        claim = module._Claim(log.database, "observer/kvm-08/qemu", "two", 15)
        with claim.file_lock(), pytest.raises(LeaseHeldError, match="another service"), no_service(log.database):
            pass


async def test_a_stream_that_was_leased_elsewhere_goes_on_in_an_epoch_above_that(log):
    async with trio.open_nursery() as nursery:
        async with lease(log, "observer/kvm-08/qemu", "one", nursery=nursery):
            assert epochs(log.database) == {"observer/kvm-08/qemu": 1}
        with log.database.write() as connection:
            end_leases(connection, {STREAM: 7})
        async with lease(log, STREAM, "one", nursery=nursery) as epoch:
            assert epoch == 8


async def test_a_directory_that_takes_no_lock_file_is_named(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log, trio.open_nursery() as nursery:
        path = tmp_path / f"log.db.lease-{module.stream_id(STREAM).hex[:16]}"
        path.mkdir()
        with pytest.raises(LogUnavailableError, match="cannot be written: Is a directory"):
            async with lease(log, STREAM, "one", nursery=nursery):
                pass


# --------------------------------------------------------------------------------------------------- as a row


@pytest.fixture
async def log():
    async with open_log("sqlite://") as log:
        yield log


async def expires_at(log):
    with log.database.read() as connection:
        return connection.scalar(sa.select(LEASES.c.expires_at))


async def test_a_lease_that_is_given_back_is_free_at_once(log):
    async with trio.open_nursery() as nursery:
        for epoch in (1, 2, 3):
            async with lease(log, STREAM, "one", nursery=nursery) as held:
                assert held == epoch


async def test_a_start_waits_for_the_rest_of_a_lease_that_nobody_renews(log):
    assert module._Claim(log.database, STREAM, "dead", 0.2)._take() == 1
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, lease(log, STREAM, "next", nursery=nursery, duration=0.2) as epoch:
            assert epoch == 2


async def test_a_lease_that_is_renewed_is_refused_with_its_holders_name(log):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, lease(log, STREAM, "alive", nursery=nursery, duration=3):
            with pytest.raises(LeaseHeldError, match="held by alive"):
                async with lease(log, STREAM, "next", nursery=nursery, duration=3):
                    pass


async def test_a_holder_that_lost_its_lease_is_stopped_with_the_name_of_who_took_over(log):
    with trio.fail_after(10), pytest.RaisesGroup(pytest.RaisesExc(LeaseHeldError, match="held by usurper")):
        async with trio.open_nursery() as nursery, lease(log, STREAM, "late", nursery=nursery, duration=0.1):
            with log.database.write() as connection:
                connection.execute(sa.update(LEASES).values(holder="usurper", epoch=7))
            await trio.sleep_forever()


async def test_a_database_that_does_not_answer_for_a_while_costs_nobody_the_lease(log, monkeypatch):
    extend, refusals = module._Claim._extend, []

    def refused_at_first(claim, epoch, seconds):
        if len(refusals) < 2:
            refusals.append(seconds)
            raise LogUnavailableError
        return extend(claim, epoch, seconds)

    monkeypatch.setattr(module._Claim, "_extend", refused_at_first)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, lease(log, STREAM, "one", nursery=nursery, duration=0.1):
            before = await expires_at(log)
            while await expires_at(log) == before:
                await trio.sleep(0.01)

    assert refusals == [0.1, 0.1]


async def test_users_with_a_group_in_common_share_a_log(tmp_path: Path) -> None:
    before = os.umask(0o007)
    try:
        async with open_log(tmp_path / "log.db", mode="write") as log, trio.open_nursery() as nursery:
            async with lease(log, "actor/kvm-07/qemu", "somebody", nursery=nursery):
                modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
            nursery.cancel_scope.cancel()
    finally:
        os.umask(before)

    assert len(modes) >= 4
    assert set(modes.values()) == {0o660}
