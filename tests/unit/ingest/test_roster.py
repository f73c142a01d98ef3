"""What an observer remembers of its VMs' names."""

from es_power.ingest.roster import Roster
from es_power.log.labels import shown
from es_power.testing.facts import vm

LONG = "x" * 100_000


def test_the_latest_name_counts_and_one_that_is_known_is_not_new() -> None:
    roster = Roster(names={vm(1): "web", vm(2): "db"})

    assert roster.new_names([(vm(1), "www"), (vm(1), "web"), (vm(2), "sql"), (vm(3), "")]) == {vm(2): "sql"}


def test_a_very_long_name_is_not_new_after_a_restart() -> None:
    assert Roster(names={vm(1): shown(LONG)}).new_names([(vm(1), LONG)]) == {}


def test_a_name_that_was_forgotten_is_not_new_until_the_vm_has_been_gone() -> None:
    roster = Roster(names={vm(1): "web", vm(2): "db"})
    roster.forget_names([vm(1), vm(3)])

    assert roster.names == {vm(1): None, vm(2): "db"}
    assert roster.new_names([(vm(1), "web"), (vm(1), "www")]) == {}
    roster.forget([vm(1)])
    assert roster.new_names([(vm(1), "web")]) == {vm(1): "web"}


def test_two_long_names_that_begin_alike_are_told_apart_while_both_are_known() -> None:
    assert Roster(names={vm(1): LONG}).new_names([(vm(1), f"{LONG}y")]) == {vm(1): f"{LONG}y"}
