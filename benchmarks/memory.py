"""Memory of a service with 100,000 VMs in its table: a process of its own follows the log, and tells its size."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from benchmarks.figures import Figure, amount, at_most
from benchmarks.logs import hosts, sweeps, write
from es_power.log import open_log
from es_power.projections.follower import Follower
from es_power.projections.store import Store

_VMS = 1_000


def measure(*, quick: bool = False) -> list[Figure]:
    number, rounds = (2, 1) if quick else (100, 3)
    with TemporaryDirectory() as directory:
        log = write(Path(directory) / "log.db", sweeps(2, hosts(number, _VMS), between_changes=None))
        seen = [_child(log) for _ in range(rounds)]
    before, after, peak = zip(*seen, strict=True)
    return [
        Figure(
            name=f"{number * _VMS:,} VMs in the table: resident memory",
            target=at_most(300, "MB"),
            seen=after,
            unit="MB",
            detail=f"{number} hosts of {_VMS:,}; {amount(before[0])} MB before the first record, "
            f"{amount(max(peak))} MB at most meanwhile; table, history and commands, and their SQL tables written",
        )
    ]


def _child(log: Path) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(log)],
        cwd=Path(__file__).parents[1],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    before, after, peak = map(float, done.stdout.split())
    return before, after, peak


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(field)


async def _follow(path: Path) -> None:
    """Do what the service does with the log, and print megabytes: before, after, at most."""
    async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        store = Store(log.database)
        await trio.to_thread.run_sync(store.drop)
        before = _resident("VmRSS")
        follower = await Follower.start(log, store)

        async def listen(*_: object) -> None:
            """Nobody listens."""

        nursery.start_soon(follower.run, listen)
        await follower.caught_up()
        print(before, _resident("VmRSS"), _resident("VmHWM"))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_follow, Path(sys.argv[1]))
