"""Somebody with access to the database changes the log, and computes all hashes anew: only what is elsewhere tells."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from es_power.audit.verdict import Kind
from es_power.audit.verifying import examine
from es_power.log.codec import Codec
from es_power.testing.log_contract import lifecycle
from tests.torture.frame import Bench
from tests.unit.audit.rigs import SIGNER, Copies, checkpoint_of, image_of, move_up, recompute, write_log

pytestmark = pytest.mark.torture

RECORDS = 60
COLUMNS = "stream, version, recorded_at, topic, state, hash"
CONTENT = TOPIC, STATE = Codec().encode(lifecycle(10**6))

Way = Callable[[sqlite3.Connection, random.Random, range], None]
"""Does something to the records at some of these positions; the last is that of the log."""


def edit(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    where = draw.choice(span)
    if draw.random() < 0.5:
        connection.execute("UPDATE records SET topic = ?, state = ? WHERE position = ?", (TOPIC, STATE, where))
    else:
        connection.execute("UPDATE records SET recorded_at = recorded_at + 1 WHERE position = ?", (where,))


def delete(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    where = draw.choice(span)
    connection.execute("DELETE FROM records WHERE position = ?", (where,))
    move_up(connection, where, -1)


def insert(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    where = draw.choice(span)
    move_up(connection, where - 1, 1)
    values = (where, draw.randint(1, 3), 10**6, 1, TOPIC, STATE, bytes(32))
    connection.execute(f"INSERT INTO records (position, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def swap(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    one, other = draw.sample(span, 2)
    for before, after in ((one, -1), (other, one), (-1, other)):
        connection.execute("UPDATE records SET position = ? WHERE position = ?", (after, before))


def duplicate(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    which, where = draw.choice(span), draw.choice(span)
    if which == where == span[-1]:
        which = span[
            0
        ]  # the last one once more, behind itself, leaves all that was signed as it was: that is an append
    [row] = connection.execute(f"SELECT {COLUMNS} FROM records WHERE position = ?", (which,)).fetchall()
    move_up(connection, where - 1, 1)
    connection.execute(
        f"INSERT INTO records (position, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", (where, row[0], 10**6, *row[2:])
    )


def truncate(connection: sqlite3.Connection, draw: random.Random, span: range) -> None:
    connection.execute("DELETE FROM records WHERE position > ?", (draw.choice(span[:-1]),))


WAYS: tuple[Way, ...] = (edit, delete, insert, swap, duplicate, truncate)


def test_whoever_writes_the_log_anew_is_found_by_a_checkpoint_kept_outside(tmp_path: Path, bench: Bench) -> None:
    wanted, draw = bench.count(600, 60_000), random.Random(bench.seed)
    with closing(write_log(tmp_path / "log.db", RECORDS, labels=0)) as database:
        note = checkpoint_of(database)
        image = image_of(database)
    copies, found, without, plain, tries = Copies(), 0, 0, 0, 0
    # In the quick tier the controls are tried on a tenth, of every way some.
    controls = len(WAYS) * 10 if bench.tier.is_quick else wanted
    for number in range(wanted):
        way = WAYS[number % len(WAYS)]
        connection = copies.put(image)
        way(connection, draw, range(1, RECORDS + 1))
        is_control = number < controls
        plain += is_control and connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        recompute(connection)
        connection.commit()
        without += is_control and examine(copies.database).is_intact
        tries += is_control
        verdict = examine(copies.database, [note], keys=[SIGNER.verifier])
        named = {each.kind for each in verdict.damage}
        if named and named <= {Kind.FORGED, Kind.TRUNCATED}:
            found += 1
        else:
            print(f"{way.__name__}, the {number}th, is not found: {named}")  # noqa: T201 (so that it can be looked at)

    bench.report(
        "insider",
        tried=wanted,
        held=found,
        control=f"the chain alone, without the checkpoint: {without:,} of {tries:,} not found; "
        f"SQLite's own check: {plain:,} of {tries:,} not found",
    )
    assert without == tries > 0
