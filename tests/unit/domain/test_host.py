"""One host, and who vouches for its instances."""

from dataclasses import replace
from functools import reduce

from es_power.domain.events import ClockJumped, GapReason, RecordObserved, ServiceStopped
from es_power.domain.host import Host, Vouched, essence, evolve, vouched
from es_power.domain.states import PowerState, VmState
from es_power.domain.time import Timestamp
from es_power.testing.facts import T0, Facts, vm

STREAM = "observer/a/qemu"


def known(facts: Facts) -> Host:
    return reduce(evolve, [recorded for recorded in facts.records if recorded.stream == STREAM], Host())


def test_a_start_says_who_observes_and_by_which_settings() -> None:
    facts = Facts()
    facts.start(policy="nova-2026")

    assert (known(facts).epoch, known(facts).holder, known(facts).policy) == (1, "test", "nova-2026")
    assert known(facts).running
    facts.record(STREAM, ServiceStopped(observed_at=facts.now))
    assert not known(facts).running


def test_a_gap_is_open_until_the_host_is_seen_again() -> None:
    facts = Facts()
    opened = facts.gap(reason=GapReason.KEEPALIVE)

    assert (known(facts).blind_since, known(facts).blind_reason) == (opened.event.observed_at, GapReason.KEEPALIVE)
    facts.seen_again()
    assert known(facts).blind_since is None


def test_a_clock_that_is_set_moves_the_begin_of_an_open_gap_and_nothing_where_the_host_is_seen() -> None:
    facts = Facts()

    def jump(by: int) -> None:
        now = facts.now
        facts.record(STREAM, ClockJumped(observed_at=Timestamp(now + by), expected=now, looked_at=now))

    facts.start()
    jump(-5)
    assert known(facts).blind_since is None
    opened = facts.gap().event.observed_at
    jump(-7)
    assert known(facts).blind_since == opened - 7


def test_a_sweep_counts_and_an_announcement_does_not() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1)})
    facts.announce(vm(1), 5, 0)
    facts.sweep({vm(1): (1, 1)})

    assert (known(facts).sweeps, known(facts).inventory, known(facts).sweep_position) == (2, 1, 4)


def test_nova_and_a_person_vouch_in_one_shape() -> None:
    facts = Facts()
    declared = vouched(facts.declare(vm(1), VmState.STOPPED, "powering-off"))
    observed = vouched(
        facts.record(
            "records/nova",
            RecordObserved(
                observed_at=T0,
                instance=vm(1),
                asked_at=T0,
                vm_state=VmState.ACTIVE,
                task_state=None,
                power_state=PowerState.RUNNING,
                host="a",
            ),
        )
    )

    assert declared == Vouched(vm_state=VmState.STOPPED, task_state="powering-off", position=1)
    assert observed == Vouched(
        vm_state=VmState.ACTIVE,
        task_state=None,
        position=2,
        host="a",
        asked_at=T0,
        power_state=PowerState.RUNNING,
    )


def test_two_records_say_the_same_where_only_their_times_and_places_differ() -> None:
    said = Vouched(vm_state=VmState.ACTIVE, task_state=None, position=1, host="a", node="n")

    assert essence(said) == essence(replace(said, position=9, after=8))
    assert essence(said) != essence(replace(said, node="m"))
