"""How facts are written, as a table for programs that have no es_power: the fields of each topic, in their order.

`offline.py` believes only the table whose SHA-256 it has, so a change of a fact's fields changes that line too; a test
says so.
"""

import json
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import msgspec

from es_power.domain.events import Event, Label
from es_power.log.codec import Codec, recordable


def layout() -> str:
    """Give the table as JSON: by topic [name, kind] of each field, and behind them what stands for one that is absent.

    Kinds are ``time`` (nanoseconds since 1970), ``label``, ``uuid`` (16 bytes, also inside arrays), and ``plain``.
    """
    codec = Codec()
    table = {codec.topic(event): [_field(event, field) for field in fields(event)] for event in recordable()}
    lines = ",\n".join(f"{json.dumps(topic)}: {json.dumps(table[topic])}" for topic in sorted(table))
    return f"{{\n{lines}\n}}\n"


def _field(event: type[Event], field: Any) -> list[object]:
    hint = get_type_hints(event)[field.name]
    if field.name in event.times:
        kind = "time"
    elif hint in {Label, Label | None}:
        kind = "label"
    else:
        kind = "uuid" if "UUID" in str(hint) or "InstanceId" in str(hint) else "plain"
    return [field.name, kind] if field.default is MISSING else [field.name, kind, msgspec.to_builtins(field.default)]
