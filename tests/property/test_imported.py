"""Whatever is imported, in between whatever: what is known of VMs and what is ordered stays as it was."""

from dataclasses import replace

from hypothesis import given, strategies as st

from es_power.domain.events import Event, InstanceEvent, InstanceId, Position, Recorded
from es_power.domain.logged import FactImported
from es_power.domain.streams import imported
from es_power.log.codec import Codec
from es_power.projections.command_table import digest as commands_digest
from es_power.projections.power_state import digest
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import T0
from tests.property.logs import LOGS, VMS, Act, write
from tests.property.test_codec import EVENTS

APART = 1000
"""Positions between two facts of ours, in which there is room for what is imported."""


def _wrapped(event: Event) -> Event:
    topic, state = Codec().encode(event)
    return FactImported(
        observed_at=event.observed_at,
        stream="observer/a/qemu",
        version=1,
        position=1,
        recorded_then=T0,
        topic=topic,
        state=state,
    )


def _about(event: Event, instance: InstanceId) -> Event:
    return replace(event, instance=instance) if isinstance(event, InstanceEvent) else event


IMPORTED = st.builds(_about, EVENTS, VMS)
#: Even facts that no importer writes as they are.
IMPORTS = st.lists(st.tuples(st.integers(0, 30), IMPORTED | st.builds(_wrapped, IMPORTED)), max_size=12)


@given(LOGS, IMPORTS)
def test_nothing_follows_from_what_is_imported(acts: list[Act], imports: list[tuple[int, Event]]) -> None:
    ours = [replace(each, position=Position(each.position * APART)) for each in write(acts).records]
    theirs = [
        Recorded(
            position=Position(min(place, len(ours)) * APART + number),
            stream=imported("jsonl", "a"),
            version=number,
            recorded_at=T0,
            event=event,
        )
        for number, (place, event) in enumerate(imports, 1)
    ]
    alone, beside = ReadModels(), ReadModels()
    expected = alone.apply(ours)
    step = beside.apply(sorted([*ours, *theirs], key=lambda each: each.position))

    assert digest(beside.fleet) == digest(alone.fleet)
    assert commands_digest(beside.commands.rows.values()) == commands_digest(alone.commands.rows.values())
    assert step.derived == expected.derived
    assert beside.keeping.digest() == alone.keeping.digest()
    assert (step.commands, step.keeping, step.vouched, step.look_at) == (
        expected.commands,
        expected.keeping,
        expected.vouched,
        expected.look_at,
    )
    assert not beside.fleet.quarantined
