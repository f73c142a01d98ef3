"""The tables of the read models, and their rows: what a fold knows as columns, and back again.

The columns are the fields of the domain's dataclasses by the same names, so a table reads as what it is; times are
nanoseconds, ids are 16 bytes. Nothing here asks or writes a database.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from es_power.domain.command import Command, CommandState
from es_power.domain.decisions import StopRequested
from es_power.domain.events import InstanceId, Label, Position, Recorded
from es_power.domain.host import Host, Vouched
from es_power.domain.instance import Instance
from es_power.domain.states import PowerState
from es_power.domain.streams import observed_host
from es_power.identity import package_version
from es_power.log.codec import Codec
from es_power.projections.fleet import Place
from es_power.projections.history import Entry
from es_power.projections.quarantine import SetAside
from es_power.projections.times import Block

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

OF_VMS: Final = sa.text("instance IS NOT NULL")
OF_HOSTS: Final = sa.text("instance IS NULL")
LOGGED: Final = sa.text(
    "kind IN ('QemuStarted', 'QemuEnded', 'NovaTransitionLogged', 'ImportedQemuStarted', 'ImportedQemuEnded', "
    "'ImportedNovaTransitionLogged', 'ImportedStateObserved', 'ImportedLifecycleEvent')"
)
"""Lines of other programs' logs that tell a state; as a text, since an index of some rows is only used by its own."""

#: Which instances imported facts tell of, and by which names.
TOLD: Final = sa.Table(
    "told",
    METADATA,
    sa.Column("instance", sa.LargeBinary(16), primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("label", sa.BigInteger),
    sa.Column("label_digest", sa.LargeBinary),
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
    sa.Index("history_instance", "instance", "position", "last_position", sqlite_where=OF_VMS, postgresql_where=OF_VMS),
    sa.Index("history_of_hosts", "stream", "position", sqlite_where=OF_HOSTS, postgresql_where=OF_HOSTS),
    sa.Index("history_of_hosts_by_kind", "kind", "position", sqlite_where=OF_HOSTS, postgresql_where=OF_HOSTS),
    sa.Index("history_logged", "instance", "observed_at", sqlite_where=LOGGED, postgresql_where=LOGGED),
    sa.Index("history_open", "instance", sqlite_where=sa.text("open"), postgresql_where=sa.text("open")),
)

STOP_COMMANDS: Final = sa.Table(
    "stop_commands",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("command", sa.LargeBinary(16), nullable=False),
    sa.Column("instance", sa.LargeBinary(16), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stands", sa.Boolean, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("approved", sa.BigInteger),
    sa.Column("actor", sa.Text),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("requested", sa.LargeBinary, nullable=False),
)

KEEPING: Final = sa.Table(
    "keeping",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("stands", sa.Boolean, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("event", sa.LargeBinary, nullable=False),
)

#: The earliest times of each block of positions (`times`).
TIMES: Final = sa.Table(
    "times",
    METADATA,
    sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("recorded", sa.BigInteger, nullable=False),
    sa.Column("source", sa.BigInteger, nullable=False),
)

#: The fleet as it was at a position, every so often (`snapshots`).
SNAPSHOTS: Final = sa.Table(
    "snapshots",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("fleet", sa.LargeBinary, nullable=False),
)

#: Records that could not be read or applied, and by which es_power that was.
QUARANTINE: Final = sa.Table(
    "quarantine",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("instances", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
)

MODELS: Final = (POWER_STATE, HOSTS, VOUCHED, TOLD, HISTORY, STOP_COMMANDS, KEEPING, TIMES, SNAPSHOTS, QUARANTINE)
"""The tables that a rebuild replaces."""

Row = Mapping[Any, Any]

_CODEC: Final = Codec()
_PACK: Final = msgspec.msgpack.Encoder().encode
_HOST: Final = msgspec.msgpack.Decoder(Host).decode
_VOUCHED: Final = msgspec.msgpack.Decoder(Vouched).decode
ENTRY_FIELDS: Final = tuple(field.name for field in fields(Entry))
"""The columns of a line of history."""

_INSTANCE_FIELDS: Final = tuple(field.name for field in fields(Instance) if field.name != "name")


def host_row(stream: str, place: Place, *, planned: bool) -> Row:
    """Write a host."""
    return {
        "stream": stream,
        "version": place.version,
        "recorded_at": place.recorded_at,
        "planned": planned,
        "host": _PACK(place.host),
    }


def instance_row(instance: InstanceId, stream: str, place: Place) -> Row:
    """Write a VM on a host."""
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


def instance_of(row: Row) -> Instance:
    """Read it back."""
    values = {name: row[name] for name in _INSTANCE_FIELDS}
    values["power_state"] = row["power_state"] and PowerState(row["power_state"])
    label = None if row["label"] is None else Label(id=row["label"], digest=row["label_digest"])
    return Instance(**values, name=label)


def entry_row(entry: Entry) -> Row:
    """Write a line of history."""
    row = {name: getattr(entry, name) for name in ENTRY_FIELDS}
    return row | {
        "instance": entry.instance and entry.instance.bytes,
        "index": -1 if entry.index is None else entry.index,
        "power_state": entry.power_state and entry.power_state.value,
    }


def entry_of(row: Row) -> Entry:
    """Read it back."""
    values = {name: row[name] for name in ENTRY_FIELDS}
    values["instance"] = row["instance"] and InstanceId(UUID(bytes=row["instance"]))
    values["index"] = None if row["index"] < 0 else row["index"]
    values["power_state"] = row["power_state"] and PowerState(row["power_state"])
    return Entry(**values)


def command_row(row: Command) -> Row:
    """Write a stop command."""
    actor, epoch = row.approved_by or (None, None)
    return {
        "position": row.position,
        "command": row.requested.command.bytes,
        "instance": row.requested.instance.bytes,
        "state": row.state.value,
        "stands": row.stands,
        "last_position": row.last_position,
        "version": row.version,
        "reason": row.reason,
        "approved": row.approved,
        "actor": actor,
        "epoch": epoch,
        "requested": _CODEC.encode(row.requested)[1],
    }


def command_of(row: Row) -> Command:
    """Read it back."""
    requested = _CODEC.decode("StopRequested:1", row["requested"])
    assert isinstance(requested, StopRequested)
    return Command(
        requested=requested,
        position=Position(row["position"]),
        last_position=Position(row["last_position"]),
        version=row["version"],
        state=CommandState(row["state"]),
        stands=row["stands"],
        reason=row["reason"],
        approved=row["approved"],
        approved_by=None if row["actor"] is None else (row["actor"], row["epoch"]),
    )


def keeping_row(recorded: Recorded, *, stands: bool) -> Row:
    """Write a hold, a breaker or an alarm, as the record that began it."""
    topic, event = _CODEC.encode(recorded.event)
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "recorded_at": recorded.recorded_at,
        "stands": stands,
        "topic": topic,
        "event": event,
    }


def keeping_of(row: Row) -> Recorded:
    """Read it back."""
    return Recorded(
        position=row["position"],
        stream=row["stream"],
        version=row["version"],
        recorded_at=row["recorded_at"],
        event=_CODEC.decode(row["topic"], row["event"], position=row["position"]),
    )


def times_row(block: Block) -> Row:
    """Write the times of a block."""
    return {"block": block.number, "recorded": block.recorded, "source": block.source}


def aside_row(aside: SetAside) -> Row:
    """Write a record that was set aside, by this es_power."""
    return {
        "position": aside.position,
        "stream": _storable(aside.stream),
        "kind": _storable(aside.kind),
        "instances": b"".join(instance.bytes for instance in aside.instances),
        "reason": _storable(aside.reason),
        "version": package_version(),
    }


def aside_of(row: Row) -> SetAside:
    """Read it back."""
    instances = row["instances"]
    return SetAside(
        position=Position(row["position"]),
        stream=row["stream"],
        kind=row["kind"],
        instances=tuple(
            InstanceId(UUID(bytes=instances[start : start + 16])) for start in range(0, len(instances), 16)
        ),
        reason=row["reason"],
    )


def _storable(text: str) -> str:
    """What a damaged record is called may be what no database stores."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def place_of(row: Row) -> Place:
    """Read a host back, without its VMs."""
    return Place(host=_HOST(row["host"]), version=row["version"], recorded_at=row["recorded_at"])


def told_row(instance: InstanceId, stream: str, name: Label | None) -> Row:
    """Write that imported facts tell of an instance."""
    return {
        "instance": instance.bytes,
        "stream": stream,
        "label": name and name.id,
        "label_digest": name and name.digest,
    }


def told_of(row: Row) -> tuple[InstanceId, str, Label | None]:
    """Read it back."""
    label = None if row["label"] is None else Label(id=row["label"], digest=row["label_digest"])
    return InstanceId(UUID(bytes=row["instance"])), row["stream"], label


def vouched_row(instance: InstanceId, said: Vouched) -> Row:
    """Write a record of an instance."""
    return {"instance": instance.bytes, "record": _PACK(said)}


def vouched_of(row: Row) -> Vouched:
    """Read it back."""
    return _VOUCHED(row["record"])
