"""Questions to the log, as transactions that only read.

Positions and versions have no gaps but where a log was pruned, so a limit is a bound on them first; only where that
finds nothing before the end, the next record is looked for.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, cast
from uuid import UUID

import sqlalchemy as sa

from es_power.domain.events import START, Position, Recorded
from es_power.domain.streams import stream_id
from es_power.domain.time import Timestamp
from es_power.errors import LogRewoundError, UnknownEventError
from es_power.log.chain import Chain, Row
from es_power.log.codec import Codec, Raw
from es_power.log.database import Database, run, scalar
from es_power.log.pruned import pruned_up_to, require_kept, require_kept_since
from es_power.log.refusals import undecodable
from es_power.log.schema import HEAD, LABELS, RECORDS, STREAMS, TRACKING

_PARAMETERS: Final = 1000  # databases limit them for a statement
_CACHED: Final = 250  # records, with what is read from them: of a thousand at a time, each costs a third more

RawRecord = tuple[Position, str, int, Timestamp, str, Raw]
"""A record for folds that read millions: position, stream, version, recorded_at, name of the event's class, its fields.

A bare tuple, since a named one costs more to build than the record costs to decode.
"""
ROW: Final = ("position", "stream", "version", "recorded_at", "topic", "state", "hash")
"""The columns of a record that its hash is computed and checked from, in the order of `Row`."""

BEFORE_ALL: Final = -(2**63)
"""Before every position that a database can hold, also those that no log gives."""

# Written once: to have SQLAlchemy write it takes as long as to check a thousand records.
_WALK: Final = str(sa.select(*(RECORDS.c[name] for name in ROW)))
_BATCHES: Final = 40  # of one statement, whose records PostgreSQL's driver holds all at once


class _Statements:
    """The SQL of what is asked most, compiled for a kind of database."""

    def __init__(self, database: Database) -> None:
        param, compiled = sa.bindparam, database.compile
        row = sa.select(*(RECORDS.c[name] for name in ROW))
        self.head = compiled(sa.select(HEAD.c.position))
        self.rows = compiled(
            row.where(RECORDS.c.position > param("after"), RECORDS.c.position <= param("until")).order_by(
                RECORDS.c.position
            ),
            "after",
            "until",
        )
        self.next = compiled(
            sa.select(sa.func.min(RECORDS.c.position)).where(RECORDS.c.position > param("after")), "after"
        )
        self.stream = compiled(sa.select(STREAMS.c.no, STREAMS.c.version).where(STREAMS.c.id == param("id")), "id")
        self.stream_rows = compiled(
            row.where(
                RECORDS.c.stream == param("stream"),
                RECORDS.c.version > param("after"),
                RECORDS.c.version <= param("until"),
            ).order_by(RECORDS.c.version),
            "stream",
            "after",
            "until",
        )
        self.next_version = compiled(
            sa.select(sa.func.min(RECORDS.c.version)).where(
                RECORDS.c.stream == param("stream"), RECORDS.c.version > param("after")
            ),
            "stream",
            "after",
        )
        self.labels = f"{compiled(sa.select(LABELS.c.id, LABELS.c.text))} WHERE id IN"
        self.find = compiled(sa.select(RECORDS.c.position).where(RECORDS.c.key == param("key")), "key")
        self.tracked = compiled(sa.select(TRACKING.c.position).where(TRACKING.c.name == param("name")), "name")


class Queries:
    """Everything that can be asked of one log's database; call it from any thread."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self._database = database
        self._codec = codec
        #: Id and name of streams by number. They never change, so what was read once stays true.
        self._streams: dict[int, tuple[bytes, str]] = {}
        self._sql = database.once(_Statements, lambda: _Statements(database))

    def head(self) -> Position:
        """The position of the last record; 0 in an empty log."""
        with self._database.read() as connection:
            return self._head(connection)

    def require_kept(self, position: Position) -> None:
        """Raise RecordPrunedError where nobody can say any more what was known at a position."""
        with self._database.read() as connection:
            require_kept(connection, position)

    def pruned_up_to(self) -> Position:
        """Up to where the log was pruned; 0 where it is whole."""
        with self._database.read() as connection:
            return pruned_up_to(connection)

    def require_kept_since(self, at: Timestamp) -> None:
        """Raise RecordPrunedError where nobody can say any more what was the case at a time."""
        with self._database.read() as connection:
            require_kept_since(connection, at)

    def position_at(self, at: Timestamp, after: Position = START, until: Position | None = None) -> Position:
        """The last position recorded not after a time, with after < position <= until; 0 where all are later.

        The clock may have been set back in between, so times do not rise with positions, and none is indexed.
        """
        query = sa.select(RECORDS.c.position).where(RECORDS.c.recorded_at <= at, RECORDS.c.position > after)
        if until is not None:
            query = query.where(RECORDS.c.position <= until)
        with self._database.read() as connection:
            found = connection.scalar(query.order_by(RECORDS.c.position.desc()).limit(1))
            return START if found is None else Position(found)

    def read(
        self, after: Position, until: Position | None, limit: int, chain: Chain | None = None
    ) -> Sequence[Recorded]:
        """Records with after < position <= until, in order, at most `limit`.

        LogRewoundError where `after` lies ahead of the head. A record that cannot be decoded ends the answer before it;
        where it is the first, UnknownEventError: its reader sets it aside and asks on after its position. A `chain`
        that has followed the log up to `after` checks every hash on the way.
        """
        with self._database.read() as connection:
            return self._decoded(connection, self._rows(connection, after, until, limit), chain)

    def read_at(self, positions: Sequence[Position]) -> dict[Position, Recorded]:
        """The records at these positions; one that cannot be decoded, or is not there, is left out."""
        found: dict[Position, Recorded] = {}
        with self._database.read() as connection:
            for start in range(0, len(positions), _PARAMETERS):
                for row in _rows_at(connection, positions[start : start + _PARAMETERS]):
                    with suppress(UnknownEventError):
                        found |= {each.position: each for each in self._decoded(connection, [row])}
        return found

    def read_raw(
        self, after: Position, until: Position | None, limit: int, chain: Chain | None = None
    ) -> Sequence[RawRecord]:
        """The same as bare fields; a `chain` that has followed the log up to `after` checks every hash on the way."""
        with self._database.read() as connection:
            return self._bare(connection, self._rows(connection, after, until, limit), chain)

    def scan(
        self,
        visit: Callable[[Sequence[RawRecord]], None],
        after: Position,
        until: Position | None,
        limit: int,
        chain: Chain | None = None,
    ) -> None:
        """Call `visit` with the same, up to `limit` of them, so many at a time as fit in the processor's cache."""
        with self._database.read() as connection:
            while limit > 0 and (rows := self._rows(connection, after, until, min(limit, _CACHED))):
                found = self._bare(connection, rows, chain)
                visit(found)
                after = found[-1][0]
                limit -= len(found)

    def read_stream(self, stream: str, after: int, limit: int | None) -> Sequence[Recorded]:
        """Records of one stream with a version above `after`, in order; UnknownEventError as in `read`."""
        with self._database.read() as connection:
            known = run(connection, self._sql.stream, (stream_id(stream).bytes,)).fetchone()
            if known is None:
                return []
            no, version = known
            until = version if limit is None else after + limit
            rows = fetch_rows(connection, self._sql.stream_rows, no, after, until)
            if not rows and until < version:
                following = scalar(connection, self._sql.next_version, (no, after))
                rows = fetch_rows(connection, self._sql.stream_rows, no, following - 1, following - 1 + until - after)
            return self._decoded(connection, rows)

    def version(self, stream: str) -> int:
        """The version of the stream's last record; 0 where it does not exist."""
        with self._database.read() as connection:
            known = run(connection, self._sql.stream, (stream_id(stream).bytes,)).fetchone()
            return int(known[1]) if known else 0

    def find(self, key: UUID) -> Position | None:
        """The position of the first record of the append with this key."""
        with self._database.read() as connection:
            return cast(Position | None, scalar(connection, self._sql.find, (key.bytes,)))

    def tracked(self, name: str) -> Position | None:
        """How far the process manager of that name has read."""
        with self._database.read() as connection:
            return cast(Position | None, scalar(connection, self._sql.tracked, (name,)))

    def labels(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of labels; a forgotten or unknown one is left out."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for start in range(0, len(ids), _PARAMETERS):
                # Numbers need no quotes, and as parameters thousands of them cost SQLAlchemy more than the question.
                some = ",".join(map(str, map(int, ids[start : start + _PARAMETERS])))
                found.update(run(connection, f"{self._sql.labels} ({some})").fetchall())
        return found

    def labelled(self, texts: Collection[str]) -> dict[int, str]:
        """The labels that have one of a few texts."""
        query = sa.select(LABELS.c.id, LABELS.c.text).where(LABELS.c.text.in_(list(texts)))
        with self._database.read() as connection:
            return {row.id: row.text for row in connection.execute(query)}

    def labels_that(self, fits: Callable[[str], bool]) -> dict[int, str]:
        """The labels whose text fits, out of all."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(LABELS.c.id, LABELS.c.text))
            return {row.id: row.text for row in rows if fits(row.text)}

    def ends(self) -> dict[bytes, bytes]:
        """The hash of each stream's last record, by the stream's id: what `Chain.close` compares."""
        with self._database.read() as connection:
            return {row.id: row.hash for row in connection.execute(sa.select(STREAMS.c.id, STREAMS.c.hash))}

    def hashes(self, after: Position, until: Position) -> dict[bytes, bytes]:
        """The hash that each stream had at `after`, of those that go on up to `until`: what a `Chain` begins with."""
        records = RECORDS.c
        ahead = (
            sa.select(records.stream, sa.func.min(records.version).label("version"))
            .where(records.position > after, records.position <= until)
            .group_by(records.stream)
            .subquery()
        )
        before = sa.and_(records.stream == ahead.c.stream, records.version == ahead.c.version - 1)
        query = (
            sa.select(STREAMS.c.id, records.hash)
            .select_from(ahead)
            .join(RECORDS, before)
            .join(STREAMS, STREAMS.c.no == records.stream)
        )
        with self._database.read() as connection:
            return {row.id: row.hash for row in connection.execute(query)}

    # ------------------------------------------------------------------------------------------ inside a transaction

    def _head(self, connection: sa.Connection) -> Position:
        return Position(scalar(connection, self._sql.head))

    def _rows(self, connection: sa.Connection, after: Position, until: Position | None, limit: int) -> Sequence[Row]:
        last = after + limit if until is None else min(until, after + limit)
        rows = fetch_rows(connection, self._sql.rows, after, last)
        if rows or after == until:
            return rows
        head = self._head(connection)
        if after > head:
            raise LogRewoundError(checkpoint=after, head=head)
        if after < head and (following := scalar(connection, self._sql.next, (after,))):
            last = following - 1 + limit if until is None else min(until, following - 1 + limit)
            return fetch_rows(connection, self._sql.rows, following - 1, last)
        return rows

    def _bare(self, connection: sa.Connection, rows: Sequence[Row], chain: Chain | None = None) -> Sequence[RawRecord]:
        streams = self._names(connection, rows)
        raw = self._codec.raw
        found: list[RawRecord] = []
        for position, stream, version, recorded_at, topic, state, _ in rows:
            try:
                event, fields = raw(topic, state, position)
            except UnknownEventError as error:
                if found:
                    break  # the next call begins with it
                if chain is not None:
                    chain.check_all(rows[:1], streams)
                error.stream, error.instance = streams[stream][1], self._codec.instance(topic, state)
                raise
            found.append((position, streams[stream][1], version, recorded_at, event, fields))
        if chain is not None:
            chain.check_all(rows[: len(found)], streams)
        return found

    def _decoded(
        self, connection: sa.Connection, rows: Sequence[Row], chain: Chain | None = None
    ) -> Sequence[Recorded]:
        streams = self._names(connection, rows)
        found: list[Recorded] = []
        for position, stream, version, recorded_at, topic, state, _ in rows:
            try:
                event = self._codec.decode(topic, state, position=position)
            except UnknownEventError as error:
                if found:
                    break  # the next call begins with it
                if chain is not None:
                    chain.check_all(rows[:1], streams)
                error.stream, error.instance = streams[stream][1], self._codec.instance(topic, state)
                raise
            found.append(
                Recorded(
                    position=position,
                    stream=streams[stream][1],
                    version=version,
                    recorded_at=recorded_at,
                    event=event,
                )
            )
        if chain is not None:
            chain.check_all(rows[: len(found)], streams)
        return found

    def _names(self, connection: sa.Connection, rows: Iterable[Row]) -> dict[int, tuple[bytes, str]]:
        unknown = {row[1] for row in rows} - self._streams.keys()
        if unknown:
            for row in connection.execute(sa.select(STREAMS).where(STREAMS.c.no.in_(unknown))):
                self._streams[row.no] = (row.id, row.name)
        return self._streams


def fetch_rows(connection: sa.Connection, sql: str, *parameters: int) -> list[Row]:
    """Run SQL that gives records, and take all of them."""
    return _whatever_they_hold(connection, lambda: cast(list[Row], run(connection, sql, parameters).fetchall()))


def rows_after(connection: sa.Connection, after: int, count: int) -> list[Row]:
    """So many of the records that stand after a position, whether or not positions are missing between."""
    return fetch_rows(connection, _after(after, count))


def _after(after: int, count: int) -> str:
    return f"{_WALK} WHERE position > {after} ORDER BY position LIMIT {count}"


def walk_rows(connection: sa.Connection, after: int, size: int) -> Iterator[list[Row]]:
    """Give all records that stand after a position, so many at a time, whether or not positions are missing between.

    One statement for many batches: to begin one costs as much as to read a hundred records. All but the last are whole.
    """
    while True:
        cursor = run(connection, _after(after, size * _BATCHES))
        last = after
        try:
            while rows := cast(list[Row], cursor.fetchmany(size)):
                yield rows
                after = rows[-1][0]
        except sqlite3.OperationalError as error:
            if not undecodable(error):
                raise
            rows = rows_after(connection, after, size)
            yield rows
            after = rows[-1][0]
        finally:
            cursor.close()
        if after == last:
            return


def _rows_at(connection: sa.Connection, positions: Sequence[Position]) -> list[Row]:
    query = sa.select(*(RECORDS.c[name] for name in ROW)).where(RECORDS.c.position.in_(positions))
    return _whatever_they_hold(connection, lambda: [cast(Row, tuple(row)) for row in connection.execute(query)])


def _whatever_they_hold(connection: sa.Connection, fetch: Callable[[], list[Row]]) -> list[Row]:
    """Fetch records of which a column may hold what was never written there.

    SQLite's driver refuses all rows where one has a text that is not UTF-8. Then they are read again with surrogates in
    such a text: no hash and no schema fits it, so that one record is found damaged, and the others are read. Reading
    all texts so would cost each of millions of records a call.
    """
    try:
        return fetch()
    except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
        if not undecodable(error):
            raise
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    driver.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        return fetch()
    finally:
        driver.text_factory = str
