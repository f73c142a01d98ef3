"""The observer against a fake host and a log in memory, in trio's mock clock: 600 s cost nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import trio

from es_power.domain.events import (
    Event,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    InstanceNamed,
    InventoryRecorded,
    LifecycleEvent,
    Position,
    ServiceStarted,
    ServiceStopped,
    SettingsRecorded,
    StateObserved,
    SweepCountDiffered,
    Trigger,
)
from es_power.domain.ports import Append, Clock, Write
from es_power.domain.time import SECOND
from es_power.errors import HypervisorError, LogUnavailableError, TakenOverError
from es_power.ingest.clock import now
from es_power.ingest.hypervisor import Info
from es_power.ingest.observer import Observer, Observing
from es_power.ingest.roster import Roster
from es_power.log.patience import PatientLog
from es_power.testing.hypervisor import FakeConnection, FakeHypervisor
from es_power.testing.memory import MemoryLog

STREAM = "observer/host-1/test"
HOW = Observing(
    spacing=600.0,
    jitter=0.0,
    policy="nova-2013",
    policy_version=1,
    mode="dry-run",
    holder="host-1, process 1",
    version="0",
)


@asynccontextmanager
async def observed(
    log: MemoryLog,
    host: FakeHypervisor,
    *,
    roster: Roster | None = None,
    how: Observing = HOW,
    records: int | None = None,
    clock: Clock = now,
) -> AsyncIterator[Observer]:
    observer = Observer(
        PatientLog(log),
        host,
        name=STREAM,
        roster=roster or Roster(),
        how=how,
        records=lambda: records,
        clock=clock,
        steady=clock,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.run, await host.open())
        await observer.seeing.wait()
        yield observer
        nursery.cancel_scope.cancel()


async def facts(log: MemoryLog, kind: type[Event] = Event) -> list[Event]:
    return [recorded.event for recorded in await log.read_stream(STREAM) if isinstance(recorded.event, kind)]


async def settle() -> None:
    """Let everything happen that happens without waiting."""
    await trio.testing.wait_all_tasks_blocked()


async def test_a_start_says_who_observes_and_then_what_is_there(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        found = await facts(log)

    assert [ServiceStarted, SettingsRecorded, InstanceNamed, InventoryRecorded, HostSwept] == [type(e) for e in found]
    assert found[0].epoch == 1
    assert found[3].instances == (web,)
    assert found[4].states == b"\x01\x01"
    assert found[4].inventory == 4
    assert [ServiceStopped] == [type(event) for event in (await facts(log))[5:]]


async def test_an_event_is_appended_as_it_came_and_the_vm_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        host.power_off(web)
        await settle()
        shutdown, stopped, answer = (await facts(log))[5:]

    assert (shutdown.event, shutdown.detail, shutdown.number) == (6, 1, 1)
    assert (stopped.event, stopped.detail, stopped.number) == (5, 0, 2)
    assert (answer.state, answer.reason, answer.trigger, answer.number) == (5, 1, Trigger.EVENT, 2)


async def test_a_sweep_comes_every_spacing_and_repeats_no_inventory(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    host.add("web-1")

    async with observed(log, host):
        await trio.sleep(3 * 600 + 1)

    assert len(await facts(log, HostSwept)) == 4
    assert len(await facts(log, InventoryRecorded)) == 1
    assert len(await facts(log, InstanceNamed)) == 1


async def test_a_lost_connection_opens_a_gap_at_once_and_the_sweep_closes_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        host.disconnect()
        await settle()
        opened = (await facts(log))[-1]
        host.set_state(web, 5, 3)  # nobody hears of it
        host.come_back()
        await trio.sleep(40)

    assert isinstance(opened, GapOpened)
    assert opened.reason is GapReason.CONNECTION_LOST
    [closed] = await log.read_stream(STREAM, after=6, limit=1)
    [swept] = await log.read_stream(STREAM, after=7, limit=1)
    assert isinstance(closed.event, GapClosed)
    assert closed.event.since == opened.since
    assert isinstance(swept.event, HostSwept)
    assert swept.event.states == b"\x05\x03"
    assert swept.event.connection > (await facts(log, HostSwept))[0].connection
    assert closed.recorded_at == swept.recorded_at  # one append


async def test_after_a_gap_a_second_look_finds_what_libvirt_did_not_know_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # A guest was killed while its daemon was away: for a moment libvirt lists it as running, and announces nothing.
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        host.disconnect()
        await settle()
        host.come_back()
        await trio.sleep(1)
        host.set_state(web, 5, 3)
        await trio.sleep(2)
        swept = [event.states for event in await facts(log, HostSwept)]
        await trio.sleep(500)

    assert swept == [b"\x01\x01", b"\x01\x01", b"\x05\x03"]
    assert len(await facts(log, HostSwept)) == 3


async def test_a_daemon_that_holds_the_connection_and_does_not_answer_is_a_gap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor(deadline=7.0)
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host) as observer:
        host.hang()
        observer.look_at(web, Trigger.RECORD)
        await trio.sleep(8)
        [opened] = await facts(log, GapOpened)
        host.wake()
        await trio.sleep(60)

    assert opened.reason is GapReason.KEEPALIVE
    assert len(await facts(log, GapClosed)) == 1


@pytest.mark.parametrize(("stopped", "reason"), [(True, GapReason.RESTART), (False, GapReason.CRASH)])
async def test_a_start_after_another_service_has_a_gap_from_its_last_record(
    stopped: bool, reason: GapReason, autojump_clock: trio.testing.MockClock
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    async with observed(log, host):
        pass
    last = (await log.read_stream(STREAM))[-1]

    roster = Roster(version=last.version, epoch=1, seen_until=last.recorded_at, stopped=stopped)
    async with observed(log, host, roster=roster):
        pass

    [opened] = await facts(log, GapOpened)
    [closed] = await facts(log, GapClosed)
    assert (last.recorded_at, reason) == (opened.since, opened.reason)
    assert (last.recorded_at, reason) == (closed.since, closed.reason)
    assert [started.epoch for started in await facts(log, ServiceStarted)] == [1, 2]


async def test_a_vm_that_is_no_longer_listed_is_asked_before_it_counts_as_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    host.add("db-2", state=1, reason=1)

    async with observed(log, host):
        del host.vms[web]  # vanished without an event
        await trio.sleep(601)

    [answer] = await facts(log, StateObserved)
    assert (web, None, None, Trigger.MISSING) == (answer.instance, answer.state, answer.reason, answer.trigger)
    assert len(await facts(log, InventoryRecorded)) == 2


async def test_in_a_storm_every_event_is_kept_and_one_sweep_asks_for_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    many = [host.add(f"vm-{number}", state=1, reason=1) for number in range(200)]

    async with observed(log, host):
        for _ in range(5):
            for instance in many:
                host.suspend(instance)
        await settle()
        await trio.sleep(1)

    assert len(await facts(log, LifecycleEvent)) == 1000
    assert await facts(log, StateObserved) == []
    assert len(await facts(log, HostSwept)) == 2


async def test_events_that_did_not_fit_become_a_gap_that_counts_them(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host, how=replace(HOW, capacity=10)):
        for _ in range(25):
            host.suspend(web)
        await settle()
        await trio.sleep(1)

    [opened] = await facts(log, GapOpened)
    [closed] = await facts(log, GapClosed)
    assert opened.reason is GapReason.OVERFLOW
    assert len(await facts(log, LifecycleEvent)) + closed.lost == 25


async def test_who_lost_the_stream_stops_and_says_who_has_it(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    with pytest.RaisesGroup(TakenOverError, flatten_subgroups=True) as raised:
        async with observed(log, host):
            started = replace((await facts(log, ServiceStarted))[0], holder="host-2, process 7", epoch=2)
            version = await log.version(STREAM)
            await log.append(Append(writes=[Write(stream=STREAM, expected=version, events=[started])]))
            host.suspend(web)
            await trio.sleep_forever()

    assert "host-2, process 7" in str(raised.value.exceptions[0])
    assert isinstance((await facts(log))[-1], ServiceStarted)  # nothing of the stale one came after it


class RefusingLog(MemoryLog):
    """A log whose disk is full while `full` is set."""

    full = False

    async def append(self, append: Append) -> int:
        if self.full:
            raise LogUnavailableError
        return await super().append(append)


async def test_while_the_log_refuses_nothing_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    log, host = RefusingLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        log.full = True
        host.suspend(web)
        await trio.sleep(20)
        host.resume(web)
        await trio.sleep(20)
        assert await facts(log, LifecycleEvent) == []
        log.full = False
        await trio.sleep(20)

    assert [event.event for event in await facts(log, LifecycleEvent)] == [3, 4]


async def test_one_vm_that_libvirt_fails_on_does_not_stop_the_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    bad, good = host.add("bad", state=1, reason=1), host.add("good", state=1, reason=1)
    answer = FakeConnection.get_info

    async def get_info(connection: FakeConnection, instance: InstanceId) -> Info | None:
        if instance == bad:
            raise HypervisorError("internal error")
        return await answer(connection, instance)

    monkeypatch.setattr(FakeConnection, "get_info", get_info)
    async with observed(log, host):
        host.suspend(bad)
        host.suspend(good)
        await settle()

    assert [good] == [event.instance for event in await facts(log, StateObserved)]


async def test_numbers_that_no_header_knows_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    odd = host.add("odd", state=300, reason=-1)

    async with observed(log, host):
        pass

    [swept] = await facts(log, HostSwept)
    assert (swept.answer(0, odd).state, swept.answer(0, odd).reason) == (300, -1)


async def test_a_new_name_is_a_fact_and_a_name_reborn_belongs_to_another_uuid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    old = host.add("web-1")

    async with observed(log, host):
        host.rename(old, "web-old")
        await settle()
        young = host.add("web-1")
        host.start(young)
        await settle()

    names = [(event.instance, event.name) for event in await facts(log, InstanceNamed)]
    texts = await log.labels([label.id for _, label in names])
    assert [(old, "web-1"), (old, "web-old"), (young, "web-1")] == [(i, texts[label.id]) for i, label in names]


async def test_another_number_of_vms_than_of_records_is_said_once(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    host.add("web-1")

    async with observed(log, host, records=3):
        await trio.sleep(1300)

    assert [(event.found, event.records) for event in await facts(log, SweepCountDiffered)] == [(1, 3)]


async def test_a_connection_that_never_comes_to_a_sweep_is_tried_ever_more_seldom(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    host.add("web-1")

    async def refuse(self: FakeConnection, **_: object) -> None:
        raise HypervisorError("this libvirt takes no registrations")

    async with observed(log, host):
        host.disconnect()
        host.come_back()
        monkeypatch.setattr(FakeConnection, "subscribe", refuse)
        await trio.sleep(600)

    assert host.opened < 40
    assert len(await facts(log, GapOpened)) == 1


async def test_what_was_delivered_before_a_good_end_is_in_the_log(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        host.power_off(web)  # and the service is stopped before anything of it could be appended

    assert [LifecycleEvent, LifecycleEvent, ServiceStopped] == [type(event) for event in (await facts(log))[-3:]]


async def test_where_the_last_events_cannot_be_stored_no_good_end_is_recorded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = RefusingLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host):
        log.full = True
        host.power_off(web)
        await settle()

    assert await facts(log, ServiceStopped) == []


async def test_what_a_broken_off_sweep_found_the_next_one_says(autojump_clock: trio.testing.MockClock) -> None:
    log, host = RefusingLog(), FakeHypervisor()
    host.add("web-1", state=1, reason=1)
    gone = host.add("db-2", state=1, reason=1)

    async with observed(log, host) as observer:
        del host.vms[gone]
        host.add("new-3", state=1, reason=1)
        log.full = True
        observer.sweep_soon()
        await settle()
        host.disconnect()  # while the sweep's append waits for the log
        await settle()
        log.full = False
        host.come_back()
        await trio.sleep(60)

    assert [answer.state for answer in await facts(log, StateObserved)] == [None]
    assert len(await facts(log, InstanceNamed)) == 3
    versions = [each.version for each in await log.read_stream(STREAM) if isinstance(each.event, InventoryRecorded)]
    assert versions == list(dict.fromkeys(swept.inventory for swept in await facts(log, HostSwept)))
    assert len(await facts(log, GapClosed)) == 1


async def test_a_vm_that_went_while_the_connection_broke_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    first, second = sorted(host.add(name, state=1, reason=1) for name in ("web-1", "db-2"))

    async with observed(log, host) as observer:
        host.vms.clear()
        answer = FakeConnection.get_info

        async def break_at_the_second(self: FakeConnection, instance: InstanceId) -> Info | None:
            if instance == second:
                host.disconnect()
            return await answer(self, instance)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeConnection, "get_info", break_at_the_second)
            observer.sweep_soon()
            await settle()
        host.come_back()
        await trio.sleep(60)

    assert [(first, None), (second, None)] == [
        (answer.instance, answer.state) for answer in await facts(log, StateObserved)
    ]


async def test_a_gap_begins_when_the_connection_was_lost_however_long_the_log_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = RefusingLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    def clock() -> int:
        return int(trio.current_time() * SECOND)

    async with observed(log, host, clock=clock):
        log.full = True
        host.suspend(web)
        await settle()
        lost = clock()
        host.disconnect()
        await trio.sleep(100)
        log.full = False
        await trio.sleep(10)

    [opened] = await facts(log, GapOpened)
    assert opened.since == lost


async def test_a_hung_daemon_was_blind_since_it_last_could_have_spoken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()

    def clock() -> int:
        return int(trio.current_time() * SECOND)

    async with observed(log, host, how=replace(HOW, patience=20.0), clock=clock):
        await trio.sleep(100)
        host.disconnect(GapReason.KEEPALIVE)
        noticed = clock()
        await settle()

    [opened] = await facts(log, GapOpened)
    assert opened.since == noticed - 20 * SECOND


async def test_a_sweep_that_was_asked_before_events_were_lost_does_not_close_their_gap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    answer = FakeConnection.list_states

    async def lose_events_meanwhile(self: FakeConnection) -> Sequence[Info]:
        found = await answer(self)
        if len(await facts(log, HostSwept)) == 1:
            for _ in range(25):
                host.suspend(web)
        await settle()
        return found

    async with observed(log, host, how=replace(HOW, capacity=10)) as observer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeConnection, "list_states", lose_events_meanwhile)
            observer.sweep_soon()
            await trio.sleep(1)

    kinds = [type(event) for event in await facts(log) if isinstance(event, (GapOpened, GapClosed, HostSwept))]
    assert kinds == [HostSwept, GapOpened, HostSwept, GapClosed, HostSwept]


class ForgetfulLog(RefusingLog):
    """A log that stores what it is given, and says that it did not, while `full` is set."""

    async def append(self, append: Append) -> int:
        if self.full:
            await MemoryLog.append(self, append)
        return await super().append(append)

    async def find(self, key: UUID) -> Position | None:
        if self.full:
            raise LogUnavailableError
        return await super().find(key)


async def test_an_append_that_was_stored_unnoticed_and_given_up_is_no_other_service(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = ForgetfulLog(), FakeHypervisor()
    host.add("web-1", state=1, reason=1)

    async with observed(log, host) as observer:
        log.full = True
        observer.sweep_soon()
        await settle()
        host.disconnect()  # which ends the sweep's wait for the log
        await settle()
        log.full = False
        host.come_back()
        await trio.sleep(60)

    # At the start, that one, and two after the gap.
    assert len(await facts(log, HostSwept)) == 4
    assert [each.version for each in await log.read_stream(STREAM)] == list(range(1, log.records[-1].version + 1))


async def test_a_batch_that_was_stored_is_not_stored_again_when_the_service_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)

    async with observed(log, host, how=replace(HOW, capacity=10)):
        for _ in range(25):
            host.suspend(web)
        while log.records[-1].version < 7:
            await trio.lowlevel.checkpoint()

    numbers = [event.number for event in await facts(log, LifecycleEvent)]
    assert numbers == list(range(1, 11))
    assert len(await facts(log, GapOpened)) == 1


async def test_what_was_announced_before_an_answer_stands_before_it(autojump_clock: trio.testing.MockClock) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    web = host.add("web-1", state=1, reason=1)
    answer = FakeConnection.list_states

    async def change_meanwhile(self: FakeConnection) -> Sequence[Info]:
        found = await answer(self)
        host.suspend(web)
        return found

    async with observed(log, host) as observer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeConnection, "list_states", change_meanwhile)
            observer.sweep_soon()
            await settle()

    kinds = [type(event) for event in await facts(log) if isinstance(event, (LifecycleEvent, HostSwept))]
    assert kinds == [HostSwept, LifecycleEvent, HostSwept]


async def test_whoever_waits_for_the_first_sweep_has_it_after_a_connection_that_was_lost_before(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, host = MemoryLog(), FakeHypervisor()
    subscribe = FakeConnection.subscribe

    async def lost_meanwhile(self: FakeConnection, **how: Any) -> None:
        if host.opened == 1:
            self.lose(GapReason.CONNECTION_LOST)
        await subscribe(self, **how)

    monkeypatch.setattr(FakeConnection, "subscribe", lost_meanwhile)
    with trio.fail_after(60):
        async with observed(log, host):
            assert host.opened == 2

    [opened] = await facts(log, GapOpened)
    assert opened.reason is GapReason.CONNECTION_LOST  # a call failed, since libvirt was gone
