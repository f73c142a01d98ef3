"""A log whose beginning was taken out: what is known of the place up to which it is gone.

With the hash of each stream there, a `Chain` begins there; with the tree's right edge, a seal and a proof do; and the
checkpoint, which was signed when all was there, says that the edge is true. The rest of what stands for the records
that are gone is vouched for by its digest, which is part of a fact (`LogPruned`) that later checkpoints sign.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Any, Final

import sqlalchemy as sa

from es_power.domain.events import START, Position
from es_power.domain.time import Timestamp, rfc3339
from es_power.errors import RecordPrunedError
from es_power.log.database import tables_in
from es_power.log.schema import LABELS, PRUNED, PRUNED_STREAMS, RECORDS, STREAMS

_HASH: Final = 32
_KEPT: Final = Struct(">Q32s32s")
_END: Final = Struct(">IQ32s")
_NODE: Final = Struct(">BQ32s")
_SIZES: Final = Struct(">QQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was observed up to a position is gone."""

    position: Position
    #: The signed note of the checkpoint of that size.
    checkpoint: str
    #: The roots of the whole subtrees that the records gone fall into, the largest first.
    edge: Sequence[bytes]
    #: Version and hash there of each stream that had begun, by its number.
    streams: Mapping[int, tuple[int, bytes]]
    #: The single records that were kept out of streams which lost others: the hash before each, and its own.
    kept: Mapping[Position, tuple[bytes, bytes]] = field(default_factory=dict)
    #: The label of where the archive is.
    archive: int = 0
    pruned_at: Timestamp

    def digest(self, state: bytes) -> bytes:
        """SHA-256 over all that stands for what is gone, with the read models there as they are stored.

        Each part's length comes first, so no two have the same bytes.
        """
        streams = b"".join(_END.pack(no, *end) for no, end in sorted(self.streams.items()))
        edge, kept = b"".join(self.edge), self.packed()
        sizes = _SIZES.pack(self.position, len(edge), len(streams), len(kept), len(state))
        return sha256(sizes + edge + streams + kept + state).digest()

    def packed(self) -> bytes:
        """What was kept, as it is stored."""
        return b"".join(_KEPT.pack(position, *hashes) for position, hashes in sorted(self.kept.items()))


def read_pruned(connection: sa.Connection) -> Pruned | None:
    """Give where a log begins; None where that is its first record."""
    row = _row(connection, "position", "checkpoint", "edge", "kept", "archive", "pruned_at")
    if row is None:
        return None
    streams = {each.stream: (each.version, each.hash) for each in connection.execute(sa.select(PRUNED_STREAMS))}
    kept = {Position(position): (before, own) for position, before, own in _KEPT.iter_unpack(row.kept)}
    return Pruned(
        position=row.position,
        checkpoint=row.checkpoint,
        edge=[row.edge[at : at + _HASH] for at in range(0, len(row.edge), _HASH)],
        streams=streams,
        kept=kept,
        archive=row.archive,
        pruned_at=row.pruned_at,
    )


def read_state(connection: sa.Connection) -> bytes | None:
    """Give the read models that every fold begins with, as they are stored; None where it begins with nothing."""
    row = _row(connection, "state")
    return None if row is None else bytes(row.state)


def read_nodes(connection: sa.Connection) -> dict[tuple[int, int], bytes]:
    """Give the roots of subtrees that are kept for the proofs of records that stay, by level and number.

    They need no vouching: what is proved by them leads to the root that was signed, or nowhere.
    """
    row = _row(connection, "nodes")
    return {} if row is None else {(level, number): node for level, number, node in _NODE.iter_unpack(row.nodes)}


def pruned_up_to(connection: sa.Connection) -> Position:
    """Up to where a log was pruned; 0 where it is whole."""
    row = _row(connection, "position")
    return START if row is None else Position(row.position)


def require_kept(connection: sa.Connection, position: Position) -> None:
    """Raise RecordPrunedError where nobody can say any more what was known at a position."""
    if position < pruned_up_to(connection):
        pruned = read_pruned(connection)
        assert pruned is not None
        raise RecordPrunedError(position, pruned=pruned.position, archive=archive_of(connection, pruned))


def require_kept_since(connection: sa.Connection, at: Timestamp) -> None:
    """Raise RecordPrunedError where nobody can say any more what was the case at a time."""
    position = pruned_up_to(connection)
    # The last record before the cut is always kept.
    until = connection.scalar(sa.select(RECORDS.c.recorded_at).where(RECORDS.c.position == position))
    if until is not None and at < until:
        pruned = read_pruned(connection)
        assert pruned is not None
        raise RecordPrunedError(pruned=position, archive=archive_of(connection, pruned), since=rfc3339(until))


def archive_of(connection: sa.Connection, pruned: Pruned) -> str:
    """Where the archive of what is gone was written to; empty where that was forgotten."""
    return connection.scalar(sa.select(LABELS.c.text).where(LABELS.c.id == pruned.archive)) or ""


def write_pruned(
    connection: sa.Connection, pruned: Pruned, state: bytes, nodes: Mapping[tuple[int, int], bytes] | None = None
) -> None:
    """Write down where a log begins from now on, in the transaction that takes out the records before."""
    connection.execute(sa.delete(PRUNED))
    connection.execute(sa.delete(PRUNED_STREAMS))
    connection.execute(
        sa.insert(PRUNED).values(
            position=pruned.position,
            checkpoint=pruned.checkpoint,
            edge=b"".join(pruned.edge),
            archive=pruned.archive,
            kept=pruned.packed(),
            nodes=b"".join(_NODE.pack(*place, node) for place, node in sorted((nodes or {}).items())),
            state=state,
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


def _row(connection: sa.Connection, *names: str) -> Any:
    if PRUNED.name not in tables_in(connection):
        return None  # a log of schema 1
    columns = (PRUNED.c[name] for name in names)
    return connection.execute(sa.select(*columns).order_by(PRUNED.c.position.desc()).limit(1)).one_or_none()
