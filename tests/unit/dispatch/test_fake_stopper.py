"""The stopper for users' tests does and answers what the real one does."""

import pytest

from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.testing import FakeHypervisor, FakeStopper


@pytest.fixture
def host() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def web(host: FakeHypervisor) -> InstanceId:
    return host.add("web-1", state=1, reason=1)


async def _yes() -> float:
    return 2.0


async def _no() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("verb", "deaf", "reason"),
    [(StopVerb.STOP, False, 1), (StopVerb.STOP, True, 2), (StopVerb.FORCE_STOP, False, 2)],
)
async def test_a_guest_shuts_down_or_is_destroyed(
    host: FakeHypervisor, web: InstanceId, verb: StopVerb, deaf: bool, reason: int
) -> None:
    stopper = FakeStopper(host)
    stopper.deaf = {web} if deaf else set()

    result = await stopper.stop(web, verb, within=2.0, still_wanted=_yes)

    assert result.outcome is Outcome.ACCEPTED
    assert host.vms[web][2:] == (5, reason)
    assert stopper.sent == [(web, verb)]


async def test_a_deaf_guest_that_need_not_stop_any_more_is_left_on(host: FakeHypervisor, web: InstanceId) -> None:
    stopper = FakeStopper(host)
    stopper.deaf.add(web)

    await stopper.stop(web, StopVerb.STOP, within=2.0, still_wanted=_no)

    assert host.vms[web].state == 1


async def test_a_guest_that_is_off_or_unknown_is_not_touched(host: FakeHypervisor, web: InstanceId) -> None:
    stopper = FakeStopper(host)
    host.power_off(web)
    off = await stopper.stop(web, StopVerb.FORCE_STOP, within=2.0, still_wanted=_yes)
    host.undefine(web)
    unknown = await stopper.stop(web, StopVerb.FORCE_STOP, within=2.0, still_wanted=_yes)

    assert off == Result(outcome=Outcome.ACCEPTED, reason="it is off already")
    assert unknown.outcome is Outcome.REFUSED


async def test_what_it_is_told_to_answer_is_answered_in_order(host: FakeHypervisor, web: InstanceId) -> None:
    stopper = FakeStopper(host)
    stopper.results = [Result(outcome=Outcome.UNKNOWN, reason="lost"), Result(outcome=Outcome.ACCEPTED)]
    first = await stopper.stop(web, StopVerb.STOP, within=2.0, still_wanted=_yes)
    still_on = host.vms[web].state == 1
    await stopper.stop(web, StopVerb.STOP, within=2.0, still_wanted=_yes)

    assert first == Result(outcome=Outcome.UNKNOWN, reason="lost")
    assert still_on
    assert host.vms[web].state == 5
    assert len(stopper.sent) == 2
