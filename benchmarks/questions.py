"""Questions to a long log: the fleet as of a time, the state of one VM, a page of its history, and why it stopped.

eventsourcing's repository is asked the same, as far as it answers; its table has some of the VMs, each with as many
events, since what it reads of one VM does not depend on the others.
"""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from benchmarks.figures import Figure, amount, at_most, percentile, seconds
from benchmarks.logs import HostStream, hosts, lifecycle, write
from benchmarks.stock import StockRepository
from es_power.domain.events import Position
from es_power.domain.time import SECOND, Timestamp
from es_power.log import SqlLog, open_log
from es_power.projections.as_of import moment_at
from es_power.projections.follower import Follower
from es_power.projections.narrative import history
from es_power.projections.queries import View, look, status
from es_power.projections.readmodels import Step
from es_power.projections.store import Store
from es_power.projections.why import why
from es_power.testing.facts import T0

_EVENT = SECOND // 100  # between two events of the log
_STOCK = 200  # VMs of eventsourcing's table
_COMMIT = 1000  # records, so that an event comes in up to 10 s late


def measure(*, quick: bool = False) -> list[Figure]:
    number, vms, events, rounds = (2, 3, 400, 2) if quick else (200, 50, 5_000_000, 20)
    with TemporaryDirectory() as directory:
        on = hosts(number, vms)
        log = write(Path(directory) / "log.db", lifecycle(events, on), group=_COMMIT, in_time=True)
        trio.run(_keep, log)
        ours = trio.run(_ask, log, on, events, rounds)
        return [*ours, *_stock(Path(directory) / "stock.db", number * vms, events, rounds)]


async def _keep(path: Path) -> None:
    """Write the tables as a service does."""
    async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        follower = await Follower.start(log, Store(log.database))

        async def listen(*_: object) -> None:
            """Nobody listens."""

        nursery.start_soon(follower.run, listen)
        await follower.caught_up()
        nursery.cancel_scope.cancel()


async def _ask(path: Path, on: list[HostStream], events: int, rounds: int) -> list[Figure]:
    chance = random.Random(2)
    everyone = [instance for host in on for instance in host.vms]
    now = Timestamp(T0 + events * _EVENT)
    about = f"{len(everyone):,} VMs, {events:,} events"
    async with open_log(path) as log:
        models = Store(log.database).load()
        view = View(log=log, store=Store(log.database), models=models, rest=Step(since=models.fleet.position))

        async def one() -> None:
            await status(view, str(chance.choice(everyone)), now=now)

        async def page() -> None:
            after = Position(chance.randrange(models.fleet.position))
            until = Position(after + 100 * len(everyone))
            await history(view, str(chance.choice(everyone)), after=after, until=until)

        async def cause() -> None:
            instance = str(chance.choice(everyone))
            assert await why(view, instance)
            assert await why(view, instance, at=_time(chance, events))

        fleet = [await _as_of(log, _time(chance, events), len(everyone)) for _ in range(rounds)]
        known = [await _as_of(log, _time(chance, events), len(everyone), later=True) for _ in range(rounds)]
        state, lines = await _times(one, 50 * rounds), await _times(page, 5 * rounds)
        causes = [each / 2 for each in await _times(cause, 10 * rounds)]
    return [
        Figure(
            name="The fleet as of a time, by what is known now",
            target=at_most(1, "s"),
            seen=fleet,
            unit="s",
            detail=f"{about}; any time of the log, each with its names, and what was recorded late",
        ),
        Figure(
            name="The fleet as of a time, by what was known an hour later",
            target=at_most(1, "s"),
            seen=known,
            unit="s",
            detail=about,
        ),
        Figure(
            name="One VM's state inside the service, 99th percentile",
            target=at_most(3, "ms"),
            seen=[percentile(state, 0.99) * 1e3],
            unit="ms",
            detail=f"{about}; median {amount(percentile(state, 0.5) * 1e3)} ms of {len(state):,}",
        ),
        Figure(
            name="A page of one VM's history",
            target=at_most(20, "ms"),
            seen=[each * 1e3 for each in lines],
            unit="ms",
            detail=f"{about}; 100 lines, of any VM at any time; 99th percentile "
            f"{amount(percentile(lines, 0.99) * 1e3)} ms, where the file's pages were not in memory",
        ),
        Figure(
            name="Why one VM stopped, 99th percentile",
            target=at_most(50, "ms"),
            seen=[percentile(causes, 0.99) * 1e3],
            unit="ms",
            detail=f"{about}; the last time, and as of any; median {amount(percentile(causes, 0.5) * 1e3)} ms",
        ),
    ]


def _stock(path: Path, vms: int, events: int, rounds: int) -> list[Figure]:
    chance, some = random.Random(3), min(vms, _STOCK)
    stock = StockRepository(path, some, events // vms)
    state = [seconds(lambda: stock.state(chance.choice(stock.vms))) for _ in range(50 * rounds)]
    page = [seconds(lambda: stock.page(chance.choice(stock.vms))) for _ in range(5 * rounds)]
    fleet = [seconds(lambda: stock.as_of(datetime.now(UTC))) * vms / some for _ in range(3)]
    stock.close()
    about = f"{some:,} VMs of {events // vms:,} events"
    return [
        Figure(
            name="One VM's state by eventsourcing's repository, 99th percentile",
            target=None,
            seen=[percentile(state, 0.99) * 1e3],
            unit="ms",
            detail=f"{about}; median {amount(percentile(state, 0.5) * 1e3)} ms of {len(state):,}",
        ),
        Figure(
            name="A page of one VM's history by eventsourcing, 99th percentile",
            target=None,
            seen=[percentile(page, 0.99) * 1e3],
            unit="ms",
            detail=f"{about}; 100 events; median {amount(percentile(page, 0.5) * 1e3)} ms of {len(page):,}",
        ),
        Figure(
            name="The fleet as of a time by eventsourcing",
            target=None,
            seen=fleet,
            unit="s",
            detail=f"{about}, folded one by one, times {vms / some:g} for {vms:,} VMs",
        ),
    ]


def _time(chance: random.Random, events: int) -> Timestamp:
    return Timestamp(T0 + chance.randrange(events) * _EVENT)


async def _as_of(log: SqlLog, at: Timestamp, expected: int, *, later: bool = False) -> float:
    begin = perf_counter()
    known = await moment_at(log, Timestamp(at + 3600 * SECOND)) if later else None
    view = await look(log, as_of=await moment_at(log, at), known_at=known, table_only=True)
    assert len(await status(view, now=at)) <= expected
    return perf_counter() - begin


async def _times(question: Callable[[], Awaitable[None]], number: int) -> list[float]:
    took: list[float] = []
    for _ in range(number):
        begin = perf_counter()
        await question()
        took.append(perf_counter() - begin)
    return took
