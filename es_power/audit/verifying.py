"""Whether a log is as it was written: its records, what stands beside them, and the checkpoints that were signed.

Rules of this file:
1. It reads one state of the log, in one transaction, while others write on; it changes nothing.
2. The hashes say whether a record was changed, as in a replay: `Chain` is one for both. The tree's roots say whether
   somebody changed records and computed all hashes anew, which needs a checkpoint that was kept elsewhere.
3. Everything that bears on an answer is checked, or said to be unchecked: records, streams, head, labels, the nodes of
   the tree, the database's own structure. The tables of read models are folds and belong to `replay --verify`;
   leases and tracking belong to the services that run.
"""

import sqlite3
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

import sqlalchemy as sa
import trio

from es_power.audit.checkpoints import Claim, claims_inside, claims_outside, read_pruned_claim
from es_power.audit.comparing import BREAKS, compare
from es_power.audit.growing import Growing, growing
from es_power.audit.keys import VerifierKey
from es_power.audit.labelled import Labels
from es_power.audit.naming import check_names, name_break
from es_power.audit.notes import Note
from es_power.audit.pages import PageCheck, check_schema_objects, checked_beside, is_corrupt, stands_for_damage
from es_power.audit.prefix import Prefix
from es_power.audit.remains import check_remains, prunings
from es_power.audit.tree import EMPTY, Edge, Grown
from es_power.audit.verdict import Damage, Kind, Verdict
from es_power.domain.events import START, Position
from es_power.domain.streams import stream_id
from es_power.errors import LogError, SealBrokenError
from es_power.log import SqlLog
from es_power.log.chain import Chain, Row
from es_power.log.codec import shared_codec
from es_power.log.database import Database, tables_in
from es_power.log.pruned import Pruned, hashes_there, read_nodes, read_pruned, read_state
from es_power.log.queries import BEFORE_ALL, fetch_rows, rows_after, walk_rows
from es_power.log.schema import HEAD, STREAMS, TREE
from es_power.log.upgrade import check_schema

__all__ = ["examine", "verify"]

Progress = Callable[[Position], None]

_BATCH: Final = 256  # records, with what is made of them, that fit in the processor's cache; a whole subtree

_MISSHAPEN: Final = (AttributeError, OverflowError, TypeError, ValueError, struct.error)
"""What Python says of values that are not of the type that they should be."""

# Written once: to have SQLAlchemy write it takes as long as to check a thousand records.
_STREAMS: Final = str(sa.select(*(STREAMS.c[name] for name in ("no", "id", "name", "version", "hash"))))


async def verify(
    log: SqlLog,
    checkpoints: Sequence[Note] = (),
    *,
    keys: Sequence[VerifierKey] = (),
    progress: Progress = lambda _: None,
) -> Verdict:
    """Check a whole log, against checkpoints that were kept outside of it.

    With `keys`, a checkpoint of one of these names has to be signed by it. `progress` is called in a worker thread.
    NoteError where a note is no checkpoint, or is not signed by the key of its name.
    """

    def tell(position: Position) -> None:
        trio.from_thread.check_cancelled()
        progress(position)

    return await trio.to_thread.run_sync(lambda: examine(log.database, checkpoints, keys=keys, progress=tell))


def examine(
    database: Database,
    checkpoints: Sequence[Note] = (),
    *,
    keys: Sequence[VerifierKey] = (),
    progress: Progress = lambda _: None,
) -> Verdict:
    """Do what `verify` does, and block meanwhile; any damage that SQLite itself reports is part of the verdict."""
    outside = claims_outside(checkpoints, keys)
    try:
        check_schema(database)
    except LogError as error:
        if not stands_for_damage(error):
            raise
        # Of a file that cannot even be asked what it is, that is the verdict.
        return Verdict(position=START, records=0, root=EMPTY, damage=tuple(PageCheck(database).run()))
    verdict: Verdict | None = None
    # The database's own check takes as long as ours, so they go side by side; in memory there is one connection only.
    with checked_beside(database) if database.place.path else nullcontext() as pages:
        try:
            with database.read() as connection:
                verdict = _Examination(connection, database, outside, keys, progress).run(pages)
        except LogError as error:
            # Where pages are damaged, even the end of a transaction that only read may be refused, by the database.
            if verdict is None or error.__cause__ is None:
                raise
    return verdict


class _Examination:
    """One pass through a log."""

    def __init__(
        self,
        connection: sa.Connection,
        database: Database,
        outside: Sequence[Claim],
        keys: Sequence[VerifierKey],
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._database = database
        self._keys = keys
        self._progress = progress
        self._claims = list(outside)
        self._damage: list[Damage] = []
        self._chain = Chain()
        self._edge = Edge()
        self._grown: Sequence[Grown] = ()
        self._streams: dict[int, tuple[bytes, str]] = {}
        #: As the table has them: version and hash of each stream's last record; and as the records have the version.
        self._ends: dict[int, tuple[int, bytes]] = {}
        self._versions: dict[int, int] = {}
        self._labels = Labels(shared_codec())
        self._roots: Mapping[int, bytes] = {}
        self._pruned: Position | None = None
        self._pruned_said: Position | None = None
        self._prefix = Prefix()
        self._reached_the_end = False
        #: How many records were kept of those before that.
        self._kept = 0

    def run(self, pages: Callable[[Callable[[], None]], Sequence[Damage]] | None) -> Verdict:
        """Check everything, and say what was found; `pages` waits for what is checked beside it."""
        for step in (self._schema, self._begin, self._records, self._labels_beside, self._nodes):
            try:
                if not step():
                    break
            except (sa.exc.DatabaseError, sqlite3.DatabaseError, OverflowError, ValueError) as error:
                if not is_corrupt(error):
                    raise
                place = Position(self._chain.position + 1) if step == self._records else None
                self._damage.append(
                    Damage(kind=Kind.PAGES, position=place, detail=" ".join(str(getattr(error, "orig", error)).split()))
                )
                break
        self._damage += (
            PageCheck(self._database).run(self._connection)
            if pages is None
            else pages(lambda: self._progress(self._chain.position))
        )
        whole = self._reached_the_end and not any(each.kind in BREAKS for each in self._damage)
        pruned = self._pruned or START
        compared, changed = compare(
            self._claims, self._roots, begin=pruned, end=self._chain.position if whole else None
        )
        self._damage += changed
        return Verdict(
            position=self._chain.position,
            records=self._kept + self._chain.position - (self._pruned or START),
            root=self._edge.root(),
            damage=tuple(self._damage),
            checkpoints=tuple(compared),
            pruned=self._pruned,
            pruned_said=self._pruned_said,
            streams=len(self._streams),
            labels=self._labels.explained,
            labels_gone=self._labels.gone,
            labels_unchecked=self._labels.unchecked,
            unread=self._labels.unread,
        )

    # ------------------------------------------------------------------------------------------------- the steps

    def _schema(self) -> bool:
        self._damage += check_schema_objects(self._connection)
        return True

    def _begin(self) -> bool:
        """Read the table of streams, and where the log begins."""
        for number, id_, name, version, end in cast(Sequence[Any], fetch_rows(self._connection, _STREAMS)):
            self._streams[number] = (id_, name)
            self._ends[number] = (version, end)
        try:
            pruned = read_pruned(self._connection)
            if pruned is not None:
                self._begin_at(pruned)
        except _MISSHAPEN as error:
            # SQLite keeps what it is given, whatever the type of the column is.
            said = f"what stands for the records that were pruned does not hold what it should ({error})"
            self._damage.append(Damage(kind=Kind.PRUNED, detail=said))
            return False
        self._claims += claims_inside(self._connection, self._database, self._keys)
        return True

    def _begin_at(self, pruned: Pruned) -> None:
        """Begin where a log was pruned, and check what was kept of what stood before."""
        self._edge = Edge(pruned.position, pruned.edge)
        claim = read_pruned_claim(pruned, self._keys)
        if claim is None or claim.root != self._edge.root():
            self._damage.append(
                Damage(
                    kind=Kind.PRUNED,
                    position=pruned.position,
                    detail="the edge of the tree there does not lead to the root of the checkpoint there",
                )
            )
        else:
            self._claims.append(claim)
        self._prefix = Prefix(self._edge, self._stored_nodes(), read_nodes(self._connection))
        self._damage += self._prefix.damage()
        said = prunings(self._connection, self._database, pruned.position)
        self._pruned_said = next((position for position, _ in said), None)
        digest = pruned.digest(read_state(self._connection) or b"")
        read = partial(rows_after, self._connection)
        self._damage += check_remains(pruned, said, digest, self._streams, self._prefix, read, self._keep)
        self._chain = Chain(pruned.position, hashes_there(self._connection, pruned))
        self._versions = {number: version for number, (version, _) in pruned.streams.items()}
        self._pruned = pruned.position

    def _records(self) -> bool:
        """Check each record, and compute the tree; whether all were as they were written."""
        with growing(self._edge, (claim.size for claim in self._claims)) as tree:
            self._grown, self._roots = tree.grown, tree.roots
            for rows in walk_rows(self._connection, self._pruned or BEFORE_ALL, _BATCH):
                begin = self._chain.position
                try:
                    self._chain.check_all(rows, self._streams)
                except SealBrokenError as broken:
                    self._take(rows[: self._chain.position - begin], tree)
                    self._name(broken)
                    return False
                self._take(rows, tree)
                self._progress(self._chain.position)
        return self._closed()

    def _keep(self, rows: Sequence[Row]) -> None:
        """Take in records that were kept of what was pruned."""
        self._kept += len(rows)
        self._labels.note(rows)

    def _take(self, rows: Sequence[Row], tree: Growing) -> None:
        """Take in records that fit."""
        tree.add([row[6] for row in rows])
        self._versions.update({row[1]: row[2] for row in rows})
        self._labels.note(rows)

    def _name(self, broken: SealBrokenError) -> None:
        """Say what is wrong with the record that does not fit."""

        def read(after: int, count: int) -> list[Row]:
            return rows_after(self._connection, after or BEFORE_ALL, count)

        wrong = set(check_names(self._streams, _id_of))
        damage = name_break(self._connection, self._chain, self._streams, broken, read)
        if damage.kind is Kind.EDITED:
            rows = read(self._chain.position, 1)
            if rows and rows[0][1] in wrong:
                name = self._streams[rows[0][1]][1]
                damage = Damage(
                    kind=Kind.STREAMS, position=damage.position, detail=f"the id of {name!r} is not its own"
                )
        self._damage.append(damage)

    def _closed(self) -> bool:
        """Check that the log ends where it should, in all streams."""
        self._reached_the_end = True
        last = self._chain.position
        heads = self._connection.execute(sa.select(HEAD.c.position)).scalars().all()
        if heads != [last]:
            kind = Kind.TRUNCATED if len(heads) == 1 and _is_number(heads[0]) and heads[0] > last else Kind.HEAD
            until = Position(heads[0]) if kind is Kind.TRUNCATED else None
            said = f"the head is at {', '.join(map(str, heads)) or 'no position'}, and the last record is {last}"
            self._damage.append(Damage(kind=kind, position=Position(last + 1), until=until, detail=said))
        for number in check_names(self._streams, _id_of):
            name = self._streams[number][1]
            self._damage.append(Damage(kind=Kind.STREAMS, detail=f"the id of {name!r} is not its own"))
        for number, (version, end) in self._ends.items():
            id_, name = self._streams[number]
            known = self._versions.get(number, 0)
            if (known, self._chain.end_of(id_)) == (version, end) and known:
                continue
            gone = _is_number(version) and version > known
            self._damage.append(
                Damage(
                    kind=Kind.TRUNCATED if gone else Kind.STREAMS,
                    position=Position(last + 1) if gone else None,
                    detail=f"{name!r} should end with version {version}, and its records with {known}"
                    if known != version
                    else f"{name!r} does not end with the hash of its last record",
                )
            )
        return True

    def _labels_beside(self) -> bool:
        self._damage += self._labels.check(self._connection)
        return True

    def _nodes(self) -> bool:
        """Compare the nodes that are kept beside the log with those that were computed."""
        computed = self._prefix.known | {(level, number): node for level, number, node in self._grown}
        for level, number, node in self._stored_nodes():
            if computed.get((level, number)) == node:
                continue
            if _is_number(level) and _is_number(number) and self._prefix.is_lost(level, number):
                continue  # it was said of all of them at once
            self._damage.append(
                Damage(kind=Kind.TREE, detail=f"node {number} of level {level} is not that of its records")
            )
        return True

    def _stored_nodes(self) -> Iterable[tuple[int, int, bytes]]:
        if TREE.name not in tables_in(self._connection):
            return ()
        rows = self._connection.execute(sa.select(TREE.c.level, TREE.c.number, TREE.c.hash))
        return cast(Iterable[tuple[int, int, bytes]], rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int)


def _id_of(name: str) -> bytes:
    """The id of a stream: that of its name, or where the name is a UUID (one of eventsourcing's), itself."""
    with suppress(ValueError):
        given = UUID(name)
        if str(given) == name:
            return given.bytes
    return stream_id(name).bytes
