"""One VM on one host: what each kind of fact does to what is known of it."""

import pytest

from es_power.domain.events import InstanceNamed, Label, RebootReported
from es_power.domain.instance import Instance, Owner, fold, owner
from es_power.domain.states import PowerState
from es_power.testing.facts import Facts, vm

WEB = vm(1)
STREAM = "observer/a/qemu"


def known(facts: Facts) -> Instance:
    return fold(recorded for recorded in facts.records if recorded.stream == STREAM)


def test_an_event_sets_the_state_at_once_and_provisionally() -> None:
    facts = Facts()
    facts.announce(WEB, 2, 0)

    assert known(facts).power_state is PowerState.RUNNING
    assert known(facts).provisional


def test_an_observation_confirms_an_event_and_keeps_since() -> None:
    facts = Facts()
    started = facts.announce(WEB, 2, 0)
    facts.observe(WEB, 1, 1)

    assert not known(facts).provisional
    assert known(facts).since == started.event.observed_at
    assert known(facts).position == 2


def test_a_report_collected_before_a_start_and_applied_after_it_loses() -> None:
    """CloudStack #14206: the stale report says off, the VM was started in between."""
    facts = Facts()
    facts.observe(WEB, 5, 1)
    facts.announce(WEB, 2, 0)
    facts.observe(WEB, 5, 1, number=0)

    assert known(facts).power_state is PowerState.RUNNING


def test_a_late_event_of_an_earlier_number_changes_nothing() -> None:
    facts, late = Facts(), Facts()
    stopped = late.announce(WEB, 5, 0)
    facts.announce(WEB, 5, 0)
    facts.announce(WEB, 2, 0)
    facts.records.append(stopped)

    assert known(facts).power_state is PowerState.RUNNING


@pytest.mark.parametrize("event", [0, 1, 6, 42])
def test_an_event_that_announces_nothing_about_power_leaves_the_state(event: int) -> None:
    facts = Facts()
    facts.observe(WEB, 1, 1)
    facts.announce(WEB, event, 0)

    assert known(facts).power_state is PowerState.RUNNING
    assert known(facts).number == 1


def test_a_reboot_counts_as_an_event_and_leaves_the_state() -> None:
    facts = Facts()
    facts.observe(WEB, 1, 1)
    facts.record(STREAM, RebootReported(observed_at=facts.now, instance=WEB, connection=1, number=9))
    facts.record(STREAM, RebootReported(observed_at=facts.now, instance=WEB, connection=1, number=8))

    assert known(facts).power_state is PowerState.RUNNING
    assert known(facts).number == 9


def test_not_found_is_gone_and_not_off() -> None:
    facts = Facts()
    facts.observe(WEB, 1, 1)
    facts.observe(WEB, None)

    assert known(facts).gone
    assert known(facts).power_state is PowerState.NOSTATE
    assert known(facts).left_on == 2


def test_a_state_whose_number_nobody_knows_says_nothing() -> None:
    facts = Facts()
    facts.observe(WEB, 99, 7)

    assert known(facts).power_state is None
    assert (known(facts).state, known(facts).reason) == (99, 7)
    assert not known(facts).is_on


def test_a_vm_that_came_back_unannounced_is_no_longer_away() -> None:
    facts = Facts()
    facts.announce(WEB, 5, 3)
    away = known(facts)
    facts.observe(WEB, 1, 1)
    facts.observe(WEB, 5, 2)

    assert away.migrated_away
    assert not known(facts).migrated_away


def test_a_name_is_kept_until_another_comes() -> None:
    facts = Facts()
    for label in (Label(id=1, digest=b"a"), Label(id=2, digest=b"b")):
        facts.record(STREAM, InstanceNamed(observed_at=facts.now, instance=WEB, name=label))

    assert known(facts).name == Label(id=2, digest=b"b")


ON, OFF = Instance(power_state=PowerState.RUNNING), Instance(power_state=PowerState.SHUTDOWN)
AWAY = Instance(power_state=PowerState.SHUTDOWN, last_event=5, last_detail=3)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({}, Owner(host=None)),
        ({"a": ON}, Owner(host="a")),
        ({"a": OFF}, Owner(host="a")),
        ({"a": AWAY}, Owner(host=None)),
        ({"a": AWAY, "b": ON}, Owner(host="b")),
        ({"a": ON, "b": OFF}, Owner(host="a")),
        ({"a": ON, "b": ON}, Owner(host=None, conflict=("a", "b"))),
        ({"a": OFF, "b": Instance(power_state=PowerState.SHUTDOWN, left_on=7)}, Owner(host="b")),
    ],
)
def test_the_owner_is_the_one_host_where_it_is_on_or_was_last(hosts: dict[str, Instance], expected: Owner) -> None:
    assert owner(hosts) == expected


def test_the_owner_does_not_depend_on_the_order_of_hosts() -> None:
    hosts = {"a": OFF, "b": OFF, "c": AWAY}

    assert owner(hosts) == owner(dict(reversed(hosts.items())))
