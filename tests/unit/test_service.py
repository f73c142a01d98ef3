"""The whole service on a real SQLite log, with fake hosts: what it plans, and what a restart does not do again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
import trio

from es_power.audit.checkpoints import read_checkpoints
from es_power.audit.keys import Signer, write_key
from es_power.audit.verifying import verify
from es_power.domain.custody import CheckpointSealed, ClockRead
from es_power.domain.decisions import PlanningStarted, StopRequested, Withdrawn
from es_power.domain.events import Event, GapOpened, HostSwept, InstanceId, ServiceStarted, ServiceStopped
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.errors import HypervisorUnavailableError, LeaseHeldError, SettingsError
from es_power.ingest.clock import now
from es_power.ingest.declarations import clear, declare
from es_power.log import SqlLog, open_log
from es_power.projections.power_state import PowerRow, digest, power_rows
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.projections.tables import METADATA
from es_power.service import Service, serve
from es_power.settings import Audit, Host, Log, Settings
from es_power.testing.hypervisor import FakeHypervisor
from tests.rigs.clock import jumping

pytestmark = jumping


def settings(log: Path) -> Settings:
    return Settings(log=Log(path=str(log)), hosts=(Host(uri="test:///fake"),))


@asynccontextmanager
async def running(log: SqlLog, *hosts: FakeHypervisor) -> AsyncIterator[Service]:
    assert log.database.place.path
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve, log, [(None, host) for host in hosts], settings(log.database.place.path))
        nursery.cancel_scope.cancel()


async def until(log: SqlLog, kind: type[Event], count: int = 1) -> Sequence[Event]:
    """Wait until the log has so many facts of a kind, and give them."""
    with trio.fail_after(10):
        while True:
            head = await log.head()
            found = [each.event for each in await log.read(after=0, limit=100_000) if isinstance(each.event, kind)]
            if len(found) >= count:
                return found
            await log.wait_beyond(head)


async def seen(log: SqlLog, service: Service, instance: InstanceId, state: PowerState) -> PowerRow:
    """Wait until the table confirms a state, and give the row."""
    with trio.fail_after(10):
        while True:
            for row in power_rows(service.models.fleet, now=now()):
                if row.instance == instance and row.power_state == state and not row.provisional:
                    return row
            await trio.sleep(0.01)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqlLog]:
    async with open_log(tmp_path / "log.db", mode="write", poll=0.02) as log:
        yield log


async def test_a_guest_that_powered_off_while_vouched_active_is_planned_to_stop_once(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with running(log, host) as service:
        await declare(log, [(web, VmState.ACTIVE, None)], by="me", why="prod", at=now())
        host.power_off(web)
        [command] = await until(log, StopRequested)
        await seen(log, service, web, PowerState.SHUTDOWN)
        service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.2)
        assert len(await until(log, StopRequested)) == 1
        host.start(web)
        [ended] = await until(log, Withdrawn)

    assert (web, "e", "nova-2013", "host-1") == (command.instance, command.rule, command.policy, command.host)
    assert command.command == ended.command


async def test_a_vm_that_nobody_vouches_for_leads_to_no_command(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with running(log, host) as service:
        host.power_off(web)
        row = await seen(log, service, web, PowerState.SHUTDOWN)
        host.start(web)
        await seen(log, service, web, PowerState.RUNNING)
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
            await until(log, StopRequested)

    assert (row.vm_state, row.policy) == (VmState.STOPPED, "follow")


async def test_a_declared_record_is_looked_at_once_and_its_end_withdraws(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with running(log, host):
        await declare(log, [(web, VmState.STOPPED, None)], by="me", why="retired", at=now())
        [command] = await until(log, StopRequested)
        await clear(log, web, by="me", why="not yet", at=now())
        [ended] = await until(log, Withdrawn)

    assert command.rule == "f"
    assert "nobody vouches" in ended.reason


async def test_a_restart_repeats_no_command_even_without_its_tables(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    async with running(log, host):
        await declare(log, [(web, VmState.STOPPED, None)], by="me", why="retired", at=now())
        await until(log, StopRequested)
    with log.database.write() as connection:
        METADATA.drop_all(connection)

    async with running(log, host) as service:
        await until(log, ServiceStarted, 2)
        service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.2)
        assert len(await until(log, StopRequested)) == 1
        host.power_off(web)
        await until(log, Withdrawn)

    assert len(await until(log, GapOpened)) == 1


async def test_the_tables_do_not_go_beyond_a_fact_whose_command_another_service_still_owes(log: SqlLog) -> None:
    """A service died between a fact and its command; the service of another host must not make it forgotten."""
    owing, other = FakeHypervisor(), FakeHypervisor(uri="test:///2", hostname="host-2")
    web = owing.add("web-1", state=1, reason=1)
    async with running(log, owing):
        await declare(log, [(web, VmState.STOPPED, None)], by="me", why="retired", at=now())
        [command] = await until(log, StopRequested)
    observation = (await log.read(after=command.observation - 1, limit=1))[0]
    async with open_log(":memory:", mode="write") as died:
        # The same log, but for its end: there the service dies before the command is appended.
        for each in await log.read(after=0, until=observation.position, limit=1000):
            await died.append(
                Append(writes=[Write(stream=each.stream, expected=each.version - 1, events=[each.event])])
            )
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, died, [(None, other)], settings(Path("unused")))
            await until(died, HostSwept, 2)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        assert not [each for each in await died.read(after=0, limit=1000) if isinstance(each.event, StopRequested)]

        async with trio.open_nursery() as nursery:
            await nursery.start(serve, died, [(None, owing)], settings(Path("unused")))
            [late] = await until(died, StopRequested)
            nursery.cancel_scope.cancel()

    assert (late.command, late.host) == (command.command, "host-1")


async def test_what_another_services_host_calls_for_is_not_kept(log: SqlLog) -> None:
    host, mine = FakeHypervisor(hostname="host-2"), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with running(log, mine) as service, running(log, host):
        await declare(log, [(web, VmState.STOPPED, None)], by="me", why="prod", at=now())
        await until(log, StopRequested)
        mine.add("web-2", state=1, reason=1)
        service.observers["observer/host-1/test"].sweep_soon()
        await until(log, HostSwept, 3)
        await service._follower.caught_up()

        assert not service._owed


async def test_the_second_service_for_one_host_is_refused_with_the_name_of_the_first(log: SqlLog) -> None:
    async with running(log, FakeHypervisor()), open_log(log.database.place.path or "", mode="write") as other:
        with pytest.RaisesGroup(
            pytest.RaisesExc(LeaseHeldError, match=r"process \d+"), flatten_subgroups=True, allow_unwrapped=True
        ):
            async with running(other, FakeHypervisor()):
                pass


async def test_one_host_that_is_away_does_not_keep_the_others_from_being_observed(log: SqlLog) -> None:
    here, away = FakeHypervisor(), FakeHypervisor(uri="test:///away", hostname="host-2")
    away.disconnect()

    async with running(log, here, away) as service:
        assert sorted(service.observers) == ["observer/host-1/test"]
        away.come_back()
        await until(log, ServiceStarted, 2)


async def test_where_no_host_answers_the_service_says_so(log: SqlLog) -> None:
    away = FakeHypervisor()
    away.disconnect()

    with pytest.RaisesGroup(HypervisorUnavailableError, flatten_subgroups=True, allow_unwrapped=True):
        async with running(log, away):
            pass


async def test_two_uris_of_one_host_are_refused_with_what_to_do(log: SqlLog) -> None:
    again = FakeHypervisor(uri="test:///again")

    with pytest.RaisesGroup(
        pytest.RaisesExc(SettingsError, match=r"\[\[host\]\]"), flatten_subgroups=True, allow_unwrapped=True
    ):
        async with running(log, FakeHypervisor(), again):
            pass

    assert again.opened == 1
    assert not again.connections


async def test_a_fact_that_cannot_be_folded_is_set_aside_and_the_others_are_folded(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    unheard_of = PlanningStarted(observed_at=now(), policy="nova-2099", policy_version=1)
    orphan = HostSwept(observed_at=now(), asked_at=now(), inventory=9, connection=1, number=0, states=b"\x01\x01")

    async with running(log, host) as service:
        await log.append(
            Append(
                writes=[
                    Write(stream="planner/elsewhere/qemu", expected=0, events=[unheard_of]),
                    Write(stream="observer/elsewhere/qemu", expected=0, events=[orphan]),
                ]
            )
        )
        host.power_off(web)
        await seen(log, service, web, PowerState.SHUTDOWN)

    assert len(service.models.fleet.quarantined) == 1


async def test_after_a_migration_the_other_host_owns_the_instance(log: SqlLog) -> None:
    source, target = FakeHypervisor(), FakeHypervisor(uri="test:///2", hostname="host-2")
    web = source.add("web-1", state=1, reason=1)

    async with running(log, source, target) as service:
        await declare(log, [(web, VmState.ACTIVE, None)], by="me", why="prod", at=now())
        target.add("web-1", state=1, reason=2, instance=web)
        target.announce(web, 2, 1)
        source.announce(web, 3, 1)
        target.announce(web, 4, 1)
        source.set_state(web, 5, 4)
        source.announce(web, 5, 3)
        with trio.fail_after(10):
            while service.models.fleet.owner(web).host != "observer/host-2/test":
                await trio.sleep(0.01)
        row = await seen(log, service, web, PowerState.RUNNING)

    assert row.host == "host-2"
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
        await until(log, StopRequested)


async def test_what_the_tables_say_is_what_a_replay_says(log: SqlLog) -> None:
    host = FakeHypervisor()
    many = [host.add(f"vm-{number}", state=1, reason=1) for number in range(10)]
    async with running(log, host) as service:
        await declare(log, [(each, VmState.ACTIVE, None) for each in many[:5]], by="me", why="prod", at=now())
        for each in many[::2]:
            host.crash(each)
        host.disconnect()
        host.come_back()
        for each in many:
            host.announce(each, 4, 0)
        await until(log, StopRequested, 3)
        service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.2)

    live, _ = await read_models(log, Store(log.database))
    replayed, step = await read_models(log)

    assert digest(live.fleet) == digest(replayed.fleet)
    assert live.commands.rows == replayed.commands.rows
    recorded = [command.requested for command in replayed.commands.rows.values()]
    assert recorded == [each.event for each in step.derived if isinstance(each.event, StopRequested)]
    with log.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM power_state")) == 10


async def test_what_is_said_while_a_host_is_away_is_dealt_with_once_it_is_there(log: SqlLog) -> None:
    here, away = FakeHypervisor(), FakeHypervisor(uri="test:///away", hostname="host-2")
    web = away.add("web-1", state=1, reason=1)
    async with running(log, here, away):
        await declare(log, [(web, VmState.STOPPED, None)], by="me", why="retired", at=now())
        await until(log, StopRequested)
    away.disconnect()

    async with running(log, here, away) as service:
        await clear(log, web, by="me", why="not yet", at=now())
        with trio.fail_after(10):
            while service.models.fleet.position < await log.head():
                await trio.sleep(0.01)
        away.come_back()
        [ended] = await until(log, Withdrawn)

    assert ended.instance == web


async def test_a_start_after_events_that_were_not_stored_has_a_gap_from_before_them(log: SqlLog) -> None:
    host = FakeHypervisor()
    async with running(log, host):
        pass
    stopped = (await log.read_stream("observer/host-1/test"))[-1]
    assert isinstance(stopped.event, ServiceStopped)

    async with running(log, host):
        [opened] = await until(log, GapOpened)

    assert isinstance(opened, GapOpened)
    assert opened.since == stopped.event.observed_at < stopped.recorded_at


async def test_a_service_starts_where_the_last_record_of_its_stream_is_damaged(log: SqlLog) -> None:
    host = FakeHypervisor()
    async with running(log, host):
        pass
    with log.database.write() as connection:
        connection.exec_driver_sql("UPDATE records SET state = x'c1' WHERE position = (SELECT position FROM head)")
        METADATA.drop_all(connection)

    async with running(log, host) as service:
        assert service.models.fleet.quarantined
        await until_swept(log, 2)


async def until_swept(log: SqlLog, count: int) -> None:
    """`until`, in a log with a record that cannot be read."""
    with trio.fail_after(10):
        while True:
            with log.database.read() as connection:
                swept = connection.scalar(sa.text("SELECT count(*) FROM records WHERE topic LIKE 'HostSwept%'"))
            if swept >= count:
                return
            await trio.sleep(0.01)


@pytest.mark.trio(run=trio.run)  # whoever verifies a log has to be in a thread
async def test_a_service_seals_its_log_from_the_start_and_with_its_last_word_in_it(tmp_path: Path) -> None:
    signer, outside = Signer.generate("host-1/es-power"), tmp_path / "elsewhere" / "checkpoints"
    outside.parent.mkdir()
    write_key(outside.parent / "key", signer, log=None)
    wanted = msgspec.structs.replace(
        settings(tmp_path / "log.db"), audit=Audit(key=str(outside.parent / "key"), places=(f"file:{outside}",))
    )
    async with open_log(tmp_path / "log.db", mode="write") as log:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, log, [(None, FakeHypervisor())], wanted)
            await until(log, CheckpointSealed)
            nursery.cancel_scope.cancel()
        first, last = read_checkpoints(outside)
        verdict = await verify(log, [first, last], keys=[signer.verifier])
        [stopped] = [each for each in await log.read(after=0) if isinstance(each.event, ServiceStopped)]
        [read, _] = await until(log, ClockRead, 2)

    assert verdict.is_intact
    assert [each.signed for each in verdict.checkpoints[:2]] == [True, True]
    assert verdict.vouched >= stopped.position
    assert isinstance(read, ClockRead)
