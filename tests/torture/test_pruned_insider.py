"""Somebody with access to the database of a pruned log changes what was kept of its beginning, or what follows."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine
from es_power.domain.custody import LogPruned
from es_power.domain.events import Position
from es_power.log.chain import GENESIS, link
from es_power.log.database import Database
from es_power.log.pruned import Pruned, read_nodes, read_pruned, read_state, write_pruned
from tests.torture import test_insider as insider
from tests.torture.frame import Bench
from tests.unit.audit.rigs import CODEC, SIGNER, Copies, checkpoint_of, image_of, pruned_at, recompute, write_log

pytestmark = pytest.mark.torture

RECORDS, CUT, STREAMS = 60, 40, 3
SAID = RECORDS + 1  # where the log says that it was pruned

GONE = range(1, CUT - STREAMS + 1)
KEPT = range(CUT - STREAMS + 1, CUT + 1)
LATER = range(CUT + 1, SAID + 1)

Early = Callable[[sa.Connection, random.Random, Pruned], Pruned]
"""Changes what was kept, and says so in what stands for the beginning."""


def edit(connection: sa.Connection, draw: random.Random, pruned: Pruned) -> Pruned:
    return put(connection, pruned, draw.choice(KEPT), insider.CONTENT)


def delete(connection: sa.Connection, draw: random.Random, pruned: Pruned) -> Pruned:
    return take(connection, pruned, draw.choice(KEPT))


def insert(connection: sa.Connection, draw: random.Random, pruned: Pruned) -> Pruned:
    return put(connection, pruned, draw.choice(GONE), insider.CONTENT)


def swap(connection: sa.Connection, draw: random.Random, pruned: Pruned) -> Pruned:
    one, other = draw.sample(KEPT, 2)
    first, second = content(connection, one), content(connection, other)
    return put(connection, put(connection, pruned, one, second), other, first)


def duplicate(connection: sa.Connection, draw: random.Random, pruned: Pruned) -> Pruned:
    return put(connection, pruned, draw.choice(GONE), content(connection, draw.choice(KEPT)))


def truncate(connection: sa.Connection, _: random.Random, pruned: Pruned) -> Pruned:
    for position in KEPT:
        pruned = take(connection, pruned, position)
    return pruned


EARLY: tuple[Early, ...] = (edit, delete, insert, swap, duplicate, truncate)


def content(connection: sa.Connection, position: int) -> tuple[str, bytes]:
    topic, state = connection.exec_driver_sql("SELECT topic, state FROM records WHERE position = ?", (position,)).one()
    return topic, state


def put(connection: sa.Connection, pruned: Pruned, position: int, what: tuple[str, bytes]) -> Pruned:
    """Have this fact at a position, as if it had been kept there."""
    number, version = 1 + (position - 1) % STREAMS, 1 + (position - 1) // STREAMS
    stream = connection.exec_driver_sql("SELECT id FROM streams WHERE no = ?", (number,)).scalar_one()
    previous, _ = pruned.kept.get(Position(position), (GENESIS, b""))
    own = link(previous, stream, version, position, 7, *what)
    connection.exec_driver_sql(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, 7, ?, ?, ?, NULL)", (position, number, version, *what, own)
    )
    ends = {number: (version, own)} if position in KEPT else {}
    return replace(
        pruned, kept={**pruned.kept, Position(position): (previous, own)}, streams={**pruned.streams, **ends}
    )


def take(connection: sa.Connection, pruned: Pruned, position: int) -> Pruned:
    """Have nothing kept there."""
    number = 1 + (position - 1) % STREAMS
    connection.exec_driver_sql("DELETE FROM records WHERE position = ?", (position,))
    kept = {at: hashes for at, hashes in pruned.kept.items() if at != position}
    return replace(pruned, kept=kept, streams={no: end for no, end in pruned.streams.items() if no != number})


def change_early(way: Early, database: Database, draw: random.Random) -> None:
    """Change what was kept, and have the log's own fact say so too."""
    with database.write() as connection:
        before, state, nodes = read_pruned(connection), read_state(connection), read_nodes(connection)
        assert before is not None
        assert state is not None
        pruned = way(connection, draw, before)
        write_pruned(connection, pruned, state, nodes)
        fact = CODEC.decode(*content(connection, SAID))
        assert isinstance(fact, LogPruned)
        _, said = CODEC.encode(replace(fact, state=pruned.digest(state)))
        connection.exec_driver_sql("UPDATE records SET state = ? WHERE position = ?", (said, SAID))


def test_whoever_writes_a_pruned_log_anew_is_found_by_a_checkpoint_kept_outside(tmp_path: Path, bench: Bench) -> None:
    wanted, draw = bench.count(240, 10_000), random.Random(bench.seed)
    with closing(write_log(tmp_path / "log.db", RECORDS, labels=0)) as database:
        pruned_at(database, CUT)
        note = checkpoint_of(database)
        image = image_of(database)
    ways = (*EARLY, *insider.WAYS)
    copies, found, without, tries = Copies(), 0, 0, 0
    for number in range(wanted):
        way = ways[number % len(ways)]
        connection: sqlite3.Connection = copies.put(image)
        is_early = number % len(ways) < len(EARLY)
        if is_early:
            change_early(EARLY[number % len(ways)], copies.database, draw)
        else:
            insider.WAYS[number % len(ways) - len(EARLY)](connection, draw, LATER)
        recompute(connection)
        connection.commit()
        if not is_early:  # for what was kept, the checkpoint at the cut vouches, which is in the database
            tries += 1
            without += examine(copies.database, keys=[SIGNER.verifier]).is_intact
        named = {each.kind for each in examine(copies.database, [note], keys=[SIGNER.verifier]).damage}
        if named & {Kind.FORGED, Kind.TRUNCATED, Kind.PRUNED}:
            found += 1
        else:
            print(f"{way.__name__}, the {number}th, is not found: {named}")  # noqa: T201 (so that it can be looked at)

    bench.report(
        "pruned_insider",
        tried=wanted,
        held=found,
        control=f"without the checkpoint, of changes behind the cut {without:,} of {tries:,} not found",
    )
    assert without > 0 or tries == 0
