"""Pruning a log: what was observed up to a signed checkpoint is taken out, once an archive of it was found whole.

Rules of this file:
1. The archive comes first: a backup of the whole log, read from its first byte to its last, and never written over.
2. What every fold begins with from then on is folded out of the archive.
3. The records go, the beginning comes, the tables follow and the fact says so in one transaction: whoever is killed
   leaves the log as it was or as it will be.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import trio

from es_power.audit.stored import grow
from es_power.domain.custody import LogPruned
from es_power.domain.events import START, Position
from es_power.domain.ports import Append, Write
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.errors import ConcurrentAppendError, LogError, PruneError, TablesDamagedError
from es_power.log import SqlLog, open_log
from es_power.log.append import Appender, prepare
from es_power.log.labels import make_label
from es_power.log.pruned import Pruned, pruned_up_to, read_pruned, read_state, write_pruned
from es_power.log.schema import LABELS, RECORDS
from es_power.projections.cutting import cut_off
from es_power.projections.store import Store
from es_power.upkeep.backup import BackedUp, back_up
from es_power.upkeep.cut import Cut
from es_power.upkeep.remaining import NEAR, Remaining, remaining

_KEPT: Final = sa.Table(
    "kept_records",
    sa.MetaData(),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done."""

    #: Where the log says so.
    position: Position
    #: How many records were taken out, and how many observations stay before the cut.
    count: int
    kept: int
    archive: BackedUp


async def prune(log: SqlLog, cut: Cut, destination: Path, *, by: str, at: Timestamp) -> Done:
    """Write an archive, and take out what was observed up to the cut; see this module.

    PruneError where something of it is needed yet; BackupError, SealBrokenError or another LogError where there is no
    archive that is whole. Then the log is as it was.
    """
    await _require_tables_beyond(log, cut)
    await trio.to_thread.run_sync(grow, log.database)
    archive = await back_up(log, destination, at=at)
    async with open_log(archive.file) as copy:
        rest = await remaining(copy, cut)
    if not rest.count:
        await trio.to_thread.run_sync(archive.file.unlink)
        raise PruneError(
            f"nothing of what was observed up to position {cut.position} can go: the last {NEAR} observations of each "
            "host stay, and what others rest on"
        )
    # By its whole name: whoever is sent there may stand in another directory.
    file = archive.file.absolute()
    while True:
        position = await _take_out(log, cut, rest, file, by=by, at=at)
        if position is not None:
            break
    await trio.to_thread.run_sync(_make_room, log)
    return Done(position=position, count=rest.count, kept=len(rest.kept), archive=archive)


async def _require_tables_beyond(log: SqlLog, cut: Cut) -> None:
    reached = START
    try:
        reached = await trio.to_thread.run_sync(Store(log.database).checkpoint)
    except TablesDamagedError as damage:
        raise PruneError(f"{damage}, and prune then") from damage
    if START < reached < cut.position:
        raise PruneError(
            f"the tables of the read models have come to position {reached} only: let the service catch up, or run "
            "`es-power replay --rebuild`, and prune then"
        )


async def _take_out(
    log: SqlLog, cut: Cut, rest: Remaining, archive: Path, *, by: str, at: Timestamp
) -> Position | None:
    """Do it, and give where the log says so; None where somebody else spoke first in that stream."""
    (who, who_text), (where, where_text) = make_label(by), make_label(str(archive))
    pruned = Pruned(
        position=cut.position,
        checkpoint=cut.note,
        edge=rest.edge,
        streams=rest.streams,
        kept=rest.kept,
        archive=where.id,
        pruned_at=at,
    )
    fact = LogPruned(
        observed_at=at,
        position=cut.position,
        root=cut.root,
        state=pruned.digest(rest.state),
        count=rest.count,
        archive=where,
        by=who,
    )
    write = Write(stream=AUDIT, expected=await log.version(AUDIT), events=(fact,))
    append = prepare(Append(writes=(write,), labels=(who_text, where_text)), log.codec)

    def beside(connection: sa.Connection) -> None:
        if not connection.scalar(sa.select(RECORDS.c.position).where(RECORDS.c.key == append.key)):
            return  # the fact is not in the log, so nothing else may be done
        begins = pruned_up_to(connection)
        if begins == cut.position and _says(connection) == fact.state:
            return  # it was done, in a transaction whose end was not known
        if begins != cut.begins:
            raise PruneError(f"somebody else pruned the log meanwhile, up to {begins}")
        _delete(connection, cut, rest)
        write_pruned(connection, pruned, rest.state, rest.nodes)
        cut_off(connection, log.database, rest.entries)

    def commit() -> Position | None:
        [outcome] = Appender(log.database, lambda: at).commit([append], beside=beside)
        if isinstance(outcome, ConcurrentAppendError):
            return None
        if isinstance(outcome, LogError):
            raise outcome
        return outcome

    return await trio.to_thread.run_sync(commit)


def _says(connection: sa.Connection) -> bytes:
    """The digest over what stands for the records that are gone."""
    pruned = read_pruned(connection)
    return pruned.digest(read_state(connection) or b"") if pruned else b""


def _delete(connection: sa.Connection, cut: Cut, rest: Remaining) -> None:
    _KEPT.create(connection)
    if rest.kept:
        connection.execute(sa.insert(_KEPT), [{"position": position} for position in rest.kept])
    is_kept = sa.exists().where(_KEPT.c.position == RECORDS.c.position)
    gone = sa.delete(RECORDS).where(RECORDS.c.position <= cut.position, RECORDS.c.stream.in_(rest.observers), ~is_kept)
    count = connection.execute(gone).rowcount
    _KEPT.drop(connection)
    if count != rest.count:
        raise PruneError(f"{count} records would go, and the archive has {rest.count} of them: nothing was taken out")
    if rest.labels:
        gone = sa.delete(LABELS).where(LABELS.c.id == sa.bindparam("label"))
        connection.execute(gone, [{"label": label} for label in rest.labels])


def _make_room(log: SqlLog) -> None:
    """Let SQLite's write-ahead log, which has all that changed, become short again."""
    if log.database.is_sqlite and not log.database.in_memory:
        log.database.empty_wal()
