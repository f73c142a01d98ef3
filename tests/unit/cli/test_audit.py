"""The seal from the command line: a key, a checkpoint, a verdict, a proof."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from es_power.audit import offline
from tests.unit.cli.conftest import Ask
from tests.unit.story import WEB


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = tmp_path / "config.toml"
    path.write_text(f'[audit]\nkey = "{folder}/audit.key"\nplaces = ["file:{folder}/checkpoints"]\n')
    return path


def test_a_log_is_sealed_verified_and_proved(log: Path, ask: Ask, config: Path) -> None:
    key = ask("audit", "keygen", "--name", "kvm-07/es-power", "--log", log, "--config", config)
    assert (key.code, key.out[:16]) == (0, "kvm-07/es-power+")
    sealed = ask("audit", "checkpoint", "--log", log, "--config", config)
    assert (sealed.code, sealed.err) == (0, "")
    kept = config.parent / "elsewhere" / "checkpoints"
    assert kept.read_text() == f"{sealed.out}\n"

    told = ask("audit", "verify", "--checkpoint", kept, "--key", key.out, "--log", log, "-o", "json")
    assert (told.code, told.err) == (0, "")
    [row] = told.rows
    assert row["intact"]
    # What the checkpoint itself recorded, with the state of the clock, is behind it.
    assert row["vouched"] == row["position"] - 2
    assert row["damage"] == []

    [proof] = ask("audit", "proof", 1, "--log", log).rows
    assert offline.check(proof, key.out) == row["vouched"]
    late = ask("audit", "proof", row["position"], "--log", log)
    assert (late.code, late.out) == (3, "")
    assert "came after the last checkpoint" in late.err


def test_damage_is_told_with_its_place_and_ends_with_4(log: Path, ask: Ask) -> None:
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("UPDATE records SET recorded_at = 1 WHERE position = 5")
        connection.commit()
    told = ask("audit", "verify", "--log", log)

    assert told.code == 4
    assert "es-power: record 5: edited: its hash is not that of its content" in told.err


def test_a_head_that_is_no_number_is_damage(log: Path, ask: Ask) -> None:
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("UPDATE head SET position = 'x'")
        connection.commit()
    told = ask("audit", "verify", "--log", log)

    assert told.code == 4
    assert "head altered: the head is at x" in told.err


def test_a_log_without_a_checkpoint_is_said_to_be_vouched_for_by_nobody(log: Path, ask: Ask) -> None:
    told = ask("audit", "verify", "--log", log)

    assert told.code == 0
    assert "no checkpoint from outside vouches for it" in told.err


def test_a_key_beside_the_log_or_over_another_is_refused(log: Path, ask: Ask, config: Path) -> None:
    beside = ask("audit", "keygen", log.parent / "audit.key", "--log", log)
    assert (beside.code, beside.out) == (1, "")
    assert "in the folder of the log" in beside.err
    assert ask("audit", "keygen", "--log", log, "--config", config).code == 0
    assert "already" in ask("audit", "keygen", "--log", log, "--config", config).err
    assert ask("audit", "keygen", "--log", log).code == 2


def test_what_is_missing_is_said(log: Path, ask: Ask, config: Path, tmp_path: Path) -> None:
    assert "no key is set" in ask("audit", "checkpoint", "--log", log).err
    assert "`es-power audit keygen` makes one" in ask("audit", "checkpoint", "--log", log, "--config", config).err
    assert "no whole checkpoint" in ask("audit", "verify", "--log", log, "--checkpoint", config).err
    assert "is no key" in ask("audit", "verify", "--log", log, "--key", "x").err


def test_a_checkpoint_that_cannot_be_read_among_others_is_told_of(log: Path, ask: Ask, config: Path) -> None:
    """It may be the one that contradicts the log."""
    ask("audit", "keygen", "--name", "kvm-07/es-power", "--log", log, "--config", config)
    for _ in range(3):
        ask("audit", "checkpoint", "--log", log, "--config", config)
    kept = config.parent / "elsewhere" / "checkpoints"
    whole = ask("audit", "verify", "--checkpoint", kept, "--log", log)
    kept.write_text(kept.read_text().replace("kvm-07/es-power ", "kvm-07/es-power ?", 1))
    one = ask("audit", "verify", "--checkpoint", kept, "--log", log)
    kept.write_text(f"{kept.read_text()}\nand what a full disk cut off")
    two = ask("audit", "verify", "--checkpoint", kept, "--log", log)

    assert (whole.code, whole.err) == (0, "")
    assert (one.code, one.err) == (0, f"es-power: 1 part of {kept} could not be read as a checkpoint; 2 could\n")
    assert (two.code, two.err) == (0, f"es-power: 2 parts of {kept} could not be read as a checkpoint; 2 could\n")


def test_a_place_that_did_not_take_it_is_told_of(log: Path, ask: Ask, config: Path) -> None:
    ask("audit", "keygen", "--log", log, "--config", config)
    (config.parent / "elsewhere" / "checkpoints").mkdir()
    sealed = ask("audit", "checkpoint", "--log", log, "--config", config, "-o", "json")

    assert sealed.code == 1
    assert list(sealed.rows[0]["failed"].values()) == ["Is a directory"]
    assert "did not take it: Is a directory" in sealed.err


def test_an_auditor_gets_all_that_is_needed_to_check_a_part_of_the_log(log: Path, ask: Ask, config: Path) -> None:
    key = ask("audit", "keygen", "--log", log, "--config", config).out.strip()
    folder = config.parent / "dossier"
    assert "no checkpoint" in ask("audit", "export", folder, "--log", log, "-U", "9").err
    ask("audit", "checkpoint", "--log", log, "--config", config)
    assert not folder.exists()
    made = ask("audit", "export", folder, "-S", "3", "-U", "9", "--log", log)

    assert (made.code, made.err) == (0, "")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["facts"], manifest["after"], manifest["until"]) == (7, 2, 9)
    for name, digest in manifest["sha256"].items():
        assert sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len((folder / "events.jsonl").read_text().splitlines()) == 7
    checked = subprocess.run(
        [sys.executable, "-I", "verify.py", "--key", key, "proofs.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, len(checked.stdout.splitlines())) == (0, 7)
    crossed = ask("audit", "export", folder.with_name("crossed"), "-S", "9", "-U", "3", "--log", log)
    assert (crossed.code, "ends before it begins" in crossed.err) == (2, True)
    [size] = [int(line) for line in (folder / "checkpoint").read_text().splitlines() if line.isdecimal()]
    later = ask("audit", "export", folder.with_name("later"), "-S", str(size + 1), "--log", log)
    assert (later.code, f"the last checkpoint is over {size} records" in later.err) == (3, True)
    assert not folder.with_name("later").exists()
    again = ask("audit", "export", folder, "--log", log)
    assert (again.code, again.out) == (1, "")
    assert "holds something already" in again.err


def test_an_auditor_gets_what_is_about_one_vm(log: Path, ask: Ask, config: Path) -> None:
    ask("audit", "keygen", "--log", log, "--config", config)
    ask("audit", "checkpoint", "--log", log, "--config", config)
    made = ask("audit", "export", config.parent / "dossier", "--vm", WEB, "--log", log)

    assert (made.code, made.err) == (0, "")
    rows = [json.loads(line) for line in (config.parent / "dossier" / "events.jsonl").read_text().splitlines()]
    assert rows
    assert {row["data"]["instance"] for row in rows} == {str(WEB)}


def test_a_table_has_a_line_for_each_checkpoint_and_each_damage(log: Path, ask: Ask, config: Path) -> None:
    key = ask("audit", "keygen", "--name", "kvm-07/es-power", "--log", log, "--config", config).out
    ask("audit", "checkpoint", "--log", log, "--config", config)
    kept = config.parent / "elsewhere" / "checkpoints"
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("UPDATE streams SET version = version + 1 WHERE no = 1")
        connection.commit()
    told = ask("audit", "verify", "--checkpoint", kept, "--key", key, "--log", log, "-o", "table")

    size = kept.read_text().splitlines()[1]
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    said = f"{size} records of kvm-07/es-power: holds; {{}}; its signature is true"
    assert [line for line in lines if line.startswith("checkpoints ")] == [
        f"checkpoints 1 {said.format('kept outside')}",
        f"checkpoints 2 {said.format('a fact of the log')}",
    ]
    [damage] = [line for line in lines if line.startswith("damage ")]
    assert damage.startswith("damage 1 ")
    assert "truncated: " in damage
    assert "{" not in told.out


def test_doctor_judges_where_checkpoints_are_kept(log: Path, ask: Ask, config: Path) -> None:
    folder = config.parent
    places = f'["file:{log.parent}/x", "directory:{folder}/elsewhere", "syslog:"]'
    config.write_text(f'[audit]\nkey = "{folder}/elsewhere/audit.key"\nplaces = {places}\n')
    doctor = ask("doctor", "--log", log, "--uri", "test:///default", "--config", config, "-o", "json")
    ask("audit", "keygen", "--log", log, "--config", config)
    sealed = ask("audit", "checkpoint", "--log", log, "--config", config)

    assert [row["result"] for row in doctor.rows if row["check"] == "checkpoints"] == ["failed", "finding", "ok"]
    assert sealed.code == 2
    assert "x is in the folder of the log" in sealed.err


def test_a_log_that_was_cut_off_is_a_finding(log: Path, ask: Ask) -> None:
    os.truncate(log, log.stat().st_size // 2)
    done = ask("audit", "verify", "--log", log)

    assert done.code == 4
    assert "database pages damaged: database disk image is malformed" in done.out
