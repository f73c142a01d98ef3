"""Scenarios of Nova's own tests, in our words, against our tables.

Every case of the file is run or listed as not ours, and of a case that is run every expectation is checked or listed.
"""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from es_power.domain.libvirt_numbers import EVENTS, POWER_STATES, TRANSITIONS
from es_power.domain.policy import POLICIES, Situation, decide, driver_answer
from es_power.domain.states import PowerState, Transition, VmState

CASES: Mapping[str, Any] = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "nova_cases.json").read_text())["cases"]
}
NOVA_2013, NOVA_2026 = POLICIES["nova-2013"], POLICIES["nova-2026"]

NOT_OURS = {
    "life-postcopy-no-migration": "ports and migration records are Nova's network side",
    "life-no-such-instance": "an instance without a record is no input of a decision",
    "periodic-lists-by-host": "how Nova queries its database",
    "periodic-driver-not-ready": "a sweep that fails is no sweep: ingest",
    "syncs-in-progress-lock": "one open command per instance: the process manager",
    "host-dispatch-order": "order of delivery: the bridge",
    "host-callback-migrated-ok": "asks for the migration job inside the callback; ours makes no call there",
    "host-stop-delayed-15s": "settling: dispatch",
    "host-stop-pending-kept": "settling: dispatch",
    "host-stop-cancelled-by-next": "settling: dispatch",
    "host-cleanup-cancels-pending": "settling: dispatch",
    "host-conn-event-down": "connections: ingest",
    "host-conn-up-down": "connections: ingest",
    "libvirt-init-order": "start of Nova's driver",
    "driver-emits-all": "delivery: the bridge",
    "driver-bad-object": "delivery: the bridge",
    "driver-callback-raises": "delivery: the bridge",
}
NOT_CHECKED = {
    "refreshed": "the record is joined by the process manager",
    "second_driver_read_uncached": "a second look is dispatch's; here it agrees",
    "read_replica": "how Nova queries its database",
    "raises": "one failure never stops the others: ingest",
    "task_state_after": "Nova's database",
    "row_kept": "Nova's database",
    "activate_dest_ports": "Nova's network side",
    "join_info_cache": "how Nova queries its database",
    "warn": "a warning is no decision",
}
DIFFERENT_IN_2013 = {
    "sync-paused-shutdown": "the note leaves a paused instance alone",
    "sync-paused-crashed": "the note leaves a paused instance alone",
    "sync-stopped-running": "the note stops by the public API, not by force",
}

#: Where Nova's words for a transition are finer than ours: both come from libvirt's SUSPENDED.
FINER = {"POSTCOPY_STARTED": Transition.PAUSED, "MIGRATION_COMPLETED": Transition.PAUSED}
EVENT_NUMBERS = {name: number for number, (name, _) in EVENTS.items()}


def of_kind(*kinds: str) -> Any:
    ids = [name for name, case in CASES.items() if case["kind"] in kinds and name not in NOT_OURS]
    return pytest.mark.parametrize("name", ids)


def situations(given: Mapping[str, Any]) -> list[Situation]:
    """Every situation that fits: what the case does not say may be anything."""
    return [
        Situation(
            vm_state=vm_state,
            task_state=given.get("task_state"),
            db_power_state=db,
            driver=driver_answer(driver),
            host_matches=True,
        )
        for vm_state, db, driver in product(
            [VmState(given["vm_state"])] if "vm_state" in given else VmState,
            [PowerState(given["db"])] if "db" in given else PowerState,
            [given["driver"]] if "driver" in given else [*PowerState, "NOTFOUND", "ERROR"],
        )
    ]


def transition(word: str | int) -> Transition | None:
    if isinstance(word, int):
        return TRANSITIONS.get(word)
    return FINER.get(word) or Transition(word)


def test_every_case_is_run_or_listed():
    run = {name for name, case in CASES.items() if case["kind"] in {"sync", "periodic", "lifecycle", "host"}}

    assert len(CASES) == 52
    assert CASES.keys() - run <= NOT_OURS.keys() <= CASES.keys()


def test_every_expectation_of_a_case_that_runs_is_checked_or_listed():
    checked = {
        "saved",
        "command",
        "sync_called_with",
        "sync_called",
        "sync_called_as_none",
        "driver_read",
        "transition",
    }
    expected = {key for name, case in CASES.items() if name not in NOT_OURS for key in case["expect"]}

    assert expected == checked | NOT_CHECKED.keys()


@of_kind("sync")
@pytest.mark.parametrize("policy", [NOVA_2013, NOVA_2026], ids=lambda policy: policy.name)
def test_the_tables_decide_as_nova_does(name, policy):
    given, expect = CASES[name]["given"], CASES[name]["expect"]
    agrees = policy is NOVA_2026 or name not in DIFFERENT_IN_2013

    for situation in situations(given):
        decision = decide(policy, situation)

        assert decision.power_state == expect["saved"]
        assert "command" not in expect or (decision.verb == expect["command"]) == agrees


@of_kind("periodic")
@pytest.mark.parametrize("policy", [NOVA_2013, NOVA_2026], ids=lambda policy: policy.name)
def test_a_sweep_leads_to_what_novas_periodic_task_leads_to(name, policy):
    given, expect = CASES[name]["given"], CASES[name]["expect"]
    answers = given.get("driver")
    looks = [given | {"driver": answer} for answer in answers] if isinstance(answers, list) else [given]
    synced = expect.get("sync_called_with")
    for look, power_state in zip(looks, synced if isinstance(synced, list) else [synced] * len(looks), strict=True):
        for situation in situations(look):
            decision = decide(policy, situation)

            if power_state is not None:
                assert decision.power_state == (None if situation.db_power_state == power_state else power_state)
            if expect.get("sync_called") is False:
                assert (decision.power_state, decision.verb) == (None, None)
            if "command" in expect:
                assert decision.verb == expect["command"]


def test_with_a_task_under_way_the_drivers_answer_makes_no_difference():
    """Nova does not even read it (``driver_read`` is false); a pure function can only ignore it."""
    case = CASES["query-pending-task"]

    assert case["expect"]["driver_read"] is False
    for policy in POLICIES.values():
        assert len({decide(policy, situation) for situation in situations(case["given"])}) == 1


@of_kind("lifecycle")
def test_a_lifecycle_event_announces_the_power_state_that_nova_maps_it_to(name):
    given, expect = CASES[name]["given"], CASES[name]["expect"]
    announced = transition(given["transition"])

    if "sync_called_as_none" in expect:
        assert announced is None
        return
    assert announced is not None
    # Nova syncs only where a fresh look agrees with the event; here the look alone decides, and agreement confirms.
    agrees = announced.power_state == given["driver"]
    assert agrees == expect.get("sync_called", True)
    if expect.get("sync_called_with") is not None:
        assert announced.power_state == expect["sync_called_with"]


@of_kind("host")
def test_a_libvirt_event_is_the_transition_that_nova_makes_of_it(name):
    given, expect = CASES[name]["given"], CASES[name]["expect"]

    assert TRANSITIONS[EVENT_NUMBERS[given["libvirt_event"]]] is transition(expect["transition"])


def test_libvirts_states_are_the_power_states_that_nova_makes_of_them():
    """V4 of the facts: SHUTDOWN and SHUTOFF are off, BLOCKED runs, PMSUSPENDED is SUSPENDED."""
    numbers = {number: power_state.number for number, power_state in POWER_STATES.items()}

    assert numbers == {0: 0, 1: 1, 2: 1, 3: 3, 4: 4, 5: 4, 6: 6, 7: 7}
