"""What kind of damage it is, where a record does not fit: found out from the records around it.

It is asked once for each log, so it may read what it needs; only what cannot be told apart is called edited.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Final

import sqlalchemy as sa

from es_power.audit.verdict import Damage, Kind
from es_power.domain.events import Position
from es_power.errors import SealBrokenError
from es_power.log.chain import Chain, Row
from es_power.log.schema import RECORDS

Streams = Mapping[int, tuple[bytes, str]]
"""Id and name of each stream, by its number."""

_FAR: Final = 1000
"""Positions in which the record that belongs to a place is looked for."""


def name_break(
    connection: sa.Connection,
    chain: Chain,
    streams: Streams,
    broken: SealBrokenError,
    read: Callable[[int, int], list[Row]],
) -> Damage:
    """Say what became of the record that does not fit after those that the chain has passed.

    `read` gives a number of records after a position.
    """
    position = Position(broken.position)
    rows = read(chain.position, _FAR)
    if not rows:
        return Damage(kind=Kind.TRUNCATED, position=position, detail=broken.reason)
    there = rows[0][0]
    if there < position:
        return Damage(kind=Kind.INSERTED, position=there, detail=f"the log begins after {chain.position}")
    if there > position:
        return Damage(
            kind=Kind.MISSING, position=position, until=Position(there - 1), detail=f"the next record is {there}"
        )
    here = rows[0]
    if here[1] not in streams:
        return Damage(kind=Kind.STREAMS, position=position, detail=broken.reason)
    if (other := _belongs(chain, streams, rows, position)) is not None:
        if _swapped(chain, streams, rows, other):
            return Damage(
                kind=Kind.SWAPPED,
                position=position,
                until=other,
                detail=f"the record that was written here is at {other}, and the other way round",
            )
        if twin := _twin(connection, here):
            return Damage(kind=Kind.DUPLICATED, position=position, detail=f"it is the record of position {twin}")
        return Damage(
            kind=Kind.INSERTED, position=position, detail=f"the record that was written here is at {other} now"
        )
    if twin := _twin(connection, here):
        return Damage(kind=Kind.DUPLICATED, position=position, detail=f"it is the record of position {twin}")
    if _moved_up(chain, streams, here, position):
        return Damage(kind=Kind.MISSING, position=position, detail="a later record stands in its place")
    return Damage(kind=Kind.EDITED, position=position, detail=broken.reason)


def _belongs(chain: Chain, streams: Streams, rows: list[Row], position: Position) -> Position | None:
    """Where the record stands that was written at a position; None where it is not near."""
    for row in rows[1:]:
        if row[1] in streams and chain.fits(row, streams[row[1]][0], position):
            return row[0]
    return None


def _swapped(chain: Chain, streams: Streams, rows: list[Row], other: Position) -> bool:
    """Whether all fits where the first of these records and the other one change places."""
    index = other - rows[0][0]
    if index >= len(rows) or rows[index][0] != other:
        return False
    first, second = rows[0], rows[index]
    back = [(first[0], *second[1:]), *rows[1:index], (other, *first[1:])]
    try:
        copy(chain).check_all(back, streams)
    except SealBrokenError:
        return False
    return True


def _twin(connection: sa.Connection, row: Row) -> Position | None:
    """Another record with the same hash, the first one."""
    query = sa.select(RECORDS.c.position).where(RECORDS.c.hash == row[6], RECORDS.c.position != row[0])
    found = connection.scalar(query.order_by(RECORDS.c.position).limit(1)) if isinstance(row[6], bytes) else None
    return None if found is None else Position(found)


def _moved_up(chain: Chain, streams: Streams, row: Row, position: Position) -> bool:
    """Whether the record was written at one of the positions that follow."""
    stream = streams[row[1]][0]
    return any(chain.fits(row, stream, position + ahead) for ahead in range(1, _FAR))


def check_names(streams: Mapping[int, tuple[bytes, str]], expected: Callable[[str], bytes]) -> Iterator[int]:
    """Give the numbers of streams whose id is not that of their name."""
    for number, (id_, name) in streams.items():
        try:
            fits = id_ == expected(name)
        except (AttributeError, TypeError, ValueError, UnicodeEncodeError, struct.error):
            fits = False
        if not fits:
            yield number
