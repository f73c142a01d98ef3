"""What the tables of the read models say, as models; `store` writes them, and says when they are read."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from es_power.domain.command import CommandState
from es_power.domain.events import START, InstanceId, Position
from es_power.domain.streams import planned_observer
from es_power.errors import TablesDamagedError, UnknownEventError
from es_power.log.database import run, tables_in
from es_power.log.schema import RECORDS, STREAMS
from es_power.projections.beginning import read_beginning
from es_power.projections.readmodels import ReadModels
from es_power.projections.tables import (
    CHECKPOINT,
    HISTORY,
    HOSTS,
    KEEPING,
    METADATA,
    POWER_STATE,
    QUARANTINE,
    STOP_COMMANDS,
    TIMES,
    TOLD,
    VOUCHED,
    aside_of,
    command_of,
    entry_of,
    instance_of,
    keeping_of,
    place_of,
    told_of,
    vouched_of,
)
from es_power.projections.times import BLOCK, Block, Times

VERSION: Final = 7
"""Of the tables' meaning; tables of another version are not read, but rebuilt."""

NAME: Final = "read models"
# Written once: a service asks it before each of its commits of the tables.
_STATED: Final = str(
    sa.select(CHECKPOINT.c.version, CHECKPOINT.c.position)
    .where(CHECKPOINT.c.name == NAME)
    .compile(compile_kwargs={"literal_binds": True})
)
#: What reading raises where somebody else wrote a row, or took a table away.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    msgspec.MsgspecError,
    UnknownEventError,
    sa.exc.NoSuchTableError,
    zlib.error,
)


@contextmanager
def damage() -> Iterator[None]:
    """Raise TablesDamagedError where what is read cannot be what `store` wrote."""
    try:
        yield
    except _UNREADABLE as error:
        raise TablesDamagedError(str(error).splitlines()[0]) from error


def is_of_another_version(connection: sa.Connection) -> bool:
    """Whether another es_power made the tables, whose rows mean something else."""
    return _stated(connection)[0] not in {None, VERSION}


def _stated(connection: sa.Connection) -> tuple[int | None, int]:
    """The version and position that the tables say; None and 0 where they say nothing."""
    version, position = run(connection, _STATED).fetchone() or (None, START)
    return version, position


def checkpoint_of(connection: sa.Connection) -> Position:
    """The position that the tables are true at; 0 where there are none of this version."""
    there = METADATA.tables.keys() & tables_in(connection)
    version, position = _stated(connection) if CHECKPOINT.name in there else (None, START)
    if not there or version not in {None, VERSION}:
        return START
    if missing := METADATA.tables.keys() - there:
        raise TablesDamagedError(f"{', '.join(sorted(missing))} is missing")
    return Position(position)


def _planned(connection: sa.Connection, position: Position) -> set[str]:
    """The streams that a process manager plans for, by the log itself.

    It begins before its host's stream does: tables that end in between have no row of that host to say so in, and who
    began at them would plan nothing for it, ever.
    """
    begun = (
        sa.select(STREAMS.c.name)
        .join(RECORDS, RECORDS.c.stream == STREAMS.c.no)
        .where(STREAMS.c.name.startswith("planner/"), RECORDS.c.version == 1, RECORDS.c.position <= position)
    )
    return {stream for name in connection.scalars(begun) if (stream := planned_observer(name))}


def load(connection: sa.Connection, *, resume: bool) -> ReadModels:
    """Read all models as of the checkpoint; those that the log begins with where there are no tables to read."""
    position = checkpoint_of(connection)
    if position == START:
        return read_beginning(connection).models(resume=resume)
    models = ReadModels(resume=resume)
    models.fleet.position = position
    times = connection.execute(sa.select(TIMES).where(TIMES.c.block == position // BLOCK)).one_or_none()
    models.times = Times(position, Block(*times) if times else None)
    for row in connection.execute(sa.select(HOSTS)).mappings():
        models.fleet.places[row["stream"]] = place_of(row)
        if row["planned"]:
            models.derivation.planned.add(row["stream"])
    models.derivation.planned |= _planned(connection, position)
    for row in connection.execute(sa.select(POWER_STATE)).mappings():
        instance = InstanceId(UUID(bytes=row["instance"]))
        place = models.fleet.places[row["stream"]]
        place.instances[instance] = instance_of(row)
        if row["touched"]:
            place.touched.add(instance)
        seen_on = models.fleet.seen_on
        seen_on[instance] = (*seen_on.get(instance, ()), row["stream"])
    for row in connection.execute(sa.select(VOUCHED)).mappings():
        models.fleet.vouched[InstanceId(UUID(bytes=row["instance"]))] = vouched_of(row)
    for row in connection.execute(sa.select(QUARANTINE).order_by(QUARANTINE.c.position)).mappings():
        models.fleet.quarantine(aside_of(row))
    models.fleet.quarantined_anew.clear()
    for row in connection.execute(sa.select(TOLD)).mappings():
        instance, stream, name = told_of(row)
        models.fleet.told.setdefault(instance, {})[stream] = name
    for row in connection.execute(sa.select(HISTORY).where(HISTORY.c.open)).mappings():
        entry = entry_of(row)
        assert entry.instance is not None
        models.history.open[entry.instance, entry.stream] = entry
    for row in connection.execute(sa.select(STOP_COMMANDS).order_by(STOP_COMMANDS.c.position)).mappings():
        command = command_of(row)
        models.commands.rows[command.requested.command] = command
        if command.stands:
            sent = command.state is CommandState.SENT
            models.derivation.take_up(command.requested, sent=sent, ended=not (sent or command.state.is_open))
    for row in connection.execute(sa.select(KEEPING).where(KEEPING.c.stands).order_by(KEEPING.c.position)).mappings():
        models.keeping.take_up(keeping_of(row))
    return models
