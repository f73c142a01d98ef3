"""as-of, diff and the options of two times, as a person types them."""

from pathlib import Path

import pytest
import trio

from es_power.domain.time import rfc3339
from es_power.testing.facts import vm
from tests.unit.cli.conftest import Ask
from tests.unit.night import Night, at, imported_night
from tests.unit.story import OFF, RUNNING

HEAD = 11


def time(clock: str) -> str:
    return rfc3339(at(clock))


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The night of the import; nobody writes to its log."""
    return trio.run(imported_night().write, tmp_path_factory.mktemp("night") / "log.db")


@pytest.fixture
def there(ask: Ask, night: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setenv("ES_POWER_LOG", str(night))
    return ask


# ------------------------------------------------------------------------------------------------------- as-of


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([time("03:13")], ("SHUTDOWN", "told by the imported qemu-log; blind: connection lost")),
        ([time("03:13"), "--known-at", time("03:13")], ("UNKNOWN", "blind: connection lost")),
        ([time("03:13"), "--known-at", "9"], ("UNKNOWN", "blind: connection lost")),
        (["6"], ("RUNNING", "")),
    ],
)
def test_as_of_says_what_was_true_by_what_was_known(
    there: Ask, arguments: list[str], expected: tuple[str, str]
) -> None:
    short = there("as-of", *arguments, "-o", "json").rows
    [web] = there("as-of", arguments[0], "web-1", *arguments[1:], "-o", "json").rows

    assert [web] == short == there("status", "--as-of", *arguments, "-o", "json").rows
    assert (web["power_state"], web["note"]) == expected


def test_before_the_log_begins_only_imported_lines_tell_and_that_is_said(there: Ask) -> None:
    told = there("as-of", time("02:00"))
    nothing = there("as-of", time("00:30"))
    unknown = there("as-of", time("02:00"), "--known-at", time("02:00"))

    assert "told by the imported qemu-log; not observed then" in told.out
    assert told.err.startswith("es-power: nobody looked then: the log begins at 2027-01-15 11:00:00+00:00")
    assert [nothing.code, nothing.out.count("\n"), nothing.err] == [0, 1, told.err]
    assert [unknown.code, unknown.out.count("\n")] == [0, 1]
    assert unknown.err == "es-power: nothing was known then: the log begins at 2027-01-15 11:00:00+00:00\n"


def test_a_vm_of_which_nothing_is_known_as_of_then_is_not_found(there: Ask) -> None:
    asked = there("as-of", time("00:30"), "web-1")

    assert asked.code == 3
    assert "nothing is known of 'web-1' as of then" in asked.err


def test_an_empty_log_says_so(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_POWER_LOG", str(trio.run(Night().write, tmp_path / "log.db")))

    assert ask("as-of", "now").err == "es-power: the log is empty\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["as-of", "noon"], "'noon' is no time"),
        (["as-of", "12"], "the log ends at position 11"),
        (["as-of", "now", "--known-at", "9" * 5000], "the log ends at position 11"),
        (["as-of", "now", "--known-at", "soon"], "'--known-at': 'soon' is no time"),
        (["history", "web-1", "-f", "--as-of", "6"], "what is to come is not of another time"),
        (["diff"], "say since when"),
        (["diff", "-S", "9", "-U", "6"], "it is before --since"),
        (["diff", "-S", "99"], "the log ends at position 11"),
        (["diff", "--as-of", "9"], "say by --known-at"),
        (["diff", "--as-of", "9", "-S", "3"], "say two times"),
        (["diff", "--hypervisor", "-S", "3"], "of now"),
        (["diff", "-S", "3", "--uri", "test:///default"], "only --hypervisor asks libvirt"),
    ],
)
def test_what_makes_no_sense_is_one_line(there: Ask, arguments: list[str], said: str) -> None:
    refused = there(*arguments)

    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert refused.err.count("\n") == 1


# --------------------------------------------------------------------------------------------------------- why


def test_why_by_what_was_known_does_not_know_what_was_imported_later(there: Ask) -> None:
    [now] = there("why", "web-1", "--as-of", time("03:13"), "-o", "json").rows
    [then] = there("why", "web-1", "--as-of", time("03:13"), "--known-at", time("03:30"), "-o", "json").rows

    assert [now["at"], then["at"]] == [time("03:12:07"), time("03:05")]


# ----------------------------------------------------------------------------------------------------- history


def test_a_history_in_two_times(there: Ask) -> None:
    kinds = [row["kind"] for row in there("history", "web-1", "--as-of", time("03:13"), "-o", "json").rows]
    known = there("history", "web-1", "--as-of", time("03:13"), "--known-at", time("03:30"), "-o", "json").rows

    assert kinds == ["QemuStarted", "StateObserved", "GapOpened", "QemuEnded"]
    assert [row["kind"] for row in known] == ["StateObserved", "GapOpened"]


# -------------------------------------------------------------------------------------------------------- diff


def test_a_diff_says_what_is_another_state_then_and_now(there: Ask) -> None:
    [web] = there("diff", "-S", time("03:06"), "-U", time("03:30"), "-o", "json").rows
    assert there("diff", "web-1", "-S", time("03:06"), "-U", time("03:30"), "-o", "json").rows == [web]

    assert (web["what"], web["name"], web["host"]) == ("power_state, vm_state", "web-1", "a")
    assert (web["power_state_then"], web["power_state"]) == ("RUNNING", "SHUTDOWN")
    assert (web["vm_state_then"], web["vm_state"]) == ("active", "stopped")
    assert (web["since_then"], web["since"]) == (time("03:05"), time("03:20"))


def test_where_nothing_differs_the_table_is_empty(there: Ask) -> None:
    same = there("diff", "-S", time("03:06"), "-U", time("03:07"))

    assert (same.code, same.out.count("\n"), same.err) == (0, 1, "")


def test_a_diff_by_what_was_known_then_does_not_know_better(there: Ask) -> None:
    now = there("diff", "-S", time("03:11"), "-U", time("03:13"), "-o", "json").rows
    then = there("diff", "-S", time("03:11"), "-U", time("03:13"), "--known-at", time("03:30"), "-o", "json").rows

    assert [(row["power_state_then"], row["power_state"]) for row in now] == [("UNKNOWN", "SHUTDOWN")]
    assert then == []


def test_a_diff_of_one_time_says_what_was_learnt_of_it(there: Ask) -> None:
    [web] = there("diff", "--as-of", time("03:13"), "--known-at", time("03:13"), "-o", "json").rows

    assert (web["power_state_then"], web["power_state"]) == ("UNKNOWN", "SHUTDOWN")
    assert web["note"] == "told by the imported qemu-log; blind: connection lost"


def test_vms_appear_go_move_are_renamed_and_stop_and_start_in_between(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night()
    for host in ("a", "b"):
        night.start(host)
    for number in range(1, 5):
        night.name(vm(number), f"vm-{number}")
    night.sweep({vm(number): RUNNING for number in range(1, 5)})
    night.clock = at("03:10")
    night.observe(vm(1), None)
    night.name(vm(2), "\x1b[31m=1+1")
    night.announce(vm(3), 5, 3)
    night.announce(vm(3), 2, 0)
    night.announce(vm(4), 5, 3)
    night.name(vm(4), "vm-4", "b")
    night.announce(vm(4), 2, 6, "b")
    night.name(vm(5), "vm-5", "b")
    night.observe(vm(5), *OFF, "b")
    monkeypatch.setenv("ES_POWER_LOG", str(trio.run(night.write, tmp_path / "log.db")))
    rows = sorted(
        ask("diff", "-S", time("03:05"), "-U", time("03:11"), "-o", "json").rows, key=lambda row: row["instance"]
    )
    table = ask("diff", "-S", time("03:05"), "-U", time("03:11"))

    assert [(row["instance"], row["what"], row["host_then"], row["host"]) for row in rows] == [
        (str(vm(1)), "gone", "a", None),
        (str(vm(2)), "renamed", "a", "a"),
        (str(vm(3)), "since", "a", "a"),
        (str(vm(4)), "moved, since", "a", "b"),
        (str(vm(5)), "appeared", None, "b"),
    ]
    assert "\x1b" not in table.out
    assert ask("diff", str(vm(1)), "-S", time("03:05"), "-U", time("03:11"), "-o", "json").rows == rows[:1]
    assert ask("diff", "vm-9", "-S", time("03:05")).code == 2  # the log ends before now
    assert ask("diff", "vm-9", "-S", time("03:05"), "-U", time("03:11")).code == 3


# -------------------------------------------------------------------------------------------------- hypervisor


def test_a_hypervisor_that_shows_what_the_log_has_not_is_drift(there: Ask) -> None:
    drifted = there("diff", "--hypervisor", "--uri", "test:///default", "-o", "json")

    assert drifted.code == 4
    assert [(row["name"], row["what"], row["hypervisor"]) for row in drifted.rows] == [
        ("test", "unknown to the log", "RUNNING")
    ]


def test_a_hypervisor_that_does_not_answer_is_unreachable(there: Ask) -> None:
    unreachable = there("diff", "--hypervisor", "--uri", "qemu+unix:///system?socket=/nowhere/libvirt-sock")

    assert unreachable.code == 5
    assert "/nowhere/libvirt-sock" in unreachable.err
