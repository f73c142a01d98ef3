"""What doctor says of the qemu logs of a host."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_power.cli.checks import Check, Result
from es_power.cli.qemu_log_checks import qemu_log_checks
from es_power.settings import Host, Log, QemuLog, Settings


def check(folder: Path, *, uri: str = "qemu:///system", enabled: bool = True) -> list[Check]:
    settings = Settings(log=Log(path="unused"), qemu_log=QemuLog(enabled=enabled, folder=str(folder)))
    return list(qemu_log_checks(Host(uri=uri), settings, {"HOME": "/"}))


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Be somebody who may not read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_logs_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "web-1.log").touch()
    (tmp_path / "folder.log").mkdir()
    [found] = check(tmp_path)

    assert (found.result, found.found) == (Result.OK, f"1 logs in {tmp_path} can be read")


def test_logs_that_may_not_be_read_come_with_the_mend(tmp_path: Path, as_nobody: None) -> None:
    if os.getuid() == 0:
        os.seteuid(0)
    (tmp_path / "web-1.log").touch(mode=0)
    for parent in tmp_path.relative_to("/").parents:
        path = Path("/") / parent
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    if os.getuid() == 0:
        os.seteuid(65534)
    [found] = check(tmp_path)

    assert found.result is Result.FINDING
    assert found.found.startswith("1 of 1 logs")
    assert "es-power-qemu-log.conf" in found.mend


def test_a_folder_that_is_not_there_yet_is_no_finding(tmp_path: Path) -> None:
    [found] = check(tmp_path / "none")

    assert found.result is Result.OK


def test_a_folder_that_is_none_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [found] = check(tmp_path / "file")

    assert found.result is Result.FINDING


def test_what_is_not_followed_is_not_tried(tmp_path: Path) -> None:
    [found] = check(tmp_path / "none", enabled=False)

    assert "not followed" in found.found


def test_a_host_elsewhere_has_no_such_check(tmp_path: Path) -> None:
    assert check(tmp_path, uri="qemu+ssh://kvm-07/system") == []
    assert check(tmp_path, uri="test:///default") == []
