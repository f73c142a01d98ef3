"""The power of a real file system is cut while the log is written: what was acknowledged is there afterwards."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from tests.rigs.forks import Forks, forks
from tests.torture.ext4 import PowerLine, missing, power_line
from tests.torture.frame import Bench
from tests.torture.ledger import Ledger, wrong
from tests.torture.victims import Victim

pytestmark = pytest.mark.torture

LIVES = 20
"""Cuts after which the log begins anew, so that looking at it stays cheap."""

MOST = 60
"""Lines that the writer says, at most, before a cut."""

LONGEST = 0.05
"""Seconds, at most, from then to the cut: where it has not even said one line, its log is being created."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerLine]:
    if reason := missing(tmp_path_factory.mktemp("probe")):
        pytest.skip(reason)
    with power_line(tmp_path_factory.mktemp("ext4")) as line:
        yield line


@pytest.fixture(scope="module")
def victims() -> Iterator[Forks]:
    with forks("tests.torture.victims") as victims:
        yield victims


def test_what_was_acknowledged_before_a_power_cut_is_there_after_it(
    line: PowerLine, victims: Forks, tmp_path: Path, bench: Bench
) -> None:
    wanted, draw = bench.count(10, 1_000), random.Random(bench.seed)
    bad, acknowledged = cut(line, victims, tmp_path / "full", wanted, draw)
    tries = max(3, wanted // 50)
    lost, _ = cut(line, victims, tmp_path / "off", tries, draw, synchronous="OFF", least=MOST // 2)

    assert lost, "synchronous=OFF was not caught"
    bench.report(
        "power_cuts",
        tried=wanted,
        held=wanted - len(bad),
        control=f"synchronous=OFF: {len(lost)} of {tries} cuts lost or damaged something",
        detail="; ".join([f"{acknowledged:,} acknowledged appends", *bad[:3]]),
    )


def cut(
    line: PowerLine,
    victims: Forks,
    place: Path,
    times: int,
    draw: random.Random,
    *,
    synchronous: str = "FULL",
    least: int = 0,
) -> tuple[list[str], int]:
    """Cut the power so many times; say what was wrong after each cut, and how much was acknowledged before."""
    bad: list[str] = []
    words: list[str] = []
    ledgers: dict[Path, Ledger] = {}
    for number in range(times):
        line.mount()
        if number % LIVES == 0 or words:
            life = place / str(number)
            life.mkdir(parents=True)
            for each in line.mount_point.glob("log.db*"):
                each.unlink()
        log = line.mount_point / "log.db"
        victim = Victim(log=str(log), place=str(life), seed=draw.getrandbits(32), synchronous=synchronous)
        said = victim.lines + draw.randrange(least, MOST)
        process = victims.start(victim.line)
        victim.await_lines(said, process)
        sleep(draw.random() * LONGEST)
        stop(process)
        line.cut()
        os.kill(process, signal.SIGKILL)
        assert victims.wait() == -signal.SIGKILL, (life / "output").read_text()
        line.unmount()
        line.mount()
        ledgers[life] = Ledger.read(victim.said)
        if words := wrong(log, ledgers[life]):
            bad.append(f"cut {number}: {words[0]}")
        line.unmount()
    return bad, sum(len(ledger.acknowledged) for ledger in ledgers.values())


def stop(process: int) -> None:
    """Let all of a process stand still: else it could acknowledge what came after the cut as if it were before."""
    os.kill(process, signal.SIGSTOP)
    while any(_state(task) != "T" for task in Path(f"/proc/{process}/task").iterdir()):
        sleep(0.001)  # nothing but looking tells


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]
