"""The table as people read it: what is shown, and what is shown as UNKNOWN."""

from es_power.domain.states import UNKNOWN, VmState
from es_power.domain.time import SECOND, Timestamp
from es_power.projections.power_state import PowerRow, digest, power_rows
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import Facts, vm

WEB, DB = vm(1), vm(2)


def rows(facts: Facts, *, later: int = 0, everything: bool = False) -> list[PowerRow]:
    models = ReadModels()
    models.apply(facts.records)
    return list(power_rows(models.fleet, now=Timestamp(facts.now + later * SECOND), everything=everything))


def test_a_vm_that_nobody_vouches_for_follows_what_libvirt_saw() -> None:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: (1, 1), DB: (5, 1)})
    web, db = rows(facts)

    assert (web.power_state, web.vm_state, web.policy) == ("RUNNING", VmState.ACTIVE, "follow")
    assert (db.power_state, db.vm_state, db.policy) == ("SHUTDOWN", VmState.STOPPED, "follow")


def test_a_vouched_one_shows_its_record_and_the_host_s_policy() -> None:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: (1, 1)})
    facts.declare(WEB, VmState.STOPPED, "powering-off")
    [web] = rows(facts)

    assert (web.vm_state, web.task_state, web.policy) == (VmState.STOPPED, "powering-off", "nova-2013")


def test_blind_time_reads_unknown_and_not_the_last_state() -> None:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: (1, 1)})
    facts.gap()
    [web] = rows(facts)

    assert (web.power_state, web.note) == (UNKNOWN, "blind: connection lost")


def test_a_state_older_than_two_spacings_reads_unknown() -> None:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: (1, 1)})

    assert [row.power_state for row in rows(facts, later=1199)] == ["RUNNING"]
    assert [row.power_state for row in rows(facts, later=1201)] == [UNKNOWN]


def test_a_sweep_that_says_nothing_new_keeps_a_state_young() -> None:
    facts = Facts()
    facts.start()
    for _ in range(3):
        swept = facts.sweep({WEB: (1, 1)})
    [web] = rows(facts)

    assert (web.position, web.observed_at) == (swept.position, swept.event.observed_at)


def test_a_gone_vm_is_shown_only_on_request() -> None:
    facts = Facts()
    facts.start()
    facts.observe(WEB, 1, 1)
    facts.observe(WEB, None)

    assert rows(facts) == []
    assert [(row.gone, row.power_state) for row in rows(facts, everything=True)] == [(True, "NOSTATE")]


def test_two_hosts_that_show_it_on_are_both_shown_and_neither_believed() -> None:
    facts = Facts()
    facts.start("a")
    facts.start("b")
    facts.observe(WEB, 1, 1, "a")
    facts.observe(WEB, 1, 1, "b")

    assert [(row.host, row.power_state, row.note) for row in rows(facts)] == [
        ("a", UNKNOWN, "on at a and b"),
        ("b", UNKNOWN, "on at a and b"),
    ]


def test_after_a_migration_the_owner_s_row_is_shown() -> None:
    facts = Facts()
    facts.start("a")
    facts.start("b")
    facts.observe(WEB, 1, 1, "a")
    facts.announce(WEB, 5, 3, "a")
    unknown = rows(facts)
    facts.observe(WEB, 1, 2, "b")

    assert [(row.power_state, row.note) for row in unknown] == [(UNKNOWN, "migrated to a host that nobody observes")]
    assert [(row.host, row.power_state) for row in rows(facts)] == [("b", "RUNNING")]
    assert len(rows(facts, everything=True)) == 2


def test_what_was_never_observed_or_has_an_unknown_number_says_so() -> None:
    facts = Facts()
    facts.start()
    facts.announce(WEB, 0, 0)
    facts.observe(DB, 99, 0)

    assert [(row.power_state, row.note) for row in rows(facts)] == [
        (UNKNOWN, "never observed"),
        (UNKNOWN, "libvirt's state 99 is not one we know"),
    ]


def test_folds_that_know_different_things_have_different_digests() -> None:
    facts = Facts()
    facts.start()
    facts.sweep({WEB: (1, 1)})
    before = ReadModels()
    before.apply(facts.records)
    facts.sweep({WEB: (1, 1)})
    after = ReadModels()
    after.apply(facts.records)

    assert digest(before.fleet) != digest(after.fleet)
