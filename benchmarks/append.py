"""Append at saturation: from `queue_event` on a native thread to durable, through the observer as it is."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from benchmarks.figures import ROUNDS, Figure, amount, at_least, in_turn, ratios
from benchmarks.observing import HOW, WatchedLog
from benchmarks.stock import StockApplication, default_synchronous
from es_power.domain.events import Event, LifecycleEvent
from es_power.ingest.hypervisor import Announcement
from es_power.ingest.observer import Observer
from es_power.ingest.roster import Roster
from es_power.log import open_log
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from es_power.testing.facts import T0
from es_power.testing.hypervisor import FakeConnection, FakeHypervisor

_VMS = 1000
_COMMIT = 1000
_COLUMNS = "position, stream, version, recorded_at, topic, state, hash, key"


def measure(*, quick: bool = False) -> list[Figure]:
    events, rounds = (500, 1) if quick else (50_000, ROUNDS)
    saves = events // 25
    with TemporaryDirectory() as directory:
        here = Path(directory)
        application = StockApplication(here / "stock.db", _VMS)
        counts = iter(range(1_000_000))
        ours, hand, stock = in_turn(
            rounds,
            lambda: _ours(here / "ours.db", events),
            lambda: _executemany(here / "ours.db", here / f"hand-{next(counts)}.db"),
            lambda: saves / _seconds(application, saves),
        )
        synchronous = default_synchronous(here / "stock.db")
        application.close()
    return [
        Figure(
            name="Append at saturation, against executemany at 1,000 a commit",
            target=at_least(0.3),
            seen=ratios(ours, hand),
            detail=f"{amount(max(ours))} events/s from queue_event to durable; {amount(max(hand))} rows/s by hand",
        ),
        Figure(
            name="Append at saturation, against eventsourcing's Application",
            target=at_least(15),
            seen=ratios(ours, stock),
            detail=f"{amount(max(stock))} events/s, one a save (synchronous={synchronous}, SQLite's own default)",
        ),
    ]


def _ours(path: Path, events: int) -> float:
    """Events a second."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    return trio.run(_flood, path, events)


async def _flood(path: Path, count: int) -> float:
    host = FakeHypervisor()
    vms = [host.add(f"vm-{number}", state=1, reason=1) for number in range(_VMS)]
    stored, all_stored = 0, trio.Event()

    def durable(events: Sequence[Event], _: int) -> None:
        nonlocal stored
        stored += sum(isinstance(event, LifecycleEvent) for event in events)
        if stored == count:
            all_stored.set()

    async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        observer = Observer(
            WatchedLog(log, durable),
            host,
            name="observer/host-1/test",
            roster=Roster(),
            how=HOW,
        )
        connection = _Tapped(host)
        host.connections.append(connection)
        nursery.start_soon(observer.run, connection)
        await observer.seeing.wait()
        announced = [
            Announcement(
                LifecycleEvent(
                    observed_at=T0,
                    instance=vms[n % _VMS],
                    connection=2,
                    number=n + 1,
                    event=3 + n // _VMS % 2,
                    detail=0,
                ),
                f"vm-{n % _VMS}",
            )
            for n in range(count)
        ]
        begin = perf_counter()
        await trio.to_thread.run_sync(_announce, connection.queue_event, announced)
        await all_stored.wait()
        took = perf_counter() - begin
        nursery.cancel_scope.cancel()
    return count / took


class _Tapped(FakeConnection):
    """A connection that gives away what it was told to call for each event: the bridge's `queue_event`."""

    queue_event: Callable[[Announcement], None]

    async def subscribe(self, *, connection: int, announce: Callable[[Announcement], None]) -> None:
        self.queue_event = announce
        await super().subscribe(connection=connection, announce=announce)


def _announce(queue_event: Callable[[Announcement], None], events: Sequence[Announcement]) -> None:
    """Be libvirt's thread: queue events as fast as it goes."""
    for event in events:
        queue_event(event)


def _executemany(ours: Path, path: Path) -> float:
    """Rows a second: those of our log, finished, into the same tables with the same pragmas."""
    source = sqlite3.connect(ours)
    rows = source.execute(f"SELECT {_COLUMNS} FROM records ORDER BY position").fetchall()
    source.close()
    database = Database(path)
    ensure_schema(database)
    database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    insert = f"INSERT INTO records ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)"
    begin = perf_counter()
    for start in range(0, len(rows), _COMMIT):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, rows[start : start + _COMMIT])
        connection.execute("COMMIT")
    took = perf_counter() - begin
    connection.close()
    path.unlink()
    return len(rows) / took


def _seconds(application: StockApplication, saves: int) -> float:
    begin = perf_counter()
    application.save_one_by_one(saves)
    return perf_counter() - begin
