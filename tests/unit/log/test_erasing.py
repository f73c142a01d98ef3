"""What stands beside a log by its name: its own files, leases, and copies that still have what was erased."""

from pathlib import Path

from es_power.log.erasing import copies


def test_copies_are_what_stands_beside_a_log_by_its_name_and_is_none_of_its_own_files(tmp_path: Path) -> None:
    log = tmp_path / "log[1].db"
    own = ("", "-wal", "-shm", "-journal", ".lease-0123456789abcdef")
    for name in (*(f"{log.name}{suffix}" for suffix in (*own, ".bak-1", "~")), "log1.db", "other.db"):
        (tmp_path / name).touch()
    (tmp_path / f"{log.name}.d").mkdir()

    assert list(copies(log)) == [tmp_path / "log[1].db.bak-1", tmp_path / "log[1].db~"]
