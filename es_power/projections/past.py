"""What the tables know of the past: where to begin a fold, and which parts of the log may bear on a time.

Whoever asks gets the same answer without them, by reading all of the log. What the tables do not have yet, everything
after their checkpoint, may bear on any time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import trio

from es_power.domain.events import START, LifecycleEvent, Position
from es_power.domain.time import Timestamp
from es_power.log import SqlLog
from es_power.projections.beginning import read_beginning
from es_power.projections.fleet import Fleet
from es_power.projections.history import Entry
from es_power.projections.imported import MARK
from es_power.projections.snapshots import unpack
from es_power.projections.store import Store
from es_power.projections.tables import HISTORY, LOGGED, SNAPSHOTS, TIMES, entry_of
from es_power.projections.times import BLOCK


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the log: after < position <= until."""

    after: Position
    until: Position


async def position_at(log: SqlLog, store: Store, at: Timestamp) -> Position:
    """The last position recorded not after a time, as `SqlLog.position_at` gives it, out of blocks that may hold it."""
    checkpoint, blocks = await trio.to_thread.run_sync(_blocks_recorded_by, store, at)
    tail = _before(checkpoint // BLOCK)
    if found := await log.position_at(at, after=tail):
        return found
    for block in blocks:
        if found := await log.position_at(at, after=_before(block), until=_before(block + 1)):
            return found
    return START


def snapshot(store: Store, until: Position) -> Fleet:
    """The newest fleet that is kept of a position not after this one; that of the log's beginning where none is."""
    query = sa.select(SNAPSHOTS.c.fleet).where(SNAPSHOTS.c.position <= until).order_by(SNAPSHOTS.c.position.desc())
    with store.reading() as (connection, checkpoint):
        data = connection.scalar(query.limit(1)) if checkpoint else None
        return read_beginning(connection).fleet if data is None else unpack(data)


def spans_about(store: Store, at: Timestamp, *, after: Position, until: Position) -> Sequence[Span]:
    """The parts of what was recorded in between that may hold facts whose time at the source is not after this one."""
    query = sa.select(TIMES.c.block).where(
        TIMES.c.block >= after // BLOCK, TIMES.c.block <= until // BLOCK, TIMES.c.source <= at
    )
    with store.reading() as (connection, checkpoint):
        blocks = list(connection.scalars(query.order_by(TIMES.c.block))) if checkpoint else []
    spans = [Span(max(_before(block), after), min(_before(block + 1), until)) for block in blocks]
    rest = Span(max(checkpoint, after), until)
    return list(_joined([*spans, rest]))


def told(store: Store, at: Timestamp, *, known: Position) -> tuple[Sequence[Entry], Position]:
    """The newest line of each VM in each stream that tells a state, by its time; and up to where the tables know."""
    table = HISTORY.c
    # An event of another log that tells of no state, such as that a VM was defined, leaves what was told before.
    tells = sa.or_(table.power_state.is_not(None), table.kind != f"{MARK}{LifecycleEvent.__name__}")
    newest = (
        sa.select(
            table.position,
            table.index,
            sa.func.row_number()
            .over(
                partition_by=(table.instance, table.stream),
                order_by=(table.observed_at.desc(), table.position.desc()),
            )
            .label("place"),
        )
        .where(LOGGED, tells, table.observed_at <= at, table.position <= known)
        .subquery()
    )
    # One sweep of another log may have the newest words of some VMs, and older ones of others.
    here = sa.and_(table.position == newest.c.position, table.index == newest.c.index)
    query = sa.select(HISTORY).join(newest, here).where(newest.c.place == 1)
    with store.reading() as (connection, checkpoint):
        rows = connection.execute(query).mappings().all() if checkpoint else []
        return [entry_of(row) for row in rows], checkpoint


def _blocks_recorded_by(store: Store, at: Timestamp) -> tuple[Position, Sequence[int]]:
    with store.reading() as (connection, checkpoint):
        if not checkpoint:
            return START, []
        earlier = sa.and_(TIMES.c.block < checkpoint // BLOCK, TIMES.c.recorded <= at)
        return checkpoint, list(
            connection.scalars(sa.select(TIMES.c.block).where(earlier).order_by(TIMES.c.block.desc()))
        )


def _before(block: int) -> Position:
    """The last position before a block."""
    return Position(max(block * BLOCK - 1, 0))


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Put spans together that follow on each other, and leave out empty ones."""
    open_: Span | None = None
    for span in spans:
        if span.after >= span.until:
            continue
        if open_ is not None and span.after <= open_.until:
            open_ = Span(open_.after, max(open_.until, span.until))
            continue
        if open_ is not None:
            yield open_
        open_ = span
    if open_ is not None:
        yield open_
