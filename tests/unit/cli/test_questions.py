"""What status, history, gaps and commands print."""

import csv
import io
import json
from pathlib import Path

import pytest
import trio

from es_power.domain.time import rfc3339
from es_power.testing.facts import T0, vm
from tests.unit.cli.conftest import Ask
from tests.unit.story import DB, OLD, RUNNING, WEB, Story

DAY = rfc3339(T0)[:10]


# ------------------------------------------------------------------------------------------------------ status


def test_status_has_the_keys_that_machines_rely_on(ask: Ask) -> None:
    db, web = ask("status", "-o", "json").rows

    assert web.keys() >= {
        *("instance", "name", "host", "power_state", "vm_state", "task_state", "policy", "since", "observed_at"),
        *("position", "gone", "provisional", "drift", "state", "state_number", "reason", "reason_number", "note"),
    }
    assert (web["instance"], web["name"], web["host"]) == (str(WEB), "web-1", "a")
    assert (web["power_state"], web["vm_state"], web["task_state"]) == ("UNKNOWN", "stopped", None)
    assert (web["policy"], db["policy"]) == ("nova-2013", "follow")
    assert (db["state"], db["state_number"], db["reason"], db["reason_number"]) == ("SHUTOFF", 5, "SHUTDOWN", 1)
    assert db["since"].endswith("Z")


def test_status_as_of_a_time_is_what_the_log_knew_then(ask: Ask) -> None:
    before = ask("status", "web-1", "--as-of", "9", "-o", "json").rows
    same = ask("status", "web-1", "--as-of", rfc3339(T0)[:17] + "08.5Z", "-o", "json").rows

    assert before == same
    assert [(row["power_state"], row["vm_state"], row["position"]) for row in before] == [("RUNNING", "active", 9)]


def test_before_the_first_record_nothing_is_known(ask: Ask) -> None:
    assert ask("status", "--as-of", "0", "-o", "json").rows == []
    assert ask("status", "web-1", "--as-of", "2020-01-01").code == 3


def test_a_state_that_is_two_spacings_old_reads_unknown(ask: Ask) -> None:
    [old] = ask("status", "web-1", "--as-of", "9", "-o", "json").rows
    [later] = ask("status", "db-1", "--as-of", "2030-01-01", "-o", "json").rows

    assert (old["power_state"], later["power_state"]) == ("RUNNING", "UNKNOWN")


def test_status_of_all_shows_gone_ones_too(ask: Ask) -> None:
    rows = ask("status", "--all", "-o", "json").rows

    assert [(row["name"], row["gone"]) for row in rows] == [("db-1", False), ("old-1", True), ("web-1", False)]
    assert [row["note"] for row in ask("status", "old-1", "--as-of", "16", "-o", "json").rows] == ["gone"]


def test_a_table_is_for_people_with_the_zone_in_its_header(ask: Ask) -> None:
    lines = ask("status", "--as-of", "9", "--utc").out.splitlines()

    assert lines[0].split()[:5] == ["NAME", "HOST", "POWER", "STATE", "SINCE"]
    assert "SINCE (UTC)" in lines[0]
    assert lines[1].split()[:4] == ["db-1", "a", "RUNNING", DAY]


# ----------------------------------------------------------------------------------------------------- history


def test_history_has_the_keys_that_machines_rely_on(ask: Ask) -> None:
    rows = ask("history", "web-1", "-o", "json").rows

    assert all(
        row.keys() >= {"position", "kind", "instance", "host", "observed_at", "recorded_at", "power_state", "changed"}
        for row in rows
    )
    run, declared, planned, event, *_ = rows
    assert (run["count"], run["first"], run["last"] > run["first"]) == (4, run["observed_at"], True)
    assert (run["state"], run["state_number"], run["reason"], run["reason_number"]) == ("RUNNING", 1, "BOOTED", 1)
    assert (declared["vm_state"], declared["by"], declared["why"]) == ("stopped", "alice", "not needed")
    assert (planned["command"], planned["policy"], planned["rule"]) == ("stop", "nova-2013", "f")
    assert (event["event"], event["event_number"]) == ("STOPPED", 5)
    assert (event["detail"], event["detail_number"]) == ("DESTROYED", 1)


def test_all_opens_the_runs(ask: Ask) -> None:
    rows = [row for row in ask("history", "web-1", "--all", "-o", "json").rows if row["kind"] == "StateObserved"]

    assert [(row["position"], row["index"], row["trigger"]) for row in rows] == [
        (8, 0, "sweep"),
        (9, 0, "sweep"),
        (11, None, "event"),
        (17, 0, "sweep"),
        (19, None, "event"),
    ]
    assert not any("count" in row for row in rows)


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        (["-n", "2"], [20, 21]),
        (["-n", "2", "-r"], [21, 20]),
        (["-n", "0"], []),
        (["-S", "17", "-U", "19"], [8, 18, 19]),
        (["-S", f"{rfc3339(T0)[:17]}17Z"], [18, 19, 20, 21]),
        (["-U", "yesterday"], []),
    ],
    ids=str,
)
def test_history_is_cut_as_journalctl_cuts(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, arguments: list[str], positions: list[int]
) -> None:
    rows = ask("history", "web-1", "-o", "json", *arguments).rows

    assert [row["position"] for row in rows][-len(positions) or None :] == positions


def test_every_kind_of_output_has_the_same_lines(ask: Ask) -> None:
    rows = ask("history", "web-1", "-o", "json").rows
    lines = [json.loads(line) for line in ask("history", "web-1", "-o", "jsonl").out.splitlines()]
    table = ask("history", "web-1", "--utc").out.splitlines()
    spread = list(csv.DictReader(io.StringIO(ask("history", "web-1", "-o", "csv").out)))

    assert lines == rows
    assert len(table) == 1 + len(rows)
    assert [row["position"] for row in spread] == [str(row["position"]) for row in rows]
    assert ask("history", "web-1", "-o", "yaml").out.count("- position:") == len(rows)


@pytest.mark.parametrize(
    "words",
    [
        "declared stopped by alice: not needed",
        "stop planned (nova-2013, rule f)",
        "event STOPPED (DESTROYED)",
        "observed SHUTOFF (SHUTDOWN)",
        "withdrawn: The record (stopped) and the hypervisor (SHUTDOWN) agree.",
        "not seen from here on: connection lost",
    ],
)
def test_a_person_reads_what_happened(ask: Ask, words: str) -> None:
    assert words in ask("history", "web-1").out


def test_a_name_can_do_nothing_to_the_terminal(ask: Ask, tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.name(vm(1), "=cmd\x1b[2J\n\u202egpj.exe")
    story.sweep({vm(1): RUNNING})
    place = trio.run(story.write, tmp_path / "log.db")
    for kind in ("table", "json", "yaml", "csv", "jsonl"):
        out = ask("status", "--log", place, "-o", kind).out

        assert "\x1b" not in out or kind == "csv"
    assert ask("status", "--log", place, "-o", "json").rows[0]["name"] == "=cmd\x1b[2J\n\u202egpj.exe"


# ------------------------------------------------------------------------------------------- gaps and commands


def test_an_open_gap_has_no_until(ask: Ask) -> None:
    [gap] = ask("gaps", "-o", "json").rows

    assert gap.keys() >= {"host", "since", "until", "reason", "lost"}
    assert (gap["host"], gap["until"], gap["reason"]) == ("a", None, "connection lost")


def test_commands_are_listed_with_what_justifies_them(ask: Ask) -> None:
    [listed] = ask("commands", "list", "-o", "json").rows
    [shown] = ask("commands", "show", listed["id"][:8], "-o", "json").rows

    life = shown.pop("life")
    assert listed == shown
    assert [(step["step"], step["position"]) for step in life] == [("StopRequested", 12), ("Withdrawn", 20)]
    assert listed["cell"] == {"vm_state": "stopped", "power_state": "RUNNING", "verdict": "stop (f)"}
    assert (listed["instance"], listed["name"], listed["host"]) == (str(WEB), "web-1", "a")
    assert (listed["policy"], listed["rule"], listed["command"]) == ("nova-2013", "f", "stop")
    assert listed["state"] == "Withdrawn"
    assert listed["justification"]["observation"]["position"] == 11
    assert listed["justification"]["observation"]["power_state"] == "RUNNING"
    assert listed["justification"]["record"]["position"] == 10
    assert listed["justification"]["record"]["vm_state"] == "stopped"
    assert listed["ended"]["position"] > 19
    assert listed["ended"]["reason"]


def test_only_the_commands_that_stand_can_be_listed(ask: Ask) -> None:
    assert ask("commands", "list", "--open", "-o", "json").rows == []


def test_a_command_is_shown_to_people_line_by_line(ask: Ask) -> None:
    [listed] = ask("commands", "list", "-o", "json").rows
    out = ask("commands", "show", listed["id"], "--utc").out

    assert f"requested at                             {DAY}" in out
    assert "justification record why                 not needed" in out


def test_a_command_that_is_not_there_is_not_found(ask: Ask) -> None:
    assert ask("commands", "show", "zz").code == 3


@pytest.mark.parametrize("vm_", [DB, OLD])
def test_a_vm_is_found_by_its_uuid(ask: Ask, vm_: object) -> None:
    assert ask("history", vm_, "-o", "json").rows[0]["instance"] == str(vm_)
