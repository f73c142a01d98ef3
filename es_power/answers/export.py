"""The log itself as rows: every fact, oldest first, with texts in the place of labels; what `import jsonl` reads back.

A fact is written field by field as the domain has it, and never in the words of an answer, so that nothing is lost. A
label is its text, or what is left of it where the text was forgotten: ``{"forgotten": DIGEST}``. What was imported from
another log is written as it stood there.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Final
from urllib.parse import quote

import msgspec

from es_power.answers.facts import texts_of
from es_power.domain.decisions import CommandEvent
from es_power.domain.events import (
    Event,
    HostSwept,
    InstanceEvent,
    InstanceId,
    Label,
    LifecycleEvent,
    Position,
    Recorded,
)
from es_power.domain.streams import host_of
from es_power.domain.time import rfc3339
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.output import Column, Row
from es_power.projections.imported import unwrap
from es_power.projections.narrative import inventory_order
from es_power.projections.queries import View, part

BATCH: Final = 1000

FACTS: Final = (
    Column("position"),
    Column("recorded_at", time=True),
    Column("observed_at", time=True),
    Column("stream"),
    Column("version"),
    Column("type"),
    Column("instance"),
    Column("data"),
)


CLOUD: Final = ()
"""A CloudEvent's times are written already."""


class Exporter:
    """Reads facts of a log for one export."""

    def __init__(self, view: View, instances: Collection[InstanceId] = ()) -> None:
        """All facts; with `instances` only those about these VMs, of a sweep what it says of them."""
        self._view = view
        self._instances = frozenset(instances)
        self._orders: dict[tuple[str, int], Mapping[InstanceId, int]] = {}
        #: Records that could not be read, and why.
        self.unreadable: dict[Position, str] = {}
        #: For each fact that was given, that of its record; what was imported says another log's.
        self.positions: list[Position] = []

    @property
    def inventories(self) -> Collection[tuple[str, int]]:
        """Stream and version of the inventories by which sweeps were read as what they say of these VMs."""
        return self._orders.keys()

    async def facts(self, *, after: Position, until: Position) -> AsyncGenerator[Sequence[Recorded], None]:
        """Give the facts with after < position <= until, some at a time.

        RecordPrunedError where the log begins later.
        """
        log = self._view.log
        await log.require_kept(after)
        while after < until:
            try:
                batch = await log.read(after=after, until=until, limit=BATCH)
            except UnknownEventError as error:
                after = Position(error.position or after + 1)
                self.unreadable[after] = error.reason
                continue
            if not batch:
                return
            after = batch[-1].position
            facts: list[Recorded] = []
            for recorded in batch:
                if wanted := await self._wanted(recorded):
                    self.positions += [recorded.position] * len(wanted)
                    facts += wanted
            yield facts

    async def _wanted(self, recorded: Recorded) -> Sequence[Recorded]:
        unwrapped = unwrap(recorded)
        if not self._instances:
            return [unwrapped]
        event = unwrapped.event
        match event:
            case InstanceEvent(instance=instance):
                return [unwrapped] if instance in self._instances else []
            case HostSwept() if unwrapped.stream == recorded.stream:
                key = recorded.stream, event.inventory
                if key not in self._orders:
                    self._orders[key] = await inventory_order(self._view.log, *key)
                order = self._orders[key]
                asked = sorted((order[instance], instance) for instance in self._instances & order.keys())
                return [part(recorded, event, index, instance) for index, instance in asked]
            case _:
                return []


def label_ids(batch: Sequence[Recorded]) -> list[int]:
    """The labels that facts refer to."""
    return list({label.id for label in texts_of(batch)})


async def fact_rows(log: SqlLog, batch: Sequence[Recorded], row: Callable[[Recorded, Row], Row]) -> Sequence[Row]:
    """Write facts as rows, their labels' texts looked up at once."""
    texts = await log.labels(label_ids(batch))
    return [row(each, _data(each.event, texts)) for each in batch]


def _data(event: Event, texts: Mapping[int, str]) -> Row:
    data: dict[str, object] = {}
    for each in fields(event):
        value = getattr(event, each.name)
        if isinstance(value, Label):
            data[each.name] = texts.get(value.id, {"forgotten": value.digest.hex()})
        elif each.name in event.times:
            data[each.name] = rfc3339(value)
        else:
            data[each.name] = msgspec.to_builtins(value)
    return data


# ------------------------------------------------------------------------------------------------------ rows


def fact_row(recorded: Recorded, data: Row) -> Row:
    """One fact, whole."""
    place = {"index": recorded.index} if recorded.index is not None else {}
    return {
        "position": recorded.position,
        **place,
        "stream": recorded.stream,
        "version": recorded.version,
        "recorded_at": recorded.recorded_at,
        "type": type(recorded.event).__name__,
        "data": data,
    }


def flat_row(recorded: Recorded, data: Row) -> Row:
    """One fact for a table of columns."""
    return {
        **fact_row(recorded, data),
        "observed_at": recorded.event.observed_at,
        "instance": getattr(recorded.event, "instance", None),
    }


def cloud_event(recorded: Recorded, data: Row) -> Row:
    """One fact as a CloudEvent 1.0 (https://cloudevents.io), in its JSON form."""
    event = recorded.event
    host = host_of(recorded.stream)
    instance = getattr(event, "instance", None)
    subject = {"subject": str(instance)} if instance is not None else {}
    index = "" if recorded.index is None else f".{recorded.index}"
    return {
        "specversion": "1.0",
        "id": f"{recorded.position}{index}",
        "source": f"/hosts/{quote(host, safe='')}" if host else "/es-power",
        "type": f"org.es-power.{_kind(event)}.v1",
        **subject,
        "time": rfc3339(event.observed_at),
        "datacontenttype": "application/json",
        "data": {"kind": type(event).__name__, "stream": recorded.stream, "version": recorded.version, **data},
    }


def _kind(event: Event) -> str:
    """``vm.stopped``, ``vm.state-observed``, ``command.sent``, ``host.gap-opened``."""
    match event:
        case LifecycleEvent(transition=transition) if transition is not None:
            return f"vm.{transition.lower()}"
        case CommandEvent():
            about = "command"
        case InstanceEvent():
            about = "vm"
        case _:
            about = "host"
    name = type(event).__name__
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("-")
    return f"{about}.{words}"
