"""The read models as tables beside the log, so that a question need not replay the whole of it.

What these tables say is true at their checkpoint, which is written in the same transaction; whoever reads them folds
the rest of the log on top (`reader`). They can be dropped at any time and rebuilt from the log.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from es_power.domain.events import START, InstanceId, Position
from es_power.errors import TablesDamagedError
from es_power.identity import package_version
from es_power.log.database import Database, run, tables_in
from es_power.log.pruned import pruned_up_to, require_kept
from es_power.projections.beginning import read_beginning
from es_power.projections.history import Entry
from es_power.projections.loading import NAME, VERSION, checkpoint_of, damage, is_of_another_version, load
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.snapshots import EVERY, pack
from es_power.projections.tables import (
    CHECKPOINT,
    HISTORY,
    HOSTS,
    KEEPING,
    METADATA,
    MODELS,
    POWER_STATE,
    QUARANTINE,
    SNAPSHOTS,
    STOP_COMMANDS,
    TIMES,
    TOLD,
    VOUCHED,
    Row,
    aside_row,
    command_row,
    entry_of,
    entry_row,
    host_row,
    instance_row,
    keeping_row,
    times_row,
    told_row,
    vouched_row,
)

_AT_ONCE: Final = 1000  # rows


class Store:
    """The tables of one log's database; its methods block, so a service calls them in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self) -> None:
        """Make the tables where they are missing; where only some are, or of another version, all of them.

        New ones say what the log begins with, which is nothing where it is whole.
        """
        with self._database.write() as connection:
            there = METADATA.tables.keys() & tables_in(connection)
            if there != METADATA.tables.keys() or is_of_another_version(connection):
                if there:
                    METADATA.drop_all(connection)
                self._database.create(METADATA.sorted_tables, connection)
            if checkpoint_of(connection) == START:
                self.begin(connection)

    def begin(self, connection: sa.Connection) -> None:
        """Have the tables say what a pruned log begins with, in place of what they say; for a whole one, do nothing."""
        beginning = read_beginning(connection)
        if beginning.position == START:
            return
        METADATA.drop_all(connection)
        METADATA.create_all(connection)
        models = beginning.models()
        _is_to_be_written(models)
        step = beginning.step(models)
        self._write(connection, models, step, snapshots=step.snapshots)
        self._move(connection, models.fleet.position)

    def drop(self) -> None:
        """Take the tables away, so that they begin again where the log does."""
        with self._database.write() as connection:
            METADATA.drop_all(connection)

    def checkpoint(self) -> Position:
        """The position that the tables are true at; 0 where there are none of this version."""
        with self._database.read() as connection:
            return checkpoint_of(connection)

    def reached(self, connection: sa.Connection) -> tuple[Position, Position]:
        """The position that the tables are true at, and the one that the log begins at."""
        return checkpoint_of(connection), pruned_up_to(connection)

    @contextmanager
    def reading(self) -> Iterator[tuple[sa.Connection, Position]]:
        """A transaction over the tables, and the position that they are true at; TablesDamagedError as in `load`."""
        with damage(), self._database.read() as connection:
            yield connection, checkpoint_of(connection)

    def load(self, *, resume: bool = False) -> ReadModels:
        """Read all models as of the checkpoint; those that the log begins with where there are no tables to read.

        TablesDamagedError where they cannot be what this module wrote.
        """
        with damage(), self._database.read() as connection:
            return load(connection, resume=resume)

    def load_on(self) -> tuple[ReadModels, Step]:
        """Read all models as `load` does, and what they hold that is in no table: all, where there are none."""
        with damage(), self._database.read() as connection:
            models = load(connection, resume=False)
            if checkpoint_of(connection) == START:
                return models, read_beginning(connection).step(models)
            return models, Step(since=models.fleet.position)

    def load_first(self, *, resume: bool = False) -> tuple[ReadModels, Step]:
        """Read the models that the log begins with, and all that they hold."""
        with self._database.read() as connection:
            beginning = read_beginning(connection)
            models = beginning.models(resume=resume)
            return models, beginning.step(models)

    def require_kept(self, position: Position) -> None:
        """Raise RecordPrunedError where nobody can say any more what was known at a position."""
        with self._database.read() as connection:
            require_kept(connection, position)

    def load_all(self) -> tuple[ReadModels, list[Entry]]:
        """Read all models and all history as of the same checkpoint; TablesDamagedError as in `load`."""
        with damage(), self._database.read() as connection:
            models = load(connection, resume=False)
            if checkpoint_of(connection) == START:
                return models, list(read_beginning(connection).step(models).entries.values())
            return models, [entry_of(row) for row in connection.execute(sa.select(HISTORY)).mappings()]

    def save(self, models: ReadModels, step: Step, *, since: Position) -> bool:
        """Write what a step changed after `since`, and the new checkpoint, in one transaction.

        Tables that somebody else has brought further than `since` only take what is newer, so services of one log keep
        them together. False, and nothing written, where they are older than that: then a part in between is missing.
        """
        with self._database.write() as connection:
            checkpoint = checkpoint_of(connection)
            if checkpoint < since:
                return False
            if checkpoint < models.fleet.position:
                # Rows say what is true now, so those that are there already are written again as they should be.
                self._write(connection, models, step, snapshots=_snapshots(models, step, checkpoint))
                self._move(connection, models.fleet.position)
        _is_written(models)
        return True

    def rebuild(self, models: ReadModels, past: Step) -> None:
        """Put models that were replayed from the start in the place of the tables, in one transaction.

        `past` is what they led to on the way.

        The new tables are filled beside the old ones and then take their names, so nobody ever reads a half of one.
        """
        with self._database.write() as connection:
            METADATA.create_all(connection)
            fresh = sa.MetaData()
            new = {table: table.to_metadata(fresh, name=f"{table.name}_new") for table in MODELS}
            for table in new.values():
                # Index names are the database's, not the table's: the indexes come after the swap.
                table.indexes.clear()
            fresh.drop_all(connection)
            fresh.create_all(connection)
            _is_to_be_written(models)
            step = Step(
                entries=past.entries,
                commands={row.position: row for row in models.commands.rows.values()},
                keeping={each.position: (each, True) for each in models.keeping},
                vouched=set(models.fleet.vouched),
                times=past.times,
            )
            self._write(connection, models, step, into=new, snapshots=past.snapshots)
            for table, filled in new.items():
                table.drop(connection)
                connection.exec_driver_sql(f"ALTER TABLE {filled.name} RENAME TO {table.name}")
                for index in table.indexes:
                    index.create(connection)
            self._move(connection, models.fleet.position)
        _is_written(models)

    def set_aside(self) -> int:
        """How many records could not be read or applied, as far as the tables know; TablesDamagedError as in `load`."""
        with self.reading() as (connection, checkpoint):
            return int(connection.scalar(sa.select(sa.func.count()).select_from(QUARANTINE)) or 0) if checkpoint else 0

    def set_aside_elsewhere(self) -> list[Position]:
        """The records that another version than this one could not read or apply."""
        others = sa.select(QUARANTINE.c.position).where(QUARANTINE.c.version != package_version())
        with self.reading() as (connection, checkpoint):
            return list(connection.scalars(others.order_by(QUARANTINE.c.position))) if checkpoint else []

    def history(
        self, instance: InstanceId, streams: Collection[str], *, after: Position, until: Position
    ) -> list[Entry]:
        """Entries of one VM, and of the hosts that showed it, that begin by `until` and do not end by `after`."""
        table = HISTORY.c
        of_vm, of_hosts = table.instance == instance.bytes, sa.and_(table.instance.is_(None), table.stream.in_(streams))
        # Each is found in an index of its own, whose rows say how far they go; of an open run, its host knows that.
        within = [(each, table.position <= until, table.last_position > after) for each in (of_vm, of_hosts)]
        entries = {
            (entry.position, entry.index): entry
            for some in self.some(sa.select(HISTORY).where(*each) for each in (*within, (of_vm, table.open)))
            for entry in some
        }
        return [entry for entry in entries.values() if entry.position <= until]

    def first_seen(self, instance: InstanceId, streams: Iterable[str]) -> dict[str, Position]:
        """Where each of these streams first mentions a VM; those that do not are left out."""
        table, found = HISTORY.c, {}
        with self._database.read() as connection:
            for stream in streams:
                of_both = sa.and_(table.instance == instance.bytes, table.stream == stream)
                query = sa.select(table.position).where(of_both).order_by(table.position).limit(1)
                if (position := connection.scalar(query)) is not None:
                    found[stream] = Position(position)
        return found

    def of_hosts(self, kinds: Collection[str], *, until: Position) -> list[Entry]:
        """Entries about hosts of these kinds."""
        table = HISTORY.c
        return self._entries(table.instance.is_(None), table.kind.in_(kinds), table.position <= until)

    def some(self, queries: Iterable[sa.Select[Any]]) -> list[list[Entry]]:
        """The entries that several queries for rows of HISTORY give, at one moment of the tables."""
        with damage(), self._database.read() as connection:
            return [[entry_of(row) for row in connection.execute(query).mappings()] for query in queries]

    def _entries(self, *conditions: sa.ColumnElement[bool]) -> list[Entry]:
        with damage(), self._database.read() as connection:
            return [entry_of(row) for row in connection.execute(sa.select(HISTORY).where(*conditions)).mappings()]

    def _write(
        self,
        connection: sa.Connection,
        models: ReadModels,
        step: Step,
        *,
        snapshots: Mapping[Position, bytes],
        into: Mapping[sa.Table, sa.Table] | None = None,
    ) -> None:
        where = into or {table: table for table in MODELS}
        fleet = models.fleet
        planned = models.derivation.planned
        places = fleet.places.items()
        self._put(
            connection, where[HOSTS], (host_row(stream, place, planned=stream in planned) for stream, place in places)
        )
        self._put(
            connection,
            where[POWER_STATE],
            (instance_row(instance, stream, place) for stream, place in places for instance in place.dirty),
        )
        told = ((instance, stream, fleet.told[instance][stream]) for instance, stream in fleet.told_anew)
        self._put(connection, where[TOLD], (told_row(*each) for each in told))
        asides = (fleet.quarantined[position] for position in sorted(fleet.quarantined_anew))
        self._put(connection, where[QUARANTINE], map(aside_row, asides))
        self._put(connection, where[HISTORY], map(entry_row, step.entries.values()))
        self._put(connection, where[STOP_COMMANDS], map(command_row, step.commands.values()))
        self._put(
            connection,
            where[KEEPING],
            (keeping_row(recorded, stands=stands) for recorded, stands in step.keeping.values()),
        )
        self._put(connection, where[TIMES], map(times_row, step.times.values()))
        self._put(
            connection,
            where[SNAPSHOTS],
            ({"position": position, "fleet": packed} for position, packed in snapshots.items()),
        )
        said = {instance: fleet.vouched[instance] for instance in step.vouched if instance in fleet.vouched}
        self._put(connection, where[VOUCHED], (vouched_row(instance, vouched) for instance, vouched in said.items()))
        ended = [{"ended": instance.bytes} for instance in step.vouched - said.keys()]
        if ended:
            connection.execute(
                sa.delete(where[VOUCHED]).where(where[VOUCHED].c.instance == sa.bindparam("ended")), ended
            )

    def _put(self, connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> None:
        """Insert rows, or replace those of the same key.

        They go to the driver as they are, since SQLAlchemy's way costs three times as much, and some at a time, since
        all of a large table's at once would be most of the memory that a service needs.
        """
        values = map(itemgetter(*table.c.keys()), rows)
        while some := list(islice(values, _AT_ONCE)):
            run(connection, self._upsert(table), some)

    def _upsert(self, table: sa.Table) -> str:
        def compiled() -> str:
            insert = (sqlite if self._database.is_sqlite else postgresql).insert(table)
            names, keys = table.c.keys(), table.primary_key.columns.keys()
            rest = {name: insert.excluded[name] for name in names if name not in keys}
            return self._database.compile(insert.on_conflict_do_update(index_elements=keys, set_=rest), *names)

        return self._database.once(f"upsert {table.name}", compiled)

    def _move(self, connection: sa.Connection, position: Position) -> None:
        self._put(connection, CHECKPOINT, [{"name": NAME, "version": VERSION, "position": position}])


def _snapshots(models: ReadModels, step: Step, checkpoint: Position) -> Mapping[Position, bytes]:
    """The snapshots to be written; one more of now, where it is time for one."""
    position = models.fleet.position
    if checkpoint // EVERY == position // EVERY:
        return step.snapshots
    return {**step.snapshots, position: pack(models.fleet)}


def _is_to_be_written(models: ReadModels) -> None:
    """Have all rows written, and not only those that changed."""
    for place in models.fleet.places.values():
        place.dirty.update(place.instances)
    models.fleet.quarantined_anew.update(models.fleet.quarantined)
    models.fleet.told_anew.update(
        (instance, stream) for instance, streams in models.fleet.told.items() for stream in streams
    )


def _is_written(models: ReadModels) -> None:
    for place in models.fleet.places.values():
        place.dirty.clear()
    models.fleet.told_anew.clear()
    models.fleet.quarantined_anew.clear()


def drop_beyond(connection: sa.Connection, position: Position) -> None:
    """Take the tables away where they are true beyond the end of a log that went back, or say nothing of that."""
    try:
        beyond = checkpoint_of(connection) > position
    except TablesDamagedError:
        beyond = True
    if beyond:
        METADATA.drop_all(connection)
