"""The proof that a record is in a log that was signed: with it, nobody needs the log, nor es_power, to check it.

`es_power/audit/offline.py` is that check, in one file that needs nothing but Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from es_power.audit.checkpoints import KeptCheckpoints, note_of
from es_power.audit.notes import Note
from es_power.audit.stored import Tree
from es_power.audit.tree import inclusion
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import START, Position
from es_power.errors import NotSealedError, RecordNotFoundError, RecordPrunedError
from es_power.log.chain import GENESIS
from es_power.log.database import Database
from es_power.log.pruned import archive_of
from es_power.log.schema import RECORDS, STREAMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A record, byte for byte, and its way to the root that was signed."""

    position: Position
    stream: str
    stream_id: bytes
    version: int
    recorded_at: int
    topic: str
    state: bytes
    #: The hash of the record before it in its stream, and its own.
    previous: bytes
    hash: bytes
    #: How many records were signed, the audit path up to their root, the lowest first, and the note that signs it.
    size: int
    path: Sequence[bytes]
    note: Note

    def as_row(self) -> dict[str, object]:
        """Write it for `es-power audit proof` and for whoever checks it; bytes are in hexadecimal."""
        return {
            "position": self.position,
            "stream": self.stream,
            "stream_id": self.stream_id.hex(),
            "version": self.version,
            "recorded_at_ns": self.recorded_at,
            "topic": self.topic,
            "state": self.state.hex(),
            "previous": self.previous.hex(),
            "hash": self.hash.hex(),
            "size": self.size,
            "path": [each.hex() for each in self.path],
            "note": str(self.note),
        }


def prove(database: Database, positions: Sequence[Position], checkpoints: KeptCheckpoints | None = None) -> list[Proof]:
    """Prove that these records are in the log, by the newest checkpoint that is a fact of it; it blocks.

    Raises RecordNotFoundError, RecordPrunedError, and NotSealedError for what came after the last checkpoint.
    """
    newest = (checkpoints or KeptCheckpoints(database)).newest()
    if newest is None:
        raise NotSealedError("no checkpoint of this log was signed yet; `es-power audit checkpoint` signs one")
    with database.read() as connection:
        tree = Tree(connection)
        return [_prove(connection, tree, position, newest) for position in positions]


def newest_size(database: Database, checkpoints: KeptCheckpoints | None = None) -> Position:
    """Up to where the newest checkpoint that is a fact of the log signed it; 0 where there is none; it blocks."""
    newest = (checkpoints or KeptCheckpoints(database)).newest()
    return newest.size if newest else START


def _prove(connection: sa.Connection, tree: Tree, position: Position, sealed: CheckpointSealed) -> Proof:
    query = (
        sa.select(RECORDS, STREAMS.c.name, STREAMS.c.id)
        .join_from(RECORDS, STREAMS, RECORDS.c.stream == STREAMS.c.no)
        .where(RECORDS.c.position == position)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        if tree.pruned and 0 < position <= tree.pruned.position:
            raise RecordPrunedError(position, pruned=tree.pruned.position, archive=archive_of(connection, tree.pruned))
        raise RecordNotFoundError(f"there is no record {position}")
    if position > sealed.size:
        raise NotSealedError(
            f"record {position} came after the last checkpoint, which is over {sealed.size} records; "
            "`es-power audit checkpoint` signs what is there now"
        )
    before = sa.select(RECORDS.c.hash).where(RECORDS.c.stream == row.stream, RECORDS.c.version < row.version)
    previous: bytes | None = connection.scalar(before.order_by(RECORDS.c.version.desc()).limit(1))
    if tree.pruned and position in tree.pruned.kept:
        previous, _ = tree.pruned.kept[position]  # the one before it may be gone
    return Proof(
        position=position,
        stream=row.name,
        stream_id=row.id,
        version=row.version,
        recorded_at=row.recorded_at,
        topic=row.topic,
        state=row.state,
        previous=previous or GENESIS,
        hash=row.hash,
        size=sealed.size,
        path=inclusion(position - 1, sealed.size, tree.node),
        note=note_of(sealed),
    )
