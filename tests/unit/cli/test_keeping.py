"""Replay, declare, and the log itself, from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from es_power.cli.declare import login_user
from es_power.domain.events import RecordCleared, RecordDeclared, RecordObserved
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import DECLARATIONS
from es_power.ingest.clock import now
from es_power.log import open_log
from es_power.log.schema import CURRENT
from es_power.projections.store import POWER_STATE
from tests.unit.cli.conftest import Ask
from tests.unit.story import WEB


def records(place: Path) -> list[object]:
    async def read() -> list[object]:
        async with open_log(place) as log:
            return [recorded.event for recorded in await log.read_stream(DECLARATIONS)]

    return trio.run(read)


def damage(place: Path) -> None:
    async def change() -> None:
        async with open_log(place, mode="write") as log:
            with log.database.write() as connection:
                connection.execute(sa.update(POWER_STATE).values(since=1))

    trio.run(change)


# ------------------------------------------------------------------------------------------------------ replay


def test_a_replay_prints_counts_and_a_digest_of_each_projection(ask: Ask) -> None:
    [row] = ask("replay", "-o", "json").rows

    assert (row["position"], row["records"], row["commands"], row["verified"]) == (21, 21, 1, None)
    assert [len(row[name]) for name in ("power_state", "history", "stop_commands")] == [64, 64, 64]


def test_a_replay_ends_where_it_is_told_to(ask: Ask) -> None:
    assert ask("replay", "--until", "9", "-o", "json").rows[0]["position"] == 9
    assert ask("replay", "--until", "now", "-o", "json").rows[0]["position"] in {0, 21}


def test_live_and_replayed_are_the_same(ask: Ask) -> None:
    answer = ask("replay", "--verify", "-o", "json")

    assert (answer.code, answer.rows[0]["verified"]) == (0, True)


def test_where_live_and_replayed_differ_the_exit_code_is_4(ask: Ask, log: Path) -> None:
    damage(log)
    answer = ask("replay", "--verify", "--log", log, "-o", "json")

    assert (answer.code, answer.rows[0]["verified"]) == (4, False)
    assert answer.err.startswith("es-power: at position 21 the log says power_state")
    assert answer.err.count("\n") == 1


def test_a_rebuild_mends_the_tables(ask: Ask, log: Path) -> None:
    damage(log)
    answer = ask("replay", "--rebuild", "--verify", "--log", log, "-o", "json")

    assert (answer.code, answer.rows[0]["verified"]) == (0, True)
    assert "true at position 21" in answer.err


def test_a_rebuild_alone_prints_what_it_put_in_the_tables(ask: Ask, log: Path) -> None:
    answer = ask("replay", "--rebuild", "--log", log, "-o", "json")

    assert (answer.code, answer.rows[0]["position"], answer.rows[0]["verified"]) == (0, 21, None)


def test_a_what_if_lists_what_another_policy_would_have_asked_for(ask: Ask) -> None:
    answer = ask("replay", "--policy", "nova-2026", "-o", "json")

    assert [(row["command"], row["policy"], row["state"]) for row in answer.rows] == [
        ("force_stop", "nova-2026", "Withdrawn")
    ]
    assert "would have requested 1 commands; the log has 1" in answer.err


def test_the_script_does_the_same_as_the_command(ask: Ask, told: Path) -> None:
    script = Path(__file__).parents[3] / "scripts" / "replay.py"
    done = subprocess.run(
        [sys.executable, script, "--verify", "--log", told, "-o", "json"], capture_output=True, check=True, text=True
    )

    assert done.stdout == ask("replay", "--verify", "-o", "json").out


# ----------------------------------------------------------------------------------------------------- declare


def test_a_person_vouches_for_a_vm(ask: Ask, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getlogin", lambda: "bob")
    answer = ask(
        *("declare", "web-1", "--vm-state", "active", "--task-state", "powering-on"),
        *("--why", "it is needed", "--log", log),
    )
    declared = records(log)[-1]

    assert answer.code == 0
    assert f"'web-1' ({WEB}) is declared active, powering-on under way by bob" in answer.out
    assert isinstance(declared, RecordDeclared)
    assert (declared.instance, declared.vm_state, declared.task_state) == (WEB, "active", "powering-on")
    [row] = ask("history", "web-1", "-n", "1", "-o", "json", "--log", log).rows
    assert (row["by"], row["why"]) == ("bob", "it is needed")


def test_a_record_is_ended_once(ask: Ask, log: Path) -> None:
    first = ask("declare", "web-1", "--clear", "--why", "done", "--log", log)
    second = ask("declare", "web-1", "--clear", "--why", "done", "--log", log)

    assert (first.code, second.code) == (0, 0)
    assert "any more" in first.out
    assert "nothing to clear" in second.out
    assert [type(event) for event in records(log)] == [RecordDeclared, RecordCleared]


@pytest.mark.parametrize("said", [["--vm-state", "stopped"], ["--clear"]])
def test_what_nova_vouches_for_is_novas_to_change(ask: Ask, log: Path, said: list[str]) -> None:
    async def vouch() -> None:
        async with open_log(log, mode="write") as opened:
            record = RecordObserved(
                observed_at=now(),
                instance=WEB,
                asked_at=now(),
                vm_state=VmState.ACTIVE,
                task_state=None,
                power_state=PowerState.RUNNING,
                host="a",
            )
            await opened.append(Append(writes=[Write(stream="records/a/qemu", expected=0, events=[record])]))

    before = records(log)
    trio.run(vouch)
    answer = ask("declare", "web-1", *said, "--why", "because", "--log", log)

    assert (answer.code, records(log)) == (1, before)
    assert "Nova vouches for 'web-1'" in answer.err
    assert "`es-power hold`" in answer.err


def test_a_vm_that_the_log_does_not_know_cannot_be_declared(ask: Ask, log: Path) -> None:
    answer = ask("declare", "web-9", "--vm-state", "active", "--why", "x", "--log", log)

    assert answer.code == 3
    assert len(records(log)) == 1


def test_without_a_terminal_the_user_of_the_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.setattr(os, "getlogin", nobody)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert login_user() == "root"

    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert login_user() == "4000000000"


# --------------------------------------------------------------------------------------------------------- log


def test_a_log_describes_itself(ask: Ask, told: Path) -> None:
    [row] = ask("log", "info", "-o", "json").rows

    assert (row["place"], row["database"], row["schema"], row["head"]) == (str(told), "SQLite", CURRENT, 21)
    assert (row["tables_at"], row["commands"]) == (21, 1)
    assert row["streams"]["observer/a/qemu"] == 17


def test_upgrade_creates_a_log_and_says_its_schema(ask: Ask, tmp_path: Path) -> None:
    answer = ask("log", "upgrade", "--log", tmp_path / "new.db")

    assert (answer.code, f"has schema {CURRENT}, and 0 records" in answer.out) == (0, True)
