"""Power cuts that nobody has to wait for: the states they can leave, made of the system calls of the real writer.

The writer runs once under strace. Each state is what the disk's model (`disk`) may have kept of its calls up to one
moment; it is written to memory, opened by SQLite as a service would open it, and held against what was acknowledged up
to that moment.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from es_power.errors import EsPowerError
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from tests.torture.disk import Call, Cut, Disk, Named, Said, Synced, Written, record
from tests.torture.frame import Bench
from tests.torture.ledger import Ledger, wrong

pytestmark = pytest.mark.torture

REOPENED = 200
"""Of so many states one is opened by es_power itself too, which has to be able to begin on it."""


MEMORY = Path("/dev/shm")


def test_no_state_that_a_power_cut_can_leave_has_lost_what_was_acknowledged(tmp_path: Path, bench: Bench) -> None:
    wanted, seed = bench.count(10_000, 1_000_000), bench.seed
    calls = recorded(tmp_path, "FULL")
    bad, tried = judged(calls, wanted, seed)
    controls = []
    for synchronous in ("NORMAL", "OFF"):
        losses, states = judged(recorded(tmp_path, synchronous), max(500, wanted // 50), seed)
        assert losses, f"synchronous={synchronous} was not caught"
        controls.append(f"synchronous={synchronous}: {losses.total():,} of {states:,} lost or damaged")

    bench.report(
        "crash_states",
        tried=tried,
        held=tried - bad.total(),
        control="; ".join(controls),
        detail=f"all different, of {len(calls):,} calls of the writer" + "".join(f"; {words}" for words in bad),
    )


def recorded(tmp_path: Path, synchronous: str) -> list[Call]:
    """What the writer does to its files."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    folder = tmp_path / synchronous
    folder.mkdir()
    return record(folder, "tests.torture.writer", str(folder / "log.db"), synchronous)


def judged(calls: list[Call], wanted: int, seed: int) -> tuple[Counter[str], int]:
    """Try so many different states; give what was wrong, counted by its first word, and how many were tried."""
    bad: Counter[str] = Counter()
    tried = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        for number, (files, ledger) in enumerate(states(calls, wanted, random.Random(seed)), 1):
            log = written(files, Path(name))
            tried = number
            try:
                if number % REOPENED == 0:
                    reopen(log)
                words = wrong(log, ledger)
            except EsPowerError as error:
                words = [f"refused: {error}"]
            if words:
                bad[words[0].partition(":")[0]] += 1
    return bad, tried


def states(calls: list[Call], wanted: int, draw: random.Random) -> Iterator[tuple[Mapping[str, bytes], Ledger]]:
    """So many different states, each with what was acknowledged before it; every moment has its share of them."""
    seen: set[int] = set()
    while len(seen) < wanted:
        share = 1 + (wanted - len(seen)) // len(calls)
        disk, ledger = Disk(), Ledger()
        for call in calls:
            if isinstance(call, Said):
                ledger.hear(call.line)
                continue
            disk.take(call)
            for _ in range(share if disk.pending else 1):
                files = disk.after_a_cut(draw)
                state = hash((frozenset(files.items()), len(ledger.acknowledged)))
                if state not in seen and len(seen) < wanted:
                    seen.add(state)
                    yield files, ledger


def written(files: Mapping[str, bytes], folder: Path) -> Path:
    """Make a folder hold these files and no others, and give the log's."""
    for left in folder.iterdir():
        left.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "log.db"


def reopen(log: Path) -> None:
    """Begin on a log as a service begins."""
    database = Database(log)
    ensure_schema(database)
    database.close()


def test_what_is_written_to_a_deleted_file_does_not_come_back_in_the_next_of_its_name() -> None:
    disk = Disk()
    for call in (Named("a", 1), Written(1, 0, b"old"), Synced(1), Synced(None), Named("a", None), Named("a", 2)):
        disk.take(call)
    left = {tuple(disk.after_a_cut(random.Random(seed)).items()) for seed in range(100)}

    assert left == {(("a", b"old"),), (), (("a", b""),)}


def test_what_is_synced_is_safe_and_the_rest_is_there_in_parts_or_not() -> None:
    disk = Disk()
    for call in (Named("a", 1), Synced(None), Written(1, 0, b"x" * 1024), Synced(1), Written(1, 512, b"y" * 1024)):
        disk.take(call)
    left = [disk.after_a_cut(random.Random(seed))["a"] for seed in range(300)]

    assert all(content.startswith(b"x" * 512) for content in left)
    assert {b"x" * 1024, b"x" * 512 + b"y" * 1024, b"x" * 512 + b"y" * 512, b"x" * 1024 + b"y" * 512} <= set(left)
    assert any(set(content) > set(b"xy") for content in left)


def test_a_file_that_was_cut_may_have_its_old_length() -> None:
    disk = Disk()
    for call in (Named("a", 1), Synced(None), Written(1, 0, b"abc"), Synced(1), Cut(1, 1)):
        disk.take(call)

    assert {disk.after_a_cut(random.Random(seed))["a"] for seed in range(50)} == {b"abc", b"a"}
