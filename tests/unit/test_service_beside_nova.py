"""The whole service on a real SQLite log with a fake host, and a Nova that vouches for its guests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from es_power.domain.decisions import StopRequested, Withdrawn
from es_power.domain.events import RecordObserved, SweepCountDiffered
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.errors import TakenOverError
from es_power.ingest.records import NovaReader
from es_power.log import SqlLog, open_log
from es_power.nova import NovaApi, Patience
from es_power.service import Service, serve
from es_power.settings import Host, Log, Nova, Settings
from es_power.testing.hypervisor import FakeHypervisor
from tests.rigs.scripted_nova import Reply, scripted_nova
from tests.unit.ingest.nova import FakeNova, server
from tests.unit.test_service import seen, until

#: The spacing is what a test need not wait for.
SETTINGS = Settings(
    log=Log(path="unused"), hosts=(Host(uri="test:///fake"),), nova=Nova(enabled=True, spacing=0.05, full=0.1)
)


@asynccontextmanager
async def running(log: SqlLog, host: FakeHypervisor, nova: NovaReader) -> AsyncIterator[Service]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, log, [(None, host)], SETTINGS, nova=nova))
        nursery.cancel_scope.cancel()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqlLog]:
    async with open_log(tmp_path / "log.db", mode="write", poll=0.02) as log:
        yield log


async def test_a_guest_that_nova_calls_active_is_planned_to_stop_on_novas_word_of_after_it_was_off(
    log: SqlLog,
) -> None:
    host, nova = FakeHypervisor(), FakeNova()
    web = host.add("web-1", state=1, reason=1)
    nova.rows[web] = server(web, host="host-1", node="host-1")

    async with running(log, host, nova) as service:
        await until(log, RecordObserved)
        host.power_off(web)
        [command] = await until(log, StopRequested)
        host.start(web)
        await until(log, Withdrawn)
        await seen(log, service, web, PowerState.RUNNING)

    [observation, record] = [
        (await log.read(after=position - 1, limit=1))[0] for position in (command.observation, command.record)
    ]
    assert record.stream == "records/host-1/test"
    assert record.event.after >= observation.position
    assert (command.host, command.rule) == ("host-1", "e")


async def test_an_ordinary_stop_by_its_user_leads_to_no_command(log: SqlLog) -> None:
    """While the guest goes down Nova has a task for it, and afterwards it says that it is stopped."""
    host, nova = FakeHypervisor(), FakeNova()
    web = host.add("web-1", state=1, reason=1)
    nova.rows[web] = server(web, host="host-1", node="host-1")

    async with running(log, host, nova) as service:
        await until(log, RecordObserved)
        nova.rows[web] = server(web, host="host-1", node="host-1", task_state="powering-off")
        host.power_off(web)
        await seen(log, service, web, PowerState.SHUTDOWN)
        nova.rows[web] = server(
            web, host="host-1", node="host-1", vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN
        )
        with trio.fail_after(10):
            while service.models.fleet.vouched[web].vm_state is not VmState.STOPPED:
                await trio.sleep(0.01)
        host.start(web)
        [command] = await until(log, StopRequested)

    assert command.rule == "f"  # of the start that nobody asked Nova for, and nothing before


async def test_a_sweep_that_finds_other_guests_than_nova_has_says_so(log: SqlLog) -> None:
    host, nova = FakeHypervisor(), FakeNova()
    host.add("web-1", state=1, reason=1)

    async with running(log, host, nova) as service:
        with trio.fail_after(10):
            while not service.records["observer/host-1/test"].complete:
                await trio.sleep(0.01)
        service.observers["observer/host-1/test"].sweep_soon()
        [differed] = await until(log, SweepCountDiffered)

    assert (differed.found, differed.records) == (1, 0)


async def test_a_service_whose_records_somebody_else_writes_stops(log: SqlLog) -> None:
    host, nova = FakeHypervisor(), FakeNova()
    web = host.add("web-1", state=1, reason=1)
    nova.rows[web] = server(web, host="host-1", node="host-1")

    with pytest.RaisesGroup(TakenOverError, flatten_subgroups=True, allow_unwrapped=True):
        async with running(log, host, nova):
            [first] = await until(log, RecordObserved)
            stream = "records/host-1/test"
            await log.append(Append(writes=[Write(stream=stream, expected=await log.version(stream), events=[first])]))
            nova.rows[web] = server(web, host="host-1", node="host-1", vm_state=VmState.PAUSED)
            await trio.sleep_forever()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>a proxy's own page</html>"),
        Reply(body=b'{"servers": ["of another shape"'),
        Reply(body=b'{"servers": {}}'),
        Reply.endless(),
        Reply(status=403, body=b'{"forbidden": {"message": "Policy does not allow this"}}'),
    ],
    ids=["not JSON", "truncated", "another shape", "huge", "forbidden"],
)
async def test_an_answer_that_is_none_is_told_of_and_nothing_is_lost(
    log: SqlLog, reply: Reply, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    with capture_logs() as lines, scripted_nova() as nova:
        for name, value in nova.environment.items():
            monkeypatch.setenv(name, value)
        nova.add(web, host="host-1", **{"OS-EXT-SRV-ATTR:hypervisor_hostname": "host-1"})
        nova.fail("GET /servers/detail", reply)
        api = await NovaApi.connect(patience=Patience(timeout=5.0, limit=100_000))
        async with running(log, host, api):
            [said] = await until(log, RecordObserved)
            with trio.fail_after(10):
                while not [line for line in lines if line["event"] == "Nova answers again"]:
                    await trio.sleep(0.01)
        api.close()

    [told] = [line for line in lines if "gives no answer" in line["event"]]
    assert told["asked"] == "instances of host-1"
    assert (said.instance, said.vm_state) == (web, VmState.ACTIVE)
