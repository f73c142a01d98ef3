"""Following a folder of qemu logs: real files that grow, are emptied, renamed and copied, over restarts."""

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from es_power.domain.events import Event, InstanceId, Label
from es_power.domain.logged import QemuEnded, QemuLogOpened, QemuStarted, QemuTerminated
from es_power.domain.time import SECOND, Timestamp
from es_power.ingest import qemu_files
from es_power.ingest.lines import read_time
from es_power.ingest.qemu_follow import QemuLogFollower, log_folder
from es_power.testing.memory import MemoryLog

STREAM = "observer/kvm-07/qemu"
WEB = InstanceId(UUID(int=1))
DB = InstanceId(UUID(int=2))
#: When everything is followed first.
BEGIN = read_time("2026-11-22T00:00:00Z")


def start(minute: int, vm: InstanceId = WEB) -> str:
    return (
        f"2026-11-22 03:{minute:02}:00.000+0000: starting up libvirt version: 9.0.0\nLC_ALL=C \\\n"
        f"-name guest=vm-{vm.int},debug-threads=on \\\n-uuid {vm} \\\n-msg timestamp=on\n"
    )


def kill(minute: int, pid: int = 4711) -> str:
    return f"2026-11-22T03:{minute:02}:30.000Z qemu-system-x86_64: terminating on signal 15 from pid {pid} (bash)\n"


def end(minute: int, reason: str = "shutdown") -> str:
    return f"2026-11-22 03:{minute:02}:59.000+0000: shutting down, reason={reason}\n"


class House:
    """A folder, a log, and one follower after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "vm-1.log"
        self.log = MemoryLog()
        self.restart()

    def restart(self) -> None:
        assert BEGIN is not None
        self.follower = QemuLogFollower(self.log, STREAM, self.folder, clock=lambda: Timestamp(BEGIN))

    def write(self, *texts: str, path: Path | None = None) -> None:
        with (path or self.path).open("a") as file:
            file.write("".join(texts))

    async def look(self) -> None:
        while await self.follower.look():
            pass

    async def told(self) -> list[str]:
        """What the stream has, in words."""
        return [_word(each.event) for each in await self.log.read_stream("qemu-log/kvm-07/qemu")]


def _word(event: Event) -> str:
    vm = "" if getattr(event, "instance", WEB) == WEB else "db "
    match event:
        case QemuLogOpened(offset=offset):
            return f"{vm}opened {offset}"
        case QemuStarted(observed_at=at):
            return f"{vm}started {at // SECOND // 60 % 60}"
        case QemuTerminated(pid=pid):
            return f"{vm}killed by {pid}"
        case QemuEnded(reason=reason):
            return f"{vm}{reason}"
        case _:
            return type(event).__name__


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_log_seen_for_the_first_time_ever_is_read_from_its_end(house: House) -> None:
    house.write(start(1), end(2), start(3))
    await house.look()
    house.write(kill(4), end(4))
    await house.look()

    assert await house.told() == [f"opened {len(start(1) + end(2) + start(3))}", "killed by 4711", "shutdown"]


async def test_a_log_that_appears_while_somebody_watches_is_read_from_its_start(house: House) -> None:
    await house.look()
    house.write(start(1))
    await house.look()
    await house.look()

    assert await house.told() == ["opened 0", "started 1"]


async def test_what_happened_while_no_service_ran_is_found_once(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.write(kill(2), end(2))
    house.restart()
    await house.look()
    house.restart()
    await house.look()
    house.write(start(3))
    await house.look()

    assert await house.told() == [f"opened {len(start(1))}", "killed by 4711", "shutdown", "started 3"]


async def test_a_vm_made_while_no_service_ran_is_told_from_its_start(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.restart()
    house.write(start(5, DB), path=house.folder / "vm-2.log")
    await house.look()

    assert await house.told() == [f"opened {len(start(1))}", "db opened 0", "db started 5"]


async def test_history_from_before_the_first_look_is_never_told(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.restart()
    house.write(start(5, DB).replace("2026-11-22", "2026-11-21"), path=house.folder / "vm-2.log")
    await house.look()

    assert await house.told() == [f"opened {len(start(1))}", "db opened 0"]


async def test_a_half_line_waits_for_its_end(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.write(kill(2)[:60])
    await house.look()
    house.write(kill(2)[60:])
    await house.look()

    assert (await house.told())[1:] == ["killed by 4711"]


def rename(path: Path) -> None:
    """As virtlogd does."""
    path.rename(path.with_name("vm-1.log.0"))


def copy_and_empty(path: Path) -> None:
    """As logrotate's copytruncate does."""
    shutil.copy2(path, path.with_name("vm-1.log.1"))
    os.truncate(path, 0)


def copy_compress_and_empty(path: Path) -> None:
    path.with_name("vm-1.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    os.truncate(path, 0)


ROTATIONS = [rename, copy_and_empty, copy_compress_and_empty]


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("looks_between", [False, True])
async def test_the_rest_of_a_rotated_log_is_read_before_the_new_one(
    house: House, rotate: object, *, restarts: bool, looks_between: bool
) -> None:
    assert callable(rotate)
    house.write(start(1))
    await house.look()
    house.write(kill(2))
    rotate(house.path)
    if looks_between:
        await house.look()
    if restarts:
        house.restart()
    house.write(end(2), start(3))
    await house.look()
    house.write(end(4, "crashed"))
    await house.look()

    told = [word for word in await house.told() if not word.startswith("opened")]
    assert told == ["killed by 4711", "shutdown", "started 3", "crashed"]


async def test_a_log_that_was_renamed_and_is_written_on_is_followed(house: House) -> None:
    house.write(start(1))
    await house.look()
    rename(house.path)
    house.write(kill(2), path=house.folder / "vm-1.log.0")
    await house.look()
    house.write(end(2))
    await house.look()

    assert (await house.told())[1:] == ["killed by 4711", "opened 0", "shutdown"]


async def test_two_rotations_between_two_looks_lose_nothing(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.write(kill(2))
    house.path.rename(house.folder / "vm-1.log.1")
    os.utime(house.folder / "vm-1.log.1", (1, 1))
    house.write(start(3), kill(4, 99))
    house.path.rename(house.folder / "vm-1.log.0")
    house.write(start(5))
    await house.look()

    told = [word for word in await house.told() if not word.startswith("opened")]
    assert told == ["killed by 4711", "started 3", "killed by 99", "started 5"]


async def test_a_log_that_is_emptied_at_each_start_is_noticed_though_it_grew_beyond_what_was_read(house: House) -> None:
    """As a session's libvirt does: the same inode, another first line, and soon more bytes than before."""
    house.write(start(1))
    await house.look()
    os.truncate(house.path, 0)
    house.write(start(2), kill(3))
    await house.look()

    assert (await house.told())[1:] == ["opened 0", "started 2", "killed by 4711"]


async def test_a_name_that_another_vm_bears_now(house: House) -> None:
    house.write(start(1))
    await house.look()
    house.write(end(2), start(3, DB), kill(4))
    await house.look()
    house.restart()
    house.write(end(4))
    await house.look()

    begun = len(start(1))
    assert await house.told() == [
        f"opened {begun}",
        "shutdown",
        f"db opened {begun}",
        "db started 3",
        "db killed by 4711",
        "db shutdown",
    ]


async def test_two_vms_that_started_in_one_millisecond_are_told_apart(house: House) -> None:
    other = house.folder / "vm-2.log"
    house.write(start(1))
    house.write(start(1, DB), path=other)
    await house.look()
    house.restart()
    house.write(kill(2, 1))
    house.write(kill(2, 2), path=other)
    await house.look()

    assert (await house.told())[2:] == ["killed by 1", "db killed by 2"]


async def test_a_large_log_is_read_in_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_files, "_AT_ONCE", 2**17)
    await house.look()
    house.write(start(1), "x" * 2**20 + "\n", kill(2))

    assert await house.follower.look()
    await house.look()
    assert await house.told() == ["opened 0", "started 1", "killed by 4711"]


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Be somebody who may not read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


async def test_logs_that_may_not_be_read_are_told_once_and_read_when_they_may(
    tmp_path: Path, as_nobody: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    if os.geteuid() == os.getuid():
        folder.mkdir()
    else:
        os.seteuid(0)
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        for parent in folder.relative_to("/tmp").parents:
            (Path("/tmp") / parent).chmod(0o755)
        os.seteuid(65534)
    house = House(folder)
    house.write(start(1))
    house.path.chmod(0)
    await house.look()
    await house.look()
    said = capsys.readouterr().out
    house.path.chmod(0o600)
    await house.look()

    assert said.count("es-power doctor") == 1
    assert await house.told() == ["opened 0", "started 1"]


async def test_a_folder_that_is_not_there_is_told_once_and_looked_for_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path / "none")
    await house.look()
    await house.look()
    assert capsys.readouterr().out.count("cannot be read") == 1
    house.folder.mkdir()
    house.write(start(1))
    await house.look()

    assert await house.told() == [f"opened {len(start(1))}"]


async def test_what_is_no_log_is_let_be(house: House) -> None:
    os.mkfifo(house.folder / "pipe.log")
    (house.folder / "folder.log").mkdir()
    (house.folder / "empty.log").touch()
    (house.folder / "garbage.log").write_bytes(os.urandom(2**16))
    await house.look()

    assert await house.told() == []


async def test_the_file_is_told_by_name_as_a_label(house: House) -> None:
    house.write(start(1))
    await house.look()
    [recorded] = await house.log.read_stream("qemu-log/kvm-07/qemu")

    assert isinstance(recorded.event, QemuLogOpened)
    assert isinstance(recorded.event.file, Label)
    assert await house.log.labels([recorded.event.file.id]) == {recorded.event.file.id: "vm-1.log"}


@pytest.mark.parametrize(
    ("uri", "folder", "expected"),
    [
        ("qemu:///system", "", "/var/log/libvirt/qemu"),
        ("qemu:///system", "/logs", "/logs"),
        ("qemu:///session", "", "/home/me/.cache/libvirt/qemu/log"),
        ("qemu+unix:///session?socket=/run/sock", "/logs", "/logs"),
        ("qemu+ssh://kvm-07/system", "", None),
        ("test:///default", "/logs", None),
    ],
)
def test_where_a_hosts_logs_are(uri: str, folder: str, expected: str | None) -> None:
    found = log_folder(uri, {"HOME": "/home/me"}, folder)

    assert found == (Path(expected) if expected else None)
