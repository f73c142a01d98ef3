"""The tables against the rules as Nova's code states them: if after if, written from its source and not from ours."""

from collections import Counter
from itertools import product

import pytest

from es_power.domain.policy import POLICIES, Policy, Situation, decide
from es_power.domain.states import PowerState, VmState

ANSWERS = [*PowerState, "NOTFOUND"]
OFF = ("SHUTDOWN", "CRASHED")

Outcome = tuple[str | None, str | None]
"""The power_state saved, the command."""


def nova_2013(vm_state: str, driver: str) -> str | None:
    if vm_state in {"building", "rescued", "resized", "suspended", "paused", "error"}:
        return None
    if vm_state == "active" and driver in (*OFF, "SUSPENDED"):
        return "stop"
    if vm_state == "stopped" and driver not in ("NOSTATE", *OFF):
        return "stop"
    return None


def nova_2026(vm_state: str, driver: str) -> str | None:
    if vm_state in {"building", "rescued", "resized", "suspended", "error"}:
        return None
    if vm_state == "active":
        if driver in OFF or driver == "SUSPENDED":
            return "stop"
    elif vm_state == "stopped":
        if driver not in ("NOSTATE", *OFF):
            return "force_stop"
    elif vm_state == "paused" and driver in OFF:
        return "force_stop"
    return None


RULES = {"nova-2013": nova_2013, "nova-2026": nova_2026, "follow": lambda vm_state, driver: None}


def nova(policy: str, situation: Situation) -> Outcome:
    """S2 to S9 of the facts, in the order of `_sync_instance_power_state`."""
    if not situation.host_matches or situation.task_state is not None or situation.driver == "ERROR":
        return None, None
    driver = "NOSTATE" if situation.driver == "NOTFOUND" else str(situation.driver)
    saved = driver if driver != situation.db_power_state else None
    return saved, RULES[policy](str(situation.vm_state), driver)


def ours(policy: Policy, situation: Situation) -> Outcome:
    decision = decide(policy, situation)
    return decision.power_state, decision.verb


def synced(vm_state, db, driver, *, task_state=None, host_matches=True) -> Situation:
    return Situation(
        vm_state=vm_state, task_state=task_state, db_power_state=db, driver=driver, host_matches=host_matches
    )


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_every_cell_decides_as_the_rules_say(policy):
    everything = [
        synced(vm_state, db, driver, task_state=task_state, host_matches=host_matches)
        for vm_state, db, driver, task_state, host_matches in product(
            VmState, PowerState, [*ANSWERS, "ERROR"], [None, "powering-off"], [True, False]
        )
    ]

    assert len(everything) == 12 * 6 * 8 * 2 * 2
    assert [ours(policy, situation) for situation in everything] == [
        nova(policy.name, situation) for situation in everything
    ]


def test_the_note_of_2013_and_nova_2026_agree_in_474_of_504_and_differ_in_30():
    combinations = [synced(*combination) for combination in product(VmState, PowerState, ANSWERS)]

    differences = [
        situation
        for situation in combinations
        if ours(POLICIES["nova-2013"], situation) != ours(POLICIES["nova-2026"], situation)
    ]

    assert len(combinations) == 504
    assert len(combinations) - len(differences) == 474
    assert Counter(situation.vm_state for situation in differences) == {VmState.PAUSED: 12, VmState.STOPPED: 18}
