"""Bytes on disk and a year of sweeps: 1,000 VMs on 20 hosts, 600 s apart, replayed by the product's own replay."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from benchmarks.figures import Figure, amount, at_most
from benchmarks.logs import SPACING, hosts, sweeps, write
from es_power.log import open_log
from es_power.log.chain import Chain
from es_power.projections.lean import fold_fleet
from es_power.replay import replay

_HOSTS, _VMS = 20, 50
_YEAR = 365 * 86_400 // SPACING


def measure(*, quick: bool = False) -> list[Figure]:
    unchanged, year = (20, 20) if quick else (2_000, _YEAR)
    with TemporaryDirectory() as directory:
        here = Path(directory)
        empty = _size(write(here / "empty.db", sweeps(0, hosts(_HOSTS, _VMS))))
        still = _size(write(here / "still.db", sweeps(unchanged, hosts(_HOSTS, _VMS), between_changes=None)))
        log = write(here / "year.db", sweeps(year, hosts(_HOSTS, _VMS)))
        size = _size(log)
        lean = trio.run(_fold, log)
        whole = trio.run(_replay, log)
    observations = year * _HOSTS * _VMS
    return [
        Figure(
            name="An unchanged observation in the file, at 50 VMs a host",
            target=at_most(8, "bytes"),
            seen=[(still - empty) / (unchanged * _HOSTS * _VMS)],
            unit="bytes",
            detail="each sweep an append of its own, all indexes and the SHA-256 chain counted",
        ),
        Figure(
            name="One year of 1,000 VMs on 20 hosts: the file",
            target=at_most(0.5, "GB"),
            seen=[size / 1e9],
            unit="GB",
            detail=f"{amount(observations)} observations; each VM changes once a week, with its event and its answer",
        ),
        Figure(
            name="One year of 1,000 VMs on 20 hosts: `es-power replay`",
            target=at_most(30, "s"),
            seen=[whole],
            unit="s",
            detail="table, history and commands, hashes checked",
        ),
        Figure(
            name="One year of 1,000 VMs on 20 hosts: the power_state fold alone",
            target=None,
            seen=[lean],
            unit="s",
            detail=f"{amount(observations / lean)} observations/s, hashes checked",
        ),
    ]


def _size(path: Path) -> int:
    return path.stat().st_size


async def _fold(path: Path) -> float:
    async with open_log(path) as log:
        begin = perf_counter()
        await fold_fleet(log, chain=Chain())
        return perf_counter() - begin


async def _replay(path: Path) -> float:
    async with open_log(path) as log:
        begin = perf_counter()
        await replay(log)
        return perf_counter() - begin
