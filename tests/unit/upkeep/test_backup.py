"""A backup is a log that is whole, made while a service writes; put back, it sends nothing out of the past."""

import errno
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio

from es_power.audit.keys import Signer
from es_power.audit.sealing import Sealer
from es_power.domain.command import CommandState
from es_power.domain.custody import LabelsForgotten, LogRestored
from es_power.domain.decisions import HoldPlaced, Withdrawn
from es_power.domain.events import HostSwept, Position
from es_power.domain.ports import Append, Tracking
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import AUDIT, stream_id
from es_power.domain.time import Timestamp
from es_power.errors import BackupError, LeaseHeldError, LogError, LogNotFoundError, LogRewoundError, SealBrokenError
from es_power.ingest.declarations import declare
from es_power.log import open_log
from es_power.log.database import Database
from es_power.log.marks import marked
from es_power.projections.queries import look
from es_power.projections.tables import CHECKPOINT
from es_power.replay import verify
from es_power.service import serve
from es_power.testing.hypervisor import FakeHypervisor
from es_power.upkeep.backup import BackedUp, back_up, keep
from es_power.upkeep.checking import check
from es_power.upkeep.forgetting import find_namings, forget
from es_power.upkeep.restoring import Restored, restore
from es_power.upkeep.rewinding import ACTOR, accept_rewind, require_not_rewound
from es_power.upkeep.saying import said
from tests.unit.story import RUNNING, WEB, Story
from tests.unit.test_service import running, seen, settings

AT = Timestamp(1_900_000_000_000_000_000)


def planned() -> Story:
    """web-1 is vouched to be stopped and runs: its stop is planned, and open."""
    story = Story()
    story.start()
    story.name(WEB, "web-1")
    story.sweep({WEB: RUNNING})
    story.vouch(WEB, VmState.STOPPED)
    story.observe(WEB, *RUNNING)
    story.plan()
    return story


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "here" / "log.db"
    place.parent.mkdir()
    trio.run(planned().write, place)
    return place


async def backup_of(place: Path, destination: Path) -> BackedUp:
    async with open_log(place) as log:
        return await back_up(log, destination, at=AT)


async def put_back(place: Path, backup: Path) -> Restored:
    return await restore(place, backup, by="root", at=AT)


async def head_of(place: Path) -> int:
    """Its last position, after all of it was read."""
    async with open_log(place) as log:
        return (await check(log)).position


async def declare_more(place: Path, count: int) -> None:
    async with open_log(place, mode="write") as log:
        for _ in range(count):
            await declare(log, [(WEB, VmState.ACTIVE, None)], by="alice", why="", at=AT)


async def audit_of(place: Path) -> list[object]:
    async with open_log(place) as log:
        return [recorded.event for recorded in await log.read_stream(AUDIT)]


# ------------------------------------------------------------------------------------------------------- backup


async def test_a_backup_is_one_file_with_all_that_was_acknowledged(log: Path, tmp_path: Path) -> None:
    async with open_log(log, mode="write") as writing:
        await declare(writing, [(WEB, VmState.ACTIVE, None)], by="alice", why="", at=AT)
        done = await back_up(writing, tmp_path, at=AT)
        head = await writing.head()

    assert (done.position, await head_of(done.file)) == (head, head)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [done.file.name]
    assert (done.file.stat().st_mode & 0o777) == (log.stat().st_mode & 0o777)


async def test_a_running_service_goes_on_while_it_is_backed_up(tmp_path: Path) -> None:
    host, place = FakeHypervisor(), tmp_path / "log.db"
    guest = host.add("web-1", state=1, reason=1)
    async with open_log(place, mode="write") as log, running(log, host) as service:
        await seen(log, service, guest, PowerState.RUNNING)
        done = await backup_of(place, tmp_path / "backup.db")
        host.power_off(guest)
        await seen(log, service, guest, PowerState.SHUTDOWN)

        assert await log.head() > done.position
        assert await head_of(done.file) == done.position


async def test_a_damaged_log_gives_no_backup(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute("UPDATE records SET recorded_at = 1 WHERE position = 3")

    with pytest.raises(SealBrokenError, match="record 3 "):
        await backup_of(log, tmp_path / "backup.db")
    assert list(tmp_path.glob("backup.db*")) == []


async def test_a_backup_overwrites_nothing_and_needs_its_directory(log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("not yours")

    for destination, reason in (
        (tmp_path / "mine", "is there already"),
        (tmp_path / "no" / "b.db", "there is no directory"),
    ):
        with pytest.raises(BackupError, match=reason):
            await backup_of(log, tmp_path / destination)
    assert (tmp_path / "mine").read_text() == "not yours"


async def test_two_backups_to_one_name_at_once_are_one_backup_and_one_refusal(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They once cleared each other's half-written file."""
    there, copying = threading.Barrier(2), Database.copy_to

    def together(database: Database, path: Path) -> None:
        copying(database, path)
        there.wait(10)  # both have written, and neither is done

    monkeypatch.setattr(Database, "copy_to", together)
    outcomes: list[BackedUp | BackupError] = []

    async def attempt() -> None:
        try:
            outcomes.append(await backup_of(log, tmp_path / "b.db"))
        except BackupError as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt)
        nursery.start_soon(attempt)

    [done] = [each for each in outcomes if isinstance(each, BackedUp)]
    [refused] = [each for each in outcomes if isinstance(each, BackupError)]
    assert "is there already" in str(refused)
    assert await head_of(tmp_path / "b.db") == done.position
    assert [each.name for each in tmp_path.glob("b.db*")] == ["b.db"]


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_a_name_that_was_taken_meanwhile_is_left_alone(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr("os.link", cannot)
    (tmp_path / "b.db").write_text("not yours")
    (tmp_path / "p").write_text("mine")

    with pytest.raises(BackupError, match="is there already"):
        keep(tmp_path / "p", tmp_path / "b.db")
    keep(tmp_path / "p", tmp_path / "c.db")

    assert [(tmp_path / name).read_text() for name in ("b.db", "c.db")] == ["not yours", "mine"]


async def test_what_a_kill_left_behind_is_cleared_by_the_next_backup(log: Path, tmp_path: Path) -> None:
    for end in ("", "-journal"):
        (tmp_path / f"b.db.0123.partial{end}").write_text("half")
    (tmp_path / "c.db.0123.partial").write_text("of another name")
    await backup_of(log, tmp_path / "b.db")

    assert sorted(each.name for each in tmp_path.glob("*.db*")) == ["b.db", "c.db.0123.partial"]


# ------------------------------------------------------------------------------------------------------ restore


async def test_what_is_put_back_says_so_and_sends_nothing_out_of_the_past(log: Path, tmp_path: Path) -> None:
    backup = (await backup_of(log, tmp_path)).file
    await declare_more(log, 4)
    before = await head_of(log)
    done = await put_back(log, backup)

    said = await audit_of(log)
    async with open_log(log) as restored:
        view = await look(restored)
        [command] = view.models.commands.rows.values()
        [hold] = view.models.keeping.holds_on(WEB, "a")
        replayed, differences = await verify(restored)
    assert done.aside is not None
    assert await head_of(done.aside) == before
    assert isinstance(said[0], LogRestored)
    assert (said[0].position, said[0].replaced) == (before - 4, before)
    assert said[1:] == [hold]
    assert (command.state, command.stands) == (CommandState.WITHDRAWN, False)
    assert (done.begun.withdrawn, done.begun.held, list(differences)) == (1, ["a"], [])
    assert [each.event.actor for each in replayed.steps if isinstance(each.event, Withdrawn)] == [ACTOR]
    assert sorted(each.name for each in log.parent.iterdir()) == ["log.db", done.aside.name]


async def test_a_backup_can_be_put_where_there_is_no_log(log: Path, tmp_path: Path) -> None:
    backup = (await backup_of(log, tmp_path)).file
    elsewhere = tmp_path / "elsewhere" / "log.db"
    done = await put_back(elsewhere, backup)

    assert (done.aside, done.begun.replaced) == (None, None)
    assert await head_of(elsewhere) == done.begun.until + 3


async def test_a_stale_write_ahead_log_is_not_taken_for_the_new_ones(log: Path, tmp_path: Path) -> None:
    """Where only the file was deleted, SQLite would put the old log's last pages into the new one."""
    backup = (await backup_of(log, tmp_path)).file
    async with open_log(log, mode="write") as writing:
        await declare(writing, [(WEB, VmState.ACTIVE, None)], by="alice", why="", at=AT)
        stale = log.with_name("log.db-wal").read_bytes()
    log.unlink()
    log.with_name("log.db-wal").write_bytes(stale)
    done = await put_back(log, backup)

    assert await head_of(log) == done.begun.until + 3


async def test_a_running_service_keeps_its_log(log: Path, tmp_path: Path) -> None:
    backup, host = (await backup_of(log, tmp_path)).file, FakeHypervisor()
    async with open_log(log, mode="write") as opened, running(opened, host):
        before = log.stat().st_ino
        with pytest.raises(LeaseHeldError, match="observer/host-1/test is held by"):
            await put_back(log, backup)

        assert log.stat().st_ino == before
    await put_back(log, backup)


@pytest.mark.parametrize("what", [b"SQLite format", b"StopRequested:1", b"CREATE TABLE streams"])
async def test_a_damaged_backup_replaces_nothing(log: Path, tmp_path: Path, what: bytes) -> None:
    backup = (await backup_of(log, tmp_path)).file
    data = bytearray(backup.read_bytes())
    at = data.index(what)
    data[at : at + 8] = bytes(8)
    backup.write_bytes(data)
    before = log.read_bytes()

    with pytest.raises(LogError):
        await put_back(log, backup)
    assert log.read_bytes() == before


async def test_only_a_log_is_put_back(log: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 10_000)

    for source in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(LogNotFoundError):
            await put_back(log, source)
    with pytest.raises(BackupError, match="is the log itself"):
        await put_back(log, log)


async def test_a_damaged_log_is_replaced_and_kept(log: Path, tmp_path: Path) -> None:
    backup = (await backup_of(log, tmp_path)).file
    log.write_bytes(b"\xff" * 8192)
    done = await put_back(log, backup)

    assert done.aside is not None
    assert done.aside.read_bytes() == b"\xff" * 8192
    assert (done.begun.replaced, await head_of(log)) == (None, done.begun.until + 3)


async def test_what_was_forgotten_since_does_not_come_back(log: Path, tmp_path: Path) -> None:
    backup = (await backup_of(log, tmp_path)).file
    async with open_log(log, mode="write") as opened:
        await forget(opened, await find_namings(opened, "alice"), by="root", at=AT)
    await put_back(log, backup)

    assert b"alice" in backup.read_bytes()
    assert b"alice" not in log.read_bytes()
    assert isinstance((await audit_of(log))[-1], LabelsForgotten)


async def test_epochs_go_on_and_a_start_waits_for_nobody(log: Path, tmp_path: Path) -> None:
    backup, host = (await backup_of(log, tmp_path)).file, FakeHypervisor()
    for _ in range(2):
        async with open_log(log, mode="write") as opened, running(opened, host):
            pass
    await put_back(log, backup)
    with closing(sqlite3.connect(log)) as connection:
        given = connection.execute("SELECT stream, epoch, expires_at FROM leases").fetchall()

    assert given == [("observer/host-1/test", 2, 0)]
    async with open_log(log, mode="write") as opened, running(opened, host):
        pass


# ------------------------------------------------------------------------------------------- a log that went back


async def test_no_service_starts_on_a_log_that_went_back_until_that_is_accepted(log: Path) -> None:
    head = await head_of(log)
    async with open_log(log, mode="write") as opened:
        await opened.append(Append(writes=(), tracking=Tracking(name="planner/a/qemu", position=Position(head + 5))))
        with pytest.raises(LogRewoundError, match="restore --accept-rewind"):
            await serve(opened, [(None, FakeHypervisor())], settings(log))
        assert await opened.head() == head
    done = await accept_rewind(log, by="root", at=AT)

    assert (done.replaced, done.until, done.withdrawn) == (head + 5, head, 1)
    with pytest.raises(BackupError, match="did not go back"):
        await accept_rewind(log, by="root", at=AT)
    async with open_log(log, mode="write") as opened, running(opened, FakeHypervisor()):
        assert await opened.tracked("planner/a/qemu") == head


@pytest.mark.parametrize("goes_on", [False, True])
async def test_an_older_copy_that_was_put_in_its_place_is_noticed_by_what_stands_beside_it(
    log: Path, tmp_path: Path, *, goes_on: bool
) -> None:
    older = (await backup_of(log, tmp_path)).file
    async with open_log(log, mode="write") as opened, running(opened, FakeHypervisor()):
        pass
    gone_to = await head_of(log)
    shutil.copy(older, log)
    if goes_on:  # as a log that came back beyond where it had been, with other records
        await declare_more(log, 20)
    head = await head_of(log)
    async with open_log(log, mode="write") as opened:
        with pytest.raises(LogRewoundError, match="another one than was read" if goes_on else f"ends at {head}"):
            await serve(opened, [(None, FakeHypervisor())], settings(log))
        assert await opened.head() == head
    done = await accept_rewind(log, by="root", at=AT)

    assert (done.replaced, done.until) == (max(gone_to, 0), head)
    async with open_log(log, mode="write") as opened, running(opened, FakeHypervisor()):
        assert await opened.head() > head


async def test_a_service_that_is_killed_has_marked_how_far_it_saw_the_log(tmp_path: Path) -> None:
    place = tmp_path / "log.db"
    async with open_log(place, mode="write") as log, running(log, FakeHypervisor()):
        [sweep] = [each.position for each in await log.read(after=Position(0)) if isinstance(each.event, HostSwept)]
        assert marked(place) >= sweep


@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_a_checkpoint_that_was_kept_outside_says_how_far_the_log_went(
    log: Path, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "outside"
    if kind == "directory":
        place.mkdir()
    places = [f"{kind}:{place}", "syslog:"]
    signer = Signer.generate("kvm-07/es-power")
    async with open_log(log, mode="write") as opened:
        await Sealer(opened, signer, places[:1], clock=lambda: AT).seal()
        older = (await back_up(opened, tmp_path, at=AT)).file
        await declare(opened, [(WEB, VmState.ACTIVE, None)] * 20, by="alice", why="", at=AT)
        signed = (await Sealer(opened, signer, places[:1], clock=lambda: AT).seal()).checkpoint.size
        await require_not_rewound(opened, places)
    shutil.copy(older, log)
    async with open_log(log, mode="write") as opened:
        await require_not_rewound(opened)  # nothing beside it tells
        with pytest.raises(LogRewoundError):
            await require_not_rewound(opened, places)
    done = await accept_rewind(log, by="root", at=AT, places=places)

    assert done.replaced == signed
    async with open_log(log, mode="write") as opened:
        await require_not_rewound(opened, places)


async def test_a_fact_of_a_newer_version_keeps_no_service_from_starting(log: Path) -> None:
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute("UPDATE records SET topic = 'LogBlessed:1' WHERE position = 2")
        connection.execute("UPDATE streams SET id = ?, name = 'audit' WHERE no = 1", [stream_id(AUDIT).bytes])
    async with open_log(log) as opened:
        assert len(await said(opened)) == await opened.version(AUDIT) - 1


async def test_a_mark_that_was_not_written_whole_says_nothing(log: Path) -> None:
    log.with_name("log.db.lease-0123456789abcdef").write_bytes(b"999 0123")
    async with open_log(log, mode="write") as opened, running(opened, FakeHypervisor()):
        pass


async def test_tables_beyond_the_end_are_made_anew_when_it_is_accepted(log: Path) -> None:
    head = await head_of(log)
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute(f"UPDATE {CHECKPOINT.name} SET position = {head + 2}")
    done = await accept_rewind(log, by="root", at=AT)

    assert done.replaced == head + 2
    async with open_log(log) as opened:
        _, differences = await verify(opened)
        assert [isinstance(each, HoldPlaced | LogRestored) for each in await audit_of(log)] == [True, True]
    assert list(differences) == []


# -------------------------------------------------------------------------------------------------------- killed

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import trio
from es_power.upkeep import restoring
log, backup, tries = map(Path, sys.argv[1:])
left = 0
def deadly(work):
    def done(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments, **named)
    return done
def restore(place):
    for name in ("link", "chown", "fsync", "open"):
        setattr(os, name, deadly(getattr(os, name)))
    for name in ("unlink", "replace", "mkdir"):
        setattr(Path, name, deadly(getattr(Path, name)))
    shutil.copymode, shutil.rmtree = deadly(shutil.copymode), deadly(shutil.rmtree)
    restoring.settle, restoring.begin_again = deadly(restoring.settle), deadly(restoring.begin_again)
    trio.run(lambda: restoring.restore(place, backup, by="root", at=1_900_000_000_000_000_000))
for step in range(1, 100):
    place = tries / str(step) / "log.db"
    place.parent.mkdir(parents=True)
    shutil.copy(log, place)
    child = os.fork()
    if child == 0:
        left = step
        restore(place)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(ended)
    if ended == 0:
        break
"""


def test_killed_at_any_step_it_leaves_the_old_log_or_the_new_one(log: Path, tmp_path: Path) -> None:
    backup = trio.run(backup_of, log, tmp_path).file
    trio.run(declare_more, log, 4)
    before, after = trio.run(head_of, log), trio.run(head_of, log) - 4 + 3
    arguments = [sys.executable, "-c", KILLED, log, backup, tmp_path / "tries"]
    codes = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    heads = []
    for step in range(1, len(codes) + 1):
        place = tmp_path / "tries" / str(step) / "log.db"
        heads.append(trio.run(head_of, place))
        aside = [each for each in place.parent.glob("*.replaced-*") if not each.samefile(place)]
        assert [trio.run(head_of, each) for each in aside] == ([before] if heads[-1] == after else [])
        if step % 5 == 0:  # a try that was killed is in nobody's way
            trio.run(lambda place=place: restore(place, backup, by="root", at=Timestamp(AT + 1_000_000_000)))

    assert (codes[-1], heads[-1]) == ("0", after)
    assert set(codes[:-1]) == {str(-signal.SIGKILL)}
    assert set(heads) == {before, after}
    assert len(codes) > 15
