"""Replay into the power_state fold, every hash checked: lifecycle events one by one, sweeps whole."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from benchmarks.figures import ROUNDS, Figure, amount, at_least, in_turn, ratios, seconds
from benchmarks.logs import hosts, lifecycle, sweeps, write
from benchmarks.stock import StockLog
from es_power.domain.events import LifecycleEvent
from es_power.domain.ports import Append
from es_power.domain.streams import observed_host
from es_power.log import open_log
from es_power.log.chain import Chain
from es_power.projections.lean import fold_fleet

_HOSTS, _VMS = 20, 50


def measure(*, quick: bool = False) -> list[Figure]:
    events, rounds, number = (400, 1, 5) if quick else (200_000, ROUNDS, 2_000)
    with TemporaryDirectory() as directory:
        here = Path(directory)
        log = write(here / "events.db", lifecycle(events, hosts(_HOSTS, _VMS)))
        stock = StockLog(here / "stock.db")
        stock.write(_facts(lifecycle(events, hosts(_HOSTS, _VMS))))
        ours, theirs = in_turn(rounds, lambda: _replay(log), lambda: seconds(stock.replay))
        stock.close()
        swept = write(here / "sweeps.db", sweeps(number, hosts(_HOSTS, _VMS)))
        (took,) = in_turn(rounds, lambda: _replay(swept))
    observations = number * _HOSTS * _VMS
    return [
        Figure(
            name="Replay of lifecycle events, against eventsourcing's stock path",
            target=at_least(3),
            seen=ratios(theirs, ours),
            detail=f"{amount(events / min(ours))} events/s with hashes checked; "
            f"{amount(events / min(theirs))} events/s by select_notifications, Mapper, JSONTranscoder, dict",
        ),
        Figure(
            name="Replay of sweeps, folded whole",
            target=at_least(5, "million observations/s"),
            seen=[observations / each / 1e6 for each in took],
            unit="M/s",
            detail=f"{_HOSTS} hosts of {_VMS} VMs, each VM changing once in 1,000 sweeps; hashes checked",
        ),
    ]


def _replay(path: Path) -> float:
    async def fold() -> float:
        async with open_log(path) as log:
            begin = perf_counter()
            await fold_fleet(log, chain=Chain())
            return perf_counter() - begin

    return trio.run(fold)


def _facts(appends: Iterator[Append]) -> Iterator[tuple[str, LifecycleEvent]]:
    for append in appends:
        for each in append.writes:
            for event in each.events:
                if isinstance(event, LifecycleEvent):
                    yield observed_host(each.stream) or "", event
