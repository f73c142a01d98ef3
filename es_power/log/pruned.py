"""A log whose beginning was taken out: what is known of the place up to which it is gone.

With the hash of each stream there, a `Chain` begins there; with the tree's right edge, a seal and a proof do; and the
checkpoint, which was signed when all was there, says that both are true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from es_power.domain.events import Position
from es_power.domain.time import Timestamp
from es_power.log.schema import PRUNED, PRUNED_STREAMS, STREAMS

_HASH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """All records up to a position are gone."""

    position: Position
    #: The signed note of the checkpoint of that size.
    checkpoint: str
    #: The roots of the whole subtrees that the records gone fall into, the largest first.
    edge: Sequence[bytes]
    #: Version and hash there of each stream that had begun, by its number.
    streams: Mapping[int, tuple[int, bytes]]
    pruned_at: Timestamp


def read_pruned(connection: sa.Connection) -> Pruned | None:
    """Give where a log begins; None where that is its first record."""
    if not sa.inspect(connection).has_table(PRUNED.name):
        return None  # a log of schema 1
    row = connection.execute(sa.select(PRUNED).order_by(PRUNED.c.position.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    streams = {each.stream: (each.version, each.hash) for each in connection.execute(sa.select(PRUNED_STREAMS))}
    return Pruned(
        position=row.position,
        checkpoint=row.checkpoint,
        edge=[row.edge[at : at + _HASH] for at in range(0, len(row.edge), _HASH)],
        streams=streams,
        pruned_at=row.pruned_at,
    )


def write_pruned(connection: sa.Connection, pruned: Pruned) -> None:
    """Write down where a log begins from now on, in the transaction that takes out the records before."""
    connection.execute(sa.delete(PRUNED))
    connection.execute(sa.delete(PRUNED_STREAMS))
    connection.execute(
        sa.insert(PRUNED).values(
            position=pruned.position,
            checkpoint=pruned.checkpoint,
            edge=b"".join(pruned.edge),
            pruned_at=pruned.pruned_at,
        )
    )
    if pruned.streams:
        rows = [{"stream": no, "version": version, "hash": end} for no, (version, end) in pruned.streams.items()]
        connection.execute(sa.insert(PRUNED_STREAMS), rows)


def hashes_there(connection: sa.Connection, pruned: Pruned) -> dict[bytes, bytes]:
    """The hash of each stream there, by the stream's id: what a `Chain` begins with."""
    ids = {row.no: row.id for row in connection.execute(sa.select(STREAMS.c.no, STREAMS.c.id))}
    return {ids[no]: end for no, (_, end) in pruned.streams.items() if no in ids}
