"""What stands beside a log by its name: its own files, leases, and copies that still have what was erased."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from es_power.log.erasing import copies, scrub
from tests.unit.log.facts import new_database


def test_copies_are_what_stands_beside_a_log_by_its_name_and_is_none_of_its_own_files(tmp_path: Path) -> None:
    log = tmp_path / "log[1].db"
    own = ("", "-wal", "-shm", "-journal", ".lease-0123456789abcdef")
    for name in (*(f"{log.name}{suffix}" for suffix in (*own, ".bak-1", "~")), "log1.db", "other.db"):
        (tmp_path / name).touch()
    (tmp_path / f"{log.name}.d").mkdir()

    assert list(copies(log)) == [tmp_path / "log[1].db.bak-1", tmp_path / "log[1].db~"]


def test_what_a_restore_left_that_was_killed_is_a_copy_and_a_second_name_of_the_log_is_none(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    (tmp_path / "log.db.restoring").mkdir()
    for name in ("log.db", "log.db.room", "log.db.restoring/log.db", "log.db.replaced-1"):
        (tmp_path / name).touch()
    os.link(log, tmp_path / "log.db.replaced-2")

    assert list(copies(log)) == [tmp_path / "log.db.replaced-1", tmp_path / "log.db.restoring" / "log.db"]


@pytest.mark.parametrize("place", ["log.db", None])
def test_what_was_erased_is_gone_from_the_write_ahead_log_too(tmp_path: Path, place: str | None) -> None:
    with closing(new_database(tmp_path / place if place else "sqlite://")) as database:
        assert scrub(database)
        assert database.wal_bytes() == 0
