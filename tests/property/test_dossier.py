"""Whatever a fact holds, the verifier that has no es_power reads it from the record's bytes as an export writes it."""

import json
from hashlib import sha256

from hypothesis import given, settings

from es_power.answers.export import FACTS, _data, fact_row
from es_power.audit import offline
from es_power.audit.layout import layout
from es_power.domain.events import Recorded
from es_power.domain.time import Timestamp
from es_power.log.codec import Codec
from es_power.output import as_json, plain
from tests.property.test_codec import EVENTS

CODEC = Codec()
LAYOUT = json.loads(layout())


@settings(max_examples=100)
@given(EVENTS)
def test_every_fact_is_read_from_its_bytes_as_it_is_exported(event):
    topic, state = CODEC.encode(event)
    where = {"position": 41, "stream": "observer/a/qemu", "version": 7}
    recorded = Recorded(recorded_at=Timestamp(5), event=event, **where)
    row = {"record": 41, **plain(fact_row(recorded, _data(event, {})), FACTS)}
    proof = {**where, "topic": topic, "state": state.hex(), "recorded_at_ns": 5}
    if topic.startswith("FactImported:"):
        return  # exported as the fact inside it, which `tests.unit.audit` does

    offline.Facts([proof], LAYOUT, []).check(json.loads(as_json(row)))


def test_the_verifier_knows_how_facts_are_written_today():
    """Where a fact's fields change, the line in offline.py has to follow: it is what a layout is believed by."""
    assert sha256(layout().encode()).hexdigest() == offline.LAYOUT
