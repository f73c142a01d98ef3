"""The actor beside a real Nova: what it stops becomes SHUTOFF by one os-stop, whatever happens on the way.

Nova is real (API, conductor, scheduler, compute, Keystone, Placement), and so are libvirt, the log and both of
es_power's processes, which run as tasks here. The guests are domains of libvirt's test driver; see `tests.nova.rig`.
"""

import statistics
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest
import trio
from msgspec import structs

from es_power.domain.decisions import Confirmed, Failed, Refused, Route, Sent, StopRequested, StopVerb
from es_power.domain.events import InstanceId, RecordObserved
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observer
from es_power.domain.time import SECOND
from es_power.errors import NovaOutcomeUnknownError, NovaUnavailableError
from es_power.ingest.libvirt import event_loop
from es_power.log import SqlLog, open_log
from es_power.settings import Act, Breaker
from tests.nova.house import QUICK, Between, House, acting, house, observing, settings
from tests.nova.programs import PATIENCE, unread, wait_until
from tests.nova.rig import NovaRig
from tests.nova.settings import HOST

pytestmark = pytest.mark.nova

ONE_STOP = ["stop", "create"]
HEARTBEATS = 256  # bytes that a client of the queue may send though it has nothing to say; an order has more
OBSERVER = observer(HOST, "test")


@pytest.fixture
async def log(nova: NovaRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlLog]:
    """A new log, while libvirt's events come in and clouds.yaml says how to reach Nova."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(nova.write_clouds_yaml(tmp_path / "clouds.yaml")))
    async with event_loop(), open_log(tmp_path / "log.db", mode="write", poll=0.02) as log:
        yield log


def history(nova: NovaRig, server: str) -> list[str]:
    """What Nova did to a server, the latest first."""
    return [each["action"] for each in nova.actions(server)]


def power_of(nova: NovaRig, server: str) -> tuple[str, int]:
    """What Nova shows of a server."""
    shown = nova.server(server)
    return shown["status"], shown["OS-EXT-STS:power_state"]


def is_stopped(record: RecordObserved) -> bool:
    return record.vm_state is VmState.STOPPED and record.task_state is None


async def test_an_instance_whose_guest_is_off_is_stopped_by_one_os_stop(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    async with house(nova, log) as here:
        await here.guest(server, "destroy")
        [confirmed] = await here.until(Confirmed, server)
        [sent] = await here.facts(Sent, server)
        [shown] = [each for each in await log.read(after=0, limit=100_000) if each.position == confirmed.because]
        await here.sweeps()
        row = here.service.models.fleet.get(of(server), OBSERVER)
        life = await here.life(server)

    assert power_of(nova, server) == ("SHUTOFF", 4)
    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]
    assert sent.route is Route.NOVA
    assert isinstance(shown.event, RecordObserved)
    assert is_stopped(shown.event)
    assert row.power_state is PowerState.SHUTDOWN
    assert history(nova, server) == ONE_STOP


async def test_a_second_command_is_never_sent(nova: NovaRig, log: SqlLog, server: str) -> None:
    """Not by the sweeps while the first one lasts, nor by those after it, nor after both processes start again."""
    how = settings(nova, log, act=Act(settle=3.0, after_boot=0.001, window=20.0))
    async with observing(log, how) as service:
        async with acting(log, how) as acts:
            here = House(nova, log, service, acts)
            await here.guest(server, "destroy")
            await here.until(StopRequested, server)
            await here.sweeps()
            assert await here.life(server) == ["StopRequested"]
            assert power_of(nova, server) == ("ACTIVE", 1)  # Nova's column follows no guest while its own sync is off
            await here.until(Confirmed, server)
            await here.sweeps()
        async with acting(log, how) as acts:
            await here.sweeps()
    async with observing(log, how) as service, acting(log, how) as acts:
        here = House(nova, log, service, acts)
        await here.sweeps()
        life = await here.life(server)

    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]
    assert history(nova, server) == ONE_STOP


async def test_a_user_who_stops_and_starts_an_instance_leads_to_no_command(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    """Nova sets a task before it touches the guest, and what it says anew is held against a new look only."""
    async with house(nova, log, act=structs.replace(QUICK, settle=3.0)) as here:
        for _ in range(3):
            await here.user(server, "os-stop", "SHUTOFF")
            await here.until(RecordObserved, server, such=is_stopped)
            await here.user(server, "os-start", "ACTIVE")
        with trio.fail_after(PATIENCE):
            while here.service.models.fleet.vouched[of(server)].vm_state is not VmState.ACTIVE:
                await trio.sleep(0.02)
        await trio.sleep(3.0)  # what was to come of the last of it would have come by now
        await here.sweeps()
        life = await here.life(server)

    assert life == []
    assert history(nova, server) == [*3 * ["start", "stop"], "create"]


async def test_a_stop_and_a_start_that_take_long_are_left_to_nova(nova: NovaRig, log: SqlLog, server: str) -> None:
    """Nova's task is what keeps a command from being requested, for as long as record and guest disagree."""
    compute = nova.services.compute
    try:
        async with house(nova, log) as here:
            for action, method, task, status in (
                ("os-stop", "destroy", "powering-off", "SHUTOFF"),
                ("os-start", "create", "powering-on", "ACTIVE"),
            ):
                compute.hang()
                nova.act(server, action).good()
                await here.guest(server, method)
                await here.until(RecordObserved, server, such=lambda record, task=task: record.task_state == task)
                await here.sweeps(5)
                compute.wake()
                await trio.to_thread.run_sync(nova.until, server, status)
            await here.sweeps()
            life = await here.life(server)
    finally:
        compute.wake()

    assert life == []
    assert history(nova, server) == ["start", "stop", "create"]


async def test_a_stopped_instance_that_is_started_beside_nova_is_stopped_through_libvirt(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    """Nova refuses an os-stop of what is stopped, and has nothing that stops by force; it shows nothing of all this."""
    async with house(nova, log, between=(between := Between())) as here:
        await here.user(server, "os-stop", "SHUTOFF")
        await here.until(RecordObserved, server, such=is_stopped)
        await here.guest(server, "create")
        await here.until(Confirmed, server)
        [sent] = await here.facts(Sent, server)
        await here.sweeps()
        row = here.service.models.fleet.get(of(server), OBSERVER)
        life = await here.life(server)

    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]
    assert (sent.route, sent.verb) == (Route.HYPERVISOR, StopVerb.FORCE_STOP)
    assert row.power_state is PowerState.SHUTDOWN
    assert between.stops == []
    assert power_of(nova, server) == ("SHUTOFF", 4)
    assert history(nova, server) == ONE_STOP


async def test_an_instance_that_someone_stops_between_look_and_act_is_refused_and_left(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    def stopped_by_another() -> None:
        nova.act(server, "os-stop").good()
        nova.until(server, "SHUTOFF")

    async with house(nova, log, between=(between := Between(stopped_by_another))) as here:
        await here.guest(server, "destroy")
        [refused] = await here.until(Refused, server)
        await here.until(RecordObserved, server, such=is_stopped)
        await here.sweeps()
        life = await here.life(server)

    assert "409" in refused.reason
    assert life[:5] == ["StopRequested", "Approved", "LookedAgain", "Sent", "Refused"]
    assert (life.count("StopRequested"), len(between.stops)) == (1, 1)
    assert history(nova, server) == ONE_STOP


async def test_a_token_that_expires_before_the_act_is_renewed_once(nova: NovaRig, log: SqlLog, server: str) -> None:
    renewed: list[bool] = []

    def expire() -> None:
        session = between.api._wire._session
        invalidate = session.invalidate
        session.invalidate = lambda *words: renewed.append(invalidate(*words)) or renewed[-1]  # type: ignore[func-returns-value]
        nova.expire_tokens()

    async with house(nova, log, between=(between := Between(expire))) as here:
        await here.guest(server, "destroy")
        await here.until(Confirmed, server)

    assert renewed == [True]
    assert between.errors == []
    assert history(nova, server) == ONE_STOP


async def test_an_api_killed_before_it_answers_has_stopped_the_instance_once(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    """It has set the task and told the queue, which does not confirm: so there is no answer, and it dies."""
    queue = nova.services.queue

    def told() -> bool:
        return unread(nova.services.ports.queue, nova.services.api) > HEARTBEATS

    begun = f"select uuid from instances where uuid = '{server}' and task_state = 'powering-off'"
    try:
        async with house(nova, log, between=(between := Between(queue.hang))) as here:
            await here.guest(server, "destroy")
            await here.until(Sent, server)
            await trio.to_thread.run_sync(wait_until, lambda: bool(nova.sql(begun)), "Nova had begun to stop it")
            await trio.to_thread.run_sync(wait_until, told, "the queue was told of it")
            await trio.to_thread.run_sync(nova.kill_api)
            queue.wake()
            await trio.to_thread.run_sync(nova.start_api)
            await here.until(Confirmed, server)
            await here.sweeps()
            life = await here.life(server)
    finally:
        queue.wake()

    assert [type(error) for error in between.errors] == [NovaOutcomeUnknownError]
    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]
    assert nova.server(server)["status"] == "SHUTOFF"
    assert history(nova, server) == ONE_STOP


async def test_an_api_killed_before_it_reads_the_request_is_not_asked_again(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    """The request went out, so nobody can know; that it was not stopped is the end of it, and says so."""
    act = structs.replace(QUICK, confirm=6.0)
    async with house(nova, log, between=(between := Between(nova.services.api.hang)), act=act) as here:
        await here.guest(server, "destroy")
        with trio.fail_after(PATIENCE):
            while not between.went_out[of(server)]:
                await trio.sleep(0.02)
        await trio.to_thread.run_sync(nova.kill_api)
        await trio.to_thread.run_sync(nova.start_api)
        [failed] = await here.until(Failed, server)
        await here.sweeps()
        life = await here.life(server)

    assert [type(error) for error in between.errors] == [NovaOutcomeUnknownError]
    assert failed.reason == "it was not seen to have happened within 6 s"
    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Failed"]
    assert nova.server(server)["status"] == "ACTIVE"
    assert history(nova, server) == ["create"]


async def test_an_api_killed_before_the_request_goes_out_is_asked_again_after_its_start(
    nova: NovaRig, log: SqlLog, server: str
) -> None:
    async with house(nova, log, between=(between := Between(nova.kill_api))) as here:
        await here.guest(server, "destroy")
        with trio.fail_after(PATIENCE):
            while not between.errors:
                await trio.sleep(0.02)
        await trio.to_thread.run_sync(nova.start_api)
        await here.until(Confirmed, server)
        await here.sweeps()
        life = await here.life(server)

    assert {type(error) for error in between.errors} == {NovaUnavailableError}
    assert life == ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]
    assert history(nova, server) == ONE_STOP


async def test_the_window_between_look_and_act_is_measured(
    nova: NovaRig, log: SqlLog, boot: Callable[..., list[str]]
) -> None:
    """Over 20 commands, five at a time: from the answer of the last look until the order goes out to Nova."""
    servers, rounds = boot(*(f"vm-{number}" for number in range(5))), 4
    loose = Breaker(commands=1000, most=1000, whole=1000)
    async with house(nova, log, between=(between := Between()), breaker=loose) as here:
        for number in range(1, rounds + 1):
            for server in servers:
                await here.guest(server, "destroy")
            for server in servers:
                await here.until(Confirmed, server, number)
            if number < rounds:
                for server in servers:
                    await here.user(server, "os-start", "ACTIVE")
        confirmed = await here.facts(Confirmed)

    assert all(history(nova, server).count("stop") == rounds for server in servers)
    looked, went_out, both = [], [], []
    for server in map(of, servers):
        windows = [each.window / SECOND for each in confirmed if each.instance == server and each.window is not None]
        looked += windows
        went_out += between.went_out[server]
        both += [sum(times) for times in zip(windows, between.went_out[server], strict=True)]
    for what, seconds in (("look to act", looked), ("act to request", went_out), ("both", both)):
        figures = (f"{each:.3f} s" for each in (min(seconds), statistics.median(seconds), max(seconds)))
        print(f"\n{what}, {len(seconds)} commands: min, median, max {', '.join(figures)}", end="")  # noqa: T201
    assert len(both) == rounds * len(servers)
    assert max(both) < QUICK.window


def of(server: str) -> InstanceId:
    return InstanceId(UUID(server))
