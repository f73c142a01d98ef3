"""A command under an actor, from its request to its end."""

from collections.abc import Sequence
from math import inf

import pytest
import trio

from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.decisions import (
    Approved,
    CommandEvent,
    Confirmed,
    Failed,
    LookedAgain,
    Refused,
    Route,
    Sent,
    StopRequested,
    StopVerb,
    Withdrawn,
)
from es_power.domain.events import InstanceId, Position, RecordDeclared
from es_power.domain.ports import Append
from es_power.domain.states import VmState
from es_power.errors import LogFullError
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.log.codec import Codec
from es_power.projections.fleet import Fleet
from es_power.settings import Act
from es_power.testing import FakeHypervisor, FakeStopper
from tests.rigs.clock import jumping
from tests.unit.dispatch.conftest import acting, house, observing, readable, say, settings

pytestmark = jumping

LIFE = ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]


async def test_a_guest_that_should_be_stopped_and_is_on_is_stopped_once(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host) as h:
        await say(log, web, VmState.STOPPED)
        [confirmed] = await h.until(Confirmed)
        await trio.sleep(0.3)
        life, sent = await h.life(), h.stopper.sent
        [act] = await h.facts(Sent)

    assert life == LIFE
    assert sent == [(web, StopVerb.STOP)]
    assert act.route is Route.HYPERVISOR
    assert confirmed.window is not None
    assert 0 < confirmed.window < 2_000_000_000


async def test_a_declared_guest_that_is_off_needs_no_act_and_its_record_becomes_stopped(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host) as h:
        await say(log, web, VmState.ACTIVE)
        host.power_off(web)
        await h.until(Confirmed)
        records = await h.facts(RecordDeclared)
        await trio.sleep(0.3)
        life = await h.life()

    assert life == LIFE
    assert h.stopper.sent == []
    assert [record.vm_state for record in records] == [VmState.ACTIVE, VmState.STOPPED]


async def test_one_that_is_started_again_within_the_settle_time_is_left_alone(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host, act=Act(settle=0.5, after_boot=0.001)) as h:
        await say(log, web, VmState.ACTIVE)
        host.power_off(web)
        await h.until(StopRequested)
        await trio.sleep(0.4)
        host.start(web)
        [withdrawn] = await h.until(Withdrawn)
        await trio.sleep(0.7)
        life = await h.life()

    assert life == ["StopRequested", "Withdrawn"]
    assert h.stopper.sent == []
    assert withdrawn.reason == "the guest was started again"


async def test_under_dry_run_it_is_looked_at_and_nothing_is_sent(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host, mode="dry-run") as h:
        await say(log, web, VmState.STOPPED)
        await h.until(LookedAgain)
        await trio.sleep(0.2)
        host.power_off(web)
        await h.until(Withdrawn)
        life = await h.life()

    assert life == ["StopRequested", "LookedAgain", "Withdrawn"]
    assert h.stopper.sent == []


async def test_under_approve_it_waits_for_a_person(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host, mode="approve") as h:
        await say(log, web, VmState.STOPPED)
        [request] = await h.until(StopRequested)
        await trio.sleep(0.3)
        assert h.stopper.sent == []
        await h.actor.approve(request.command, by="ann", why="it is retired")
        await h.until(Confirmed)
        [approved] = await h.facts(Approved)

    assert h.stopper.sent == [(web, StopVerb.STOP)]
    assert approved.by is not None


async def test_what_was_refused_is_not_tried_again(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host) as h:
        h.stopper.results = [Result(outcome=Outcome.REFUSED, reason="not allowed (web-1), but web-1-old")]
        await say(log, web, VmState.STOPPED)
        [refused] = await h.until(Refused)
        h.service.observers["observer/host-1/test"].sweep_soon()
        await trio.sleep(0.3)
        life = await h.life()

    # Its name can be forgotten where it is a label, and only there.
    assert refused.reason == "not allowed (the guest), but web-1-old"
    assert life == [*LIFE[:4], "Refused"]
    assert len(h.stopper.sent) == 1


async def test_what_came_of_an_act_waits_for_no_question_to_the_log(
    log: SqlLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    stopper, labels = FakeStopper(host), SqlLog.labels

    async def refused_afterwards(self: SqlLog, ids: Sequence[int]) -> dict[int, str]:
        if stopper.sent:
            raise LogFullError("no room")
        return await labels(self, ids)

    monkeypatch.setattr(SqlLog, "labels", refused_afterwards)
    async with house(log, host, stopper=stopper) as h:
        await say(log, web, VmState.STOPPED)
        await h.until(Confirmed)


async def test_what_never_arrived_is_looked_at_and_tried_again(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with house(log, host) as h:
        h.stopper.results = [Result(outcome=Outcome.NOT_DELIVERED)]
        await say(log, web, VmState.STOPPED)
        await h.until(Confirmed)
        life = await h.life()

    assert life == LIFE
    assert len(h.stopper.sent) == 2


@pytest.mark.parametrize("heeded", [True, False], ids=["as it is", "without the doubt"])
async def test_what_was_approved_is_not_sent_once_its_instance_is_in_doubt(
    log: SqlLog, heeded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not heeded:
        monkeypatch.setattr(Fleet, "doubt", lambda *_: None)
    host = FakeHypervisor()
    web, db = host.add("web-1", state=1, reason=1), host.add("db-1", state=1, reason=1)

    async with house(log, host, mode="approve") as h:
        for vm in (web, db):
            await say(log, vm, VmState.STOPPED)
        hold = await h.actor.hold(instance=None, until=None, by="ann", why="not yet")
        for request in await h.until(StopRequested, 2):
            await h.actor.approve(request.command, by="ann", why="go")
        await say_in_words_of_tomorrow(log, web)
        await h.actor.release(hold, by="ann", why="now")
        await h.until(Confirmed, 1 if heeded else 2)
        steps = [(type(each).__name__, each.instance == web) for each in await h.facts(CommandEvent)]

    assert {vm for vm, _ in h.stopper.sent} == ({db} if heeded else {db, web})
    assert (("Sent", True) in steps) is not heeded
    assert ("Withdrawn", True) not in steps


async def say_in_words_of_tomorrow(log: SqlLog, vm: InstanceId) -> None:
    """Declare that a VM is to run, as a newer version writes it and this one cannot read it."""
    tomorrow = Codec(upcasters={("RecordDeclared", 1): lambda values: values})
    await say(SqlLog(log.database, clock=now, codec=tomorrow), vm, VmState.ACTIVE)


async def test_what_was_seen_in_time_is_confirmed_however_long_the_log_refuses(log: SqlLog) -> None:
    host = FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    its = UnconfirmingLog(log.database, clock=now, poll=0.02)
    async with observing(log, host), acting(its, host, FakeStopper(host), settings(log, act=BRIEF)):
        await say(log, web, VmState.STOPPED)
        with trio.fail_after(20):
            while not [each for each in await readable(log) if isinstance(each.event, Confirmed | Failed)]:
                await trio.sleep(0.02)
        outcome = [each.event for each in await readable(log) if isinstance(each.event, Confirmed | Failed)]

    assert its.refused
    assert [type(event) for event in outcome] == [Confirmed]


BRIEF = Act(settle=0.1, after_boot=0.001, confirm=0.5)


class UnconfirmingLog(SqlLog):
    """Has no room for what confirms for longer than is waited for what is to be confirmed."""

    refused = 0
    _until = inf

    async def append(self, append: Append) -> Position:
        if any(isinstance(event, Confirmed | Failed) for write in append.writes for event in write.events):
            self._until = min(self._until, trio.current_time() + 3 * BRIEF.confirm)
            if trio.current_time() < self._until:
                self.refused += 1
                raise LogFullError("the disk is full")
        return await super().append(append)
