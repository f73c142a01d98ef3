"""Facts as rows: each record of the log by itself, whatever it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from es_power.answers.rows import HISTORY, details
from es_power.answers.words import fact_words
from es_power.domain.events import HostSwept, InventoryRecorded, Label, Recorded
from es_power.domain.streams import told_host
from es_power.output import Column, Row

FACTS: Final = (
    Column("position"),
    Column("observed_at", time=True),
    Column("recorded_at", time=True),
    Column("host"),
    Column("kind"),
    Column("what", limit=None),
    Column("instance", in_table=False),
    Column("stream", in_table=False),
    Column("version", in_table=False),
    Column("vms", in_table=False),
    *(column for column in HISTORY if column.name in {"asked_at", "since", "logged_at"}),
)


def labels_of(recorded: Recorded) -> Mapping[str, Label]:
    """The labels that a fact bears, by their fields."""
    named = {each.name: getattr(recorded.event, each.name) for each in fields(recorded.event)}
    return {name: value for name, value in named.items() if isinstance(value, Label)}


def fact_row(recorded: Recorded, texts: Mapping[str, str | None]) -> Row:
    """One record; `texts` are those of its labels, by the fields that bear them."""
    event = recorded.event
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "kind": type(event).__name__,
        "host": getattr(event, "host", None) or told_host(recorded.stream),
        "instance": getattr(event, "instance", None),
        "observed_at": event.observed_at,
        "recorded_at": recorded.recorded_at,
        "what": fact_words(event),
        **details(event),
        **_size(recorded),
        **texts,
    }


def _size(recorded: Recorded) -> Row:
    match recorded.event:
        case InventoryRecorded(instances=instances):
            return {"vms": len(instances)}
        case HostSwept(states=states):
            return {"vms": len(states) // 2}
        case _:
            return {}


def unreadable_row(position: int, reason: str) -> Row:
    """A record that cannot be read, so that whoever follows the log sees that there is one."""
    return {
        "position": position,
        "stream": None,
        "version": None,
        "kind": None,
        "host": None,
        "instance": None,
        "observed_at": None,
        "recorded_at": None,
        "what": f"cannot be read: {reason}",
    }


def texts_of(recorded: Sequence[Recorded]) -> Sequence[Label]:
    """All labels of some records."""
    return [label for each in recorded for label in labels_of(each).values()]
