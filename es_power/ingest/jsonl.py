"""`es-power export -o jsonl`, read back: a line is a fact of another log, or of this one.

A line that is not JSON, or whose fact is not one that this version knows with all of its fields, is counted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, Final, get_type_hints

import msgspec

from es_power.domain.events import (
    Event,
    GapOpened,
    HostSwept,
    InstanceId,
    InventoryRecorded,
    Label,
    LifecycleEvent,
    ServiceStarted,
    ServiceStopped,
    StateObserved,
)
from es_power.domain.logged import FactImported
from es_power.domain.ports import LabelText
from es_power.domain.time import SECOND, Timestamp
from es_power.ingest.lines import Lines, read_time
from es_power.ingest.log_files import Found
from es_power.log.codec import Codec, recordable
from es_power.log.labels import make_label

LONGEST: Final = 2**26
"""Bytes of a line: an inventory of a million VMs has some 40 MB."""

_CODEC: Final = Codec()
_KINDS: Final[Mapping[str, type[Event]]] = {each.__name__: each for each in recordable()}
_HINTS: Final = {name: get_type_hints(event) for name, event in _KINDS.items()}
_NANOSECONDS: Final = len("2026-11-22T03:12:07.412345678Z")


# As any database can hold it.
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Line(msgspec.Struct, frozen=True):
    position: _Number
    stream: str
    version: _Number
    recorded_at: str
    type: str
    data: dict[str, Any]
    index: _Number | None = None


_READ: Final = msgspec.json.Decoder(_Line).decode


class JsonlReader:
    """Reads one export; facts about many VMs are told of those for which they say something new."""

    def __init__(self) -> None:
        self._lines = Lines(longest=LONGEST)
        self._unparsed = self._first = 0
        self.unknown = self.ambiguous = 0
        #: By stream: the version of its newest inventory, and its members.
        self._inventories: dict[str, tuple[int, tuple[InstanceId, ...]]] = {}
        #: By stream and VM: the newest observation.
        self._seen: dict[tuple[str, InstanceId], tuple[int, int]] = {}

    @property
    def unparsed(self) -> tuple[int, int]:
        """See `log_files.Reader`."""
        return self._unparsed, self._first

    def feed(self, data: bytes) -> Found:
        """See `log_files.Reader`."""
        return self._found(self._lines.feed(data))

    def finish(self) -> Found:
        """See `log_files.Reader`."""
        return self._found(self._lines.finish())

    def _found(self, lines: Iterable[tuple[bytes | None, int]]) -> Found:
        facts: list[Event] = []
        labels: list[LabelText] = []
        for line, _ in lines:
            if line is not None and not line.strip():
                continue
            try:
                facts.append(self._fact(line or b"", labels))
            except (msgspec.MsgspecError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
                self._unparsed += 1
                self._first = self._first or self._lines.number
        return Found(facts, labels)

    def _fact(self, line: bytes, labels: list[LabelText]) -> FactImported:
        read = _READ(line)
        event = _event(read.type, read.data, labels)
        topic, state = _CODEC.encode(event)
        if "\0" in read.stream or not 0 < len(read.stream) <= 1000:  # noqa: PLR2004
            raise ValueError(read.stream)
        return FactImported(
            observed_at=event.observed_at,
            stream=read.stream,
            version=read.version,
            position=read.position,
            recorded_then=_time(read.recorded_at),
            topic=topic,
            state=state,
            index=read.index,
            told=tuple(self._told(read, event)),
        )

    def _told(self, read: _Line, event: Event) -> Iterator[tuple[InstanceId, int, int]]:
        match event:
            case InventoryRecorded(instances=instances):
                self._inventories[read.stream] = read.version, instances
            case StateObserved(instance=instance, state=int(state), reason=int(reason)):
                self._seen[read.stream, instance] = state, reason
            case StateObserved(instance=instance) | LifecycleEvent(instance=instance):
                self._seen.pop((read.stream, instance), None)
            case GapOpened() | ServiceStarted() | ServiceStopped():
                # What comes after blind time is told of every VM.
                self._seen = {key: said for key, said in self._seen.items() if key[0] != read.stream}
            case HostSwept(inventory=inventory):
                version, members = self._inventories.get(read.stream, (0, ()))
                if version != inventory or 2 * len(members) != len(event.states):
                    return
                for index, instance in enumerate(members):
                    answer = event.answer(index, instance)
                    said = answer.state or 0, answer.reason or 0
                    if self._seen.get((read.stream, instance)) != said:
                        self._seen[read.stream, instance] = said
                        yield instance, *said
            case _:
                return


def _event(kind: str, data: Mapping[str, Any], labels: list[LabelText]) -> Event:
    if kind not in _KINDS or kind == FactImported.__name__:
        raise ValueError(kind)
    event = _KINDS[kind]
    hints = _HINTS[kind]
    values: dict[str, Any] = {}
    for each in fields(event):
        if each.name not in data:
            continue  # what has a default
        value = data[each.name]
        if hints[each.name] in (Label, Label | None):
            values[each.name] = None if value is None else _label(value, labels)
        elif each.name in event.times:
            values[each.name] = _time(value)
        else:
            values[each.name] = msgspec.convert(value, hints[each.name])
    return event(**values)


def _label(value: Any, labels: list[LabelText]) -> Label:
    if isinstance(value, str):
        label, text = make_label(value)
        labels.append(text)
        return label
    # A text that was forgotten stays so: its label has no row.
    empty, _ = make_label("")
    return Label(id=empty.id, digest=bytes.fromhex(value["forgotten"])[:32])


def _time(text: Any) -> Timestamp:
    """Read RFC 3339 with nanoseconds, which a datetime would cut."""
    if not isinstance(text, str) or len(text) != _NANOSECONDS or not text.endswith("Z") or text[19] != ".":
        raise ValueError(text)
    seconds = read_time(f"{text[:19]}Z")
    if seconds is None or not text[20:-1].isdecimal():
        raise ValueError(text)
    return Timestamp(seconds + int(text[20:-1]) * SECOND // 10**9)
