"""A service beside a real Nova: what Nova says of its instances is in the log, in time for what it has to justify."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import trio
from structlog.testing import capture_logs

from es_power.domain.decisions import Alarm, AlarmRaised, CommandEvent, StopRequested, Withdrawn
from es_power.domain.events import Event, InstanceId, NovaStopObserved, RecordNotFound, RecordObserved, StateObserved
from es_power.domain.states import VmState
from es_power.ingest.libvirt import LibvirtHypervisor, event_loop
from es_power.log import SqlLog, open_log
from es_power.nova import NovaApi, Patience
from es_power.service import Service, serve
from es_power.settings import Host, Log, Nova, PolicyChoice, Settings
from tests.nova.rig import NovaRig
from tests.nova.settings import HOST

pytestmark = pytest.mark.nova

#: What no step of these tests takes, on a slow machine either.
PATIENCE = 60.0


class Watch:
    """A running service, and what its log has of one server."""

    def __init__(self, service: Service, log: SqlLog) -> None:
        self.service = service
        self.log = log

    async def facts(self, server: str, kind: type[Event] | tuple[type[Event], ...]) -> list[Event]:
        events = [each.event for each in await self.log.read(after=0, limit=100_000)]
        return [each for each in events if isinstance(each, kind) and getattr(each, "instance", None) == of(server)]

    async def until(self, server: str, kind: type[Event], holds: Callable[[Event], bool] = lambda _: True) -> Event:
        """Wait for a fact about a server, and give it."""
        with trio.fail_after(PATIENCE):
            while True:
                head = await self.log.head()
                for event in await self.facts(server, kind):
                    if holds(event):
                        return event
                await self.log.wait_beyond(head)

    async def folded(self) -> None:
        """Wait until everything that is in the log now is folded."""
        head = await self.log.head()
        with trio.fail_after(PATIENCE):
            while self.service.models.fleet.position < head:
                await trio.sleep(0.01)

    async def said(self, server: str, vm_state: VmState, task_state: str | None = None) -> Event:
        """Wait until Nova's record says so."""
        return await self.until(
            server, RecordObserved, lambda each: (each.vm_state, each.task_state) == (vm_state, task_state)
        )


def of(server: str) -> InstanceId:
    return InstanceId(UUID(server))


@asynccontextmanager
async def watching(
    nova: NovaRig, path: Path, monkeypatch: pytest.MonkeyPatch, *, mode: str = "dry-run", stuck_after: float = 3600.0
) -> AsyncIterator[Watch]:
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    for name, value in nova.environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        log=Log(path=str(path)),
        hosts=(Host(uri=nova.uri, name=HOST),),
        policy=PolicyChoice(name="nova-2026", mode=mode),
        nova=Nova(enabled=True, spacing=0.3, full=1.0, stuck_after=stuck_after),
    )
    api = await NovaApi.connect(patience=Patience(timeout=5.0))
    async with event_loop(), open_log(path, mode="write", poll=0.02) as log, trio.open_nursery() as nursery:
        run = partial(serve, log, [(HOST, LibvirtHypervisor(nova.uri))], settings, nova=api)
        yield Watch(await nursery.start(run), log)
        nursery.cancel_scope.cancel()
    api.close()


async def rigged(work: Callable[..., object], *arguments: object) -> None:
    await trio.to_thread.run_sync(partial(work, *arguments))


async def test_a_users_stop_and_start_are_facts_and_lead_to_no_command(
    nova: NovaRig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(nova, tmp_path / "log.db", monkeypatch) as watch:
        await watch.said(server, VmState.ACTIVE)
        await rigged(nova.act, server, "os-stop")
        await watch.said(server, VmState.STOPPED)
        stop = await watch.until(server, NovaStopObserved)
        await rigged(nova.until, server, "SHUTOFF")
        await rigged(nova.act, server, "os-start")
        await rigged(nova.until, server, "ACTIVE")
        await watch.until(server, StateObserved, lambda each: each.state == 1)

        # The log says as the last word what Nova says, and nothing of it calls for anything.
        with trio.fail_after(PATIENCE):
            while watch.service.models.fleet.vouched[of(server)].vm_state is not VmState.ACTIVE:
                await trio.sleep(0.05)
        assert await watch.facts(server, CommandEvent) == []

    assert not stop.by_nova_itself
    assert stop.request_id.startswith("req-")


async def test_a_guest_that_ends_beside_nova_is_asked_about_and_only_then_planned_to_stop(
    nova: NovaRig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(nova, tmp_path / "log.db", monkeypatch) as watch:
        await watch.said(server, VmState.ACTIVE)
        await rigged(nova.guest, server, "destroy")
        command = await watch.until(server, StopRequested)
        [record] = await watch.log.read(after=command.record - 1, until=command.record)
        await rigged(nova.guest, server, "create")
        await watch.until(server, Withdrawn)

    assert (command.rule, command.verb, command.host) == ("e", "stop", HOST)
    assert record.stream == f"records/{HOST}/test"
    assert record.event.after >= command.observation


async def test_a_server_that_is_deleted_is_vouched_for_no_longer(
    nova: NovaRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(nova, tmp_path / "log.db", monkeypatch) as watch:
        [server] = await trio.to_thread.run_sync(nova.boot, "short-lived")
        await watch.said(server, VmState.ACTIVE)
        await rigged(nova.delete, server)
        await watch.until(server, RecordNotFound)

        await watch.folded()
        assert of(server) not in watch.service.models.fleet.vouched
        assert await watch.facts(server, CommandEvent) == []


async def test_an_api_that_dies_is_told_of_once_and_nothing_is_planned_until_it_answers_again(
    nova: NovaRig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        async with watching(nova, tmp_path / "log.db", monkeypatch) as watch:
            await watch.said(server, VmState.ACTIVE)
            await rigged(nova.kill_api)
            await trio.to_thread.run_sync(nova._guests.act, await name_of(nova, server), "destroy")
            await watch.until(server, StateObserved, lambda each: each.state == 5)
            with trio.fail_after(PATIENCE):
                while not [line for line in lines if "gives no answer" in line["event"]]:
                    await trio.sleep(0.1)
            assert await watch.facts(server, CommandEvent) == []
            await rigged(nova.start_api)
            await watch.until(server, StopRequested)
            # Told by the next list that is read, which may come after the question about this one instance.
            with trio.fail_after(PATIENCE):
                while not [line for line in lines if line["event"] == "Nova answers again"]:
                    await trio.sleep(0.1)

    told = [line["event"] for line in lines if line["event"].startswith("Nova")]
    assert told == ["Nova gives no answer; its last word stands and orders nothing new", "Nova answers again"]


async def name_of(nova: NovaRig, server: str) -> str:
    """What libvirt calls a server's guest; its API is dead."""
    statement = f"select id from instances where uuid = '{server}'"
    [row] = await trio.to_thread.run_sync(nova.sql, statement)
    return f"instance-{int(row['id']):08x}"


async def test_a_task_that_nobody_ends_is_an_alarm(
    nova: NovaRig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(nova, tmp_path / "log.db", monkeypatch, stuck_after=2.0) as watch:
        await watch.said(server, VmState.ACTIVE)
        await rigged(nova.sql, f"update instances set task_state = 'powering-off' where uuid = '{server}'")
        alarm = await watch.until(server, AlarmRaised)
        await rigged(nova.sql, f"update instances set task_state = null where uuid = '{server}'")

    assert (alarm.alarm, alarm.host) == (Alarm.STUCK_TASK, HOST)


async def test_a_stop_of_novas_own_sync_is_known_as_such_and_an_alarm_where_we_act_too(
    nova: NovaRig, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(nova, tmp_path / "log.db", monkeypatch, mode="auto") as watch:
        await watch.said(server, VmState.ACTIVE)
        await rigged(nova.guest, server, "destroy")
        await rigged(partial(nova.restart_compute, sync_seconds=2))
        try:
            stop = await watch.until(server, NovaStopObserved)
            alarm = await watch.until(server, AlarmRaised)
        finally:
            await rigged(partial(nova.restart_compute, sync_seconds=-1))

    assert stop.by_nova_itself
    assert alarm.alarm is Alarm.NOVA_ACTS
