"""Which commands the facts of a log call for: given facts, these and no others."""

import pytest

from es_power.domain.decisions import StopRequested, StopVerb, Withdrawn
from es_power.domain.events import GapReason
from es_power.domain.policy import get_policy
from es_power.domain.states import VmState
from es_power.projections.command_table import CommandTable
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import Facts, vm

WEB = vm(1)
OFF, ON = (5, 1), (1, 1)


def derived(facts: Facts, **how: object) -> list[StopRequested | Withdrawn]:
    return [each.event for each in ReadModels(**how).apply(facts.records).derived]


def rules(facts: Facts) -> list[str]:
    return [event.rule if isinstance(event, StopRequested) else "withdrawn" for event in derived(facts)]


@pytest.fixture
def facts() -> Facts:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: ON})
    return facts


def test_vouched_active_and_off_is_rule_e_with_its_justification(facts: Facts) -> None:
    record = facts.declare(WEB, VmState.ACTIVE)
    swept = facts.sweep({WEB: OFF})
    [command] = derived(facts)

    assert isinstance(command, StopRequested)
    assert (command.rule, command.verb, command.host) == ("e", StopVerb.STOP, "a")
    assert (command.observation, command.observation_index, command.record) == (swept.position, 0, record.position)


def test_while_a_disagreement_lasts_nothing_is_added(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    for _ in range(3):
        facts.sweep({WEB: OFF})
        facts.observe(WEB, *OFF)

    assert rules(facts) == ["e"]


def test_when_it_ends_the_command_is_withdrawn_and_the_next_one_is_another(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    for state in (OFF, ON, OFF):
        facts.sweep({WEB: state})
    first, ended, second = derived(facts)

    assert rules(facts) == ["e", "withdrawn", "e"]
    assert first.command == ended.command != second.command


def test_an_event_alone_decides_nothing(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    facts.observe(WEB, *ON)
    facts.announce(WEB, 5, 0)

    assert rules(facts) == []


def test_nobody_vouches_nothing_stops(facts: Facts) -> None:
    for state in (OFF, ON, (3, 1), (7, 1), (6, 1), OFF):
        facts.sweep({WEB: state})

    assert rules(facts) == []


def test_a_record_that_ends_withdraws_at_once(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.clear(WEB)
    facts.clear(WEB)

    assert rules(facts) == ["f", "withdrawn"]


def test_a_record_that_changes_is_judged_by_the_next_observation(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.declare(WEB, VmState.ACTIVE)
    assert rules(facts) == ["f"]
    facts.sweep({WEB: ON})

    assert rules(facts) == ["f", "withdrawn"]


def test_a_task_that_is_set_withdraws(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.declare(WEB, VmState.STOPPED, "powering-on")
    facts.sweep({WEB: ON})

    assert rules(facts) == ["f", "withdrawn"]


def test_a_command_ends_as_soon_as_another_host_shows_the_vm_on_too(facts: Facts) -> None:
    facts.start(host="b")
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    conflict = facts.sweep({WEB: ON}, host="b")
    facts.sweep({WEB: ON})
    requested, ended = derived(facts)

    assert (requested.host, ended.command, ended.because) == ("a", requested.command, conflict.position)
    assert ended.reason == "more than one host shows it on"


def test_a_vm_that_left_for_a_host_nobody_observes_is_not_stopped(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    facts.announce(WEB, 5, 3)
    facts.observe(WEB, 5, 4)

    assert rules(facts) == []


def test_a_vm_that_two_hosts_show_on_is_not_stopped(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.start("b")
    facts.observe(WEB, *ON, "b")
    facts.observe(WEB, *ON, "a")

    assert rules(facts) == []


def test_a_command_is_withdrawn_when_the_instance_moves(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.start("b")
    facts.announce(WEB, 5, 3, "a")
    facts.observe(WEB, 1, 2, "b")
    facts.observe(WEB, 5, 4, "a")
    first, ended, second = derived(facts)

    assert (first.host, second.host) == ("a", "b")
    assert ended.command == first.command


def test_a_command_ends_when_another_host_shows_the_vm_on_too(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.start("b")
    facts.observe(WEB, *ON, "b")
    facts.sweep({WEB: ON})

    assert rules(facts) == ["f", "withdrawn"]


def test_an_observation_that_lost_decides_nothing(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    facts.announce(WEB, 5, 0)
    facts.announce(WEB, 2, 0)
    facts.observe(WEB, *OFF, number=0)

    assert rules(facts) == []


def test_a_state_that_nobody_knows_orders_nothing(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.observe(WEB, 99, 0)

    assert rules(facts) == []


def test_a_blind_host_and_its_return_repeat_nothing(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    facts.sweep({WEB: OFF})
    facts.gap(reason=GapReason.KEEPALIVE)
    facts.seen_again()
    facts.sweep({WEB: OFF})

    assert rules(facts) == ["e"]


def test_nothing_is_derived_before_a_process_manager_begins_and_then_from_the_next_observation() -> None:
    facts = Facts()
    facts.start(planned=False)
    facts.declare(WEB, VmState.ACTIVE)
    facts.sweep({WEB: OFF})
    assert rules(facts) == []
    facts.start()
    facts.sweep({WEB: OFF})

    assert rules(facts) == ["e"]


def test_another_policy_judges_anew_from_the_next_observation(facts: Facts) -> None:
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    facts.start(policy="nova-2026")
    facts.sweep({WEB: ON})
    first, ended, second = derived(facts)

    assert (first.verb, second.verb) == (StopVerb.STOP, StopVerb.FORCE_STOP)
    assert ended.command == first.command


def test_what_if_asks_another_policy_over_all_of_history() -> None:
    facts = Facts()
    facts.start(planned=False)
    facts.declare(WEB, VmState.STOPPED)
    facts.sweep({WEB: ON})
    [command] = derived(facts, whatif=get_policy("nova-2026"))

    assert (command.policy, command.verb) == ("nova-2026", StopVerb.FORCE_STOP)
    assert derived(facts, whatif=get_policy("follow")) == []


def test_a_recorded_command_is_taken_up_where_a_fold_resumes(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    facts.sweep({WEB: OFF})
    [command] = derived(facts)
    begun = ReadModels(resume=True)
    begun.apply(facts.records[:-1])
    facts.record(f"command/{command.command}", command)
    later = facts.sweep({WEB: OFF})

    assert begun.apply([facts.records[-2], later]).derived == []


def test_a_withdrawal_that_was_recorded_ends_what_was_taken_up(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    for state in (OFF, ON):
        facts.sweep({WEB: state})
    first, ended = derived(facts)
    models = ReadModels(resume=True)
    models.apply(facts.records[:4])
    for event in (first, ended, ended):
        models.apply([facts.record(f"command/{event.command}", event)])

    assert models.derivation.open == {}
    assert [row.state for row in models.commands.rows.values()] == ["Withdrawn"]


def test_a_command_whose_end_was_derived_before_its_request_was_recorded_does_not_begin_again(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    for state in (OFF, ON):
        facts.sweep({WEB: state})
    models = ReadModels(resume=True)
    first, ended = (each.event for each in models.apply(facts.records).derived)
    requested = facts.record(f"command/{first.command}", first)

    assert models.apply([requested, facts.observe(WEB, *ON)]).derived == []
    assert models.apply([facts.record(f"command/{first.command}", ended)]).derived == []
    assert models.derivation.open == {}


def test_the_table_of_commands_knows_no_withdrawal_without_its_request(facts: Facts) -> None:
    facts.declare(WEB, VmState.ACTIVE)
    for state in (OFF, ON):
        facts.sweep({WEB: state})
    _, ended = derived(facts)

    assert CommandTable().apply(facts.record("command/x", ended)) is None
