"""A disk that is full, and one whose fsync is slow: the service goes on observing, and nothing is lost uncounted."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import perf_counter_ns, sleep

import pytest
import trio

from es_power.domain.events import GapClosed, Position
from es_power.log.database import Database
from es_power.log.room import Room
from tests.torture.recorder import Recorder, compare, recording

pytestmark = pytest.mark.torture

TEN_MINUTES = 600.0


@contextmanager
def small_disk(at: Path, size: str = "8m") -> Iterator[Path]:
    """A file system of its own that is soon full."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", at], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return filler


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root alone")
async def test_a_disk_that_is_full_for_ten_minutes_and_then_freed(
    tmp_path: Path, count, report, mock_clock: trio.testing.MockClock
) -> None:
    times, held, missed, told, lost, counted = count(1, 10), 0, 0, 0, 0, 0
    # Time stands while threads work, and is let go by the test where the service only waits.
    mock_clock.rate = 50.0
    for number in range(times):
        with small_disk(tmp_path / str(number)) as disk:
            place = str(disk / "log.db")
            async with recording(place, capacity=200) as recorder:
                filler = fill(disk)
                begun = trio.current_time()
                while trio.current_time() < begun + TEN_MINUTES:
                    recorder.happen(10)
                    await trio.sleep(5)
                told += is_blind(recorder)
                outage = recorder.service.recording().outages["written"]
                filler.unlink()
                await recorder.stored()
                recorder.happen(5)
                await recorder.stored()
                await swept(recorder)
            seen = await compare(place, recorder.told)
            held += is_kept(disk) and "free some space" in outage.reason and seen.holds and seen.lost > 0
        lost, counted = lost + seen.lost, counted + seen.counted
        missed += not replace(seen, counted=0).holds

    report(
        "disk_full",
        tried=times,
        held=held,
        control=f"a recorder whose gaps count nothing: caught {missed} of {times} times",
        detail=f"{lost} events lost, {counted} of them counted by gaps; {told} gaps told while the disk was full",
    )
    assert missed == told == times


def is_blind(recorder: Recorder) -> bool:
    return any(place.host.blind_since for place in recorder.service.models.fleet.places.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root alone")
@pytest.mark.parametrize("kept", [True, False], ids=["as it is", "without the room"])
async def test_a_gap_is_told_while_the_disk_is_full(
    tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    if not kept:
        monkeypatch.setattr(Room, "keep", lambda _: False)
    mock_clock.rate = 50.0
    with small_disk(tmp_path / "disk") as disk:
        async with recording(str(disk / "log.db"), capacity=50) as recorder:
            filler = fill(disk)
            with trio.move_on_after(120):
                while not is_blind(recorder):
                    recorder.happen(10)
                    await trio.sleep(1)
            told = is_blind(recorder)
            filler.unlink()
            await recorder.stored()
            await swept(recorder)
        assert is_kept(disk) is kept

    assert told is kept


def is_kept(disk: Path) -> bool:
    return (disk / "log.db.room").exists()


async def swept(recorder: Recorder) -> None:
    """Wait until the sweep that follows a loss has closed its gap."""
    with trio.fail_after(600):
        while is_blind(recorder):
            await trio.sleep(0.1)


async def accounted(recorder: Recorder) -> None:
    """Wait until gaps have counted what found no room."""
    reached, counted = Position(0), 0
    with trio.fail_after(600):
        while counted < recorder.dropped:
            batch = await recorder.log.read(after=reached, limit=50_000)
            counted += sum(each.event.lost or 0 for each in batch if isinstance(each.event, GapClosed))
            if batch:
                reached = batch[-1].position
            else:
                await recorder.log.wait_beyond(reached)


async def test_a_storm_on_a_slow_disk(tmp_path: Path, count, report, monkeypatch: pytest.MonkeyPatch) -> None:
    storms, held, slowest = count(1, 20), 0, 0.0
    commits = []
    require = Database._require_in_place

    def slowly(database: Database) -> None:
        """Make every commit take as long as one whose fsync takes 50 ms."""
        require(database)
        commits.append(database)
        sleep(0.05)

    monkeypatch.setattr(Database, "_require_in_place", slowly)
    lost = counted = 0
    for number in range(storms):
        place = str(tmp_path / f"{number}.db")
        async with recording(place) as recorder:
            took: list[int] = []
            thread = Thread(target=blow, args=(recorder, took))
            thread.start()
            await trio.to_thread.run_sync(thread.join)
            await recorder.stored()
            await accounted(recorder)
        seen = await compare(place, recorder.told)
        lost, counted = lost + seen.lost, counted + seen.counted
        slowest = max(slowest, sorted(took)[len(took) * 99 // 100] / 1e6)
        held += seen.holds

    async with recording(str(tmp_path / "small.db"), capacity=100) as recorder:
        blow(recorder, [])
        await recorder.stored()
        await accounted(recorder)
    small = await compare(str(tmp_path / "small.db"), recorder.told)

    report(
        "storm",
        tried=storms,
        held=held,
        control=f"a queue of 100: {small.lost} events lost, {small.counted} of them counted by the gap",
        detail=f"{lost} lost; 99 % of the callbacks took less than {slowest:.3f} ms; {len(commits)} commits",
    )
    assert small.lost == small.counted > 0


def blow(recorder: Recorder, took: list[int]) -> None:
    """Announce 10,000 events in a second, as libvirt's thread does."""
    for _ in range(100):
        began = perf_counter_ns()
        for _ in range(100):
            before = perf_counter_ns()
            recorder.happen()
            took.append(perf_counter_ns() - before)
        sleep(max(0.0, 0.01 - (perf_counter_ns() - began) / 1e9))
