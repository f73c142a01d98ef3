"""What the tables have of VMs over some time: by the indexes they have anyway, and for many VMs at once."""

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Final

import sqlalchemy as sa

from es_power.domain.events import START, InstanceId, LifecycleEvent, Position, StateObserved
from es_power.domain.states import PowerState
from es_power.domain.time import Timestamp
from es_power.projections.history import Entry
from es_power.projections.store import Store
from es_power.projections.tables import ENTRY_FIELDS, HISTORY, LOGGED, POWER_STATE, entry_of

WORDS: Final = (LifecycleEvent.__name__, StateObserved.__name__)
"""Entries that may tell a VM's power_state."""

_AT_ONCE: Final = 20_000  # rows
_ON: Final = tuple(state.value for state in PowerState if state.is_on)


def words(store: Store, instances: Collection[InstanceId], *, after: Position, until: Position) -> list[Entry]:
    """What was announced and observed of these VMs: after < position <= until, and what bears on the state before.

    That is, of each VM on each host, everything from the last word on by which it was on.
    """
    table, vms, lead = HISTORY.c, POWER_STATE.c, HISTORY.alias("lead")
    last_on = (
        sa.select(lead.c.position)
        .where(
            lead.c.instance == vms.instance,
            lead.c.stream == vms.stream,
            lead.c.position <= after,
            lead.c.power_state.in_(_ON),
            # As `shows_on` says.
            sa.or_(lead.c.kind == StateObserved.__name__, sa.and_(lead.c.changed, lead.c.kind.in_(WORDS))),
            sa.not_(lead.c.stale),
        )
        .order_by(lead.c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    # Materialized, so that no database begins with the VMs' whole histories and looks each line's beginning up.
    begins = (
        sa.select(vms.instance, vms.stream, sa.func.coalesce(last_on, 0).label("begin"))
        .where(vms.instance.in_([instance.bytes for instance in instances]))
        .cte("begins")
        .prefix_with("MATERIALIZED")
    )
    of_it = sa.and_(
        table.instance == begins.c.instance,
        table.stream == begins.c.stream,
        table.position >= begins.c.begin,
        table.position <= until,
    )
    columns = sa.select(*(table[name] for name in ENTRY_FIELDS))
    return _entries(store, columns.select_from(begins.join(HISTORY, of_it)).where(table.kind.in_(WORDS)))


def words_before(store: Store, entries: Iterable[Entry], *, until: Position) -> list[Entry | None]:
    """Of each entry, the newest word of its host about its VM that stands before it and was not refused."""
    table = HISTORY.c
    left_a_state = sa.or_(table.power_state.is_not(None), table.kind == StateObserved.__name__)
    queries = [
        sa.select(HISTORY)
        .where(
            table.instance == (entry.instance and entry.instance.bytes),
            table.stream == entry.stream,
            table.position < entry.position,
            table.position <= until,
            table.kind.in_(WORDS),
            left_a_state,
            sa.not_(table.stale),
        )
        .order_by(table.position.desc())
        .limit(1)
        for entry in entries
    ]
    return [found[0] if found else None for found in store.some(queries)]


def is_word(entry: Entry) -> bool:
    """Whether an entry is a word about a VM that was not refused and left a state, be it that the VM is gone."""
    observed = entry.kind == StateObserved.__name__
    return entry.kind in WORDS and not entry.stale and (entry.power_state is not None or observed)


def shows_on(entry: Entry) -> bool:
    """Whether an entry is a word by which a VM was on, and from which on its state can be told.

    An event that changed nothing may be one that says nothing of power, such as DEFINED.
    """
    says = entry.kind == StateObserved.__name__ or (entry.changed and entry.kind in WORDS)
    return says and not entry.stale and entry.power_state is not None and entry.power_state.is_on


def logged(store: Store, instances: Collection[InstanceId], *, until: Position) -> list[Entry]:
    """What other programs' logs said of these VMs' states."""
    columns = sa.select(*(HISTORY.c[name] for name in ENTRY_FIELDS))
    of_these = HISTORY.c.instance.in_([instance.bytes for instance in instances])
    # By the position too, SQLite would take the index that has all lines, and not the one that has just these.
    return [entry for entry in _entries(store, columns.where(LOGGED, of_these)) if entry.position <= until]


def span(
    store: Store, since: Timestamp, until: Timestamp, *, checkpoint: Position, breaks: Sequence[Position]
) -> tuple[Position, Position]:
    """Between which positions stands what was announced and observed between two times: after < position <= last.

    `breaks` are where clocks were set: times rise with positions only between two of them.
    """
    ends = [START, *(position for position in breaks if position < checkpoint), checkpoint]
    parts = [
        (_before(store, since, after=first, until=last), _before(store, until, after=first, until=last))
        for first, last in pairwise(ends)
    ]
    found = [part for part in parts if part[0] < part[1]] or parts[-1:]
    return min(first for first, _ in found), max(last for _, last in found)


def _before(store: Store, at: Timestamp, *, after: Position, until: Position) -> Position:
    """A position up to which what was announced and observed after another one is older than a time; by halving."""
    table = HISTORY.c
    query = (
        sa.select(table.position, table.observed_at)
        .where(table.position > sa.bindparam("after"), table.position <= until, table.kind.in_(WORDS))
        .order_by(table.position)
        .limit(1)
    )
    low, high = after, until
    with store.reading() as (connection, _):
        while low < high:
            middle = Position((low + high) // 2)
            found = connection.execute(query, {"after": middle}).one_or_none()
            if found is None or found.observed_at >= at:
                high = middle
            else:
                low = found.position
    return low


def announced(store: Store, *, after: Position, until: Position) -> list[tuple[str, Timestamp, Position]]:
    """Lifecycle events with after < position <= until in the order of the log, some at once: stream, time, position."""
    table = HISTORY.c
    query = (
        sa.select(table.stream, table.observed_at, table.position)
        .where(table.position > after, table.position <= until, table.kind == LifecycleEvent.__name__)
        .order_by(table.position)
        .limit(_AT_ONCE)
    )
    with store.reading() as (connection, _):
        return [(stream, Timestamp(at), Position(position)) for stream, at, position in connection.execute(query)]


def _entries(store: Store, query: sa.Select[tuple[object, ...]]) -> list[Entry]:
    with store.reading() as (connection, _):
        return [entry_of(dict(zip(ENTRY_FIELDS, row, strict=True))) for row in connection.execute(query)]
