"""Events, times and words: what cannot be constructed, and what is shown for what is not known."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from es_power.domain import libvirt_numbers as numbers
from es_power.domain.events import Event, GapOpened, GapReason, HostSwept, InstanceEvent, LifecycleEvent, StateObserved
from es_power.domain.host import vouched
from es_power.domain.states import PowerState, Transition
from es_power.domain.streams import command, observed_host, observer, planned_observer, planner, stream_id
from es_power.domain.time import SECOND, moment, rfc3339, timestamp
from es_power.testing.facts import Facts, vm

CONSTANTS = json.loads(Path(__file__).with_name("libvirt_constants.json").read_text())


def test_a_lifecycle_event_is_an_instance_event_is_an_event() -> None:
    assert issubclass(LifecycleEvent, InstanceEvent)
    assert issubclass(InstanceEvent, Event)


@pytest.mark.parametrize("moment_", [datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 22), 1.5, None])  # noqa: DTZ001
def test_a_time_that_is_no_timestamp_is_refused_at_construction(moment_: object) -> None:
    with pytest.raises(TypeError, match="observed_at must be nanoseconds"):
        GapOpened(observed_at=moment_, since=0, reason=GapReason.CRASH)
    with pytest.raises(TypeError, match="since must be nanoseconds"):
        GapOpened(observed_at=0, since=moment_, reason=GapReason.CRASH)


def test_a_naive_datetime_is_refused_and_an_aware_one_converted() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        timestamp(datetime(2026, 11, 22))  # noqa: DTZ001
    berlin = datetime(2026, 11, 22, 4, 12, 5, 7, tzinfo=timezone(timedelta(hours=1)))

    assert rfc3339(timestamp(berlin)) == "2026-11-22T03:12:05.000007000Z"
    assert moment(timestamp(berlin)) == berlin
    assert timestamp(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == SECOND


def test_our_names_are_those_of_the_headers() -> None:
    for name, event in CONSTANTS["lifecycle"].items():
        assert numbers.event_name(event["value"]) == name
        for detail, number in event["details"].items():
            assert numbers.detail_name(event["value"], number) == detail
    for name, state in CONSTANTS["state"].items():
        assert numbers.state_name(state["value"]) == name
        assert numbers.POWER_STATES[state["value"]] in PowerState
        for reason, number in state["reasons"].items():
            assert numbers.reason_name(state["value"], number) in {reason, "UNKNOWN"}
    for name, number in numbers.EVENT_IDS.items():
        assert CONSTANTS["event_ids"][name] == number


def test_numbers_that_no_header_knows_are_shown_as_such() -> None:
    assert numbers.event_name(77) == "unknown(77)"
    assert numbers.detail_name(77, 1) == numbers.detail_name(5, 1).replace("DESTROYED", "unknown(1)")
    assert numbers.detail_name(5, 99) == "unknown(99)"
    assert numbers.state_name(77) == "unknown(77)"
    assert numbers.reason_name(1, 99) == "unknown(99)"


def test_power_states_have_nova_s_numbers() -> None:
    assert {state.name: state.number for state in PowerState} == {
        "NOSTATE": 0,
        "RUNNING": 1,
        "PAUSED": 3,
        "SHUTDOWN": 4,
        "CRASHED": 6,
        "SUSPENDED": 7,
    }
    assert [state for state in PowerState if state.is_on] == [
        PowerState.RUNNING,
        PowerState.PAUSED,
        PowerState.SUSPENDED,
    ]
    assert {Transition(each).power_state for each in Transition} <= set(PowerState)


def test_a_sweep_is_read_as_one_observation_for_each_vm() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1), vm(2): (5, 3)})
    sweep = facts.records[-1].event
    assert isinstance(sweep, HostSwept)
    answer = sweep.answer(1, vm(2))

    assert isinstance(answer, StateObserved)
    assert (answer.instance, answer.state, answer.reason, answer.asked_at) == (vm(2), 5, 3, sweep.asked_at)


def test_a_number_that_does_not_fit_in_a_byte_is_read_back_from_beside_the_bytes() -> None:
    sweep = HostSwept(
        observed_at=0,
        asked_at=0,
        inventory=1,
        connection=1,
        number=0,
        states=bytes([1, 1, 255, 255]),
        odd=((1, 300, -1),),
    )

    assert (sweep.answer(0, vm(1)).state, sweep.answer(1, vm(2)).state, sweep.answer(1, vm(2)).reason) == (1, 300, -1)


def test_a_stream_s_name_says_what_it_holds() -> None:
    stream = observer("kvm-07", "qemu")

    assert observed_host(stream) == "kvm-07"
    assert observed_host(planner(stream)) is None
    assert planned_observer(planner(stream)) == stream
    assert planned_observer(stream) is None
    assert command(vm(1)) == f"command/{vm(1)}"
    assert stream_id(stream) == stream_id("observer/kvm-07/qemu") != stream_id("observer/kvm-08/qemu")


def test_an_event_that_is_no_record_vouches_for_nothing() -> None:
    facts = Facts()

    assert vouched(facts.start()) is None
