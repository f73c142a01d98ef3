"""Appending: one transaction for many callers, each of whom succeeds or fails alone.

The lock comes first: SQLite's BEGIN IMMEDIATE, or PostgreSQL's lock of the head row. Under it versions are compared
before anything is written, so a conflict never spoils the others' transaction, and positions follow each other without
gaps in the order of commits. Nothing read under the lock is kept beyond it: another process may be next.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from es_power.domain.events import Position
from es_power.domain.ports import Append, Clock, LabelText, Tracking
from es_power.domain.streams import stream_id
from es_power.errors import ConcurrentAppendError, LogError
from es_power.log.chain import GENESIS, link
from es_power.log.codec import Codec
from es_power.log.database import Database, run, scalar
from es_power.log.erasing import rewriting_labels
from es_power.log.schema import HEAD, LABELS, RECORDS, STREAMS, TRACKING

_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StreamWrite:
    """Encoded records for one stream."""

    id: bytes
    name: str
    #: The version that the stream must have; None where the versions must only rise above it.
    expected: int | None
    #: (version, topic, state)
    records: Sequence[tuple[int, str, bytes]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One caller's append, encoded and found fit to be stored, so that it cannot spoil a transaction of many."""

    key: bytes
    writes: Sequence[StreamWrite]
    labels: Sequence[LabelText] = ()
    tracking: Tracking | None = None
    forgets: Sequence[int] = ()

    @property
    def size(self) -> int:
        """How many records it has."""
        return sum(len(write.records) for write in self.writes)


Outcome = Position | LogError
"""Of one append: the position of its first record, or why it was refused."""


def prepare(append: Append, codec: Codec) -> Prepared:
    """Encode an append; TypeError or ValueError where it holds what could not be stored or read back."""
    _require_storable(
        (write.stream for write in append.writes),
        (label.text for label in append.labels),
        numbers=(*(label.id for label in append.labels), *append.forgets),
    )
    if append.tracking:
        _require_storable([append.tracking.name], numbers=[append.tracking.position])
    writes = [
        StreamWrite(
            stream_id(write.stream).bytes,
            write.stream,
            write.expected,
            [(version, *codec.encode(event)) for version, event in enumerate(write.events, write.expected + 1)],
        )
        for write in append.writes
    ]
    return Prepared(append.key.bytes, writes, append.labels, append.tracking, append.forgets)


def _require_storable(*texts: Iterable[str], numbers: Iterable[int]) -> None:
    for text in (each for group in texts for each in group):
        text.encode()
        if "\0" in text:
            msg = f"{text!r} holds a NUL, which no database stores"
            raise ValueError(msg)
    for number in numbers:
        if not 0 <= number <= _LARGEST:
            msg = f"{number} is not a whole number of 63 bits"
            raise ValueError(msg)


class Statements:
    """The SQL of an append, compiled for a kind of database."""

    def __init__(self, database: Database) -> None:
        insert = sqlite.insert if database.is_sqlite else postgresql.insert
        param, compiled = sa.bindparam, database.compile
        self.lock = compiled(sa.select(HEAD.c.position).with_for_update())
        self.move = compiled(sa.update(HEAD).values(position=param("p")), "p")
        self.stream = compiled(
            sa.select(STREAMS.c.version, STREAMS.c.hash, STREAMS.c.no).where(STREAMS.c.id == param("i")), "i"
        )
        self.streams = compiled(sa.select(sa.func.count()).select_from(STREAMS))
        self.add_stream = compiled(sa.insert(STREAMS), *STREAMS.c.keys())
        self.move_stream = compiled(
            sa.update(STREAMS).values(version=param("v"), hash=param("h")).where(STREAMS.c.no == param("n")),
            "v",
            "h",
            "n",
        )
        self.add_record = compiled(sa.insert(RECORDS), *RECORDS.c.keys())
        self.add_label = compiled(insert(LABELS).on_conflict_do_nothing(), *LABELS.c.keys())
        self.forget = compiled(sa.delete(LABELS).where(LABELS.c.id == param("i")), "i")
        self.rewrite = rewriting_labels(database)
        self.tracked = compiled(sa.select(TRACKING.c.position).where(TRACKING.c.name == param("n")), "n")
        track = insert(TRACKING)
        self.track = compiled(
            track.on_conflict_do_update(index_elements=["name"], set_={"position": track.excluded.position}),
            *TRACKING.c.keys(),
        )
        self.find = compiled(sa.select(RECORDS.c.position).where(RECORDS.c.key == param("k")), "k")


class Appender:
    """Appends to one database; call it from one thread at a time or from many."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sql = database.once(Statements, lambda: Statements(database))

    def commit(
        self, group: Sequence[Prepared], *, beside: Callable[[sa.Connection], None] = lambda _: None
    ) -> Sequence[Outcome]:
        """Store a group in one transaction and give each append's outcome; LogError where the database refused all.

        `beside` is what else belongs to that transaction; it may be run twice.

        Where the connection broke, nobody knows what became of the transaction. Then it is run again: since it takes
        the lock, the first one is over by then, whatever its end, and what that stored is known by its keys.
        """
        try:
            return self._transaction(group, beside, again=False)
        except LogError as error:
            if not getattr(error.__cause__, "connection_invalidated", False):
                raise
        return self._transaction(group, beside, again=True)

    def _transaction(
        self, group: Sequence[Prepared], beside: Callable[[sa.Connection], None], *, again: bool
    ) -> Sequence[Outcome]:
        with self._database.write() as connection:
            transaction = _Transaction(connection, self._sql, self._clock(), again=again)
            outcomes = [transaction.add(append) for append in group]
            transaction.flush()
            beside(connection)
        return outcomes


@dataclass(slots=True)
class _Tip:
    """The end of a stream, as it grows in a transaction."""

    version: int
    hash: bytes
    #: Its number in the table of streams; 0 until it has one.
    no: int = 0
    #: Whether the table has a row for it, and whether that row must follow.
    stored: bool = False
    grown: bool = False


class _Transaction:
    """What one group does to the log: first found out in memory, append by append, then written at once."""

    def __init__(self, connection: sa.Connection, sql: Statements, now: int, *, again: bool) -> None:
        self._run = partial(run, connection)
        self._scalar = partial(scalar, connection)
        self._sql = sql
        self._now = now
        self._again = again
        self._head = int(self._scalar(sql.lock))
        self._last_no: int | None = None
        self._tips: dict[bytes, tuple[str, _Tip]] = {}
        self._tracked: dict[str, int] = {}
        self._labels: list[LabelText] = []
        self._forgets: list[int] = []
        self._rows: list[tuple[Any, ...]] = []
        self._keys: dict[bytes, Position] = {}

    def add(self, append: Prepared) -> Outcome:
        """Take one append in, or give the reason why it cannot be."""
        if (conflict := self._conflict(append)) is not None:
            landed = self._landed(append)
            return conflict if landed is None else landed
        first = Position(self._head + 1)
        key: bytes | None = append.key
        for write in append.writes:
            tip = self._tip(write)
            for version, topic, state in write.records:
                tip.no = tip.no or self._number()
                self._head += 1
                tip.hash = link(tip.hash, write.id, version, self._head, self._now, topic, state)
                self._rows.append((self._head, tip.no, version, self._now, topic, state, tip.hash, key))
                tip.version, tip.grown, key = version, True, None
        self._labels += append.labels
        self._forgets += append.forgets
        if append.tracking:
            self._tracked[append.tracking.name] = append.tracking.position
        if self._head < first:
            return Position(self._head)
        self._keys[append.key] = first
        return first

    def flush(self) -> None:
        """Write what was taken in."""
        if self._rows:
            self._run(self._sql.add_record, self._rows)
            self._run(self._sql.move, (self._head,))
        grown = [(id_, name, tip) for id_, (name, tip) in self._tips.items() if tip.grown]
        if new := [(tip.no, id_, name, tip.version, tip.hash) for id_, name, tip in grown if not tip.stored]:
            self._run(self._sql.add_stream, new)
        if moved := [(tip.version, tip.hash, tip.no) for _, _, tip in grown if tip.stored]:
            self._run(self._sql.move_stream, moved)
        if self._labels:
            self._run(self._sql.add_label, [(each.id, each.salt, each.text, each.whole) for each in self._labels])
        if self._forgets:
            self._run(self._sql.forget, [(each,) for each in self._forgets])
            for statement in self._sql.rewrite:
                self._run(statement)
        if self._tracked:
            self._run(self._sql.track, list(self._tracked.items()))

    def _landed(self, append: Prepared) -> Position | None:
        """Where an append is that was stored before: its key tells, which stands on its first record.

        One without records has no key in the log. It is taken for stored where its tracking is, but only in a second
        attempt: in the first, that is the work of another process manager.
        """
        if append.key in self._keys:
            return self._keys[append.key]
        landed = self._scalar(self._sql.find, (append.key,))
        if landed is not None:
            return Position(landed)
        tracking = append.tracking
        if self._again and tracking and not append.size and self._reached(tracking.name) == tracking.position:
            return Position(self._head)
        return None

    def _conflict(self, append: Prepared) -> ConcurrentAppendError | None:
        ends: dict[bytes, int] = {}
        for write in append.writes:
            tip = self._tip(write)
            version = ends.get(write.id, tip.version if tip.no or write.expected is not None else -1)
            if write.expected is not None and write.expected != version:
                return ConcurrentAppendError(write.name, expected=write.expected, actual=version)
            for following, _, _ in write.records:
                if following <= version:
                    return ConcurrentAppendError(write.name, expected=following - 1, actual=version)
                version = following
            ends[write.id] = version
        tracking = append.tracking
        if tracking and (reached := self._reached(tracking.name)) >= tracking.position:
            return ConcurrentAppendError(f"tracking of {tracking.name}", expected=tracking.position - 1, actual=reached)
        return None

    def _tip(self, write: StreamWrite) -> _Tip:
        known = self._tips.get(write.id)
        if known is None:
            if row := self._run(self._sql.stream, (write.id,)).fetchone():
                version, end, no = row
                tip = _Tip(version, end, no, stored=True)
            else:
                tip = _Tip(0, GENESIS)
            known = self._tips[write.id] = (write.name, tip)
        return known[1]

    def _number(self) -> int:
        """Number a new stream; they are never deleted, so the last number is their count."""
        if self._last_no is None:
            self._last_no = int(self._scalar(self._sql.streams))
        self._last_no += 1
        return self._last_no

    def _reached(self, name: str) -> int:
        if name not in self._tracked:
            stored = self._scalar(self._sql.tracked, (name,))
            return -1 if stored is None else int(stored)
        return self._tracked[name]
