"""What a person gets wrong, and what a machine does: one clear line that says what to do, and no traceback."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.acceptance.program import Done, Machine


@pytest.fixture
def es_power(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def log(the_log: Path, tmp_path: Path) -> Path:
    """A copy of that night's log, in a directory of its own."""
    folder = tmp_path / "log"
    folder.mkdir()
    with closing(sqlite3.connect(the_log)) as source, closing(sqlite3.connect(folder / "log.db")) as target:
        source.backup(target)
    return folder / "log.db"


def complaint(done: Done) -> str:
    """The one line that it said, and nothing else."""
    assert done.out == ""
    [line] = done.complaints
    assert line.startswith("es-power: ")
    return line.removeprefix("es-power: ")


# ------------------------------------------------------------------------------------------------ people


def test_a_uri_that_does_not_open_is_named(es_power: Machine) -> None:
    done = es_power("run", "--uri", "qemu+unix:///system?socket=/no/such/socket", "--log", "log.db")

    assert done.code == 5
    assert "/no/such/socket" in complaint(done)


def test_a_log_that_is_not_there_is_not_made_by_asking(es_power: Machine) -> None:
    done = es_power("status", "--log", "none.db")

    assert done.code == 3
    assert complaint(done).startswith(f"there is no log at {es_power.home}/none.db")
    assert not (es_power.home / "none.db").exists()


def test_a_vm_that_is_not_known_is_not_found(es_power: Machine, log: Path) -> None:
    done = es_power("history", "db-9", "--log", log)

    assert done.code == 3
    assert "'db-9'" in complaint(done)


def test_all_mistakes_of_the_settings_are_told_at_once(es_power: Machine) -> None:
    config = es_power.home / "config.toml"
    config.write_text('[sweep]\nspacing = "often"\njiter = 0.1\n[bridge]\ncapacity = 0\n[polices]\nname = "x"\n')

    done = es_power("run", "--config", config, "--policy", "nova-2031")

    assert done.code == 2
    assert len(done.complaints) == 5
    for words in ("'often'", "did you mean jitter?", "capacity is 0", "did you mean [policy]?", "nova-2013?"):
        assert words in "\n".join(done.complaints)


def test_a_name_that_two_vms_bear_is_not_guessed(es_power: Machine, log: Path) -> None:
    with closing(sqlite3.connect(log)) as database, database:
        database.execute("UPDATE labels SET text = 'web-1' WHERE text = 'ci-9'")

    done = es_power("status", "web-1", "--log", log)

    assert done.code == 2
    assert "kvm-07" in done.complaints[0]


def test_a_file_of_another_kind_is_left_as_it_is(es_power: Machine) -> None:
    letter = es_power.home / "letter.txt"
    letter.write_text("Dear Alice, the shop is down again.\n" * 40)

    asked, served = es_power("status", "--log", letter), es_power("run", "--uri", "test:///default", "--log", letter)

    assert (asked.code, served.code) == (3, 3)
    assert "not a log" in complaint(asked)
    assert "not a log" in complaint(served)
    assert letter.read_text().startswith("Dear Alice")


# ------------------------------------------------------------------------------------------------ the log


def test_a_log_of_a_newer_schema_is_refused_with_the_version_that_wrote_it(es_power: Machine, log: Path) -> None:
    with closing(sqlite3.connect(log)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
        database.execute("UPDATE head SET written_by = '9.8.7'")

    asked, served = es_power("status", "--log", log), es_power("run", "--uri", "test:///default", "--log", log)

    assert (asked.code, served.code) == (1, 1)
    assert "upgrade es_power on this machine to 9.8.7" in complaint(asked)
    assert complaint(asked) == complaint(served)


def test_a_changed_record_is_found_and_named_and_the_rest_is_read_on(es_power: Machine, log: Path) -> None:
    with closing(sqlite3.connect(log)) as database, database:
        [(state,)] = database.execute("SELECT state FROM records WHERE position = 76")
        database.execute("UPDATE records SET state = ? WHERE position = 76", [state[:-1] + b"\x02"])

    verified = es_power("replay", "--verify", "--log", log)
    asked = es_power("status", "web-1", "--as-of", "2026-11-22T03:21:00Z", "--log", log)

    assert verified.code == 4
    assert "record 76 was changed or damaged" in complaint(verified)
    assert asked.code == 0
    assert "SHUTDOWN" in asked.out


def test_a_damaged_file_is_said_to_be_damaged(es_power: Machine, log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)

    done = es_power("history", "web-1", "--log", log)

    assert done.code in {1, 5}
    assert "is damaged" in complaint(done)


# --------------------------------------------------------------------------------------------- the machine


def test_a_directory_that_can_only_be_read_is_named(es_power: Machine, log: Path) -> None:
    log.chmod(0o444)
    log.parent.chmod(0o555)

    asked = es_power("status", "--as-of", "2026-11-22T03:21:00Z", "--log", log, weak=True)
    told = es_power("declare", "web-1", "--clear", "--why", "x", "--log", log, weak=True)
    served = es_power("run", "--uri", "test:///default", "--log", log.with_name("new.db"), weak=True)
    log.parent.chmod(0o755)

    assert asked.code == 0
    assert (told.code, served.code) == (5, 5)
    assert str(log) in complaint(told)
    assert "new.db cannot be created: Permission denied" in complaint(served)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Leave so many bytes on a disk; give the file to delete."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(filler, filler.stat().st_size - leave)
    return filler


def test_on_a_full_disk_nothing_that_was_acknowledged_is_lost(es_power: Machine, log: Path, small_disk: Path) -> None:
    place = small_disk / "log.db"
    shutil.copy(log, place)
    filler = fill(small_disk, leave=40_960)  # of which SQLite's shared memory takes 32 KiB

    full = es_power("declare", "web-1", "--clear", "--why", "x", "--log", place)
    filler.unlink()
    verified = es_power("replay", "--verify", "--log", place)

    assert full.code == 5
    assert f"the disk that holds {place} is full" in complaint(full)
    assert verified.code == 0


async def test_a_service_waits_for_a_full_disk_and_goes_on(es_power: Machine, small_disk: Path) -> None:
    place = small_disk / "log.db"
    async with es_power.running("run", "--uri", "test:///default", "--spacing", "0.2", "--log", place) as service:
        await service.says('"observing"')
        filler = fill(small_disk)
        await service.says(f"the disk that holds {place} is full")
        filler.unlink()
        with closing(sqlite3.connect(place)) as database, trio.fail_after(20):
            [(then,)] = database.execute("SELECT position FROM head")
            while database.execute("SELECT position FROM head").fetchone() <= (then + 1,):
                await trio.sleep(0.02)
        done = await service.end(signal.SIGTERM)
    verified = es_power("replay", "--verify", "--log", place)

    assert (done.code, verified.code) == (0, 0)


def test_a_demo_is_played_in_no_log_that_is_there(es_power: Machine, log: Path) -> None:
    done = es_power("demo", "--duration", "1", "--vms", "2", "--log", log)

    assert done.code == 2
    assert "is a log already; name a new one" in " ".join(done.complaints)
