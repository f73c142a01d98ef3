"""What a sync would have had for true that takes whatever report came last: most do, and this shows what it costs.

The same log read the other way, to be shown beside what is known:
1. Every word counts from when it arrived until the next one, whichever host said it: also an answer that was asked for
   before something newer was announced (CloudStack #14206), also one of the host that a VM has left (CloudStack #3741).
2. Nothing is ever unknown: while nobody sees a host, its last report stands.
"""

from collections.abc import Iterator, Mapping

from es_power.domain.events import Event, HostSwept, Position, StateObserved
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.states import UNKNOWN
from es_power.projections.history import Entry
from es_power.projections.spans import Point, merged
from es_power.projections.window import Window


def last_report(window: Window) -> list[Point]:
    """Derive what such a sync would have shown of a VM."""
    words = sorted(
        (entry for some in window.words.values() for entry in some),
        key=lambda entry: (entry.position, entry.index or 0),
    )
    return merged(_points(words, window.facts))


def _points(words: list[Entry], facts: Mapping[Position, Event]) -> Iterator[Point]:
    for entry in words:
        if entry.stale:
            state = _refused(entry, facts.get(entry.position))
        elif entry.kind == StateObserved.__name__:
            state = None if entry.state is None else entry.power_state or UNKNOWN
        elif entry.power_state is not None:
            state = entry.power_state
        else:
            continue  # it says nothing of power
        yield Point(at=entry.observed_at, state=state, stream=entry.stream, position=entry.position)


def _refused(entry: Entry, fact: Event | None) -> str | None:
    """What an answer said that lost; the fold has only what it lost to."""
    if isinstance(fact, HostSwept) and entry.index is not None and entry.instance is not None:
        fact = fact.answer(entry.index, entry.instance)
    if not isinstance(fact, StateObserved):
        return UNKNOWN
    if fact.state is None:
        return None
    return POWER_STATES.get(fact.state, UNKNOWN)
