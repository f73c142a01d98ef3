"""`es-power import`: what files of all kinds lead to in a log, and what is said of them."""

import bz2
import gzip
import io
import lzma
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
import trio

from es_power.domain.events import InstanceId, Recorded
from es_power.log import open_log
from es_power.projections.command_table import digest as commands_digest
from es_power.projections.power_state import digest
from es_power.projections.reader import read_models
from tests.unit.cli.conftest import Ask
from tests.unit.story import WEB

VM = InstanceId(UUID("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"))
NOVA = "2026-11-22 04:12:22.412 1234 INFO nova.compute.manager"
PATTERN = "2026-11-22 03:{:02}:{:02}.000+0000: "


def start(minute: int, name: str = "imp-1", vm: UUID = VM) -> str:
    return (
        f"{PATTERN.format(minute, 0)}starting up libvirt version: 9.0.0\nLC_ALL=C \\\n"
        f"-name {shlex.quote(f'guest={name},debug-threads=on')} \\\n-uuid {vm} \\\n-msg timestamp=on\n"
    )


def end(minute: int, reason: str = "shutdown") -> str:
    return (
        f"2026-11-22T03:{minute:02}:07.391442Z qemu: terminating on signal 15 from pid 4711 (bash)\n"
        f"{PATTERN.format(minute, 9)}shutting down, reason={reason}\n"
    )


def records(log: Path) -> Sequence[Recorded]:
    async def read() -> Sequence[Recorded]:
        async with open_log(log) as opened:
            return await opened.read(after=0, limit=100_000)

    return trio.run(read)


def digests(log: Path) -> tuple[str, str]:
    """What is known of VMs, and what was ordered."""

    async def read() -> tuple[str, str]:
        async with open_log(log) as opened:
            models, _ = await read_models(opened)
            return digest(models.fleet), commands_digest(models.commands.rows.values())

    return trio.run(read)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "imp-1.log"
    path.write_text(start(10) + end(12))
    return path


def test_a_qemu_log_is_told_by_history_under_its_name(ask: Ask, log: Path, file: Path) -> None:
    imported = ask("import", "qemu-log", file, "--log", log, "-o", "json")
    told = ask("history", "imp-1", "--log", log, "-o", "json")

    assert (imported.code, imported.rows[0]["new"]) == (0, 3)
    assert [row["what"] for row in told.rows] == [
        "qemu log: starting up",
        "qemu log: terminating on signal 15 from pid 4711 (bash)",
        "qemu log: shutting down, reason=shutdown",
    ]
    assert {row["host"] for row in told.rows} == {"a"}, "the only host that the log has seen"


def test_importing_twice_changes_nothing(ask: Ask, log: Path, file: Path) -> None:
    ask("import", "qemu-log", file, "--log", log)
    before = len(records(log))
    again = ask("import", "qemu-log", file, "--log", log, "-o", "json")

    assert (again.rows[0]["new"], again.rows[0]["known"]) == (0, 3)
    assert len(records(log)) == before


def test_rotated_and_compressed_files_that_overlap_are_one_history(ask: Ask, log: Path, tmp_path: Path) -> None:
    texts = [start(1) + end(2), start(3), end(4, "crashed")]
    (tmp_path / "imp-1.log.2.gz").write_bytes(gzip.compress(texts[0].encode()))
    (tmp_path / "imp-1.log.1.xz").write_bytes(lzma.compress((texts[0] + texts[1]).encode()))
    (tmp_path / "imp-1.log.0.bz2").write_bytes(bz2.compress(texts[1].encode()))
    (tmp_path / "imp-1.log").write_text(texts[2])
    found = ask("import", "qemu-log", *sorted(tmp_path.glob("imp-1*")), "--log", log, "-o", "json")
    told = ask("history", str(VM), "--log", log, "-o", "json")

    assert [row["new"] for row in found.rows] == [3, 1, 0, 2]
    assert [row["kind"] for row in told.rows] == [
        *("QemuStarted", "QemuTerminated", "QemuEnded"),
        *("QemuStarted", "QemuTerminated", "QemuEnded"),
    ]


def test_a_log_that_nothing_names_is_of_the_vm_that_bears_its_name(ask: Ask, log: Path, tmp_path: Path) -> None:
    (tmp_path / "web-1.log").write_text(end(12))
    (tmp_path / "who.log").write_text(end(12))
    found = ask("import", "qemu-log", tmp_path / "web-1.log", tmp_path / "who.log", "--log", log, "-o", "json")
    told = ask("history", str(WEB), "--log", log, "-o", "json")

    assert [(row["new"], row["unknown_vm"]) for row in found.rows] == [(2, 0), (0, 2)]
    assert "QemuTerminated" in {row["kind"] for row in told.rows}


def test_imported_lines_stand_at_their_place_in_time(ask: Ask, log: Path, tmp_path: Path) -> None:
    (tmp_path / "web-1.log").write_text(start(1, "web-1", WEB) + end(2))
    ask("import", "qemu-log", tmp_path / "web-1.log", "--log", log)
    told = ask("history", "web-1", "--log", log, "-o", "json").rows

    assert {row["kind"] for row in told if row["imported"] == "qemu-log"} == {
        *("QemuStarted", "QemuTerminated", "QemuEnded")
    }
    assert {row["imported"] for row in told if not row["kind"].startswith("Qemu")} == {None}
    times = [row["observed_at"] for row in told if row["kind"].startswith("Qemu")]
    assert [row["kind"] for row in told[:3]] == ["QemuStarted", "QemuTerminated", "QemuEnded"]
    assert times == sorted(times)
    since = ask(
        "history", "web-1", "-S", "2026-11-22 03:02:00Z", "-U", "2026-11-22 03:02:08Z", "--log", log, "-o", "json"
    )
    assert [row["kind"] for row in since.rows] == ["QemuTerminated"]


def test_nothing_follows_from_what_is_imported(ask: Ask, log: Path, tmp_path: Path) -> None:
    before = digests(log)
    (tmp_path / "web-1.log").write_text(start(1, "web-1", WEB) + end(2, "crashed"))
    (tmp_path / "nova.log").write_text(f"{NOVA} [-] [instance: {WEB}] VM Stopped (Lifecycle Event)\n")
    ask("import", "qemu-log", tmp_path / "web-1.log", "--log", log)
    ask("import", "nova-log", "--tz", "UTC", tmp_path / "nova.log", "--log", log)

    assert digests(log) == before


def test_a_vm_known_from_imports_alone_is_in_no_status_but_that_of_all(ask: Ask, log: Path, file: Path) -> None:
    ask("import", "qemu-log", file, "--log", log)
    names = {row["name"] for row in ask("status", "--log", log, "-o", "json").rows}
    everything = {row["name"]: row for row in ask("status", "--all", "--log", log, "-o", "json").rows}

    assert "imp-1" not in names
    assert (everything["imp-1"]["power_state"], everything["imp-1"]["note"]) == ("UNKNOWN", "imported: never observed")


def test_a_nova_log_names_who_requested_and_keeps_both_times(ask: Ask, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "nova-compute.log"
    path.write_text(
        f"{NOVA} [req-1 ann lab - - -] [instance: {VM}] Terminating instance\n"
        f"{NOVA} [-] [instance: {VM}] VM Stopped (Lifecycle Event)\n"
    )
    found = ask("import", "nova-log", "--tz", "Europe/Berlin", path, "--host", "cmp-1", "--log", log, "-o", "json")
    stopped, requested = ask("history", VM, "--log", log, "-o", "json").rows

    assert found.rows[0]["new"] == 2
    assert requested["what"] == "nova log: Terminating instance (req-1) by ann"
    assert (stopped["observed_at"], stopped["logged_at"]) == (
        "2026-11-22T03:12:07.412000000Z",
        "2026-11-22T03:12:22.412000000Z",
    )
    assert stopped["host"] == "cmp-1"


def test_an_import_makes_a_log_where_that_is_asked_for(ask: Ask, tmp_path: Path, file: Path) -> None:
    refused = ask("import", "qemu-log", file, "--log", tmp_path / "new.db")
    assert (refused.code, refused.out) == (3, "")
    assert "there is no log at" in refused.err
    assert "--create" in refused.err
    assert not (tmp_path / "new.db").exists()

    assert ask("import", "qemu-log", file, "--create", "--log", tmp_path / "new.db").code == 0
    assert len(records(tmp_path / "new.db")) == 4
    assert ask("import", "qemu-log", file, "--create", "--log", tmp_path / "new.db").code == 0


def test_standard_input_is_read(ask: Ask, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress((start(1) + end(2)).encode()))))
    monkeypatch.setattr(sys, "stdin", text)
    found = ask("import", "qemu-log", "-", "--log", log, "-o", "json")

    assert [(row["file"], row["new"]) for row in found.rows] == [("standard input", 3)]


def test_what_is_wrong_with_a_file_is_said_and_the_others_are_imported(ask: Ask, log: Path, file: Path) -> None:
    folder = file.parent
    whole = gzip.compress((start(20) * 300 + end(21)).encode(), compresslevel=0)
    (folder / "half.log.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "zst.log").write_bytes(b"\x28\xb5\x2f\xfd rest")
    (folder / "garbage.log").write_bytes(os.urandom(5000) + b"\n" + b"x" * 2**19 + b"\n")
    found = ask(
        "import", "qemu-log", *sorted(folder.glob("*.log*")), folder, folder / "none", "--log", log, "-o", "json"
    )
    said = {Path(row["file"]).name: row for row in found.rows}

    assert said["imp-1.log"]["new"] == 3
    assert said["half.log.gz"]["new"] == 1
    assert "breaks off" in said["half.log.gz"]["note"]
    assert "zstd -dc" in said["zst.log"]["note"]
    assert said["garbage.log"]["unparsed"] > 1
    assert "first that cannot be read" in said["garbage.log"]["note"]
    assert said[folder.name]["note"] == "is a folder; name the files in it"
    assert said["none"]["note"] == "there is no such file"
    assert found.code in {1, 3}
    assert found.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["qemu-log", "/nowhere/imp.log"], 3, ""),
        (["qemu-log"], 2, "FILE"),
        (["nova-log", "nova.log"], 2, "--tz"),
        (["nova-log", "--tz", "Mars/Olympus", "nova.log"], 2, "'Mars/Olympus' is no time zone"),
        (["nova-log", "--tz", "../../etc/passwd", "nova.log"], 2, "is no time zone"),
        (["nova-log", "--tz", "", "nova.log"], 2, "'--tz': it is empty"),
        (["qemu-log", "--host", "a/b", "x.log"], 2, "no /"),
        (["qemu-log", "--host", "a\x1bb", "x.log"], 2, "printable"),
    ],
)
def test_what_was_asked_wrongly(ask: Ask, log: Path, arguments: list[str], code: int, said: str) -> None:
    answer = ask("import", *arguments, "--log", log)

    assert answer.code == code
    assert said in answer.err
    assert "Traceback" not in answer.err


HOSTILE = ["=cmd|'/c calc'!A1", "<script>alert(1)</script>", "a\u202eb", "[red]x[/red]", "-rf", "x" * 240]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_a_file_stays_text(ask: Ask, log: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "named.log"
    path.write_text(start(1, name) + end(2))
    ask("import", "qemu-log", path, "--log", log)
    everything = ask("status", "--all", "--log", log, "-o", "json").rows
    table = ask("status", "--all", "--log", log).out
    csv = ask("status", "--all", "--log", log, "-o", "csv").out

    assert name in {row["name"] for row in everything}
    assert "\u202e" not in table
    assert '\n"=cmd' not in csv


def test_no_table_is_needed_and_a_rebuild_knows_the_same(ask: Ask, log: Path, file: Path) -> None:
    ask("import", "qemu-log", file, "--log", log)
    before = ask("history", "imp-1", "--log", log, "-o", "json").rows
    rebuilt = ask("replay", "--rebuild", "--log", log)
    after = ask("history", "imp-1", "--log", log, "-o", "json").rows

    assert rebuilt.code == 0
    assert before == after
