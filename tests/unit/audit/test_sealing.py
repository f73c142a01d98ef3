"""A log is signed, its signature is kept elsewhere, and a place that fails is told of and stops nothing."""

import socket
import threading
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from es_power.audit import sealing as sealing_module
from es_power.audit.checkpoints import KeptCheckpoints, note_of, read_checkpoints
from es_power.audit.keys import write_key
from es_power.audit.places import Beside, FilePlace, FolderPlace, SyslogPlace, parse_place
from es_power.audit.sealing import Sealer, near_places, sealing
from es_power.audit.stored import grow
from es_power.audit.verifying import verify
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import ServiceStopped
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.errors import LogError, LogUnavailableError, NoteError, SettingsError
from es_power.log import open_log
from es_power.settings import Audit
from es_power.testing.log_contract import append_of, lifecycle
from tests.unit.audit.rigs import SIGNER, write_log

AT = Timestamp(7)


@pytest.fixture
def path(tmp_path):
    write_log(tmp_path / "log.db", 300).close()
    return tmp_path / "log.db"


def sealer_of(log, *places, **how):
    return Sealer(log, SIGNER, places, clock=lambda: AT, **how)


async def test_a_checkpoint_is_in_all_places_and_a_fact_afterwards(path, tmp_path):
    (tmp_path / "folder").mkdir()
    places = [f"file:{tmp_path}/checkpoints", f"directory:{tmp_path}/folder"]
    async with open_log(path, mode="write") as log:
        sealed = await sealer_of(log, *places).seal()
        [recorded] = await log.read_stream(AUDIT)

        assert isinstance(recorded.event, CheckpointSealed)
        assert (recorded.position, recorded.event.size, recorded.event.missed) == (301, 300, ())
        assert note_of(recorded.event) == sealed.note
        [kept] = (tmp_path / "folder").iterdir()
        assert kept.name == f"{300:019d}-{SIGNER.verifier.id.hex()}.checkpoint"
        for file in (tmp_path / "checkpoints", kept):
            assert [str(each) for each in read_checkpoints(file)] == [str(sealed.note)]
            verdict = await verify(log, read_checkpoints(file), keys=[SIGNER.verifier])
            assert verdict.is_intact
            assert verdict.vouched == 300


async def test_each_seal_goes_on_where_the_last_one_ended(path):
    async with open_log(path, mode="write") as log:
        sealer = sealer_of(log)
        await sealer.seal()
        await log.append(append_of("more", 0, *map(lifecycle, range(500))))
        second = await sealer.seal()
        fresh = await sealer_of(log).seal()
        verdict = await verify(log)

    assert second.checkpoint.size == 801
    assert fresh.checkpoint.size == 802
    assert verdict.is_intact
    assert [(each.size, each.outside, each.holds) for each in verdict.checkpoints] == [
        (300, False, True),
        (801, False, True),
        (802, False, True),
    ]


async def test_nothing_is_signed_over_a_stored_node_that_was_changed(path, tmp_path):
    async with open_log(path, mode="write") as log:
        await sealer_of(log).seal()
        with log.database.write() as connection:
            connection.exec_driver_sql("UPDATE tree SET hash = zeroblob(32)")
        sealer = sealer_of(log, f"file:{tmp_path}/checkpoints")
        with pytest.raises(LogError, match=r"differs from what was signed at 300 records.*audit verify"):
            await sealer.seal()
        assert len(await log.read_stream(AUDIT)) == 1
        assert not (tmp_path / "checkpoints").exists()

        with log.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM tree")
        await sealer.seal()
        verdict = await verify(log, read_checkpoints(tmp_path / "checkpoints"))

    assert verdict.is_intact
    assert verdict.vouched == 301


async def test_what_came_after_the_last_checkpoint_is_signed_as_the_records_are(path, tmp_path):
    async with open_log(path, mode="write") as log:
        await sealer_of(log).seal()
        await log.append(append_of("more", 0, *map(lifecycle, range(500))))
        grow(log.database)
        with log.database.write() as connection:
            connection.exec_driver_sql("UPDATE tree SET hash = zeroblob(32) WHERE number > 0")
        sealed = await sealer_of(log).seal()
        with log.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM tree")
        verdict = await verify(log, [sealed.note])

    assert verdict.is_intact


async def test_a_place_that_fails_is_told_of_and_the_others_have_it(path, tmp_path):
    places = [f"directory:{tmp_path}/nowhere", f"file:{tmp_path}/checkpoints"]
    async with open_log(path, mode="write") as log:
        sealer = sealer_of(log, *places)
        sealed = await sealer.seal()
        [recorded] = await log.read_stream(AUDIT)
        assert not sealer.is_fine
        (tmp_path / "nowhere").mkdir()
        await sealer.try_to_seal()

    assert sealed.failed == {places[0]: "No such file or directory"}
    assert recorded.event.missed == (places[0],)
    assert len(read_checkpoints(tmp_path / "checkpoints")) == 2
    assert sealer.is_fine


async def test_a_place_that_hangs_is_left_to_itself_in_a_thread_of_its_own(path, mock_clock, monkeypatch):
    asked, released = trio.Event(), threading.Event()

    class Hanging:
        def put(self, note):
            trio.from_thread.run_sync(asked.set)
            released.wait()

    monkeypatch.setattr(sealing_module, "parse_place", lambda _: Hanging())
    async with open_log(path, mode="write") as log:
        sealer = sealer_of(log, "file:/hangs")
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sealer.try_to_seal)
                await asked.wait()
                while nursery.child_tasks:
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    mock_clock.jump(11)
        everybodys = trio.to_thread.current_default_thread_limiter().borrowed_tokens
        released.set()

    assert sealer.last.failed == {"file:/hangs": "it did not answer within 10 s"}
    assert everybodys == 0


async def test_a_log_that_refuses_is_told_of_and_sealed_later(path, monkeypatch):
    async with open_log(path, mode="write") as log:
        sealer = sealer_of(log)
        with monkeypatch.context() as broken:

            async def refuse(append):
                raise LogUnavailableError

            broken.setattr(log, "append", refuse)
            await sealer.try_to_seal()
            assert not sealer.is_fine
        await sealer.try_to_seal()

    assert sealer.is_fine
    assert sealer.last.checkpoint.size == 300


async def test_a_log_is_sealed_at_once_each_hour_and_at_the_end(path, mock_clock):
    async with open_log(path, mode="write", poll=0) as log:
        async with sealing(sealer := sealer_of(log), 3600.0):
            for size in (300, 301, 302):
                # Once it is told, it sleeps: what is appended may be read before it knows that it was.
                while sealer.last is None or sealer.last.checkpoint.size < size:
                    await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(3600)
            await log.wait_beyond(303)
        sizes = [each.event.size for each in await log.read_stream(AUDIT)]

    assert sizes == [300, 301, 302, 303, 304]


async def test_what_belongs_to_a_checkpoint_is_recorded_beside_it(path):
    async with open_log(path, mode="write") as log:
        await sealer_of(log, beside=lambda: [ServiceStopped(observed_at=AT)]).seal()
        kinds = [type(each.event).__name__ for each in await log.read_stream(AUDIT)]

    assert kinds == ["CheckpointSealed", "ServiceStopped"]


async def test_two_who_sign_at_once_are_both_written_down(path):
    async with open_log(path, mode="write") as log, open_log(path, mode="write") as other:
        async with trio.open_nursery() as nursery:
            for opened in (log, other):
                nursery.start_soon(sealer_of(opened).seal)
        verdict = await verify(log)

    assert verdict.is_intact
    assert len(verdict.checkpoints) == 2


def test_a_syslog_gets_a_checkpoint_in_one_line_that_is_read_again(tmp_path):
    note = SIGNER.sign("origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        SyslogPlace(tmp_path / "log").put(note)
        (tmp_path / "messages").write_bytes(log.recv(4096) + b"\n")

    assert read_checkpoints(tmp_path / "messages") == [note]


def test_what_a_full_disk_cut_off_is_closed_before_the_next(tmp_path):
    place = FilePlace(tmp_path / "checkpoints")
    note = SIGNER.sign("origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    place.path.write_text(str(note)[:30])
    place.put(note)
    place.put(note)

    assert read_checkpoints(place.path) == [note, note]


def test_a_checkpoint_never_takes_the_place_of_another(tmp_path):
    """Else whoever wrote the log anew has the service put the new root over the old one."""
    place = FolderPlace(tmp_path)
    old, new, third = [SIGNER.sign(f"origin\n7\n{letter * 43}=\n") for letter in "AEI"]
    name = f"{7:019d}-{SIGNER.verifier.id.hex()}"
    place.put(old)
    place.put(old)
    assert [each.name for each in tmp_path.iterdir()] == [f"{name}.checkpoint"]

    for _ in range(2):
        with pytest.raises(OSError, match="two roots of one size are a proof of tampering") as caught:
            place.put(new)
    assert caught.value.strerror.startswith(f"{name}.checkpoint and {name}-2.checkpoint differ: ")
    with pytest.raises(OSError, match=f"{name}.checkpoint, {name}-2.checkpoint and {name}-3.checkpoint differ"):
        place.put(third)
    place.put(old)

    assert {each.name: read_checkpoints(each) for each in tmp_path.iterdir()} == {
        f"{name}.checkpoint": [old],
        f"{name}-2.checkpoint": [new],
        f"{name}-3.checkpoint": [third],
    }


def test_what_a_full_disk_cut_off_in_a_directory_stays_and_says_nothing(tmp_path):
    note = SIGNER.sign(f"origin\n7\n{'A' * 43}=\n")
    name = f"{7:019d}-{SIGNER.verifier.id.hex()}"
    (tmp_path / f"{name}.checkpoint").write_text(str(note)[:30])
    FolderPlace(tmp_path).put(note)

    assert read_checkpoints(tmp_path / f"{name}-2.checkpoint") == [note]


async def test_a_place_that_has_another_root_of_this_size_is_told_of(path, tmp_path):
    other = SIGNER.sign(f"{SIGNER.verifier.name}\n300\n{'A' * 43}=\n")
    (tmp_path / "folder").mkdir()
    FolderPlace(tmp_path / "folder").put(other)
    async with open_log(path, mode="write") as log:
        sealed = await sealer_of(log, f"directory:{tmp_path}/folder").seal()

    [said] = sealed.failed.values()
    assert "two roots of one size" in said


def test_places_are_written_as_urls(tmp_path):
    assert parse_place("file:/a/b") == FilePlace(tmp_path.__class__("/a/b"))
    assert parse_place("directory:/a") == FolderPlace(tmp_path.__class__("/a"))
    assert parse_place("syslog:") == SyslogPlace()
    assert parse_place("syslog:/x") == SyslogPlace(tmp_path.__class__("/x"))
    for wrong in ("", "/a/b", "file:a", "s3://bucket", "directory:"):
        with pytest.raises(ValueError, match="no place for checkpoints"):
            parse_place(wrong)


def test_a_place_is_as_near_as_its_directory(tmp_path):
    log, elsewhere = tmp_path / "log.db", Path("/proc/here")  # a file system of its own on every machine
    (tmp_path / "link").symlink_to(tmp_path)
    near = near_places(
        log,
        [
            f"file:{tmp_path}/checkpoints",
            f"directory:{tmp_path}",
            f"file:{tmp_path}/link/x",
            f"directory:{tmp_path}/folder/to/be",
            f"file:{elsewhere}",
            "syslog:",
        ],
    )

    assert list(near.values()) == [Beside.FOLDER, Beside.FOLDER, Beside.FOLDER, Beside.MOUNT]
    assert near_places(None, [f"file:{tmp_path}/checkpoints"]) == {}


async def test_a_place_in_the_folder_of_the_log_is_refused_and_one_on_its_mount_is_warned_of(path, tmp_path):
    (tmp_path / "keys").mkdir()
    write_key(tmp_path / "keys" / "key", SIGNER, log=None)
    async with open_log(path, mode="write", poll=0) as log:
        beside_it = Audit(key=str(tmp_path / "keys" / "key"), places=(f"file:{tmp_path}/x", "syslog:"))
        with pytest.raises(SettingsError, match=f"{tmp_path}/x is in the folder of the log: .*; name one elsewhere"):
            sealing_module.sealer_of(log, beside_it, clock=lambda: AT)
        on_its_mount = Audit(key=str(tmp_path / "keys" / "key"), places=(f"file:{tmp_path}/folder/x",))
        sealer = sealing_module.sealer_of(log, on_its_mount, clock=lambda: AT)
        with structlog.testing.capture_logs() as said:
            async with sealing(sealer, 3600.0):
                pass

    assert [each["place"] for each in said if "near the log" in each["event"]] == [f"file:{tmp_path}/folder/x"]


async def test_a_key_in_the_folder_of_the_log_is_refused_also_by_a_link(path, tmp_path):
    write_key(tmp_path / "key", SIGNER, log=None)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "link").symlink_to(tmp_path / "key")
    async with open_log(path, mode="write") as log:
        for key in (tmp_path / "key", tmp_path / "keys" / "link"):
            with pytest.raises(SettingsError, match=rf"key: {key} is in the folder of the log: .*/etc/es-power/audit"):
                sealing_module.sealer_of(log, Audit(key=str(key)), clock=lambda: AT)


def test_a_file_without_a_checkpoint_says_so(tmp_path):
    (tmp_path / "empty").write_text("nothing\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name, said in (("empty", "no whole checkpoint"), ("bytes", "is no text"), ("none", "No such file")):
        with pytest.raises(NoteError, match=said):
            read_checkpoints(tmp_path / name)


async def test_checkpoints_that_were_read_are_not_read_again(path):
    async with open_log(path, mode="write") as log:
        kept = KeptCheckpoints(log.database)
        assert (kept.newest(), kept.read()) == (None, ())
        await sealer_of(log, beside=lambda: [ServiceStopped(observed_at=AT)]).seal()
        assert [position for position, _ in kept.read()] == [301]
        await sealer_of(log).seal()

        assert [position for position, _ in kept.read()] == [301, 303]
        assert kept.newest().size == 302
