"""A log that goes on from an earlier point than it had reached: how that is noticed, and how it goes on.

Whoever read the log knows how far it went: the tables beside it, its tree, each process manager's tracking, the marks
that services leave in a file beside it, and its signed checkpoints. A log that ends before that, or has another record
there, was put back, and what was decided since is not in it. So no service starts on it, until a person says that it is
meant: that is a fact, and in the same transaction every stop command that was open then ends as Withdrawn, and each
host's commands are held, since what people declared, held or rejected after that point is lost.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import sqlalchemy as sa
import structlog
import trio

from es_power.domain.custody import LabelsForgotten, LogRestored
from es_power.domain.decisions import HoldPlaced, Withdrawn
from es_power.domain.events import START, Position
from es_power.domain.ports import Append, Write
from es_power.domain.streams import AUDIT, command, observed_host
from es_power.domain.time import Timestamp
from es_power.errors import BackupError, LogError, LogRewoundError, LogUnavailableError, TablesDamagedError
from es_power.log import SqlLog, open_log
from es_power.log.append import Appender, prepare
from es_power.log.labels import make_label
from es_power.log.lease import end_leases, no_service
from es_power.log.marks import lacking
from es_power.log.schema import TRACKING, TREE
from es_power.projections.reader import read_models
from es_power.projections.readmodels import ReadModels
from es_power.projections.store import Store, drop_beyond
from es_power.upkeep.noted import noted
from es_power.upkeep.saying import said

ACTOR: Final = "restore"
"""Who withdraws the commands of a restored past, in the place of an actor's stream."""

_ASK_AGAIN: Final = 1.0  # seconds

_WHY: Final = "the log was restored: look at what was declared, held and rejected since, and release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """How a log goes on."""

    #: Where it says so, and the last record before that.
    position: Position
    until: Position
    #: How far it is known to have gone before.
    replaced: Position | None
    #: How many stop commands were withdrawn, and the hosts whose commands are held.
    withdrawn: int
    held: Sequence[str]


async def gone_to(log: SqlLog, places: Sequence[str] = ()) -> Position:
    """How far the log went, by what is kept beside it and by the checkpoints in these places outside of it."""
    signed = await trio.to_thread.run_sync(noted, log.database, places)
    outside = signed if signed and signed > await _known_to_be_lost(log) else START
    return max(await trio.to_thread.run_sync(_gone_to, log), await _lacking(log), outside)


async def require_not_rewound(log: SqlLog, places: Sequence[str] = ()) -> None:
    """Raise LogRewoundError where the log ends before a position that was read from it, or signed in one of the places.

    A log that gives no answer is asked again, however long that takes: whoever starts on it would wait for it too.
    """
    while True:
        try:
            reached, head, lacks = await gone_to(log, places), await log.head(), await _lacking(log)
            break
        except LogUnavailableError as error:
            structlog.get_logger().error("the log cannot be read now", error=str(error))
            await trio.sleep(_ASK_AGAIN)
    if reached > head or lacks:
        raise LogRewoundError(checkpoint=lacks or reached, head=head)


async def accept_rewind(place: str | Path, *, by: str, at: Timestamp, places: Sequence[str] = ()) -> Begun:
    """Say in a log that went back that it is meant; BackupError where nothing shows that it did.

    LogNotFoundError where there is none; LeaseHeldError where a service runs on it.
    """
    async with open_log(place):
        pass  # a mistyped path should not make one
    async with open_log(place, mode="write") as log:
        with no_service(log.database):
            reached, head = await gone_to(log, places), await log.head()
            if reached <= head and not await _lacking(log):
                raise BackupError(f"the log at {log.database.place} did not go back: nobody read more than it has")
            return await begin_again(log, replaced=reached, by=by, at=at)


async def begin_again(
    log: SqlLog,
    *,
    replaced: Position | None,
    by: str,
    at: Timestamp,
    source: str | None = None,
    leases: Mapping[str, int] | None = None,
    forgotten: Collection[int] = (),
) -> Begun:
    """Have a log that no service has open go on from where it ends; see this module.

    `source` is the backup it was restored from; `leases` the epochs by stream that were given since that was made, and
    `forgotten` the labels whose texts were erased: they came back with it, and are erased again.
    """
    until, models = await log.head(), await _models(log)
    (who, *texts), (why, why_text) = make_label(by), make_label(_WHY)
    backup = None
    if source is not None:
        backup, text = make_label(source)
        texts.append(text)
    restored = LogRestored(observed_at=at, position=until, replaced=replaced, source=backup, by=who)
    hosts = sorted({host for stream in models.fleet.places if (host := observed_host(stream))})
    holds = [
        HoldPlaced(observed_at=at, hold=uuid4(), host=host, instance=None, until=None, by=who, why=why)
        for host in hosts
    ]
    ended = [
        Write(
            stream=command(row.requested.command),
            expected=row.version,
            events=(
                Withdrawn(
                    observed_at=at,
                    instance=row.requested.instance,
                    command=row.requested.command,
                    reason="restored: the log was put back, and what became of it since is not known",
                    because=Position(until + 1),
                    actor=ACTOR,
                ),
            ),
        )
        for row in models.commands.rows.values()
        if row.state.is_open
    ]
    back = tuple(await log.labels(list(forgotten)))
    erased = [LabelsForgotten(observed_at=at, labels=back, by=who)] if back else []
    about = Write(stream=AUDIT, expected=await log.version(AUDIT), events=(restored, *holds, *erased))
    append = prepare(Append(writes=(about, *ended), labels=(*texts, why_text), forgets=back), log.codec)

    def commit() -> None:
        [outcome] = Appender(log.database, lambda: at).commit(
            [append], beside=lambda connection: _reset(connection, until, leases or {})
        )
        if isinstance(outcome, LogError):
            raise outcome

    await trio.to_thread.run_sync(commit)
    return Begun(position=Position(until + 1), until=until, replaced=replaced, withdrawn=len(ended), held=hosts)


def _gone_to(log: SqlLog) -> Position:
    with log.database.read() as connection:
        tracked = connection.scalar(sa.select(sa.func.max(TRACKING.c.position))) or 0
        nodes = connection.execute(sa.select(TREE.c.level, sa.func.max(TREE.c.number)).group_by(TREE.c.level)).all()
    reached = 0
    with suppress(TablesDamagedError):
        reached = Store(log.database).checkpoint()
    return Position(max(tracked, reached, *((number + 1) << level for level, number in nodes)))


async def _lacking(log: SqlLog) -> Position:
    """The last position of which a mark beside the log says that it lacks that record, unless it says why itself."""
    lacks = await trio.to_thread.run_sync(lacking, log.database)
    return lacks if lacks > await _known_to_be_lost(log) else START


async def _known_to_be_lost(log: SqlLog) -> Position:
    """Up to which position the log says itself that it was put back from."""
    restored = [each for each in await said(log) if isinstance(each, LogRestored)]
    return max((each.replaced or START for each in restored), default=START)


async def _models(log: SqlLog) -> ReadModels:
    """The read models at the end of the log, by tables that are of this log."""
    store = Store(log.database)
    with suppress(TablesDamagedError):
        if await trio.to_thread.run_sync(store.checkpoint) <= await log.head():
            return (await read_models(log, store))[0]
    return (await read_models(log, store, tables=False))[0]


def _reset(connection: sa.Connection, until: Position, leases: Mapping[str, int]) -> None:
    """Have nobody who read further believe that; in the transaction of what the log says of it."""
    connection.execute(sa.update(TRACKING).where(TRACKING.c.position > until).values(position=until))
    for level in connection.scalars(sa.select(TREE.c.level).distinct()).all():
        connection.execute(sa.delete(TREE).where(TREE.c.level == level, TREE.c.number >= until >> level))
    drop_beyond(connection, until)
    end_leases(connection, leases)
