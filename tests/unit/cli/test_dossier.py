"""An auditor needs a dossier, a verifier key and one file of Python: nothing in it is changed without being named."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stdout
from hashlib import sha256
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest

from es_power.audit import offline
from es_power.audit.layout import layout
from es_power.cli import main
from tests.unit.story import DB, WEB

LAYOUT = json.loads(layout())


@pytest.fixture(scope="module")
def made(told: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A directory with a log that was signed, with what another log told in it, and its dossier; the verifier key."""
    folder = tmp_path_factory.mktemp("dossier")
    log, config = folder / "log.db", folder / "config.toml"
    shutil.copy(told, log)
    (folder / "key").mkdir()
    config.write_text(f'[log]\npath = "{log}"\n[audit]\nkey = "{folder}/key/audit.key"\n')
    (folder / "lines").write_text(run("export", "--log", told).replace('000Z", "type"', '007Z", "type"'))
    run("import", "jsonl", folder / "lines", "--config", config)
    key = run("audit", "keygen", "--config", config)
    run("audit", "checkpoint", "--config", config)
    run("audit", "export", folder / "all", "--config", config)
    return folder, key.strip()


def run(*arguments: object) -> str:
    with redirect_stdout(StringIO()) as out:
        assert main([str(argument) for argument in arguments]) == 0
    return out.getvalue()


@pytest.fixture
def key(made: tuple[Path, str]) -> str:
    return made[1]


@pytest.fixture
def dossier(made: tuple[Path, str], tmp_path: Path) -> Path:
    """All that was signed."""
    return Path(shutil.copytree(made[0] / "all", tmp_path / "all"))


def test_all_that_is_in_it_is_checked_by_its_verifier_alone(dossier: Path, key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", "--key", key, "."],
        cwd=dossier,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = sum("FactImported" in line for line in (dossier / "proofs.json").read_text().splitlines())

    assert (done.returncode, done.stderr) == (0, "")
    assert imported > 10
    assert done.stdout == (
        f".: {21 + imported} records were looked at, 1 to {21 + imported}; all between them: all is as it was signed\n"
    )


CHANGES = {
    "a field": ('"state": 5', '"state": 1'),
    "a kind of value": ('"clock_synchronised": null', '"clock_synchronised": false'),
    "a field's name": ('"reason":', '"season":'),
    "a text": ('"why": "not needed"', '"why": "a mistake"'),
    "a text that is said to be forgotten": ('"why": "not needed"', '"why": {"forgotten": "00"}'),
    "a time": ('"recorded_at": "20', '"recorded_at": "19'),
    "a stream": ('"stream": "observer/a/qemu"', '"stream": "observer/b/qemu"'),
    "a kind": ('"type": "LifecycleEvent"', '"type": "StateObserved"'),
    "what is no fact": ('"data":', '"date":'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whoever_changes_a_fact_and_the_manifest_is_found(dossier: Path, key: str, change: str) -> None:
    old, new = CHANGES[change]
    path = dossier / "events.jsonl"
    lines = path.read_text().splitlines()
    number, line = next((number, line) for number, line in enumerate(lines) if old in line)
    lines[number] = line.replace(old, new, 1)
    path.write_text("".join(f"{each}\n" for each in lines))
    rewrite_manifest(dossier)
    _, wrong, _ = offline.check_directory(dossier, key)

    assert any(each.startswith(f"events.jsonl, line {number + 1}: ") for each in wrong)


def test_a_fact_that_was_left_out_or_added_is_found(dossier: Path, key: str) -> None:
    path = dossier / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[5])
    path.write_text("".join([*lines[:5], *lines[6:], json.dumps({**row, "record": 9999}) + "\n"]))
    rewrite_manifest(dossier)
    _, wrong, _ = offline.check_directory(dossier, key)

    assert [each.partition(":")[0] for each in wrong] == [f"events.jsonl, line {len(lines)}", f"record {row['record']}"]


def test_an_inventory_that_was_left_out_is_found(dossier: Path, key: str) -> None:
    lines = (dossier / "events.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"type": "InventoryRecorded"' not in line or "observer/a/" not in line]
    gone = [json.loads(line)["record"] for line in lines if line not in kept]
    wrong = found(dossier, key, "".join(kept))

    assert gone
    assert wrong[: len(gone)] == [f"record {each}: events.jsonl lacks it, or has it changed" for each in gone]
    # Nor where the manifest says that only VMs were asked for, of whom no inventory is owed.
    for instances in ([str(WEB)], [str(UUID(int=0))]):
        manifest = json.loads((dossier / "manifest.json").read_text())
        (dossier / "manifest.json").write_text(json.dumps({**manifest, "instances": instances}))
        _, wrong, _ = offline.check_directory(dossier, key)
        assert any("has it, and the manifest does not" in each or "lacks it" in each for each in wrong)


def test_what_sweeps_say_of_one_of_two_vms_is_not_left_out(made: tuple[Path, str], tmp_path: Path) -> None:
    folder, key = tmp_path / "two", made[1]
    run("audit", "export", folder, "--vm", WEB, "--vm", DB, "--log", made[0] / "log.db")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    summary, *wrong = offline.check_directory(folder, key)
    assert wrong == [[], []]
    assert f", about {WEB}, {DB}; " in summary

    rows = [json.loads(line) for line in lines]
    swept = [(row["record"], row["index"]) for row in rows if "index" in row and row["data"]["instance"] == str(DB)]
    kept = [line for line, row in zip(lines, rows, strict=True) if (row["record"], row.get("index")) not in swept]
    wrong = found(folder, key, "".join(kept))

    assert len(swept) > 1
    assert wrong == [
        f"record {record}, index {index}: events.jsonl lacks it, or has it changed" for record, index in swept
    ]


def test_a_line_that_is_there_twice_or_in_another_place_is_found(made: tuple[Path, str], tmp_path: Path) -> None:
    folder, key = tmp_path / "two", made[1]
    run("audit", "export", folder, "--vm", DB, "--vm", WEB, "--log", made[0] / "log.db")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    swept = next(number for number, line in enumerate(lines) if '"index": 1' in line)
    said = "it is there twice, or is not in its order"
    for changed, numbers in {
        "twice": ([*lines[:4], lines[3], *lines[4:]], [5]),
        "at the end": ([*lines, lines[3]], [len(lines) + 1]),
        "swapped": ([lines[0], lines[9], *lines[2:9], lines[1], *lines[10:]], [3, 10]),
        "of one sweep": ([*lines[: swept - 1], lines[swept], lines[swept - 1], *lines[swept + 1 :]], [swept + 1]),
    }.values():
        wrong = found(folder, key, "".join(changed))
        assert [each for each in wrong if said in each] == [f"events.jsonl, line {each}: {said}" for each in numbers]


@pytest.mark.parametrize("index", ["from the end", 9, True, 1.0, None, "1"])
def test_an_index_is_the_vms_own_place_in_its_sweep(made: tuple[Path, str], tmp_path: Path, index: object) -> None:
    """To Python, true is one, and what is counted from the end is there too."""
    folder, key = tmp_path / "two", made[1]
    run("audit", "export", folder, "--vm", DB, "--vm", WEB, "--log", made[0] / "log.db")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if '"index": 1' in line)
    [sweep] = [
        dict(
            zip(
                [name for name, *_ in LAYOUT["HostSwept:1"]], offline.unpack(bytes.fromhex(each["state"])), strict=False
            )
        )
        for each in json.loads((folder / "proofs.json").read_text())
        if each["position"] == json.loads(lines[number])["record"]
    ]
    given = 1 - len(sweep["states"]) // 2 if index == "from the end" else index
    lines[number] = lines[number].replace('"index": 1', f'"index": {json.dumps(given)}')
    wrong = found(folder, key, "".join(lines))

    assert wrong[0].startswith(f"events.jsonl, line {number + 1}: ")


def test_a_record_is_named_by_a_number(dossier: Path, key: str) -> None:
    text = (dossier / "events.jsonl").read_text()
    wrong = found(dossier, key, text.replace('"record": 1,', '"record": true,'))

    assert wrong[0] == "events.jsonl, line 1: its record or its index is none"


@pytest.mark.parametrize("text", ["", "nonsense", "another"])
def test_another_checkpoint_than_that_of_the_proofs_is_found(dossier: Path, key: str, text: str) -> None:
    true = (dossier / "checkpoint").read_text()
    wrong = found(dossier, key, true.replace("\n", " ") if text == "another" else text, "checkpoint")

    assert wrong == ["checkpoint: it is not the one that the proofs lead to"]


@pytest.mark.parametrize("said", [{"facts": 7}, {"after": 1}, {"after": -1}, {"until": 999999}, {"until": 20}])
def test_a_manifest_that_is_not_of_these_facts_is_found(dossier: Path, key: str, said: dict[str, int]) -> None:
    manifest = json.loads((dossier / "manifest.json").read_text())
    (dossier / "manifest.json").write_text(json.dumps({**manifest, **said}))
    _, wrong, unchecked = offline.check_directory(dossier, key)

    assert wrong == ["manifest.json: `facts`, `after` and `until` are not those of the records"]
    assert unchecked == []


def test_a_record_that_could_not_be_read_is_no_lack(made: tuple[Path, str], tmp_path: Path) -> None:
    log, folder = tmp_path / "log.db", tmp_path / "part"
    shutil.copy(made[0] / "log.db", log)
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("UPDATE records SET topic = 'Unheard:1' WHERE position = 5")
        connection.commit()
    run("audit", "export", folder, "-S", "3", "-U", "9", "--log", log)
    summary, *wrong = offline.check_directory(folder, made[1])

    assert (summary, wrong) == ("6 records were looked at, 3 to 9; some between them were not exported", [[], []])


def test_a_last_line_without_an_end_is_found(dossier: Path, key: str) -> None:
    lines = (dossier / "events.jsonl").read_text().splitlines()
    wrong = found(dossier, key, "\n".join([*lines, '{"forged": true}']))

    assert wrong == [f"events.jsonl, line {len(lines) + 1}: it has no end, so it was cut off, or added"]


def test_a_name_that_stands_twice_is_found(dossier: Path, key: str) -> None:
    """Python takes the last value, and whoever reads the line perhaps the first."""
    lines = (dossier / "events.jsonl").read_text().splitlines(keepends=True)
    twice = [*lines[:5], lines[5].replace('"data":', '"data": {"forged": 1}, "data":'), *lines[6:]]

    assert "events.jsonl, line 6: a name stands twice in one object" in found(dossier, key, "".join(twice))


@pytest.mark.parametrize("file", ["proofs.json", "labels.json", "layout.json", "manifest.json"])
def test_a_name_that_stands_twice_is_found_in_every_file(
    dossier: Path, key: str, file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dossier / file
    path.write_text(path.read_text().replace("{", '{"sha256": {}, "sha256": {}, ', 1))
    if file == "layout.json":
        monkeypatch.setattr(offline, "LAYOUT", sha256(path.read_bytes()).hexdigest())
    if file != "manifest.json":
        rewrite_manifest(dossier)
    monkeypatch.setattr(sys, "argv", ["verify.py", "--key", key, str(dossier)])

    assert offline.main() == 4
    assert capsys.readouterr().err == f"{dossier}: a name stands twice in one object\n"


@pytest.mark.parametrize("salt", ["blanks", "capitals", "short"])
def test_a_salt_is_sixteen_bytes_in_one_way(dossier: Path, key: str, salt: str) -> None:
    """Else what it lacks could stand at the begin of the text."""
    labels = json.loads((dossier / "labels.json").read_text())
    for each in labels:
        true = each["salt"]
        each["salt"] = {"blanks": f"{true[:-2]}  ", "capitals": f"{true} ".upper(), "short": true[:-2]}[salt]
    wrong = found(dossier, key, json.dumps(labels), "labels.json")

    assert any("is not the hexadecimal of 16 bytes" in each for each in wrong)


def test_a_text_cannot_begin_with_the_end_of_its_salt(dossier: Path, key: str) -> None:
    """As it could while of a salt with blanks only the length of its text was looked at."""
    row = {"id": 1, "salt": "00" * 15 + "  ", "whole": None}
    digest = sha256(bytes(15) + b"xnot needed").digest()

    with pytest.raises(offline.BadProofError, match="hexadecimal of 16 bytes"):
        offline.Facts([], {}, [row])._text(1, digest, "xnot needed")
    with pytest.raises(offline.BadProofError, match="hexadecimal of 32 bytes"):
        offline.Facts([], {}, [{**row, "salt": "00" * 16, "whole": "0" * 62 + "  "}])._text(1, digest, "x" * 256)


def test_what_was_damaged_on_the_way_is_named(dossier: Path, key: str) -> None:
    (dossier / "gaps.jsonl").write_text("")
    _, wrong, _ = offline.check_directory(dossier, key)

    assert wrong == ["gaps.jsonl: this is not the file that was written"]


def test_another_layout_is_not_believed(dossier: Path, key: str) -> None:
    """Else whoever changes the names of fields there has facts say what they never said."""
    path = dossier / "layout.json"
    path.write_text(path.read_text().replace('"reason"', '"season"'))
    path.with_name("events.jsonl").write_text((dossier / "events.jsonl").read_text().replace('"reason"', '"season"'))
    rewrite_manifest(dossier)
    _, wrong, unchecked = offline.check_directory(dossier, key)

    assert (wrong, len(unchecked)) == ([], 1)
    assert "of another es_power" in unchecked[0]


def test_a_name_that_leads_elsewhere_is_not_read(dossier: Path, key: str) -> None:
    (dossier / "manifest.json").write_text(json.dumps({"sha256": {"../dossier/README.md": ""}}))

    with pytest.raises(ValueError, match="no file of a directory"):
        offline.check_directory(dossier, key)


def test_what_sweeps_say_of_one_vm_is_read_from_their_bytes(made: tuple[Path, str], tmp_path: Path) -> None:
    folder, key = tmp_path / "web", made[1]
    run("audit", "export", folder, "--vm", WEB, "--log", made[0] / "log.db")
    summary, wrong, unchecked = offline.check_directory(folder, key)
    assert (wrong, unchecked) == ([], [])
    assert "some between them were not exported" in summary

    lines = (folder / "events.jsonl").read_text().splitlines()
    swept = [number for number, line in enumerate(lines) if '"index": 0' in line and "imported" not in line]
    for wanted, changed in (("state", 3), ("instance", str(WEB).replace("1", "2"))):
        row = json.loads(lines[swept[0]])
        row["data"][wanted] = changed
        (folder / "events.jsonl").write_text("\n".join([json.dumps(row), *lines[1:], ""]))
        rewrite_manifest(folder)
        assert offline.check_directory(folder, key)[1]
    proofs = json.loads((folder / "proofs.json").read_text())
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    kept = [each for each in proofs if not each["topic"].startswith("InventoryRecorded:")]
    (folder / "proofs.json").write_text(json.dumps(kept))
    rewrite_manifest(folder)
    _, wrong, unchecked = offline.check_directory(folder, key)

    assert (wrong, len(unchecked)) == ([], len(swept))


def test_from_the_command_line_it_says_what_is_wrong(
    dossier: Path, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(dossier, dossier.with_name("other"))
    (dossier.with_name("other") / "README.md").write_text("")
    monkeypatch.setattr(sys, "argv", ["verify.py", "--key", key, str(dossier), str(dossier.with_name("other"))])

    assert offline.main() == 4
    out, err = capsys.readouterr()
    assert [line.rpartition(": ")[2] for line in out.splitlines()] == [
        "all is as it was signed",
        "NOT all is as it was signed",
    ]
    assert err.endswith("README.md: this is not the file that was written\n")


def found(folder: Path, key: str, text: str, file: str = "events.jsonl") -> list[str]:
    """Change a file and the manifest, and give what the verifier names."""
    (folder / file).write_text(text)
    rewrite_manifest(folder)
    _, wrong, unchecked = offline.check_directory(folder, key)
    return [*wrong, *unchecked]


def rewrite_manifest(folder: Path) -> None:
    """Do what anybody can who changes a file."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    names = manifest["sha256"]
    manifest["sha256"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    path.write_text(json.dumps(manifest))
