"""The whole service on PostgreSQL: the same answers as on SQLite, and a lease."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from es_power.domain.decisions import StopRequested
from es_power.domain.events import Event
from es_power.domain.states import VmState
from es_power.errors import LeaseHeldError
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import SqlLog, open_log
from es_power.projections.power_state import digest
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.service import Service, serve
from es_power.settings import Host, Lease, Log, Settings
from es_power.testing.hypervisor import FakeHypervisor
from tests.postgres import Cluster

pytestmark = pytest.mark.postgres

PATIENCE = 30.0


@pytest.fixture
def place(postgres: Cluster) -> str:
    return postgres.url()


@asynccontextmanager
async def running(place: str, *hosts: FakeHypervisor) -> AsyncIterator[tuple[SqlLog, Service]]:
    settings = Settings(log=Log(path=place), hosts=(Host(uri="test:///fake"),), lease=Lease(duration=2.0))
    async with open_log(place, mode="write", poll=0.05) as log, trio.open_nursery() as nursery:
        service = await nursery.start(serve, log, [(None, host) for host in hosts], settings)
        yield log, service
        nursery.cancel_scope.cancel()


async def until(log: SqlLog, kind: type[Event], count: int = 1, *, patience: float = PATIENCE) -> Sequence[Event]:
    with trio.fail_after(patience):
        while True:
            head = await log.head()
            found = [each.event for each in await log.read(after=0, limit=100_000) if isinstance(each.event, kind)]
            if len(found) >= count:
                return found
            await log.wait_beyond(head)


async def test_facts_commands_tables_and_replay_agree(place: str) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    async with running(place, host) as (log, _):
        await declare(log, [(web, VmState.ACTIVE, None)], by="me", why="prod", at=now())
        host.power_off(web)
        [command] = await until(log, StopRequested)

    async with open_log(place) as log:
        live, _ = await read_models(log, Store(log.database))
        replayed, _ = await read_models(log)

    assert command.rule == "e"
    assert digest(live.fleet) == digest(replayed.fleet)
    assert live.commands.rows == replayed.commands.rows


async def test_two_services_keep_one_log_for_two_hosts(place: str) -> None:
    first, second = FakeHypervisor(), FakeHypervisor(uri="test:///2", hostname="host-2")
    web, db = first.add("web-1", state=1, reason=1), second.add("db-2", state=1, reason=1)
    async with running(place, first) as (log, _), running(place, second):
        await declare(log, [(web, VmState.ACTIVE, None), (db, VmState.ACTIVE, None)], by="me", why="x", at=now())
        first.destroy(web)
        second.destroy(db)
        commands = await until(log, StopRequested, 2)

    async with open_log(place) as log:
        live, _ = await read_models(log, Store(log.database))
        replayed, _ = await read_models(log)

    assert {(each.instance, each.host) for each in commands} == {(web, "host-1"), (db, "host-2")}
    assert digest(live.fleet) == digest(replayed.fleet)


async def test_a_live_lease_is_refused_with_its_holder_s_name(place: str) -> None:
    async with running(place, FakeHypervisor()):
        with pytest.RaisesGroup(
            pytest.RaisesExc(LeaseHeldError, match=rf"process {os.getpid()}"),
            flatten_subgroups=True,
            allow_unwrapped=True,
        ):
            async with running(place, FakeHypervisor()):
                pass
