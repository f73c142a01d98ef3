"""Pruning as it is typed."""

from contextlib import closing
from pathlib import Path

import pytest
import trio

from es_power.audit.checkpoints import KeptCheckpoints, note_of
from es_power.log.database import Database
from es_power.upkeep import remaining
from tests.unit.cli.conftest import Ask
from tests.unit.upkeep.sealed import signed, write


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remaining, "NEAR", 1)
    (tmp_path / "archive").mkdir()
    trio.run(write, signed(), tmp_path / "log.db")
    return tmp_path / "log.db"


def test_without_a_yes_it_only_says_what_would_go(ask: Ask, sealed: Path, tmp_path: Path) -> None:
    shown = ask("prune", "--before", "2029-01-01", "--log", sealed, "--utc")

    assert shown.code == 0
    assert shown.out.startswith("what was observed up to position 34 would be pruned: its checkpoint was signed at ")
    assert shown.err == "es-power: nothing was done; with --archive DEST and --yes it will be, for good\n"
    assert ask("prune", "--before", "2029-01-01", "--yes", "--log", sealed).code == 2
    assert ask("prune", "--before", "soon", "--log", sealed).code == 2
    never = ask("prune", "--before", "2001-01-01", "--log", sealed)
    assert never.code == 1
    assert "none was signed before 2001-01-01T00:00:00" in never.err
    assert list((tmp_path / "archive").iterdir()) == []


def test_what_is_pruned_is_said_wherever_it_is_asked_for(ask: Ask, sealed: Path, tmp_path: Path) -> None:
    done = ask("prune", "--before", "2029-01-01", "--archive", tmp_path / "archive", "--yes", "--log", sealed)
    assert "vouched for from the next checkpoint on" in done.err
    [archive] = (tmp_path / "archive").iterdir()

    assert done.code == 0
    assert done.out.startswith(f"{archive}: ")
    assert "observations up to position 34 were pruned" in done.out
    verified = ask("audit", "verify", "--log", sealed)
    assert verified.code == 0
    assert "records 1 to 34 were pruned; the checkpoint of kvm-07.example.org/es-power there stands for them" in (
        verified.out + verified.err
    )
    assert ask("replay", "--verify", "--log", sealed).code == 0
    for question in (
        ("as-of", "3"),
        ("status", "--as-of", "3"),
        ("history", "web-1", "--since", "3"),
        ("export",),
        ("replay", "--until", "3"),
    ):
        refused = ask(*question, "--log", sealed)
        assert (question, refused.code) == (question, 3)
        assert f"ask its archive {archive}" in refused.err
        assert question[0] == "export" or ask(*question, "--log", archive).code in {0, 1}
    for options in ((), ("--policy", "follow"), ("--policy", "follow", "--against", "nova-2013")):
        counted = ask("replay", *options, "--log", sealed)
        assert counted.err.startswith(
            "es-power: what was observed up to position 34 was pruned, and is not counted; of that its archive tells\n"
        )
    told = ask("history", "web-1", "--log", sealed)
    assert (told.code, told.err) == (
        0,
        "es-power: what was observed up to position 34 was pruned; of that its archive tells\n",
    )


def test_a_checkpoint_of_before_the_prune_is_said_not_to_vouch_for_what_is_left(
    ask: Ask, sealed: Path, tmp_path: Path
) -> None:
    with closing(Database(sealed, mode="read")) as database:
        newest = KeptCheckpoints(database).newest()
    assert newest is not None
    note = tmp_path / "note"
    note.write_text(str(note_of(newest)))
    assert ask("prune", "--before", "2029-01-01", "--archive", tmp_path / "kept", "--yes", "--log", sealed).code == 0

    told = ask("audit", "verify", "--checkpoint", note, "--log", sealed, "-o", "json")

    [row] = told.rows
    assert (told.code, row["vouched"], row["remains_vouched"]) == (0, 34, False)
    assert "that no more of them was taken out is said by record" in told.err
