"""Entries of a history near a moment, found by index: an answer about one moment does not read the whole history.

What the tables have and what follows on them in the log are asked alike, and nothing beyond a position.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import trio

from es_power.domain.events import START, InstanceId, Position
from es_power.domain.time import Timestamp
from es_power.projections.history import Entry
from es_power.projections.queries import View
from es_power.projections.tables import HISTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries: those for which all of this is true."""

    #: None: those about whole hosts.
    instance: InstanceId | None
    stream: str | None = None
    kinds: Collection[str] | None = None
    #: Only those that changed a state.
    changed: bool = False
    #: after < position <= until.
    after: Position = START
    until: Position
    #: since <= observed_at <= before.
    since: Timestamp | None = None
    before: Timestamp | None = None

    def has(self, entry: Entry) -> bool:
        """Whether an entry is one of them."""
        return (
            entry.instance == self.instance
            and self.stream in (None, entry.stream)
            and (self.kinds is None or entry.kind in self.kinds)
            and (entry.changed or not self.changed)
            and self.after < entry.position <= self.until
            and (self.since is None or entry.observed_at >= self.since)
            and (self.before is None or entry.observed_at <= self.before)
        )

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """The same to a database."""
        table = HISTORY.c
        yield table.instance.is_(None) if self.instance is None else table.instance == self.instance.bytes
        yield table.position > self.after
        yield table.position <= self.until
        if self.stream is not None:
            yield table.stream == self.stream
        if self.kinds is not None:
            yield table.kind.in_(self.kinds)
        if self.changed:
            yield table.changed
        if self.since is not None:
            yield table.observed_at >= self.since
        if self.before is not None:
            yield table.observed_at <= self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """So many of the entries that are wanted: the newest, the newest first, or the oldest, the oldest first."""

    wanted: Wanted
    limit: int
    oldest: bool = False
    #: By their time at the source: what is imported has no other order.
    by_time: bool = False

    def query(self, until: Position) -> sa.Select[Any]:
        """The same to a database that is asked up to a position."""
        position = HISTORY.c.position
        order = HISTORY.c.observed_at if self.by_time else position
        query = sa.select(HISTORY).where(*self.wanted.conditions(), position <= until)
        return query.order_by(order.asc() if self.oldest else order.desc()).limit(self.limit)


async def near(view: View, *few: Few) -> list[list[Entry]]:
    """Find entries by several criteria at once."""
    stored: list[list[Entry]] = [[] for _ in few]
    since = view.rest.since
    if since:
        stored = await trio.to_thread.run_sync(lambda: view.store.some([each.query(since) for each in few]))
    return [_merged(view, each, entries) for each, entries in zip(few, stored, strict=True)]


def _merged(view: View, few: Few, stored: Collection[Entry]) -> list[Entry]:
    found = {entry.place: entry for entry in stored}
    found |= {entry.place: entry for entry in view.rest.entries.values() if few.wanted.has(entry)}
    entries = [entry for _, entry in sorted(found.items(), reverse=not few.oldest)]
    if few.by_time:
        entries.sort(key=lambda entry: entry.observed_at, reverse=not few.oldest)
    return entries[: few.limit]
