"""A stream that a real libvirtd and real qemu guests left, in any order: once a sweep has asked last, the table is one.

`real_stream.jsonl` holds the facts of five guests that powered off, panicked, were paused, saved and killed, in the
order of the log. Events and answers keep the numbers that libvirt's delivery gave them; only their order here changes.
"""

import json
from pathlib import Path

from hypothesis import given, strategies as st

from es_power.domain.events import Event, HostSwept, InventoryRecorded
from es_power.domain.states import PowerState
from es_power.log.codec import Codec
from es_power.projections.fleet import Fleet
from es_power.testing.facts import Facts

STREAM = "observer/a/qemu"


def _read() -> list[Event]:
    lines = Path(__file__).with_name("real_stream.jsonl").read_text().splitlines()
    return [Codec().decode(line["topic"], bytes.fromhex(line["state"])) for line in map(json.loads, lines)]


EVENTS = _read()
SWEEP = EVENTS[-1]
assert isinstance(SWEEP, HostSwept)
INVENTORY = next(event for event in reversed(EVENTS) if isinstance(event, InventoryRecorded))
#: Sweeps name an inventory by version, so they stay where they are; all else may come in any order.
MOVABLE = [event for event in EVENTS[:-1] if not isinstance(event, HostSwept | InventoryRecorded)]


def table(events: list[Event]) -> dict[object, tuple[PowerState | None, bool, bool]]:
    facts, fleet = Facts(), Fleet()
    facts.extend(STREAM, [*events, INVENTORY])
    version = facts.records[-1].version
    last = HostSwept(
        observed_at=SWEEP.observed_at,
        asked_at=SWEEP.asked_at,
        inventory=version,
        connection=SWEEP.connection,
        number=SWEEP.number,
        states=SWEEP.states,
    )
    facts.record(STREAM, last)
    for recorded in facts.records:
        fleet.apply(recorded)
    return {instance: (known.power_state, known.provisional, known.gone) for instance, _, known in fleet}


@given(st.permutations(MOVABLE))
def test_any_order_that_ends_with_a_sweep_gives_the_same_table(events: list[Event]) -> None:
    assert table(events) == table(MOVABLE)


@given(st.permutations(MOVABLE), st.integers(1, 3))
def test_so_does_any_order_with_events_delivered_again(events: list[Event], times: int) -> None:
    assert table(events * times) == table(MOVABLE)


def test_the_stream_is_one_in_which_order_matters_until_then() -> None:
    """The positive control: folded without the numbers, last come last served, the order of arrival decides."""
    states = {tuple(_last_wins(events)) for events in (MOVABLE, list(reversed(MOVABLE)))}

    assert len(states) == 2


def _last_wins(events: list[Event]) -> list[str]:
    last: dict[object, str] = {}
    for event in events:
        if hasattr(event, "transition") and event.transition:
            last[event.instance] = event.transition.power_state
    return [last[instance] for instance in sorted(last)]
