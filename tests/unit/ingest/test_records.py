"""Nova's records as facts: what changed is told once, what was asked for is answered, and nothing late is believed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import trio
from structlog.testing import capture_logs

from es_power.domain.decisions import Alarm, AlarmRaised
from es_power.domain.events import NovaStopObserved, RecordNotFound, RecordObserved
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import actor, records
from es_power.domain.time import SECOND, moment
from es_power.errors import NovaError, NovaUnavailableError, TakenOverError
from es_power.ingest.records import OVERLAP, Reading, ask
from es_power.testing.facts import Facts, vm
from tests.unit.ingest.nova import HOST, STREAM, FakeNova, House, clock, server, write

WEB, DB = vm(1), vm(2)
OFF, ON = (5, 1), (1, 1)


@pytest.fixture
async def house(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> AsyncIterator[House]:
    house = House(nursery, spacing=60.0, full=3600.0, stuck_after=7200.0)
    house.nova.put(WEB)
    yield house
    nursery.cancel_scope.cancel()


def said(house: House) -> list[tuple[int, VmState]]:
    return [(1 if each.instance == WEB else 2, each.vm_state) for each in house.said(RecordObserved)]


# ------------------------------------------------------------------------------------------------ reading many


async def test_the_first_read_tells_of_all_instances_in_one_append(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(DB, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
    await house.start()

    assert said(house) == [(1, VmState.ACTIVE), (2, VmState.STOPPED)]
    assert house.nova.asked == ["all"]
    assert {each.observed_at for each in house.said(RecordObserved)} == {clock()}


async def test_what_did_not_change_is_not_told_again_even_after_a_restart(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    await house.settled(4000)
    await house.start()
    await house.settled(4000)

    assert said(house) == [(1, VmState.ACTIVE)]
    assert house.nova.asked.count("all") == 4


@pytest.mark.parametrize(
    "change",
    [
        {"vm_state": VmState.PAUSED},
        {"task_state": "powering-off"},
        {"power_state": PowerState.SHUTDOWN},
        {"node": "another"},
    ],
)
async def test_a_change_is_told_at_the_next_read(
    house: House, autojump_clock: trio.testing.MockClock, change: dict[str, object]
) -> None:
    await house.start()
    await house.settled(90)
    house.nova.put(WEB, **change)
    await house.settled(60)

    [_, told] = house.said(RecordObserved)
    assert {name: getattr(told, name) for name in change} == change


async def test_changes_are_asked_for_from_the_newest_time_that_nova_gave_and_a_little_before(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    await house.settled(1000)
    house.nova.put(DB)
    saved_at = moment(clock()).replace(microsecond=0)
    await house.settled(120)

    assert house.nova.asked[0] == "all"
    assert house.nova.asked[-1] == saved_at - OVERLAP


async def test_a_time_of_novas_that_lies_ahead_loses_no_change(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(WEB)
    ahead = moment(clock()) + timedelta(days=1)
    house.nova.rows[WEB] = server(WEB, updated=ahead.isoformat())
    await house.start()
    await house.settled(60)

    assert isinstance(house.nova.asked[-1], datetime)
    assert house.nova.asked[-1] <= moment(clock()) - OVERLAP


async def test_an_instance_that_left_the_list_is_followed_by_its_id(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(DB)
    await house.start()
    house.nova.put(WEB, host="b", node="b")
    del house.nova.rows[DB]
    await house.settled(3660)

    assert {each.instance: each.host for each in house.said(RecordObserved)} == {WEB: "b", DB: HOST}
    assert [each.instance for each in house.said(RecordNotFound)] == [DB]
    assert list(house.models.fleet.vouched) == [WEB]
    await house.settled(9000)
    assert house.nova.asked.count(WEB) == house.nova.asked.count(DB) == 1


async def test_an_instance_that_is_deleted_is_told_of_once_and_then_not_found(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    await house.settled(100)
    house.nova.put(WEB, vm_state=VmState.DELETED)
    await house.settled(300)

    assert said(house) == [(1, VmState.ACTIVE), (1, VmState.DELETED)]
    assert [each.instance for each in house.said(RecordNotFound)] == [WEB]


async def test_an_instance_that_keeps_leaving_the_list_is_told_of_once(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    """Nova lists no soft-deleted instance, but knows it by its id."""
    await house.start()
    house.nova.put(WEB, vm_state=VmState.SOFT_DELETED)
    kept = house.nova.servers

    async def listed(**question: object) -> list[object]:
        return [row for row in await kept(**question) if row.vm_state is not VmState.SOFT_DELETED]

    house.nova.servers = listed
    await house.settled(9 * 3600)

    assert said(house) == [(1, VmState.ACTIVE), (1, VmState.SOFT_DELETED)]


async def test_instances_that_libvirt_does_not_know_are_facts_and_lead_to_nothing(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    facts = Facts()
    facts.start()
    await write(house.log, facts.records)
    house.nova.put(WEB, power_state=PowerState.SHUTDOWN)
    await house.start()

    assert said(house) == [(1, VmState.ACTIVE)]
    assert not house.models.derivation.open
    assert not house.models.derivation.asks


async def test_novas_word_takes_the_place_of_a_persons(house: House, autojump_clock: trio.testing.MockClock) -> None:
    facts = Facts()
    facts.declare(WEB, VmState.STOPPED)
    await write(house.log, facts.records)
    await house.start()

    assert house.models.fleet.vouched[WEB].is_novas
    assert house.models.fleet.vouched[WEB].vm_state is VmState.ACTIVE


# --------------------------------------------------------------------------------------------- reading one


async def disagreeing(house: House) -> Facts:
    """A guest is off that Nova says is active; both are in the log, and so is the question that follows."""
    await house.start()
    facts = Facts()
    facts.start()
    facts.sweep({WEB: OFF})
    await write(house.log, facts.records)
    return facts


async def test_an_observation_that_would_order_something_is_answered_by_novas_word_of_after_it(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    facts = await disagreeing(house)
    await house.settled()

    [_, answer] = house.said(RecordObserved)
    assert answer.after == 1 + len(facts.records)  # the first read's record stood before them
    [standing] = house.models.derivation.open.values()
    assert standing.request.record == house.log.records[-1].position
    assert house.nova.asked == ["all", WEB]


async def test_many_wishes_are_one_question(house: House, autojump_clock: trio.testing.MockClock) -> None:
    await house.start()
    for _ in range(100):
        house.records.want(WEB)
    await house.settled()

    assert house.nova.asked == ["all", WEB]


async def test_an_instance_that_is_being_asked_about_is_asked_about_once_more(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()

    async def want_again(asked: object) -> None:
        house.nova.on_its_way = None
        house.records.want(WEB)
        house.records.want(WEB)

    house.nova.on_its_way = want_again
    house.records.want(WEB)
    await house.settled()

    assert house.nova.asked == ["all", WEB, WEB]


async def test_no_more_questions_go_out_in_a_minute_than_the_budget_has(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    begun = trio.current_time()
    for number in range(1300):
        house.records.want(vm(number))
    await house.settled(30)
    assert len([each for each in house.nova.asked if isinstance(each, type(WEB))]) == 600
    await house.settled(31)
    assert len([each for each in house.nova.asked if isinstance(each, type(WEB))]) == 1200
    await house.settled(60)
    assert len([each for each in house.nova.asked if isinstance(each, type(WEB))]) == 1300
    assert trio.current_time() == begun + 121


async def test_an_answer_that_comes_after_a_newer_one_is_not_believed(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    """The list was read before the user's stop, and arrives after an answer that shows it."""
    facts = await disagreeing(house)
    await house.settled()
    late = trio.Event()

    async def hold_back(asked: object) -> None:
        if isinstance(asked, datetime):
            await late.wait()

    house.nova.put(WEB, task_state="rebooting")
    house.nova.on_its_way = hold_back
    await house.settled(60)  # the list has the task, and is on its way
    house.nova.put(WEB, task_state=None, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
    house.records.want(WEB)
    await house.settled()
    late.set()
    await house.settled()

    assert said(house) == [(1, VmState.ACTIVE), (1, VmState.ACTIVE), (1, VmState.STOPPED)]
    assert house.models.fleet.vouched[WEB].task_state is None
    assert facts.records


async def test_a_late_list_is_not_believed_where_the_newer_answer_had_nothing_new_to_tell(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    late = trio.Event()

    async def hold_back(asked: object) -> None:
        if isinstance(asked, datetime):
            await late.wait()

    house.nova.put(WEB, task_state="rebooting")
    house.nova.on_its_way = hold_back
    await house.settled(60)
    house.nova.put(WEB, task_state=None)
    house.records.want(WEB)
    await house.settled()
    late.set()
    await house.settled()

    assert said(house) == [(1, VmState.ACTIVE)]


async def test_a_late_answer_to_a_single_question_is_asked_for_again(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    late = trio.Event()

    async def hold_back(asked: object) -> None:
        if asked == WEB:
            house.nova.on_its_way = None
            await late.wait()

    house.nova.on_its_way = hold_back
    house.records.want(WEB)
    await house.settled()
    house.nova.put(WEB, vm_state=VmState.PAUSED, power_state=PowerState.PAUSED)
    await house.settled(60)  # the list tells of it
    late.set()
    await house.settled()

    assert said(house) == [(1, VmState.ACTIVE), (1, VmState.PAUSED)]
    assert house.nova.asked.count(WEB) == 2


async def test_a_list_that_was_overtaken_by_another_process_is_not_believed_but_asked_again(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    await house.settled(30)
    house.nova.put(WEB, task_state="powering-off")

    async def overtake(asked: object) -> None:
        house.nova.on_its_way = None
        house.nova.put(WEB, task_state=None, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
        looked = await ask(house.nova, WEB, house.models.fleet.position, clock)
        await house.log.append(Append(writes=[Write(stream=actor(STREAM), expected=0, events=[looked])]))
        await trio.testing.wait_all_tasks_blocked()

    house.nova.on_its_way = overtake
    await house.settled(31)

    assert [each.task_state for each in house.said(RecordObserved)] == [None]
    assert house.models.fleet.vouched[WEB].vm_state is VmState.STOPPED
    assert house.nova.asked.count(WEB) == 2


# ------------------------------------------------------------------------------------------------ bad answers


@pytest.mark.parametrize("error", [NovaUnavailableError("timed out"), NovaError("the answer is not JSON")])
async def test_an_outage_is_told_once_and_its_end_too_and_nothing_is_lost(
    house: House, autojump_clock: trio.testing.MockClock, error: NovaError
) -> None:
    await house.start()
    with capture_logs() as lines:
        house.nova.error = error
        await house.settled(1000)
        during = [line["event"] for line in lines]
        house.nova.put(WEB, vm_state=VmState.PAUSED)
        house.nova.error = None
        await house.settled(1000)

    assert during == ["Nova gives no answer; its last word stands and orders nothing new"]
    assert [line["event"] for line in lines][1:] == ["Nova answers again"]
    assert said(house) == [(1, VmState.ACTIVE), (1, VmState.PAUSED)]


async def test_while_nova_does_not_answer_no_command_is_derived_and_then_one_is(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    house.nova.error = NovaUnavailableError("connection refused")
    facts = Facts()
    facts.start()
    facts.sweep({WEB: OFF})
    await write(house.log, facts.records)
    await house.settled(600)
    tries = house.nova.asked.count(WEB)
    assert not house.models.derivation.open
    house.nova.error = None
    await house.settled(60)

    assert [standing.request.instance for standing in house.models.derivation.open.values()] == [WEB]
    assert 8 <= tries <= 30  # each wait is longer, up to a minute


async def test_what_nobody_wants_to_know_any_more_is_not_asked_again(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    house.nova.error = NovaUnavailableError("connection refused")
    house.records.want(DB)
    await house.settled(600)

    assert house.nova.asked.count(DB) == 1


async def test_an_account_that_sees_no_hosts_is_told_of_once_and_nothing_is_appended(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(WEB, host=None)
    with capture_logs() as lines:
        await house.start()
        await house.settled(4000)

    assert not house.said(RecordObserved)
    [line] = lines
    assert "role admin" in line["event"]


async def test_a_host_that_nova_calls_otherwise_is_told_of_once(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.how = Reading(host="compute-7")
    house.nova.put(WEB, host="compute-7", node="a.example.org")
    with capture_logs() as lines:
        await house.start()
        await house.settled(4000)

    [line] = lines
    assert "this host is called a" in line["event"]


async def test_another_writer_of_the_stream_ends_the_reader(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    reader = house.reader()
    await reader.begin()
    house.nova.put(WEB, vm_state=VmState.PAUSED)
    await house.settled(60)
    house.nova.put(WEB, vm_state=VmState.ACTIVE)

    with pytest.RaisesGroup(TakenOverError):
        await reader.run()


# ----------------------------------------------------------------------------------------------- stuck tasks


async def test_a_task_that_is_pending_for_too_long_is_one_alarm_also_across_restarts(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(WEB, task_state="powering-off")
    await house.start()
    await house.settled(7000)
    assert not house.said(AlarmRaised)
    await house.start()
    await house.settled(400)
    [alarm] = house.said(AlarmRaised)
    await house.start()
    await house.settled(9000)

    assert house.said(AlarmRaised) == [alarm]
    assert (alarm.alarm, alarm.instance, alarm.host) == (Alarm.STUCK_TASK, WEB, HOST)
    assert "powering-off" in alarm.reason


async def test_the_next_task_that_sticks_is_an_alarm_of_its_own(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.nova.put(WEB, task_state="powering-off")
    await house.start()
    await house.settled(7300)
    house.nova.put(WEB, task_state="deleting")
    await house.settled(7000)
    assert len(house.said(AlarmRaised)) == 1
    await house.settled(400)

    assert ["powering-off" in each.reason for each in house.said(AlarmRaised)] == [True, False]


async def test_a_task_that_ends_in_time_and_begins_again_is_no_alarm(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    for _ in range(5):
        house.nova.put(WEB, task_state="rebooting")
        await house.settled(3600)
        house.nova.put(WEB, task_state=None)
        await house.settled(3600)

    assert not house.said(AlarmRaised)


# ------------------------------------------------------------------------------------------ Nova's own stops


async def stopped_by(house: House, request: str, user: str | None = None) -> None:
    house.nova.act(WEB, request, user)
    house.nova.put(WEB, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
    await house.settled(60)


async def test_a_stop_in_novas_history_is_told_once_with_whether_it_was_novas_own(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    await house.start()
    await house.settled(100)
    house.nova.act(WEB, "req-0", "somebody", action="reboot")
    begun = clock()
    await stopped_by(house, "req-1")
    house.nova.put(WEB, vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING)
    await house.settled(60)
    await stopped_by(house, "req-2", "somebody")
    await house.start()
    await house.settled(4000)

    stops = house.said(NovaStopObserved)
    assert [(each.request_id, each.by_nova_itself) for each in stops] == [("req-1", True), ("req-2", False)]
    assert stops[0].observed_at == begun // SECOND * SECOND
    assert not house.said(AlarmRaised)


async def test_a_stop_of_what_was_stopped_already_is_seen_too(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    """Nova's rule f: its vm_state is the same before and after."""
    house.nova.put(WEB, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
    await house.start()
    await house.settled(90)
    await stopped_by(house, "req-1")

    assert [each.request_id for each in house.said(NovaStopObserved)] == ["req-1"]


async def test_a_stop_that_ends_in_the_second_in_which_it_was_seen_to_begin_is_seen(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    """Nova's times are whole seconds."""
    await house.start()
    await house.settled(59)
    house.nova.act(WEB, "req-1")
    house.nova.put(WEB, task_state="powering-off")
    begun = house.nova.rows[WEB].updated
    await house.settled(60)
    house.nova.put(WEB, task_state=None, vm_state=VmState.STOPPED)
    house.nova.rows[WEB] = replace(house.nova.rows[WEB], updated=begun)
    await house.settled(60)

    assert [each.request_id for each in house.said(NovaStopObserved)] == ["req-1"]


async def test_a_stop_while_nobody_read_is_seen_at_the_next_start_and_one_from_before_the_log_is_not(
    house: House,
    autojump_clock: trio.testing.MockClock,
) -> None:
    house.nova.act(WEB, "req-before")
    await trio.sleep(600)
    await house.start()
    await house.settled(10)
    house.records = None
    house._life.cancel()
    await trio.sleep(5000)
    house.nova.act(WEB, "req-meanwhile")
    house.nova.put(WEB, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
    await trio.sleep(5000)
    await house.start()

    assert [each.request_id for each in house.said(NovaStopObserved)] == ["req-meanwhile"]


async def test_nova_that_stops_beside_an_actor_is_one_alarm_for_each_start(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    house.how = Reading(host=HOST, acts=lambda instance: instance == WEB)
    await house.start()
    await house.settled(100)
    for number in range(3):
        await stopped_by(house, f"req-{number}")
    [alarm] = house.said(AlarmRaised)
    await house.start()
    await house.settled(100)
    await stopped_by(house, "req-4")

    assert (alarm.alarm, alarm.instance) == (Alarm.NOVA_ACTS, WEB)
    assert "sync_power_state_interval" in alarm.reason
    assert len(house.said(AlarmRaised)) == 2


async def test_a_users_stop_beside_an_actor_is_no_alarm(house: House, autojump_clock: trio.testing.MockClock) -> None:
    house.how = Reading(host=HOST, acts=lambda _: True)
    await house.start()
    await house.settled(100)
    await stopped_by(house, "req-1", "somebody")

    assert house.said(NovaStopObserved)
    assert not house.said(AlarmRaised)


# ------------------------------------------------------------------------------------------------- one question


async def test_a_question_of_ones_own_gives_a_fact(autojump_clock: trio.testing.MockClock) -> None:
    nova = FakeNova()
    gone = await ask(nova, WEB, 7, clock)
    nova.put(WEB, task_state="deleting")
    there = await ask(nova, WEB, 8, clock)

    assert isinstance(gone, RecordNotFound)
    assert isinstance(there, RecordObserved)
    assert (gone.after, there.after, there.task_state) == (7, 8, "deleting")
    assert records(STREAM) == "records/a/qemu"
