"""A log's new directory is there after a power cut: SQLite syncs the names in it, and not its own."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from es_power.log.database import Database
from es_power.log.folders import make_folder
from es_power.log.upgrade import ensure_schema


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced, in order."""
    found: list[Path] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        found.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_the_name_of_each_new_directory_is_brought_to_disk(tmp_path: Path, synced: list[Path]) -> None:
    with closing(Database(tmp_path / "a" / "b" / "log.db")) as database:
        ensure_schema(database)

    assert synced == [tmp_path / "a", tmp_path]


def test_a_directory_that_is_there_costs_nothing(tmp_path: Path, synced: list[Path]) -> None:
    make_folder(tmp_path)

    assert synced == []
