"""Two policies, or a policy and Nova, over the same history, from the command line."""

import csv
import io
from pathlib import Path

import pytest
import trio

from es_power.answers.whatif import span_words
from es_power.domain.states import VmState
from es_power.domain.time import SECOND
from tests.unit.cli.conftest import Ask
from tests.unit.story import DB, OFF, RUNNING, WEB
from tests.unit.tale import Tale


@pytest.fixture(scope="module")
def beside_nova(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """web-1 reboots and both would stop it; db-1 was stuck in a task when Nova stopped it, running again by then."""
    tale = Tale()
    tale.start()
    tale.name(WEB, "web-1")
    tale.name(DB, "db-1")
    tale.sweep({WEB: RUNNING, DB: RUNNING})
    tale.nova_says(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    tale.wait(7)
    tale.announce(WEB, 2, 0)
    tale.nova_says(DB, VmState.ACTIVE, "reboot_pending")
    tale.wait(3_600)
    at = tale.now
    tale.wait(60)
    tale.nova_stopped(DB, at)
    return trio.run(tale.write, tmp_path_factory.mktemp("log") / "log.db")


def test_a_policy_against_nova_shows_what_each_alone_would_stop(ask: Ask, beside_nova: Path) -> None:
    answer = ask("replay", "--policy", "nova-2013", "--against", "nova", "--log", beside_nova)
    head, web, db = answer.out.splitlines()

    assert answer.code == 4
    assert head.split("  ")[0] == "REQUESTED AT (UTC)"
    assert "web-1  a     nova-2013  e     stop     SHUTDOWN; running again after 8.0 s (10)" in web
    assert "db-1   a     nova       -     -        RUNNING; task reboot_pending pending for 1 h (11)" in db
    assert answer.err == "es-power: stops: 0 in both, 1 only in nova-2013, 1 only in nova\n"


def test_machines_get_positions_and_seconds(ask: Ask, beside_nova: Path) -> None:
    web, db = ask("replay", "--policy", "nova-2013", "--against", "nova", "--log", beside_nova, "-o", "json").rows

    assert (web["only_in"], web["difference"], web["position"]) == ("nova-2013", "only in nova-2013", 9)
    assert (web["running_again"]["position"], web["running_again"]["seconds"]) == (10, 8.0)
    assert web["running_again"]["at"].endswith("Z")
    assert [(stop["side"], stop["command"], stop["observation"], stop["record"]) for stop in web["stops"]] == [
        ("nova-2013", "stop", 9, 8)
    ]
    assert (db["command"], db["running_again"], db["migrating"]) == (None, None, None)
    assert (db["task"]["task_state"], db["task"]["position"], db["task"]["pending_seconds"]) == (
        "reboot_pending",
        11,
        3601.0,
    )
    assert [(stop["side"], stop["request_id"]) for stop in db["stops"]] == [("nova", "req-1")]


@pytest.mark.parametrize("form", ["yaml", "csv", "jsonl"])
def test_every_format_has_each_difference(ask: Ask, beside_nova: Path, form: str) -> None:
    answer = ask("replay", "--policy", "nova-2013", "--against", "nova", "--log", beside_nova, "-o", form)

    assert answer.code == 4
    assert answer.out.count("only in nova") == 2
    if form == "csv":
        assert [row["position"] for row in csv.DictReader(io.StringIO(answer.out))] == ["9", "12"]


def test_the_recorded_commands_are_compared_where_no_policy_is_named(ask: Ask) -> None:
    answer = ask("replay", "--against", "nova-2026", "-o", "json")
    [row] = answer.rows

    assert (answer.code, row["only_in"], row["difference"], row["command"]) == (
        4,
        None,
        "another command",
        "stop / force_stop",
    )
    assert [stop["side"] for stop in row["stops"]] == ["recorded", "nova-2026"]
    assert "stops: 1 in both (1 of them another command), 0 only in recorded, 0 only in nova-2026" in answer.err


def test_where_nothing_differs_the_exit_code_is_0(ask: Ask) -> None:
    answer = ask("replay", "--against", "nova-2013", "-o", "json")

    assert (answer.code, answer.rows) == (0, [])


def test_a_log_without_nova_s_history_says_so(ask: Ask) -> None:
    assert "tells of no stop in Nova's history" in ask("replay", "--against", "nova").err


def test_stops_that_nothing_is_known_about_are_counted(ask: Ask, tmp_path: Path) -> None:
    tale = Tale()
    tale.start()
    tale.nova_stopped(WEB, tale.now)
    place = trio.run(tale.write, tmp_path / "log.db")
    answer = ask("replay", "--against", "nova", "--log", place)

    assert (answer.code, "1 stop of Nova's left out: nothing was known of its VM then" in answer.err) == (0, True)


def test_only_what_was_until_then_is_compared(ask: Ask, beside_nova: Path) -> None:
    compared = ("replay", "--policy", "nova-2013", "--against", "nova", "--log", beside_nova, "-o", "json")

    assert [row["position"] for row in ask(*compared, "--until", "10").rows] == [9]
    assert ask(*compared, "--until", "8").rows == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--policy", "follow", "--against", "follow"), "follow cannot differ from itself"),
        (("--against", "nova", "--verify"), "'--against'"),
        (("--against", "follow", "--rebuild"), "'--against'"),
        (("--against", "nova-2027"), "did you mean nova-2026?"),
    ],
)
def test_what_cannot_be_compared_is_a_mistake_of_usage(ask: Ask, options: tuple[str, ...], complaint: str) -> None:
    answer = ask("replay", *options)

    assert (answer.code, complaint in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (8.06, "8.0 s"),
        (59.99, "59.9 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (7_500, "2 h 5 min"),
        (90_061, "1 d 1 h"),
        (86_400 * 3 + 59, "3 d"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span_words(int(seconds * SECOND)) == words
