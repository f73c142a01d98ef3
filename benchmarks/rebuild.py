"""Rebuild of the SQL tables, against writing them event by event, each in a transaction of its own."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from benchmarks.figures import ROUNDS, Figure, amount, at_least, in_turn, ratios
from benchmarks.logs import hosts, lifecycle, write
from es_power.domain.events import START, LifecycleEvent, Recorded
from es_power.log import open_log
from es_power.projections.lean import fold_fleet
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store
from es_power.replay import rebuild

_HOSTS, _VMS = 20, 50

_UPSERT = """
INSERT INTO one_by_one VALUES (?, ?, ?, ?, ?)
ON CONFLICT (instance) DO UPDATE SET power_state = excluded.power_state, observed_at = excluded.observed_at,
  connection = excluded.connection, number = excluded.number
"""
_TRACK = """
INSERT INTO one_tracking VALUES ('power_state', ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position
"""


def measure(*, quick: bool = False) -> list[Figure]:
    many, some, single, rounds = (400, 400, 20, 1) if quick else (200_000, 20_000, 1_000, ROUNDS)
    with TemporaryDirectory() as directory:
        larger = write(Path(directory) / "many.db", lifecycle(many, hosts(_HOSTS, _VMS)))
        log = write(Path(directory) / "some.db", lifecycle(some, hosts(_HOSTS, _VMS)))
        records = trio.run(_read, log, single)
        ours, table, saved, hand = in_turn(
            rounds,
            lambda: some / trio.run(_rebuild, log),
            lambda: many / trio.run(_rebuild_power_state, larger),
            lambda: single / trio.run(_save_each, log, records),
            lambda: single / _upsert_each(Path(directory) / "hand.db", records),
        )
    return [
        Figure(
            name="Rebuild of the power_state table, against one event a transaction",
            target=at_least(60),
            seen=ratios(table, hand),
            detail=f"{amount(max(table))} events/s folded and written; {amount(max(hand))} by a hand-written upsert "
            "and checkpoint in one transaction each, synchronous=FULL",
        ),
        Figure(
            name="Rebuild of all tables, history included, against one event a transaction",
            target=None,
            seen=ratios(ours, saved),
            detail=f"{amount(max(ours))} events/s, each a row of the history too, hashes checked; "
            f"{amount(max(saved))} by a save of the same tables for each event",
        ),
    ]


async def _read(path: Path, limit: int) -> Sequence[Recorded]:
    async with open_log(path) as log:
        records = await log.read(after=START, limit=100_000)
        # The VMs' names stand before their events, and cost the hand-written side nothing.
        return [each for each in records if isinstance(each.event, LifecycleEvent) and each.event.transition][:limit]


async def _rebuild(path: Path) -> float:
    async with open_log(path, mode="write") as log:
        begin = perf_counter()
        await rebuild(log)
        return perf_counter() - begin


async def _rebuild_power_state(path: Path) -> float:
    async with open_log(path, mode="write") as log:
        begin = perf_counter()
        models = ReadModels(await fold_fleet(log))
        await trio.to_thread.run_sync(lambda: Store(log.database).rebuild(models, Step()))
        return perf_counter() - begin


async def _save_each(path: Path, records: Sequence[Recorded]) -> float:
    async with open_log(path, mode="write") as log:
        store, models = Store(log.database), ReadModels()
        store.rebuild(models, Step())
        begin = perf_counter()
        for recorded in records:
            since = models.fleet.position
            store.save(models, models.apply([recorded]), since=since)
        return perf_counter() - begin


def _upsert_each(path: Path, records: Sequence[Recorded]) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("DROP TABLE IF EXISTS one_by_one")
    connection.execute("DROP TABLE IF EXISTS one_tracking")
    connection.execute(
        "CREATE TABLE one_by_one (instance BLOB PRIMARY KEY, power_state TEXT, observed_at INT, connection INT,"
        " number INT)"
    )
    connection.execute("CREATE TABLE one_tracking (name TEXT PRIMARY KEY, position INT)")
    begin = perf_counter()
    for recorded in records:
        event = recorded.event
        if isinstance(event, LifecycleEvent) and event.transition:
            row = event.instance.bytes, event.transition.power_state, event.observed_at, event.connection, event.number
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_UPSERT, row)
            connection.execute(_TRACK, (recorded.position,))
            connection.execute("COMMIT")
    took = perf_counter() - begin
    connection.close()
    return took
