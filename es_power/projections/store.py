"""The read models as tables beside the log, so that a question need not replay the whole of it.

What these tables say is true at their checkpoint, which is written in the same transaction; whoever reads them folds
the rest of the log on top (`reader`). They can be dropped at any time and rebuilt from the log.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from es_power.domain.events import START, InstanceId, Label, Position, StopRequested, Withdrawn
from es_power.domain.host import Host, Vouched
from es_power.domain.instance import Instance
from es_power.domain.states import PowerState
from es_power.domain.streams import observed_host
from es_power.errors import TablesDamagedError, UnknownEventError
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.projections.fleet import Place
from es_power.projections.history import Entry
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.stop_commands import CommandRow

VERSION: Final = 1
"""Of the tables' meaning; tables of another version are not read, but rebuilt."""

METADATA: Final = sa.MetaData()

CHECKPOINT: Final = sa.Table(
    "projections",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

POWER_STATE: Final = sa.Table(
    "power_state",
    METADATA,
    sa.Column("instance", sa.LargeBinary(16), primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("power_state", sa.Text),
    sa.Column("provisional", sa.Boolean, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("observed_at", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("index", sa.Integer),
    sa.Column("connection", sa.BigInteger, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("last_event", sa.Integer),
    sa.Column("last_detail", sa.Integer),
    sa.Column("state", sa.Integer),
    sa.Column("reason", sa.Integer),
    sa.Column("gone", sa.Boolean, nullable=False),
    sa.Column("left_on", sa.BigInteger, nullable=False),
    sa.Column("label", sa.BigInteger),
    sa.Column("label_digest", sa.LargeBinary),
    #: False: its host's newest sweep confirms it, and has the position and time of its newest observation.
    sa.Column("touched", sa.Boolean, nullable=False),
)

HOSTS: Final = sa.Table(
    "hosts",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("planned", sa.Boolean, nullable=False),
    sa.Column("host", sa.LargeBinary, nullable=False),
)

VOUCHED: Final = sa.Table(
    "vouched",
    METADATA,
    sa.Column("instance", sa.LargeBinary(16), primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)

HISTORY: Final = sa.Table(
    "history",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True),
    #: -1 for a record that is not a sweep.
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("instance", sa.LargeBinary(16)),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("observed_at", sa.BigInteger, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("power_state", sa.Text),
    sa.Column("changed", sa.Boolean, nullable=False),
    sa.Column("stale", sa.Boolean, nullable=False),
    sa.Column("state", sa.Integer),
    sa.Column("reason", sa.Integer),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("last_observed_at", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("sweeps", sa.BigInteger),
    sa.Index("history_instance", "instance", "position"),
    sa.Index("history_open", "open", sqlite_where=sa.text("open"), postgresql_where=sa.text("open")),
)

STOP_COMMANDS: Final = sa.Table(
    "stop_commands",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("command", sa.LargeBinary(16), nullable=False),
    sa.Column("instance", sa.LargeBinary(16), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("requested", sa.LargeBinary, nullable=False),
    sa.Column("withdrawn", sa.LargeBinary),
)

_NAME: Final = "read models"
_MODELS: Final = (POWER_STATE, HOSTS, VOUCHED, HISTORY, STOP_COMMANDS)
_CODEC: Final = Codec()
_PACK: Final = msgspec.msgpack.Encoder().encode
_HOST: Final = msgspec.msgpack.Decoder(Host).decode
_VOUCHED: Final = msgspec.msgpack.Decoder(Vouched).decode
_ENTRY_FIELDS: Final = tuple(field.name for field in fields(Entry))
_INSTANCE_FIELDS: Final = tuple(field.name for field in fields(Instance) if field.name != "name")

Row = Mapping[Any, Any]

#: What reading raises where somebody else wrote a row, or took a table away.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    msgspec.MsgspecError,
    UnknownEventError,
    sa.exc.NoSuchTableError,
)


class Store:
    """The tables of one log's database; its methods block, so a service calls them in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self) -> None:
        """Make the tables where they are missing; where only some are, all of them, empty."""
        with self._database.write() as connection:
            there = METADATA.tables.keys() & set(sa.inspect(connection).get_table_names())
            if there != METADATA.tables.keys():
                METADATA.drop_all(connection)
            METADATA.create_all(connection)

    def drop(self) -> None:
        """Take the tables away, so that they begin again with the log's first record."""
        with self._database.write() as connection:
            METADATA.drop_all(connection)

    def checkpoint(self) -> Position:
        """The position that the tables are true at; 0 where there are none of this version."""
        with self._database.read() as connection:
            return _checkpoint(connection)

    def load(self, *, resume: bool = False) -> ReadModels:
        """Read all models as of the checkpoint; empty ones at position 0 where there are no tables to read.

        TablesDamagedError where they cannot be what this module wrote.
        """
        with _damage(), self._database.read() as connection:
            return _load(connection, resume=resume)

    def load_all(self) -> tuple[ReadModels, list[Entry]]:
        """Read all models and all history as of the same checkpoint; TablesDamagedError as in `load`."""
        with _damage(), self._database.read() as connection:
            models = _load(connection, resume=False)
            rows = connection.execute(sa.select(HISTORY)).mappings() if models.fleet.position else ()
            return models, [_entry(row) for row in rows]

    def save(self, models: ReadModels, step: Step, *, since: Position) -> bool:
        """Write what a step changed after `since`, and the new checkpoint, in one transaction.

        Tables that somebody else has brought further than `since` only take what is newer, so services of one log keep
        them together. False, and nothing written, where they are older than that: then a part in between is missing.
        """
        with self._database.write() as connection:
            checkpoint = _checkpoint(connection)
            if checkpoint < since:
                return False
            if checkpoint < models.fleet.position:
                # Rows say what is true now, so those that are there already are written again as they should be.
                self._write(connection, models, step)
                self._move(connection, models.fleet.position)
        for place in models.fleet.places.values():
            place.dirty.clear()
        return True

    def rebuild(self, models: ReadModels, entries: Iterable[Entry]) -> None:
        """Put models that were replayed from the start in the place of the tables, in one transaction.

        The new tables are filled beside the old ones and then take their names, so nobody ever reads a half of one.
        """
        with self._database.write() as connection:
            METADATA.create_all(connection)
            fresh = sa.MetaData()
            new = {table: table.to_metadata(fresh, name=f"{table.name}_new") for table in _MODELS}
            for table in new.values():
                # Index names are the database's, not the table's: the indexes come after the swap.
                table.indexes.clear()
            fresh.drop_all(connection)
            fresh.create_all(connection)
            for place in models.fleet.places.values():
                place.dirty.update(place.instances)
            step = Step(
                entries={(entry.position, entry.index): entry for entry in entries},
                commands={row.position: row for row in models.commands.rows.values()},
                vouched=set(models.fleet.vouched),
            )
            self._write(connection, models, step, into=new)
            for table, filled in new.items():
                table.drop(connection)
                connection.exec_driver_sql(f"ALTER TABLE {filled.name} RENAME TO {table.name}")
                for index in table.indexes:
                    index.create(connection)
            self._move(connection, models.fleet.position)
        for place in models.fleet.places.values():
            place.dirty.clear()

    def history(
        self, instance: InstanceId, streams: Collection[str], *, after: Position, until: Position
    ) -> list[Entry]:
        """Entries of one VM, and of the hosts that showed it, that begin by `until` and do not end by `after`."""
        table = HISTORY.c
        of_hosts = sa.and_(table.instance.is_(None), table.stream.in_(streams))
        # How far an open run goes, its host knows.
        ends_later = sa.or_(table.last_position > after, table.sweeps.is_not(None))
        return self._entries(sa.or_(table.instance == instance.bytes, of_hosts), table.position <= until, ends_later)

    def first_seen(self, instance: InstanceId) -> dict[str, Position]:
        """Where each stream that bears a VM's facts first mentions it."""
        first = sa.func.min(HISTORY.c.position)
        query = sa.select(HISTORY.c.stream, first).where(HISTORY.c.instance == instance.bytes).group_by("stream")
        with self._database.read() as connection:
            return {stream: Position(position) for stream, position in connection.execute(query)}

    def of_hosts(self, kinds: Collection[str], *, until: Position) -> list[Entry]:
        """Entries about hosts of these kinds."""
        table = HISTORY.c
        return self._entries(table.instance.is_(None), table.kind.in_(kinds), table.position <= until)

    def _entries(self, *conditions: sa.ColumnElement[bool]) -> list[Entry]:
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(sa.select(HISTORY).where(*conditions)).mappings()]

    def _write(
        self,
        connection: sa.Connection,
        models: ReadModels,
        step: Step,
        *,
        into: Mapping[sa.Table, sa.Table] | None = None,
    ) -> None:
        where = into or {table: table for table in _MODELS}
        fleet = models.fleet
        hosts, instances = [], []
        for stream, place in fleet.places.items():
            hosts.append(_host_row(stream, place, planned=stream in models.derivation.planned))
            instances += [_instance_row(instance, stream, place) for instance in place.dirty]
        self._put(connection, where[HOSTS], hosts)
        self._put(connection, where[POWER_STATE], instances)
        self._put(connection, where[HISTORY], [_entry_row(entry) for entry in step.entries.values()])
        self._put(connection, where[STOP_COMMANDS], [_command_row(row) for row in step.commands.values()])
        said = {instance: fleet.vouched[instance] for instance in step.vouched if instance in fleet.vouched}
        rows = [{"instance": instance.bytes, "record": _PACK(vouched)} for instance, vouched in said.items()]
        self._put(connection, where[VOUCHED], rows)
        ended = [{"ended": instance.bytes} for instance in step.vouched - said.keys()]
        if ended:
            connection.execute(
                sa.delete(where[VOUCHED]).where(where[VOUCHED].c.instance == sa.bindparam("ended")), ended
            )

    def _put(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those of the same key."""
        if not rows:
            return
        insert = (sqlite if self._database.is_sqlite else postgresql).insert(table)
        keys = table.primary_key.columns.keys()
        rest = {name: insert.excluded[name] for name in table.c.keys() if name not in keys}  # noqa: SIM118
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=rest), rows)

    def _move(self, connection: sa.Connection, position: Position) -> None:
        self._put(connection, CHECKPOINT, [{"name": _NAME, "version": VERSION, "position": position}])


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise TablesDamagedError(str(error).splitlines()[0]) from error


def _checkpoint(connection: sa.Connection) -> Position:
    there = METADATA.tables.keys() & set(sa.inspect(connection).get_table_names())
    if not there:
        return START
    if missing := METADATA.tables.keys() - there:
        raise TablesDamagedError(f"{', '.join(sorted(missing))} is missing")
    query = sa.select(CHECKPOINT.c.position).where(CHECKPOINT.c.name == _NAME, CHECKPOINT.c.version == VERSION)
    return Position(connection.scalar(query) or 0)


def _load(connection: sa.Connection, *, resume: bool) -> ReadModels:
    models = ReadModels(resume=resume)
    models.fleet.position = _checkpoint(connection)
    if models.fleet.position == START:
        return models
    for row in connection.execute(sa.select(HOSTS)).mappings():
        models.fleet.places[row["stream"]] = Place(
            host=_HOST(row["host"]), version=row["version"], recorded_at=row["recorded_at"]
        )
        if row["planned"]:
            models.derivation.planned.add(row["stream"])
    for row in connection.execute(sa.select(POWER_STATE)).mappings():
        instance = InstanceId(UUID(bytes=row["instance"]))
        place = models.fleet.places[row["stream"]]
        place.instances[instance] = _instance(row)
        if row["touched"]:
            place.touched.add(instance)
        seen_on = models.fleet.seen_on
        seen_on[instance] = (*seen_on.get(instance, ()), row["stream"])
    for row in connection.execute(sa.select(VOUCHED)).mappings():
        models.fleet.vouched[InstanceId(UUID(bytes=row["instance"]))] = _VOUCHED(row["record"])
    for row in connection.execute(sa.select(HISTORY).where(HISTORY.c.open)).mappings():
        entry = _entry(row)
        assert entry.instance is not None
        models.history.open[entry.instance, entry.stream] = entry
    for row in connection.execute(sa.select(STOP_COMMANDS)).mappings():
        command = _command(row)
        models.commands.rows[command.requested.command] = command
        if command.withdrawn is None:
            models.derivation.take_up(command.requested)
    return models


# ------------------------------------------------------------------------------------------------- rows and back


def _host_row(stream: str, place: Place, *, planned: bool) -> Row:
    return {
        "stream": stream,
        "version": place.version,
        "recorded_at": place.recorded_at,
        "planned": planned,
        "host": _PACK(place.host),
    }


def _instance_row(instance: InstanceId, stream: str, place: Place) -> Row:
    known = place.instances[instance]
    row = {name: getattr(known, name) for name in _INSTANCE_FIELDS}
    return row | {
        "instance": instance.bytes,
        "stream": stream,
        "host": observed_host(stream),
        "power_state": known.power_state and known.power_state.value,
        "label": known.name and known.name.id,
        "label_digest": known.name and known.name.digest,
        "touched": instance in place.touched,
    }


def _instance(row: Row) -> Instance:
    values = {name: row[name] for name in _INSTANCE_FIELDS}
    values["power_state"] = row["power_state"] and PowerState(row["power_state"])
    label = None if row["label"] is None else Label(id=row["label"], digest=row["label_digest"])
    return Instance(**values, name=label)


def _entry_row(entry: Entry) -> Row:
    row = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    return row | {
        "instance": entry.instance and entry.instance.bytes,
        "index": -1 if entry.index is None else entry.index,
        "power_state": entry.power_state and entry.power_state.value,
    }


def _entry(row: Row) -> Entry:
    values = {name: row[name] for name in _ENTRY_FIELDS}
    values["instance"] = row["instance"] and InstanceId(UUID(bytes=row["instance"]))
    values["index"] = None if row["index"] < 0 else row["index"]
    values["power_state"] = row["power_state"] and PowerState(row["power_state"])
    return Entry(**values)


def _command_row(row: CommandRow) -> Row:
    return {
        "position": row.position,
        "command": row.requested.command.bytes,
        "instance": row.requested.instance.bytes,
        "state": row.state,
        "last_position": row.last_position,
        "requested": _CODEC.encode(row.requested)[1],
        "withdrawn": row.withdrawn and _CODEC.encode(row.withdrawn)[1],
    }


def _command(row: Row) -> CommandRow:
    requested = _CODEC.decode("StopRequested:1", row["requested"])
    withdrawn = row["withdrawn"] and _CODEC.decode("Withdrawn:1", row["withdrawn"])
    assert isinstance(requested, StopRequested)
    assert withdrawn is None or isinstance(withdrawn, Withdrawn)
    return CommandRow(
        requested=requested,
        position=Position(row["position"]),
        last_position=Position(row["last_position"]),
        withdrawn=withdrawn,
    )
