"""What is PostgreSQL's alone: lost connections, leases in rows, refusals of the server."""

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
import trio

from es_power.domain.events import InstanceId, InstanceNamed, Position
from es_power.domain.ports import Append, Tracking
from es_power.errors import (
    ConcurrentAppendError,
    LeaseHeldError,
    LogNotFoundError,
    LogSchemaError,
    LogUnavailableError,
)
from es_power.log import database as database_module, open_log
from es_power.log.append import prepare
from es_power.log.database import Database
from es_power.log.labels import make_label
from es_power.log.lease import lease
from es_power.log.schema import HEAD, LEASES
from es_power.log.upgrade import check_schema, ensure_schema, upgrade
from es_power.testing.log_contract import append_of, lifecycle
from es_power.upkeep.backup import back_up
from es_power.upkeep.checking import check
from es_power.upkeep.forgetting import find_namings, forget
from es_power.upkeep.rewinding import accept_rewind
from tests.contract.severing_proxy import severing_proxy
from tests.unit.log.facts import write_next_schema

pytestmark = pytest.mark.postgres

STREAM = "observer/kvm-07/qemu"


@pytest.fixture
def url(postgres):
    return postgres.url()


@pytest.fixture
def cut(postgres, url):
    """A proxy before the log at `url`, and the URL of the log through it."""
    with tempfile.TemporaryDirectory() as name, severing_proxy(Path(name), postgres.directory) as proxy:
        upgrade(url)
        yield proxy, url.replace(str(postgres.directory), name)


# --------------------------------------------------------------------------------------- a writer that is paused


@pytest.mark.parametrize(("abandoned", "waits"), [(300, False), (0, True)], ids=["as it is", "without the end"])
async def test_a_writer_that_is_paused_in_a_transaction_keeps_nobody_waiting(url, monkeypatch, abandoned, waits):
    monkeypatch.setattr(database_module, "ABANDONED", abandoned)
    async with open_log(url, mode="write") as log, open_log(url, mode="write") as other, trio.open_nursery() as nursery:
        paused = log.database.engine.connect()
        paused.execute(sa.select(HEAD.c.position).with_for_update())
        nursery.start_soon(other.append, append_of("a", 0, lifecycle(1)))
        with trio.move_on_after(1.5 if waits else 30) as patience:
            while not await log.head():
                await trio.sleep(0.05)
        paused.invalidate()
        paused.close()

    assert patience.cancelled_caught is waits


async def test_one_that_is_paused_in_the_middle_of_what_it_says_is_cut_off_by_whoever_waits(url, monkeypatch):
    monkeypatch.setattr(database_module, "ABANDONED", 300)
    async with open_log(url, mode="write") as log, open_log(url, mode="write") as other:
        connection = log.database.engine.raw_connection()
        paused = connection.driver_connection
        with ExitStack() as saying:
            saying.enter_context(paused.pipeline())
            paused.execute("UPDATE head SET position = position")  # and not that this is all that it has to say
            with pytest.raises(LogUnavailableError, match="cut off, so try again"):
                await other.append(append_of("a", 0, lifecycle(1)))

            assert await other.append(append_of("a", 0, lifecycle(1))) == 1
            with pytest.raises(psycopg.OperationalError):
                saying.close()
        connection.invalidate()


# ------------------------------------------------------------------------------------------- unknown outcomes


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_append_whose_connection_broke_in_its_commit_is_stored_once(cut, moment):
    proxy, through = cut
    async with open_log(through, mode="write") as log:
        await log.append(append_of("a", 0, lifecycle(1)))
        proxy.cuts = [moment]
        append = append_of("a", 1, lifecycle(2), lifecycle(3))

        assert await log.append(append) == 2
        assert proxy.cuts == []
        assert await log.find(append.key) == 2
        assert await log.head() == 3


async def test_a_conflict_is_told_from_ones_own_append_when_the_connection_breaks(cut, url):
    proxy, through = cut
    async with open_log(through, mode="write") as log, open_log(url, mode="write") as other:
        await other.append(append_of("a", 0, lifecycle(1)))
        proxy.cuts = ["after"]
        mine, late = append_of("b", 0, lifecycle(2)), append_of("a", 0, lifecycle(3))
        [stored, refused] = await trio.to_thread.run_sync(
            log._appender.commit, [prepare(each, log.codec) for each in (mine, late)]
        )

        assert stored == 2
        assert isinstance(refused, ConcurrentAppendError)
        assert await other.head() == 2


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_tracking_without_records_survives_a_broken_commit_too(cut, moment):
    proxy, through = cut
    async with open_log(through, mode="write") as log:
        proxy.cuts = [moment]
        await log.append(Append(writes=(), tracking=Tracking(name="manager", position=7)))

        assert await log.tracked("manager") == 7
        with pytest.raises(ConcurrentAppendError):
            await log.append(Append(writes=(), tracking=Tracking(name="manager", position=7)))


async def test_an_outcome_that_stays_unknown_is_an_error_and_the_key_tells_later(cut, url):
    proxy, through = cut
    async with open_log(through, mode="write") as log, open_log(url) as reader:
        proxy.cuts = ["before", "after"]
        append = append_of("a", 0, lifecycle(1))
        with pytest.raises(LogUnavailableError):
            await log.append(append)

        assert await reader.find(append.key) == 1
        assert await log.append(append) == 1


async def test_a_server_that_ended_the_connections_costs_nothing(postgres, url):
    async with open_log(url, mode="write") as log:
        await log.append(append_of("a", 0, lifecycle(1)))
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

        assert await log.head() == 1
        assert await log.append(append_of("a", 1, lifecycle(2))) == 2


# -------------------------------------------------------------------------------------------------- refusals


def test_every_connection_is_set_to_be_durable(url):
    with closing(Database(url)) as database, database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW fsync").scalar() == "on"


def test_a_server_that_does_not_sync_is_refused(url):
    class Unsynced(psycopg.Connection):
        """A connection to a server with fsync = off, which no test can switch on a running one."""

        def execute(self, query, *args, **kwargs):
            return super().execute(query.replace("SHOW fsync", "SELECT 'off'"), *args, **kwargs)

    database = Database(url)
    database.engine.dialect.connect = Unsynced.connect
    with closing(database), pytest.raises(LogUnavailableError, match="fsync is off, not on"), database.read():
        pass


async def test_a_log_opened_for_reading_cannot_be_written(url):
    upgrade(url)
    async with open_log(url) as log:
        with pytest.raises(LogUnavailableError, match="can only be read"):
            await log.append(append_of("a", 0, lifecycle(1)))


async def test_a_server_that_is_not_there_says_so_in_its_words():
    with pytest.raises(LogUnavailableError, match=r"refuses: .*No such file or directory"):
        async with open_log("postgresql://postgres@/postgres?host=/nonexistent"):
            pass


@pytest.mark.parametrize(("wrong", "said"), [("nobody@/postgres", 'role "nobody"'), ("postgres@/none", '"none"')])
async def test_a_role_or_database_that_does_not_exist_is_named(url, wrong, said):
    with pytest.raises(LogUnavailableError, match=f"refuses: .*{said} does not exist"):
        async with open_log(url.replace("postgres@/postgres", wrong), mode="write"):
            pass


async def test_a_database_without_a_log_cannot_be_read(url):
    with pytest.raises(LogNotFoundError, match="there is no log"):
        async with open_log(url):
            pass


async def test_a_role_without_privileges_is_told(postgres, url):
    upgrade(url)
    name = url.rpartition("%3D")[2]
    postgres.run(f"CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA {name} TO reader")
    with (
        closing(Database(url.replace("postgres@", "reader@"), mode="read")) as database,
        pytest.raises(LogUnavailableError, match="lacks a privilege"),
    ):
        check_schema(database)


# ---------------------------------------------------------------------------------------------------- schema


async def test_an_older_log_is_upgraded_only_when_a_person_says_so(postgres, url, monkeypatch, tmp_path):
    upgrade(url)
    write_next_schema(tmp_path, monkeypatch)
    with pytest.raises(LogSchemaError, match="es-power log upgrade"):
        async with open_log(url, mode="write"):
            pass
    async with open_log(url) as log:
        assert await log.head() == 0
    upgrade(url)
    async with open_log(url, mode="write") as log:
        assert await log.append(append_of("a", 0, lifecycle(1))) == 1
    assert "forgotten_at" in postgres.run(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'labels'"
    )


def test_several_processes_may_create_the_log_at_once(url):
    databases = [Database(url) for _ in range(4)]

    async def create():
        async with trio.open_nursery() as nursery:
            for database in databases:
                nursery.start_soon(trio.to_thread.run_sync, ensure_schema, database)

    trio.run(create)
    for database in databases:
        check_schema(database)
        database.close()


# ---------------------------------------------------------------------------------------------------- leases


async def test_a_row_that_nobody_renews_expires_by_the_clock_of_the_database(url):
    async with open_log(url, mode="write") as log:
        with log.database.write() as connection:
            now = connection.scalar(sa.text("SELECT CAST(extract(epoch FROM now()) * 1000 AS BIGINT) * 1000000"))
            connection.execute(
                sa.insert(LEASES).values(stream=STREAM, holder="dead", epoch=4, expires_at=now + 300_000_000)
            )
        async with trio.open_nursery() as nursery, lease(log, STREAM, "next", nursery=nursery, duration=1) as epoch:
            assert epoch == 5


async def test_a_second_service_is_refused_with_the_holders_name(url):
    async with open_log(url, mode="write") as log, trio.open_nursery() as nursery:
        async with lease(log, STREAM, "kvm-07 (4711)", nursery=nursery, duration=3):
            with pytest.raises(LeaseHeldError, match=r"kvm-07 \(4711\)"):
                async with lease(log, STREAM, "second", nursery=nursery, duration=3):
                    pass
        async with lease(log, STREAM, "third", nursery=nursery) as epoch:
            assert epoch == 2


async def test_a_paused_service_that_comes_back_late_is_stopped(url):
    async with open_log(url, mode="write") as late, open_log(url, mode="write") as next_:
        with pytest.RaisesGroup(pytest.RaisesExc(LeaseHeldError, match="held by next")):
            async with trio.open_nursery() as nursery, lease(late, STREAM, "late", nursery=nursery, duration=0.3):
                with late.database.write() as connection:  # as if it had been paused for so long
                    connection.execute(sa.update(LEASES).values(expires_at=0))
                async with (
                    trio.open_nursery() as others,
                    lease(next_, STREAM, "next", nursery=others, duration=30) as epoch,
                ):
                    assert epoch == 2
                    await trio.sleep_forever()


def test_the_wait_for_a_lock_has_the_same_bound_everywhere():
    assert 0 < database_module.LOCK_WAIT <= 30


# ------------------------------------------------------------------------------------------ looking after the log


async def test_a_forgotten_text_is_in_no_file_of_the_tables(postgres, url):
    label, text = make_label("Marie Sklodowska")
    named = InstanceNamed(observed_at=1, instance=InstanceId(UUID(int=7)), name=label)
    async with open_log(url, mode="write") as log:
        await log.append(append_of("a", 0, named, labels=[text]))
        postgres.run("CHECKPOINT")
        assert _holds(postgres.directory, b"Marie Sklodowska")
        done = await forget(log, await find_namings(log, "marie sklodowska"), by="root", at=1)
        postgres.run("CHECKPOINT")

        assert (done.count, done.scrubbed, await log.labels([label.id])) == (1, True, {})
        assert not _holds(postgres.directory, b"Marie Sklodowska")
        await check(log)


def _holds(directory: Path, text: bytes) -> bool:
    """Whether a file of the tables has it; the server's own WAL is not ours to erase from."""
    return any(text in each.read_bytes() for each in directory.rglob("base/**/*") if each.is_file())


async def test_a_backup_of_a_log_in_postgres_is_a_log_in_one_file(url, tmp_path):
    label, text = make_label("web-1")
    named = InstanceNamed(observed_at=1, instance=InstanceId(UUID(int=7)), name=label)
    async with open_log(url, mode="write") as log:
        await log.append(append_of("observer/a/qemu", 0, named, lifecycle(2), labels=[text]))
        await log.append(Append(writes=(), tracking=Tracking(name="planner/a/qemu", position=Position(2))))
        done = await back_up(log, tmp_path, at=1)
        there = await log.read(after=Position(0))
    async with open_log(done.file) as copy:
        assert await copy.read(after=Position(0)) == there
        assert await copy.labels([label.id]) == {label.id: "web-1"}
        assert await copy.tracked("planner/a/qemu") == 2


async def test_a_log_in_postgres_that_went_back_goes_on_once_that_is_accepted(url):
    async with open_log(url, mode="write") as log:
        await log.append(append_of("a", 0, lifecycle(1)))
        await log.append(Append(writes=(), tracking=Tracking(name="planner/a/qemu", position=Position(9))))
        async with trio.open_nursery() as nursery, lease(log, STREAM, "another", nursery=nursery):
            with pytest.raises(LeaseHeldError, match="another"):
                await accept_rewind(url, by="root", at=1)
        done = await accept_rewind(url, by="root", at=1)

        assert (done.replaced, done.until, await log.tracked("planner/a/qemu")) == (9, 1, 1)
