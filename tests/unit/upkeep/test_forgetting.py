"""Who is forgotten is in no file of the log any more, and every record stands."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from es_power.cli import main
from es_power.domain.custody import LabelsForgotten
from es_power.domain.logged import FactImported
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import AUDIT, imported
from es_power.domain.time import Timestamp
from es_power.errors import TextNotFoundError
from es_power.ingest.declarations import declare
from es_power.log import open_log
from es_power.log.queries import RawRecord
from es_power.projections.queries import FORGOTTEN, look, texts
from es_power.replay import verify
from es_power.testing.hypervisor import FakeHypervisor
from es_power.upkeep.checking import check
from es_power.upkeep.forgetting import _Search, find_namings, forget
from tests.unit.story import DB, WEB, one_host
from tests.unit.test_service import running, seen

AT = Timestamp(1_900_000_000_000_000_000)
MARIE = "Marie Skłodowska-Curie"


def bytes_of(place: Path) -> bytes:
    """All that the files of a log hold."""
    return b"".join(each.read_bytes() for each in sorted(place.parent.iterdir()) if each.is_file())


async def erase(place: Path, target: str) -> int:
    async with open_log(place, mode="write") as log:
        done = await forget(log, await find_namings(log, target), by="root", at=AT)
        assert done.scrubbed
        return done.count


async def found(place: Path, target: str) -> list[str]:
    async with open_log(place) as log:
        return [each.text for each in await find_namings(log, target)]


async def declare_by(place: Path, by: str, why: str = "") -> None:
    async with open_log(place, mode="write") as log:
        await declare(log, [(DB, VmState.STOPPED, None)], by=by, why=why, at=AT)


async def test_a_text_that_is_forgotten_is_in_no_file_and_the_log_verifies(log: Path) -> None:
    await declare_by(log, MARIE, f"{MARIE} asked for it")
    assert MARIE.encode() in bytes_of(log)

    assert await erase(log, MARIE.lower()) == 2

    assert MARIE.encode() not in bytes_of(log)
    async with open_log(log) as opened:
        await check(opened)
        _, differences = await verify(opened)
        [recorded] = await opened.read_stream(AUDIT)
        event = recorded.event
        assert isinstance(event, LabelsForgotten)
        assert list(differences) == []
        assert len(event.labels) == 2
        assert (await texts(opened, [event.by]))(event.by) == "root"


async def test_a_plain_deletion_leaves_the_text_in_the_file(log: Path) -> None:
    """The positive control: without overwriting, a row is gone for whoever asks, and its bytes are not."""
    await declare_by(log, MARIE)
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute("PRAGMA secure_delete=OFF")
        assert connection.execute("DELETE FROM labels WHERE text = ?", [MARIE]).rowcount == 1

    assert MARIE.encode() in bytes_of(log)


def test_killed_before_the_files_follow_it_is_erased_and_the_next_try_finishes(log: Path) -> None:
    trio.run(declare_by, log, MARIE)
    killed = (
        "import os, signal, sys; from es_power.upkeep import forgetting; from es_power.cli import main; "
        "forgetting.scrub = lambda _: os.kill(os.getpid(), signal.SIGKILL); "
        "main(['forget', sys.argv[2], '--yes', '--log', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", killed, log, MARIE], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert MARIE.encode() in bytes_of(log)  # in the write-ahead log, as it once came in

    assert main(["forget", MARIE, "--yes", "--log", str(log)]) == 3
    assert MARIE.encode() not in bytes_of(log)
    assert trio.run(head_and_audit, log) == (23, 1)


async def head_and_audit(place: Path) -> tuple[int, int]:
    async with open_log(place) as log:
        return (await check(log)).position, await log.version(AUDIT)


async def test_a_vm_is_meant_by_its_uuid_and_loses_every_name_it_ever_had(tmp_path: Path) -> None:
    story = one_host()
    story.name(WEB, "www")
    log = await story.write(tmp_path / "log.db")
    assert isinstance(log, Path)

    assert await found(log, str(WEB)) == ["web-1", "www"]
    assert await found(log, "a/www") == ["web-1", "www"]
    assert await found(log, "www") == ["web-1", "www"]
    assert await erase(log, str(WEB)) == 2
    with pytest.raises(TextNotFoundError):
        await found(log, str(WEB))


async def test_a_name_is_a_whole_word_and_no_part_of_one(log: Path) -> None:
    for by in ("web-1-old", "alice@example.org", "malice", "of alice, through root"):
        await declare_by(log, by)

    assert await found(log, "web-1") == ["web-1"]
    assert await found(log, "alice") == ["alice", "alice@example.org", "of alice, through root"]
    for nobody in ("web", "a/web", "b/web-1", "e5000000", "%", ".*"):
        with pytest.raises(TextNotFoundError):
            await found(log, nobody)


async def test_a_running_service_holds_on_to_nothing_and_does_not_name_the_vm_again(tmp_path: Path) -> None:
    place, host = tmp_path / "log.db", FakeHypervisor()
    guest = host.add("marie-laptop", state=1, reason=1)
    async with open_log(place, mode="write") as log:
        async with running(log, host) as service:
            await seen(log, service, guest, PowerState.RUNNING)
            [observer] = service.observers.values()
            await erase(place, "marie-laptop")
            await service._follower.caught_up()
            with trio.fail_after(5):
                while "marie-laptop" in observer._roster.names.values():
                    await trio.sleep(0.01)
            assert b"marie-laptop" not in bytes_of(place)
            observer.sweep_soon()
            host.power_off(guest)
            await seen(log, service, guest, PowerState.SHUTDOWN)
        async with running(log, host) as service:
            await seen(log, service, guest, PowerState.SHUTDOWN)
        view = await look(log)
        label = view.fleet.get(guest, next(iter(view.fleet.places))).name
        assert label is not None
        assert (await texts(log, [label]))(label) == FORGOTTEN
        assert b"marie-laptop" not in bytes_of(place)


async def test_facts_of_a_newer_log_are_passed_over_in_one_go(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them once had the whole batch read again."""
    seen: list[int] = []
    visit = _Search.visit

    def counted(search: _Search, batch: Sequence[RawRecord]) -> None:
        seen.append(len(batch))
        visit(search, batch)

    monkeypatch.setattr(_Search, "visit", counted)
    facts = [
        FactImported(
            observed_at=AT,
            stream="s",
            version=each,
            position=each,
            recorded_then=AT,
            topic="Prophesied:1",
            state=b"\x90",
        )
        for each in range(1, 101)
    ]
    async with open_log(log, mode="write") as opened:
        await opened.append(Append(writes=(Write(stream=imported("jsonl", "a"), expected=0, events=facts),)))
        head = await opened.head()
        namings = await find_namings(opened, "web-1")

    assert [each.text for each in namings] == ["web-1"]
    assert sum(seen) == head
