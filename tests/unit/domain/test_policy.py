from dataclasses import replace

import pytest

from es_power.domain.decisions import StopVerb
from es_power.domain.policy import (
    MIRRORED,
    POLICIES,
    Decision,
    Policy,
    Situation,
    decide,
    driver_answer,
    get_policy,
    mirrored,
    policy_table,
)
from es_power.domain.states import PowerState, VmState
from es_power.errors import SettingsError

NOVA_2013 = POLICIES["nova-2013"]
NOVA_2026 = POLICIES["nova-2026"]
ALL = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)

WENT_OFF = Situation(
    vm_state=VmState.ACTIVE,
    task_state=None,
    db_power_state=PowerState.RUNNING,
    driver=PowerState.SHUTDOWN,
    host_matches=True,
)


def commands(policy: Policy) -> dict[tuple[str, str], str]:
    cells = {(row["vm_state"], state): row[state] for row in policy_table(policy) for state in PowerState}
    return {cell: text for cell, text in cells.items() if "stop" in text}


def test_a_guest_that_powered_off_is_stopped_by_rule_e_and_its_state_saved():
    decision = decide(NOVA_2013, WENT_OFF)

    assert decision == Decision(
        power_state=PowerState.SHUTDOWN,
        verb=StopVerb.STOP,
        rule="e",
        reason="It should be active and is SHUTDOWN: stop it, so that the record says so.",
    )


def test_nova_2013_orders_stops_in_exactly_these_cells():
    assert commands(NOVA_2013) == {
        ("active", "SHUTDOWN"): "stop (e)",
        ("active", "CRASHED"): "stop (e)",
        ("active", "SUSPENDED"): "stop (e)",
        ("stopped", "RUNNING"): "stop (f)",
        ("stopped", "PAUSED"): "stop (f)",
        ("stopped", "SUSPENDED"): "stop (f)",
    }


def test_nova_2026_orders_stops_in_exactly_these_cells():
    assert commands(NOVA_2026) == {
        ("active", "SHUTDOWN"): "stop (e)",
        ("active", "CRASHED"): "stop (e)",
        ("active", "SUSPENDED"): "stop (e)",
        ("stopped", "RUNNING"): "force_stop (f)",
        ("stopped", "PAUSED"): "force_stop (f)",
        ("stopped", "SUSPENDED"): "force_stop (f)",
        ("paused", "SHUTDOWN"): "force_stop (p)",
        ("paused", "CRASHED"): "force_stop (p)",
    }


def test_follow_orders_nothing_in_any_cell():
    assert commands(POLICIES["follow"]) == {}


def test_a_deleted_instance_that_is_not_off_is_worth_a_warning_and_no_command():
    situation = replace(WENT_OFF, vm_state=VmState.DELETED, driver=PowerState.CRASHED)

    decision = decide(NOVA_2026, situation)

    assert decision.verb is None
    assert decision.power_state is PowerState.CRASHED
    assert "worth a look" in decision.reason


@ALL
def test_a_foreign_host_saves_nothing_and_orders_nothing(policy):
    decision = decide(policy, replace(WENT_OFF, host_matches=False))

    assert (decision.power_state, decision.verb, decision.rule) == (None, None, None)
    assert "host" in decision.reason


def test_the_host_is_asked_about_before_the_task():
    situation = replace(WENT_OFF, host_matches=False, task_state="powering-off")

    assert "host" in decide(NOVA_2013, situation).reason


@ALL
def test_a_task_under_way_is_left_alone_and_nothing_is_saved(policy):
    decision = decide(policy, replace(WENT_OFF, task_state="powering-off"))

    assert (decision.power_state, decision.verb) == (None, None)
    assert "powering-off" in decision.reason


@ALL
def test_a_driver_that_does_not_answer_says_nothing(policy):
    decision = decide(policy, replace(WENT_OFF, driver="ERROR"))

    assert (decision.power_state, decision.verb) == (None, None)
    assert "could not be asked" in decision.reason


@ALL
def test_an_instance_that_the_driver_does_not_know_is_nostate(policy):
    assert decide(policy, replace(WENT_OFF, driver="NOTFOUND")).power_state is PowerState.NOSTATE


def test_nothing_is_saved_where_the_driver_says_what_was_saved():
    decision = decide(NOVA_2013, replace(WENT_OFF, db_power_state=PowerState.SHUTDOWN))

    assert decision.power_state is None


def test_a_rule_fires_on_the_state_and_not_on_the_change():
    decision = decide(NOVA_2013, replace(WENT_OFF, db_power_state=PowerState.SHUTDOWN))

    assert decision.verb is StopVerb.STOP


def test_the_first_state_ever_seen_is_saved():
    assert decide(NOVA_2013, replace(WENT_OFF, db_power_state=None)).power_state is PowerState.SHUTDOWN


@ALL
def test_without_any_record_the_state_is_saved_and_nothing_ordered(policy):
    decision = decide(policy, replace(WENT_OFF, vm_state=None))

    assert (decision.power_state, decision.verb) == (PowerState.SHUTDOWN, None)


@ALL
def test_only_a_cell_with_a_rule_orders_something(policy):
    for row in policy.table.values():
        assert [cell.rule is None for cell in row] == [cell.verb is None for cell in row]


def test_the_policies_are_known_by_their_names():
    assert [policy.name for policy in POLICIES.values()] == list(POLICIES) == ["nova-2013", "nova-2026", "follow"]


def test_a_policy_is_found_by_its_name():
    assert get_policy("nova-2026") is NOVA_2026


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nova2013", "there is no policy 'nova2013'; did you mean nova-2013?"),
        ("strict", "there is no policy 'strict'; there are nova-2013, nova-2026, follow"),
    ],
)
def test_an_unknown_policy_is_refused_with_a_suggestion(name, problem):
    with pytest.raises(SettingsError) as caught:
        get_policy(name)

    assert caught.value.problems == (problem,)


def test_a_policy_without_a_row_for_every_vm_state_cannot_be_made():
    table = {vm_state: row for vm_state, row in NOVA_2013.table.items() if vm_state is not VmState.ERROR}

    with pytest.raises(ValueError, match="policy half has no row for error"):
        Policy(name="half", version=1, description="", table=table)


def test_what_nobody_vouches_for_mirrors_what_was_seen():
    assert {state: mirrored(state) for state in PowerState} == MIRRORED
    assert {state for state in PowerState if mirrored(state) is VmState.ACTIVE} == {s for s in PowerState if s.is_on}
    assert mirrored(PowerState.NOSTATE) is None


@pytest.mark.parametrize("answer", [*PowerState, "NOTFOUND", "ERROR"])
def test_a_drivers_answer_is_read_as_people_write_it(answer):
    assert driver_answer(str(answer)) == answer


def test_an_answer_that_no_driver_gives_is_refused_with_all_there_are():
    with pytest.raises(ValueError, match=r"'off' is no answer of a driver; there are NOSTATE, .*, NOTFOUND, ERROR"):
        driver_answer("off")
