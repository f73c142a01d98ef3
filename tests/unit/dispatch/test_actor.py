"""What people say to an actor, what keeps commands back, and what a second or a later actor may do: nothing unasked."""

from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import pytest
import trio
from structlog.testing import capture_logs

from es_power.acting import Acts
from es_power.dispatch.door import Approve, Hold, Release
from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.command import CommandState
from es_power.domain.decisions import (
    ActingStarted,
    Alarm,
    AlarmRaised,
    Approved,
    BreakerOpened,
    Confirmed,
    Expired,
    Failed,
    HoldPlaced,
    HoldReleased,
    LookedAgain,
    Refused,
    Sent,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import GapClosed, HostSwept, InstanceId, Position
from es_power.domain.ports import Append, Write
from es_power.domain.states import VmState
from es_power.domain.streams import command as command_stream
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import (
    BreakerNotOpenError,
    CommandNotFoundError,
    CommandStateError,
    HoldNotFoundError,
    LeaseHeldError,
    LogFullError,
    LogUnavailableError,
    TakenOverError,
)
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.log.patience import SLOW
from es_power.projections.readmodels import Step
from es_power.settings import Act, Breaker
from es_power.testing import FakeHypervisor, FakeStopper
from tests.rigs.clock import jumping
from tests.unit.dispatch.conftest import QUICK, House, acting, house, observing, say, settings

pytestmark = jumping

TRUSTING = Breaker(commands=100, most=100, whole=100)


@pytest.fixture
def host() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def web(host: FakeHypervisor) -> InstanceId:
    return host.add("web-1", state=1, reason=1)


async def requested(h: House, vm: InstanceId) -> StopRequested:
    await say(h.log, vm, VmState.STOPPED)
    return (await h.until(StopRequested))[-1]


# ---------------------------------------------------------------------------------------------------- approvals


async def test_what_was_withdrawn_cannot_be_approved(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, mode="approve") as h:
        request = await requested(h, web)
        host.power_off(web)
        await h.until(Withdrawn)
        with pytest.raises(CommandStateError, match=r"is Withdrawn \(.*\); there is nothing to approve"):
            await h.actor.approve(request.command, by="ann", why="late")


async def test_an_unknown_command_is_said_to_be(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, mode="approve") as h:
        with pytest.raises(CommandNotFoundError):
            await h.actor.approve(uuid4(), by="ann", why="typo")


async def test_under_dry_run_nothing_can_be_approved(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, mode="dry-run") as h:
        request = await requested(h, web)
        with pytest.raises(CommandStateError, match="dry-run, in which nothing is sent"):
            await h.actor.approve(request.command, by="ann", why="go")
        await h.until(LookedAgain)

    assert h.stopper.sent == []


async def test_an_instances_mode_is_before_its_hosts(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    db = host.add("db-1", state=1, reason=1)
    modes = {"host-1": "auto", str(db): "dry-run"}
    async with house(log, host, mode="dry-run", modes=modes) as h:
        await say(log, web, VmState.STOPPED)
        await say(log, db, VmState.STOPPED)
        await h.until(Confirmed)
        await h.until(LookedAgain, 2)

    assert [instance for instance, _ in h.stopper.sent] == [web]


async def test_what_nobody_approves_expires(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, mode="approve", act=Act(settle=0.05, after_boot=0.001, expiry=0.2)) as h:
        request = await requested(h, web)
        await h.until(Expired)
        with pytest.raises(CommandStateError, match="is Expired"):
            await h.actor.approve(request.command, by="ann", why="late")
        h.service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.2)
        assert await h.life() == ["StopRequested", "Expired"]
        await h.actor.retry(request.command, by="ann", why="now")
        again = (await h.until(StopRequested, 2))[1]

    assert again.command != request.command
    assert h.stopper.sent == []


async def test_what_is_folded_while_an_actor_ends_begins_nothing(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host, mode="approve") as h:
        request = await requested(h, web)
        await h.actor.desk.caught_up()
        known = h.actor.desk.models.commands.rows[request.command]
    late = replace(known, requested=replace(request, command=uuid4()))

    h.actor.folded((), Step(commands={late.position: late}))

    assert h.stopper.sent == []


async def test_what_was_rejected_stays_so_while_the_disagreement_lasts(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host, mode="approve") as h:
        request = await requested(h, web)
        await h.actor.reject(request.command, by="ann", why="it is needed")
        h.service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.3)
        assert await h.life() == ["StopRequested", "Withdrawn"]
        host.power_off(web)
        await trio.sleep(0.3)
        host.start(web)
        await h.until(StopRequested, 2)

    assert h.stopper.sent == []


async def test_an_approval_that_the_actor_did_not_write_is_an_alarm(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host, mode="approve") as h:
        request = await requested(h, web)
        forged = Approved(
            observed_at=now(), instance=web, command=request.command, actor=h.actor.desk.own.name, epoch=1
        )
        await log.append(Append(writes=(Write(stream=command_stream(request.command), expected=1, events=(forged,)),)))
        [alarm] = await h.until(AlarmRaised)
        await trio.sleep(0.5)

    assert alarm.alarm is Alarm.FOREIGN_APPROVAL
    assert alarm.instance == web
    assert h.stopper.sent == []


@pytest.mark.parametrize("migrates", [False, True])
async def test_an_instance_that_two_hosts_show_on_at_two_sweeps_is_an_alarm_unless_it_migrates(
    log: SqlLog, host: FakeHypervisor, web: InstanceId, migrates: bool
) -> None:
    other = FakeHypervisor(uri="test:///other", hostname="host-2")
    other.add("web-1", state=3 if migrates else 1, reason=2 if migrates else 1, instance=web)
    async with house(log, host) as h, observing(log, other):
        for _ in range(3):
            swept = len(await h.facts(HostSwept))
            h.service.observers["observer/host-1/test"].sweep_soon()
            await h.until(HostSwept, swept + 1)
        await h.actor.desk.caught_up()
        await trio.sleep(0.2)
        alarms = await h.facts(AlarmRaised)

    assert [(each.alarm, each.instance) for each in alarms] == ([] if migrates else [(Alarm.TWO_HOSTS, web)])
    assert all("on at host-1 and host-2" in each.reason for each in alarms)


# ------------------------------------------------------------------------------------- restarts and second actors


@pytest.mark.parametrize("mode", ["approve", "auto"])
async def test_what_is_older_than_the_actors_start_is_sent_only_if_it_is_approved_again(
    log: SqlLog, host: FakeHypervisor, web: InstanceId, mode: str
) -> None:
    stopper = FakeStopper(host)
    async with observing(log, host):
        await say(log, web, VmState.STOPPED)
        # The first actor takes an approval, and ends before it sends.
        slow = settings(log, mode=mode, act=Act(settle=60.0, after_boot=0.001))
        async with acting(log, host, stopper, slow) as acts:
            h = House(log, host, stopper, None, acts)  # type: ignore[arg-type]
            [request] = await h.until(StopRequested)
            await h.actor.approve(request.command, by="ann", why="go")
        async with acting(log, host, stopper, settings(log, mode=mode)) as acts:
            h = House(log, host, stopper, None, acts)  # type: ignore[arg-type]
            await trio.sleep(0.6)
            assert stopper.sent == []
            await h.actor.approve(request.command, by="ann", why="go on")
            await h.until(Confirmed)

    assert len(stopper.sent) == 1
    assert [event.epoch for event in await h.facts(ActingStarted)] == [1, 2]


async def test_what_was_sent_before_a_crash_is_looked_for_and_never_repeated(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    stopper = FakeStopper(host)
    stopper.results = [Result(outcome=Outcome.UNKNOWN)]
    async with observing(log, host):
        async with acting(log, host, stopper, settings(log, act=Act(settle=0.2, after_boot=0.001))) as acts:
            h = House(log, host, stopper, None, acts)  # type: ignore[arg-type]
            await say(log, web, VmState.STOPPED)
            await h.until(Sent)
            await trio.sleep(0.1)
            assert len(stopper.sent) == 1
        async with acting(log, host, stopper, settings(log, act=Act(settle=0.05, after_boot=0.001, confirm=0.5))):
            [failed] = await h.until(Failed)

    assert len(stopper.sent) == 1
    assert "not seen to have happened" in failed.reason


async def test_a_second_actor_is_told_who_acts(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host) as h:
        with pytest.raises(ExceptionGroup) as caught:
            async with acting(log, host, h.stopper, settings(log)):
                pass

    assert caught.group_contains(LeaseHeldError, match="actor/host-1/test is held by")


async def test_an_actor_whose_stream_another_took_over_stops(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    stopper = FakeStopper(host)
    async with observing(log, host):
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with acting(log, host, stopper, settings(log)) as acts:
                h = House(log, host, stopper, None, acts)  # type: ignore[arg-type]
                usurper = ActingStarted(observed_at=now(), epoch=9, holder="the other one", version="1", settings=())
                own = h.actor.desk.own
                await log.append(Append(writes=(Write(stream=own.name, expected=own.version, events=(usurper,)),)))
                await say(log, web, VmState.STOPPED)
                await trio.sleep(5)

    assert caught.group_contains(TakenOverError, match="the other one", depth=None)
    assert stopper.sent == []


# -------------------------------------------------------------------------------------- what keeps commands back


async def test_a_hold_keeps_a_command_back_until_it_is_released(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host) as h:
        hold = await h.actor.hold(instance=web, until=None, by="ann", why="backup")
        await requested(h, web)
        await h.until(Approved)
        await trio.sleep(0.3)
        assert h.stopper.sent == []
        await h.actor.release(hold, by="ann", why="done")
        await h.until(Confirmed)
        with pytest.raises(HoldNotFoundError):
            await h.actor.release(hold, by="ann", why="again")


async def test_a_hold_of_the_host_ends_by_itself(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    begun = now()
    async with house(log, host) as h:
        h.actor.desk.clock = lambda: Timestamp(begun + int(trio.current_time() * SECOND))
        await h.actor.hold(instance=None, until=Timestamp(h.actor.desk.clock() + SECOND // 2), by="ann", why="works")
        await requested(h, web)
        await trio.sleep(0.3)
        assert h.stopper.sent == []
        await h.until(Confirmed)
        [released] = await h.facts(HoldReleased)

    assert released.by is None


async def test_much_at_once_opens_the_breaker_which_a_person_closes(log: SqlLog, host: FakeHypervisor) -> None:
    vms = [host.add(f"vm-{number}", state=1, reason=1) for number in range(8)]
    async with house(log, host, act=Act(settle=0.5, after_boot=0.001, confirm=2.0)) as h:
        for vm in vms[:5]:
            await say(log, vm, VmState.STOPPED)
        [opened] = await h.until(BreakerOpened)
        await trio.sleep(1)
        assert h.stopper.sent == []
        await h.actor.close_breaker(by="ann", why="they are to go")
        await h.until(Confirmed, 5)
        with pytest.raises(BreakerNotOpenError):
            await h.actor.close_breaker(by="ann", why="again")

    assert "5 commands within 60 s" in opened.reason
    assert len(h.stopper.sent) == 5


async def test_a_host_that_turns_off_at_once_opens_it(log: SqlLog, host: FakeHypervisor) -> None:
    vms = [host.add(f"vm-{number}", state=1, reason=1) for number in range(3)]
    async with house(log, host, act=Act(settle=0.5, after_boot=0.001)) as h:
        await say(log, vms[0], VmState.ACTIVE)
        await trio.sleep(0.2)
        for vm in vms:
            host.power_off(vm)
        [opened] = await h.until(BreakerOpened)
        await trio.sleep(0.8)
        life = await h.life()

    assert "none of 3 VMs" in opened.reason
    assert "Sent" not in life


async def test_commands_wait_until_the_host_has_been_up(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, act=Act(settle=0.05, after_boot=1.0)) as h:
        await requested(h, web)
        await trio.sleep(0.4)
        assert h.stopper.sent == []
        await h.until(Confirmed)


async def test_nothing_is_sent_while_nobody_sees_the_host(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    stopper = FakeStopper(host)
    async with acting(log, host, stopper, settings(log, act=Act(settle=0.4, after_boot=0.001))) as acts:
        h = House(log, host, stopper, None, acts)  # type: ignore[arg-type]
        async with observing(log, host):
            await say(log, web, VmState.STOPPED)
            await h.until(StopRequested)
        await trio.sleep(1)
        assert stopper.sent == []
        async with observing(log, host):
            await h.until(Confirmed)

    assert len(stopper.sent) == 1


# ------------------------------------------------------------------------------------------------- the last look


async def test_a_guest_whose_answer_changed_without_a_word_is_left_alone(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host, act=Act(settle=0.4, after_boot=0.001)) as h:
        await requested(h, web)
        await trio.sleep(0.3)
        host.set_state(web, 5, 1)
        [withdrawn] = await h.until(Withdrawn)
        await trio.sleep(0.3)

    assert withdrawn.actor == "actor/host-1/test"
    assert h.stopper.sent == []


async def test_a_host_that_does_not_answer_is_waited_for(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, act=Act(settle=0.3, after_boot=0.001)) as h:
        request = await requested(h, web)
        host.disconnect()
        await trio.sleep(0.5)
        state = (await h.actor.desk.read(request.command)).state
        assert state in {CommandState.APPROVED, CommandState.PLANNED}
        assert h.stopper.sent == []


async def test_too_long_between_look_and_act_withdraws(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, act=Act(settle=0.1, after_boot=0.001, window=0.000001)) as h:
        await requested(h, web)
        withdrawn = (await h.until(Withdrawn))[0]

    assert "passed since the last look" in withdrawn.reason
    assert h.stopper.sent == []


async def test_a_command_too_old_is_withdrawn(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    async with house(log, host, act=Act(settle=0.05, after_boot=0.001, max_age=0.1)) as h:
        hold = await h.actor.hold(instance=web, until=None, by="ann", why="wait")
        await requested(h, web)
        await h.until(Approved)
        await trio.sleep(0.3)
        await h.actor.release(hold, by="ann", why="go")
        withdrawn = (await h.until(Withdrawn))[0]

    assert "too old" in withdrawn.reason
    assert h.stopper.sent == []


async def test_a_failure_of_one_stops_no_other(log: SqlLog, host: FakeHypervisor, web: InstanceId) -> None:
    db = host.add("db-1", state=1, reason=1)
    refusing = FakeStopper(host)
    refusing.results = [Result(outcome=Outcome.REFUSED, reason="no")]
    async with house(log, host, stopper=refusing, breaker=TRUSTING) as h:
        await say(log, web, VmState.STOPPED)
        await h.until(Refused)
        await say(log, db, VmState.STOPPED)
        await h.until(Confirmed)

    assert QUICK.settle < 1
    assert [instance for instance, _ in h.stopper.sent] == [web, db]


async def test_what_was_requested_before_the_host_was_booted_is_withdrawn(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    async with house(log, host, act=Act(settle=0.1, after_boot=0.001, confirm=2.0)) as h:
        hold = await h.actor.hold(instance=web, until=None, by="ann", why="the host is booted")
        first = await requested(h, web)
        await h.until(Approved)
        host.boot_id = UUID(int=2)
        host.disconnect()
        host.come_back()
        await h.until(GapClosed)
        await h.actor.release(hold, by="ann", why="it is up")
        withdrawn = (await h.until(Withdrawn))[0]
        await h.until(Confirmed)
        again = (await h.facts(StopRequested))[-1]

    assert withdrawn.command == first.command
    assert withdrawn.reason == "the host was booted since, or may have been"
    assert again.command != first.command
    assert len(h.stopper.sent) == 1


async def test_an_actor_whose_append_has_no_answer_says_so(log: SqlLog, host: FakeHypervisor) -> None:
    # By a log of its own, as in a process of its own: nobody else's append hangs.
    its = HangingLog(log.database, clock=now, poll=0.02)
    async with observing(log, host), acting(its, host, FakeStopper(host), settings(log)) as acts:
        its.answers = trio.Event()
        with capture_logs() as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(acts.actors["host-1"].hold, instance=None, until=None, by="ann", why="x"))
                await trio.sleep(SLOW + 1)
                its.answers.set()  # an append is waited for whatever is cancelled

    assert lines[0]["event"] == "the log cannot be written; trying on"
    assert lines[0]["because"] == f"it has not answered for {SLOW:g} s"


class HangingLog(SqlLog):
    """Answers no append until it may."""

    answers = trio.Event()
    answers.set()

    async def append(self, append: Append) -> Position:
        await self.answers.wait()
        return await super().append(append)


async def test_what_a_log_does_not_take_soon_is_given_up_and_never_done(
    log: SqlLog, host: FakeHypervisor, web: InstanceId
) -> None:
    its = FullLog(log.database, clock=now, poll=0.02)
    how = settings(log, mode="approve")
    async with observing(log, host), acting(its, host, FakeStopper(host), how) as acts:
        its.is_full = True
        await say(log, web, VmState.STOPPED)
        request = (await House(log, host, FakeStopper(host), None, acts).until(StopRequested))[0]
        await acts.actors["host-1"].desk.caught_up()
        for wish in (Approve(command=request.command, why="go"), Hold(host="host-1", why="wait")):
            with pytest.raises(LogUnavailableError, match="so nothing was done; say it again later"):
                await acts.hear(wish, "ann")
        its.is_full = False
        await acts.hear(Release(hold=await held(acts), why="on"), "ann")
        facts = [each.event for each in await log.read(after=0, limit=100_000)]

    assert not [each for each in facts if isinstance(each, Approved | AlarmRaised)]
    assert len([each for each in facts if isinstance(each, HoldPlaced)]) == 1


async def held(acts: Acts) -> UUID:
    return UUID((await acts.hear(Hold(host="host-1", why="wait"), "ann")).split()[1])


class FullLog(SqlLog):
    """Takes nothing while it is full."""

    is_full = False

    async def append(self, append: Append) -> Position:
        if self.is_full:
            raise LogFullError("the disk is full")
        return await super().append(append)
