"""What remains of a pruned log's beginning: the records that were kept, and whether the log says so of them itself.

Rules of this file:
1. A stream that lost nothing is checked from its first record on, by its own chain, up to its end at the cut.
2. Of one that did, a record may stand there only where it is said to: each by the hash before it and its own.
3. Each has to be proved to be one of those that were signed up to the cut: all the rest is in tables, which whoever
   may write the database can change together.
4. All that is said stands under one digest, in a fact (`LogPruned`) behind the cut, which later checkpoints sign. The
   first such fact counts. Another one is appended by anybody who can write the database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from es_power.audit.checkpoints import facts_of
from es_power.audit.prefix import Prefix
from es_power.audit.verdict import Damage, Kind
from es_power.domain.custody import LogPruned
from es_power.domain.events import START, Position
from es_power.domain.streams import observed_host
from es_power.log.chain import GENESIS, Row, link
from es_power.log.database import Database
from es_power.log.pruned import Pruned
from es_power.log.queries import BEFORE_ALL

_BATCH: Final = 256


def prunings(connection: sa.Connection, database: Database, cut: Position) -> Sequence[tuple[Position, LogPruned]]:
    """The facts of a log that say what stands for the records up to there, the first one first."""
    facts = facts_of(LogPruned, connection, database)
    return [(position, fact) for position, fact in facts if fact.position == cut and position > cut]


def check_remains(  # noqa: PLR0917 (what it needs of the one pass that it is a part of)
    pruned: Pruned,
    said: Sequence[tuple[Position, LogPruned]],
    digest: bytes,
    streams: Mapping[int, tuple[bytes, str]],
    prefix: Prefix,
    read: Callable[[int, int], list[Row]],
    keep: Callable[[Sequence[Row]], None],
) -> Iterator[Damage]:
    """Find what is wrong before the cut, and hand on what is there.

    `said` are the facts that say so, the first one first; `read` gives a number of records after a position.
    """
    for position, fact in said[1:]:
        # Two who prune up to the same place at once both say so, and they say the same.
        if fact.state != said[0][1].state:
            detail = f"it says other things of the records up to {pruned.position} than record {said[0][0]}"
            yield Damage(kind=Kind.PRUNED, position=position, detail=detail)
    if not said or digest != said[0][1].state:
        yield Damage(
            kind=Kind.PRUNED,
            position=pruned.position,
            detail="what stands for the records up to there is not what the log says of it",
        )
    elif all((fact.archive.id, fact.observed_at) != (pruned.archive, pruned.pruned_at) for _, fact in said):
        yield Damage(
            kind=Kind.PRUNED,
            position=pruned.position,
            detail="where the archive of the records up to there is, or when it was made, is not what the log says",
        )
    ends: dict[int, bytes] = {}
    waited = set(pruned.kept)
    after = BEFORE_ALL
    while rows := [row for row in read(after, _BATCH) if row[0] <= pruned.position]:
        for row in rows:
            if reason := _wrong(row, pruned, streams, ends) or _unproved(row, prefix):
                yield Damage(kind=Kind.PRUNED, position=row[0], detail=reason)
            waited.discard(row[0])
            ends[row[1]] = row[6]
        keep(rows)
        after = rows[-1][0]
    for position in sorted(waited):
        yield Damage(kind=Kind.PRUNED, position=position, detail="it was kept, and is missing")
    for number, (_, end) in sorted(pruned.streams.items()):
        if ends.get(number) != end:
            name = streams[number][1] if number in streams else f"stream {number}"
            detail = f"the records of {name!r} up to there do not end as they should"
            yield Damage(kind=Kind.PRUNED, position=pruned.position, detail=detail)


def _wrong(row: Row, pruned: Pruned, streams: Mapping[int, tuple[bytes, str]], ends: Mapping[int, bytes]) -> str:
    """Why a record cannot stand there; empty where it is as it was."""
    position, number, version, recorded_at, topic, state, own = row
    if position <= START or number not in streams:
        return "no record was kept there"
    stream, name = streams[number]
    if not isinstance(name, str):
        return "its stream has no name"
    previous = ends.get(number, GENESIS)
    if observed_host(name) is not None:
        if position not in pruned.kept:
            return "no record was kept there"
        previous, kept = pruned.kept[position]
        if kept != own:
            return "its hash is not that of the record that was kept there"
    with suppress(Exception):
        if link(previous, stream, version, position, recorded_at, topic, state) == own:
            return ""
    return "its hash is not that of its content after the record before it"


def _unproved(row: Row, prefix: Prefix) -> str:
    """Why a record cannot be shown to have been signed; empty where it can, or where no record there can."""
    if prefix.is_lost(0, row[0] - 1) or prefix.proves(row[0], row[6]):
        return ""
    return "it cannot be proved to be the record that was signed there"
