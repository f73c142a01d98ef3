"""A clock that is set while a host is observed: the jump is a fact, once, and everything open goes by the new clock."""

from dataclasses import dataclass

import pytest
import trio

from es_power.domain.events import ClockJumped, GapClosed, GapOpened, HostSwept, LifecycleEvent, StateObserved
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import LogUnavailableError
from es_power.ingest.clock import ClockWatch
from es_power.ingest.jumps import Jumps
from es_power.ingest.observer import Observer
from es_power.ingest.roster import Roster
from es_power.log.patience import PatientLog
from es_power.testing.facts import T0
from es_power.testing.hypervisor import FakeHypervisor
from es_power.testing.memory import MemoryLog
from tests.unit.ingest.test_observer import HOW, STREAM, facts, settle

HOUR = 3600 * SECOND


@dataclass
class Clocks:
    """A wall clock that can be set, and a steady one: trio's."""

    set_by: int = 0

    def wall(self) -> Timestamp:
        return Timestamp(self.steady() + self.set_by)

    def steady(self) -> Timestamp:
        return Timestamp(T0 + int(trio.current_time() * SECOND))


async def observing(nursery: trio.Nursery, log: MemoryLog, host: FakeHypervisor, clocks: Clocks) -> Observer:
    observer = Observer(
        PatientLog(log), host, name=STREAM, roster=Roster(), how=HOW, clock=clocks.wall, steady=clocks.steady
    )
    nursery.start_soon(observer.run, await host.open())
    await observer.seeing.wait()
    return observer


@pytest.mark.parametrize("by", [-2 * HOUR, 365 * 24 * HOUR])
async def test_a_jump_stands_once_before_what_came_next(by: int, autojump_clock: trio.testing.MockClock) -> None:
    log, clocks = MemoryLog(), Clocks()
    host = FakeHypervisor(clock=clocks.wall)
    web = host.add("web-1", state=1, reason=1)
    async with trio.open_nursery() as nursery:
        await observing(nursery, log, host, clocks)
        await trio.sleep(30)
        looked = clocks.wall()
        before = len(await facts(log))
        clocks.set_by += by
        host.power_off(web)
        await settle()
        found = (await facts(log))[before:]
        nursery.cancel_scope.cancel()

    # It is seen at once by the new clock too: a sweep follows.
    assert [ClockJumped, LifecycleEvent, LifecycleEvent, HostSwept, StateObserved] == [type(each) for each in found]
    assert found[0].by == by
    assert found[0].expected == looked
    assert len(await facts(log, ClockJumped)) == 1


async def test_a_clock_that_is_steered_does_not_jump(autojump_clock: trio.testing.MockClock) -> None:
    log, clocks = MemoryLog(), Clocks()
    async with trio.open_nursery() as nursery:
        await observing(nursery, log, FakeHypervisor(), clocks)
        for _ in range(20):
            await trio.sleep(600)
            clocks.set_by -= SECOND  # a second in ten minutes: far more than a daemon steers
        nursery.cancel_scope.cancel()

    assert await facts(log, ClockJumped) == []


@pytest.mark.parametrize("by", [-2 * HOUR, 2 * HOUR])
async def test_a_gap_goes_by_the_clock_that_says_when_it_ended(by: int, autojump_clock: trio.testing.MockClock) -> None:
    log, clocks, host = MemoryLog(), Clocks(), FakeHypervisor()
    async with trio.open_nursery() as nursery:
        observer = await observing(nursery, log, host, clocks)
        host.disconnect()
        lost = clocks.wall()
        await trio.sleep(60)
        clocks.set_by += by
        host.come_back()
        await trio.sleep(60)
        await observer.seeing.wait()
        nursery.cancel_scope.cancel()
    [opened], [closed] = await facts(log, GapOpened), await facts(log, GapClosed)

    assert opened.since == lost
    assert closed.since == lost + by
    assert 60 * SECOND <= closed.observed_at - closed.since <= 120 * SECOND


async def test_a_session_that_a_clock_was_set_back_in_ends_when_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    log, clocks, host = MemoryLog(), Clocks(), FakeHypervisor()
    async with trio.open_nursery() as nursery:
        await observing(nursery, log, host, clocks)
        clocks.set_by -= 2 * HOUR
        host.disconnect()
        lost = clocks.wall()
        await settle()
        [opened] = await facts(log, GapOpened)
        nursery.cancel_scope.cancel()

    assert opened.since == lost == opened.observed_at


@pytest.mark.parametrize("blind", [False, True])
async def test_a_start_by_a_clock_that_was_set_back_says_so(
    blind: bool, autojump_clock: trio.testing.MockClock
) -> None:
    log, clocks = MemoryLog(), Clocks()
    last = Timestamp(clocks.wall() + 2 * HOUR)
    since = Timestamp(last - 60 * SECOND) if blind else None
    roster = Roster(seen_until=last, blind_since=since)
    observer = Observer(
        log, FakeHypervisor(), name=STREAM, roster=roster, how=HOW, clock=clocks.wall, steady=clocks.steady
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.run, await observer._hypervisor.open())
        await observer.seeing.wait()
        nursery.cancel_scope.cancel()
    [jumped], [closed] = await facts(log, ClockJumped), await facts(log, GapClosed)

    assert (jumped.expected, jumped.looked_at, jumped.by) == (last, last, -2 * HOUR)
    assert closed.since == (T0 - 60 * SECOND if blind else T0)
    assert closed.since <= closed.observed_at


class Refusing(MemoryLog):
    """A log that takes nothing for a while, or takes what it says it did not take."""

    refusing = False
    forgetful = False

    async def append(self, append):
        if self.forgetful:
            await super().append(append)
        if self.refusing:
            await trio.lowlevel.checkpoint()
            raise LogUnavailableError("full")
        return await super().append(append)


@pytest.mark.parametrize("forgetful", [False, True])
async def test_a_jump_is_told_once_though_its_append_was_broken_off(
    forgetful: bool, autojump_clock: trio.testing.MockClock
) -> None:
    log, clocks, host = Refusing(), Clocks(), FakeHypervisor()
    async with trio.open_nursery() as nursery:
        observer = await observing(nursery, log, host, clocks)
        log.refusing, log.forgetful = True, forgetful
        clocks.set_by -= 2 * HOUR
        observer.sweep_soon()
        await settle()
        host.disconnect()  # whoever waits for the log is cancelled
        await settle()
        log.refusing = log.forgetful = False
        host.come_back()
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    assert [each.by for each in await facts(log, ClockJumped)] == [-2 * HOUR]


def test_a_process_that_was_paused_between_two_readings_sees_no_jump() -> None:
    passed = iter([0, 0, 10, 10 + 40 * SECOND, 41 * SECOND, 41 * SECOND])
    wall = iter([T0, T0 + 20, T0 + 41 * SECOND])
    watch = ClockWatch(lambda: next(wall), lambda: next(passed))

    assert watch.look() is None


def test_where_nothing_is_appended_no_jump_is_told() -> None:
    wall = iter([T0, T0 - HOUR, T0 - HOUR])
    noticed: list[ClockJumped] = []
    jumps = Jumps(ClockWatch(lambda: next(wall), lambda: Timestamp(0)), noticed.append)

    assert [each.by for each in jumps.before(lambda _: [])(3)] == [-HOUR]
    assert jumps.before(lambda version: [])(4) == []
    assert len(noticed) == 1
