"""Events to bytes and back; the only module that knows how a fact is written.

Rules of this file:
1. A record's topic is ``<EventClassName>:<schema version>``, for example ``HostSwept:1``.
2. Its state is one msgpack array: the fields of the dataclass in the order of their declaration, a UUID as 16 bytes,
   an enum by value, a Label as an array of its own. Nothing here lists events or fields: `domain.events`,
   `domain.decisions`, `domain.logged`, `domain.access` and `domain.custody` do.
3. An array shorter than the fields takes the defaults of the rest, and surplus values are passed over, so a field may
   be added at the end with a default. Any other change is an upcaster, which runs on decoding only; what is stored
   stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, Final, get_type_hints
from uuid import UUID

import msgspec

from es_power.domain import access, custody, decisions, events, logged
from es_power.domain.events import Event, InstanceEvent, Label
from es_power.domain.logged import FactImported
from es_power.errors import UnknownEventError

Raw = tuple[Any, ...]

Upcaster = Callable[[Raw], Raw]
"""Turns the raw fields of one schema version into those of the next."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""By event class name and the schema version it reads; the version written is one above the last of them."""

_MODULES: Final = (events, decisions, logged, access, custody)

_UNREADABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, LookupError, RecursionError)


def recordable() -> tuple[type[Event], ...]:
    """Give every event class of the domain that is a fact itself, and not a root that facts share."""
    named = {name: each for module in _MODULES for name, each in vars(module).items()}
    found = [each for each in named.values() if isinstance(each, type) and issubclass(each, Event)]
    roots = {base for each in found for base in each.__mro__[1:]}
    return tuple(each for each in found if each not in roots)


_LABEL: Final = msgspec.defstruct("Label", [("id", int), ("digest", bytes)], array_like=True, frozen=True)


class _Wire:
    """How one event class is written: its fields in order, and the array that they make."""

    def __init__(self, event: type[Event]) -> None:
        hints = get_type_hints(event)
        self.event = event
        self.names = tuple(field.name for field in fields(event))
        self.labels = tuple(name for name in self.names if hints[name] in (Label, Label | None))
        self.defaults = tuple(field.default for field in fields(event) if field.default is not MISSING)
        shape: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for field in fields(event):
            kind = hints[field.name]
            if field.name in self.labels:
                kind = _LABEL if kind is Label else _LABEL | None
            shape.append((field.name, kind) if field.default is MISSING else (field.name, kind, field.default))
        self._read = msgspec.msgpack.Decoder(msgspec.defstruct(event.__name__, shape, array_like=True)).decode

    def write(self, event: Event) -> Sequence[Any]:
        """Give the values of the array."""
        values = [getattr(event, name) for name in self.names]
        return [(each.id, each.digest) if type(each) is Label else each for each in values] if self.labels else values

    def check(self, state: bytes) -> None:
        """Raise what `read` would raise; the event itself was built before, so that would tell nothing more."""
        self._read(state)

    def read(self, state: bytes) -> Event:
        """Build the event; msgspec says what does not fit."""
        values = msgspec.structs.asdict(self._read(state))
        for name in self.labels:
            if (label := values[name]) is not None:
                values[name] = Label(id=label.id, digest=label.digest)
        return self.event(**values)

    def complete(self, raw: Raw) -> Raw:
        """Cut or fill up raw fields to the number that the event has today."""
        missing = len(self.names) - len(raw)
        if missing > len(self.defaults):
            msg = f"{len(raw)} fields are too few"
            raise ValueError(msg)
        return raw + self.defaults[-missing:] if missing > 0 else raw[: len(self.names)]


_WIRES: Final[dict[type[Event], _Wire]] = {}


def _wire(event: type[Event]) -> _Wire:
    """How an event class is written: it takes a millisecond to find out, and is the same for every codec."""
    if event not in _WIRES:
        _WIRES[event] = _Wire(event)
    return _WIRES[event]


@dataclass(frozen=True, slots=True)
class _Schema:
    """One schema version of one event class, and the way from it to today's."""

    name: str
    size: int
    wire: _Wire
    steps: tuple[Upcaster, ...]


@cache
def shared_codec() -> "Codec":
    """Give a codec of all events: to make one takes as long as to read thousands of records."""
    return Codec()


class Codec:
    """Writes and reads events; one is enough for a process, and it holds no state."""

    def __init__(
        self,
        *,
        recorded: Sequence[type[Event]] | None = None,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        self._pack = msgspec.msgpack.Encoder(uuid_format="bytes").encode
        self._unpack = msgspec.msgpack.Decoder(tuple[Any, ...]).decode
        self._writes: dict[type[Event], tuple[str, _Wire]] = {}
        self._reads: dict[str, _Schema] = {}
        self._wires: dict[str, _Wire] = {}
        for event in recordable() if recorded is None else recorded:
            name, wire, version = event.__name__, _wire(event), 1
            steps: list[Upcaster] = []
            while step := upcasters.get((name, version)):
                steps.append(step)
                version += 1
            self._writes[event] = (f"{name}:{version}", wire)
            self._wires[name] = wire
            for older in range(version):
                self._reads[f"{name}:{older + 1}"] = _Schema(name, len(wire.names), wire, tuple(steps[older:]))

    def topic(self, event: type[Event]) -> str:
        """The topic that a fact of this class is written with."""
        return self._writes[event][0]

    def encode(self, event: Event) -> tuple[str, bytes]:
        """Give topic and state; TypeError where they could not be read back, since a record stays for ever."""
        try:
            topic, wire = self._writes[type(event)]
            state = self._pack(wire.write(event))
            wire.check(state)
        except (*_UNREADABLE, OverflowError) as error:
            msg = f"{type(event).__name__} cannot be recorded: {error}"
            raise TypeError(msg) from error
        return topic, state

    def decode(self, topic: str, state: bytes, *, position: int | None = None) -> Event:
        """Give the event; UnknownEventError where topic or state is not one that this version understands."""
        schema = self._known(topic, position)
        try:
            return schema.wire.read(self._pack(self._upcast(schema, state)) if schema.steps else state)
        except _UNREADABLE as error:
            raise UnknownEventError(topic, position=position, reason=str(error)) from error

    def raw(self, topic: str, state: bytes, position: int | None = None) -> tuple[str, Raw]:
        """Give the name of the event's class and its fields alone, for a replay that builds no objects.

        The fields come in the order of today's dataclass; a UUID is 16 bytes, an enum its value, a Label and any other
        nested value a list. Types are not checked, so check the record's hash. UnknownEventError as in `decode`.
        """
        # Millions of records come through here, nearly all of them of today's schema: those take no further call.
        schema = self._reads.get(topic) or self._known(topic, position)
        try:
            values = self._upcast(schema, state) if schema.steps else self._unpack(state)
            return schema.name, values if len(values) == schema.size else schema.wire.complete(values)
        except _UNREADABLE as error:
            raise UnknownEventError(topic, position=position, reason=str(error)) from error

    def build(self, name: str, raw: Raw, *, position: int | None = None) -> Event:
        """Give the event whose class and bare fields `raw` gave; UnknownEventError where they do not fit."""
        try:
            return self._wires[name].read(self._pack(raw))
        except _UNREADABLE as error:
            raise UnknownEventError(name, position=position, reason=str(error)) from error

    def bears_labels(self, topic: str) -> bool:
        """Whether records of this topic may refer to labels; those of an unknown one might."""
        schema = self._reads.get(topic)
        return schema is None or bool(schema.wire.labels) or schema.name == FactImported.__name__

    def labels(self, topic: str, state: bytes) -> Sequence[Label]:
        """The labels that a record refers to, those of a fact inside it too; UnknownEventError as in `decode`."""
        event = self.decode(topic, state)
        inside = self.labels(event.topic, event.state) if isinstance(event, FactImported) else ()
        names = self._writes[type(event)][1].labels
        return [*(label for name in names if (label := getattr(event, name)) is not None), *inside]

    def raw_labels(self, name: str, raw: Raw) -> dict[str, int]:
        """Give the ids of the labels among bare fields, by the fields' names; `name` is what `raw` gave with them."""
        wire = self._wires[name]
        borne = ((field, raw[wire.names.index(field)]) for field in wire.labels)
        return {field: label[0] for field, label in borne if label is not None}

    def instance(self, topic: str, state: bytes) -> UUID | None:
        """Which VM a record is about that may be damaged otherwise; None where that cannot be read."""
        wire = self._wires.get(topic.partition(":")[0])
        if wire is None or not issubclass(wire.event, InstanceEvent):
            return None
        try:
            return UUID(bytes=self._unpack(state)[wire.names.index("instance")])
        except _UNREADABLE:
            return None

    def _upcast(self, schema: _Schema, state: bytes) -> Raw:
        values = self._unpack(state)
        for step in schema.steps:
            values = step(values)
        return values

    def _known(self, topic: str, position: int | None) -> _Schema:
        known = self._reads.get(topic)
        if known is None:
            newer = topic.rpartition(":")[0] in self._wires
            reason = "it was written by a newer es_power; upgrade this one" if newer else "unknown topic"
            raise UnknownEventError(topic, position=position, reason=reason)
        return known
