"""Laws that hold for every policy and every situation."""

from dataclasses import replace

from hypothesis import given, strategies as st

from es_power.domain.policy import POLICIES, Situation, decide
from es_power.domain.states import PowerState, VmState

policies = st.sampled_from(list(POLICIES.values()))
situations = st.builds(
    Situation,
    vm_state=st.none() | st.sampled_from(VmState),
    task_state=st.none() | st.text(),
    db_power_state=st.none() | st.sampled_from(PowerState),
    driver=st.sampled_from([*PowerState, "NOTFOUND", "ERROR"]),
    host_matches=st.booleans(),
)


@given(policies, situations)
def test_a_command_needs_our_host_no_task_and_an_answer(policy, situation):
    decision = decide(policy, situation)

    if decision.verb is not None:
        assert situation.host_matches
        assert situation.task_state is None
        assert situation.driver != "ERROR"
        assert situation.vm_state is not None


@given(policies, situations)
def test_a_rule_is_named_exactly_where_something_is_ordered(policy, situation):
    decision = decide(policy, situation)

    assert (decision.rule is None) == (decision.verb is None)


@given(policies, situations)
def test_every_decision_gives_its_reason_as_a_sentence(policy, situation):
    reason = decide(policy, situation).reason

    assert reason[0].isupper()
    assert reason.endswith(".")
    assert situation.task_state is not None or not {"{", "}"} & set(reason)


@given(policies, situations)
def test_once_saved_the_same_look_saves_nothing_and_orders_the_same(policy, situation):
    first = decide(policy, situation)
    again = decide(policy, replace(situation, db_power_state=first.power_state or situation.db_power_state))

    assert again == replace(first, power_state=None)


@given(situations)
def test_what_is_saved_is_the_same_in_every_policy(situation):
    assert len({decide(policy, situation).power_state for policy in POLICIES.values()}) == 1


@given(situations)
def test_follow_never_orders_anything(situation):
    assert decide(POLICIES["follow"], situation).verb is None
