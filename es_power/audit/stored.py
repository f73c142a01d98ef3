"""The tree of a log in its database: computed from the hashes of its records, and the larger nodes kept.

A stored node stands over 256, 65,536 ... records. All are derived, and `Tree` computes what is not there; so a log of
an older es_power, or one whose nodes were deleted, only takes longer. Of a log that was pruned, those before the cut
cannot be computed any more.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from es_power.audit.checkpoints import sealed_facts
from es_power.audit.hashing import hashed_beside
from es_power.audit.tree import SIZE, STEP, Edge, Grown, edge_at, fold, leaf_hashes
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import START, Position
from es_power.errors import LogError, RecordPrunedError, SealBrokenError
from es_power.log.database import Database, run, tables_in
from es_power.log.pruned import Pruned, read_nodes, read_pruned
from es_power.log.queries import fetch_rows
from es_power.log.schema import HEAD, RECORDS, TREE

_AT_ONCE: Final = 1 << 2 * STEP
"""Records that are read, and whose nodes are stored, in one go."""

# How many there are, how many are hashes at all, and these one behind the other; of a range, in its order.
_JOINED: Final = {
    "sqlite": "SELECT count(*), sum(length(CAST(hash AS BLOB)) = 32), CAST(group_concat(hash, '') AS BLOB) FROM "
    "(SELECT hash FROM records WHERE position > ? AND position <= ? ORDER BY position)",
    "postgresql": "SELECT count(*), sum((length(hash) = 32)::int), string_agg(hash, ''::bytea ORDER BY position) "
    "FROM records WHERE position > %s AND position <= %s",
}

_HASHES: Final = str(sa.select(RECORDS.c.position, RECORDS.c.hash))


class Tree:
    """The whole subtrees of a log's tree, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._stored = TREE.name in tables_in(connection)
        self.pruned: Pruned | None = read_pruned(connection)
        #: Whether what was kept for proofs of single records is read.
        self._beside = self.pruned is None
        #: What was asked for before; neighbours have most of their proofs in common.
        self._known: dict[tuple[int, int], bytes] = {}
        if self.pruned:
            # Of the records that are gone, this is all that is known.
            edge = Edge(self.pruned.position, self.pruned.edge)
            self._known = {(level, number): node for level, number, node in edge.subtrees()}

    def node(self, level: int, number: int) -> bytes:
        """The root of a whole subtree; RecordPrunedError where its records are gone, and it is not known any more."""
        if self._may_be_kept(level, number):
            self._known |= read_nodes(self._connection)
            self._beside = True
        if (known := self._known.get((level, number))) is None:
            base = level - level % STEP
            width = 1 << level - base
            nodes = self._row(base, number * width, width)
            known = self._known[level, number] = fold(nodes) if nodes else self._from_halves(level, number)
        return known

    def nodes_beside(self, positions: Iterable[int], until: int) -> dict[tuple[int, int], bytes]:
        """What has to be kept of whole subtrees up to a position, so that these records can be proved without others.

        Larger ones than these are stored anyway.
        """
        found: dict[tuple[int, int], bytes] = {}
        for position in positions:
            for level in range(STEP):
                number = (position - 1 >> level) ^ 1
                if (level, number) not in found and number + 1 << level <= until:
                    found[level, number] = self.node(level, number)
        return found

    def edge(self, size: int) -> Edge:
        """The right edge of the tree over the records up to this position."""
        return edge_at(size, self.node)

    def stored_up_to(self) -> int:
        """Up to which position nodes are stored without a hole at the end: what an addition begins with."""
        last = self._connection.scalar(sa.select(sa.func.max(TREE.c.number)).where(TREE.c.level == STEP))
        stored = 0 if last is None else (last + 1) << STEP
        return max(stored, self.pruned.position if self.pruned else 0)

    def hashes(self, after: int, until: int) -> Sequence[bytes]:
        """The hashes of the records with after < position <= until."""
        rows = read_hashes(self._connection, after, until)
        if len(rows) != until - after:
            if self.pruned and after < self.pruned.position:
                raise RecordPrunedError(after + 1, pruned=self.pruned.position)
            there = [after, *(position for position, _ in rows), until + 1]
            missing = next(before + 1 for before, next_ in pairwise(there) if next_ != before + 1)
            raise SealBrokenError(missing, reason="it is missing")
        return [hash_ for _, hash_ in rows]

    def joined(self, after: int, until: int) -> bytes:
        """The same one behind the other: for the database to join them costs a third of taking them one by one."""
        sql = _JOINED[self._connection.dialect.name]
        count, right, joined = run(self._connection, sql, (after, until)).fetchone()
        if count == right == until - after:
            return bytes(joined)
        hashes = self.hashes(after, until)
        are_none = (not isinstance(each, bytes) or len(each) != SIZE for each in hashes)
        wrong = next(number for number, is_none in enumerate(are_none, after + 1) if is_none)
        raise SealBrokenError(wrong, reason="its hash is none")

    def _may_be_kept(self, level: int, number: int) -> bool:
        return (
            not self._beside
            and self.pruned is not None
            and level < STEP
            and number << level < self.pruned.position
            and (level, number) not in self._known
        )

    def _row(self, base: int, first: int, width: int) -> Sequence[bytes]:
        """Equal neighbours at a stored level, or leaves; nothing where some are not stored or not known."""
        if base == 0:
            if self.pruned and first < self.pruned.position:
                return ()
            return leaf_hashes(self.hashes(first, first + width))
        if not self._stored:
            return ()
        query = (
            sa.select(TREE.c.hash)
            .where(TREE.c.level == base, TREE.c.number >= first, TREE.c.number < first + width)
            .order_by(TREE.c.number)
        )
        found = self._connection.execute(query).scalars().all()
        return found if len(found) == width else ()

    def _from_halves(self, level: int, number: int) -> bytes:
        if level == 0:
            assert self.pruned
            raise RecordPrunedError(number + 1, pruned=self.pruned.position)
        return fold([self.node(level - 1, 2 * number), self.node(level - 1, 2 * number + 1)])


def read_hashes(connection: sa.Connection, after: int, until: int) -> Sequence[tuple[int, bytes]]:
    """Positions and hashes of the records with after < position <= until."""
    return cast(
        Sequence[tuple[int, bytes]],
        fetch_rows(connection, f"{_HASHES} WHERE position > {after} AND position <= {until} ORDER BY position"),
    )


def grow(database: Database, edge: Edge | None = None) -> Edge:
    """Bring the stored nodes up to the log's head, and give the right edge there.

    `edge` is where an earlier call ended: then only what came since is read. Without one, the stored nodes are believed
    up to the last checkpoint, where they have to lead to what was signed, and all that came since is read: a root over
    a node that somebody changed would be signed, and the log be called forged for ever. LogError where they do not.
    It blocks; a service calls it in a thread.
    """
    signed: CheckpointSealed | None = None
    with database.read() as connection:
        head = int(connection.scalar(sa.select(HEAD.c.position)) or 0)
        if edge is None or edge.size > head:
            tree = Tree(connection)
            signed = _last_signed(connection, database, tree.pruned.position if tree.pruned else START)
            begin = tree.stored_up_to()
            edge = tree.edge(min(begin, signed.size) if signed else begin)
    with hashed_beside(head - edge.size) as roots:
        while True:
            if signed and edge.size == signed.size and edge.root() != signed.root:
                raise LogError(
                    f"the stored tree of {database.place} differs from what was signed at {signed.size} records, so "
                    "nothing is signed; `es-power audit verify` says more"
                )
            if edge.size >= head:
                return edge
            until = signed.size if signed and edge.size < signed.size else head
            with database.read() as connection:
                hashes = Tree(connection).joined(edge.size, min(edge.size + _AT_ONCE, until))
            if grown := edge.extend_by(hashes, roots):
                _store(database, grown)


def _last_signed(connection: sa.Connection, database: Database, begin: Position) -> CheckpointSealed | None:
    """The checkpoint over most records that is a fact of the log; what was signed before its beginning is gone."""
    facts = sealed_facts(connection, database)
    signed = (fact for position, fact in facts if begin <= fact.size < position)
    return max(signed, key=lambda fact: fact.size, default=None)


def _store(database: Database, grown: Sequence[Grown]) -> None:
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    rows = [{"level": level, "number": number, "hash": node} for level, number, node in grown]
    with database.write() as connection:
        connection.execute(insert(TREE).on_conflict_do_nothing(), rows)
