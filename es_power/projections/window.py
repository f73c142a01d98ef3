"""What the states of VMs over some time are derived from, read for many VMs at once and never VM by VM.

Of the time before only what bears on the state at its beginning is read; a property test holds this equal to all.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from es_power.domain.events import (
    ClockJumped,
    Event,
    GapOpened,
    InstanceId,
    LifecycleEvent,
    Position,
    Recorded,
)
from es_power.domain.time import SECOND, Timestamp
from es_power.projections import stored
from es_power.projections.history import OF_A_HOST, Entry
from es_power.projections.imported import believed_until
from es_power.projections.lanes import HostWord, needs_fact
from es_power.projections.logged_words import (
    BLIND,
    LOGGED,
    READ_THERE,
    SEEN_THERE,
    LoggedWord,
    blind_word,
    read_word,
    seen_word,
)
from es_power.projections.queries import View

AT_ONCE: Final = 500
"""VMs whose entries are read, and kept, at the same time."""

SLACK: Final = 600 * SECOND
"""How far hosts' clocks may be apart: so much more is read on either side."""

_WORDS: Final = frozenset(stored.WORDS)
_READ: Final = frozenset({*LOGGED, *READ_THERE})
_OF_HOSTS: Final = frozenset({each.__name__ for each in OF_A_HOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What bears on one VM's states over some time."""

    instance: InstanceId
    #: By the stream of each host, in the order of the log.
    words: Mapping[str, Sequence[Entry]]
    of_hosts: Mapping[str, Sequence[HostWord]]
    #: What was announced, where an entry does not tell it.
    facts: Mapping[Position, Event]
    logged: Sequence[LoggedWord]
    #: Of each host, in nanoseconds.
    two_spacings: Mapping[str, int]


async def everyone(view: View) -> list[InstanceId]:
    """All VMs that were ever seen, or that a log told of."""
    return list(dict.fromkeys([*view.fleet.seen_on, *view.fleet.told]))


async def windows(
    view: View, instances: Sequence[InstanceId], *, since: Timestamp, until: Timestamp
) -> AsyncGenerator[Window]:
    """Read what bears on each of these VMs between two times, in their order."""
    checkpoint = view.rest.since
    two_spacings = {stream: _two_spacings(place.host.spacing) for stream, place in view.fleet.places.items()}
    last = until + SLACK + max(two_spacings.values(), default=0)
    # Where the tables have nothing, all of it is in what is newer than they are.
    after, end = checkpoint, checkpoint
    if checkpoint:
        after, end = await position_span(view, Timestamp(since - SLACK), Timestamp(last))
    of_hosts = await _of_hosts(view)
    blind = await _imported_blind(view)
    newer: dict[InstanceId, list[Entry]] = defaultdict(list)
    for entry in view.rest.entries.values():
        if entry.instance is not None and entry.kind in {*_WORDS, *_READ, *SEEN_THERE}:
            newer[entry.instance].append(entry)
    for start in range(0, len(instances), AT_ONCE):
        some = instances[start : start + AT_ONCE]
        entries = await _entries(view, some, newer, after=after, until=end)
        facts = await _facts(view, entries)
        exports = {entry.stream for told in entries.values() for entry in told if entry.kind in SEEN_THERE}
        ends = {stream: await believed_until(view.log, stream, known=view.position) for stream in exports}
        for instance in some:
            words: dict[str, list[Entry]] = defaultdict(list)
            logged: list[LoggedWord] = []
            for entry in entries.get(instance, ()):
                if entry.kind in _WORDS:
                    words[entry.stream].append(entry)
                elif word := _told(entry, facts, ends):
                    logged.append(word)
            logged += [word for stream in view.fleet.told.get(instance, ()) for word in blind.get(stream, ())]
            yield Window(
                instance=instance,
                words=words,
                of_hosts=of_hosts,
                facts=facts,
                logged=logged,
                two_spacings=two_spacings,
            )


async def announcements(
    view: View, *, since: Timestamp, until: Timestamp
) -> AsyncGenerator[Sequence[tuple[str, Timestamp, Position]]]:
    """All lifecycle events of about that time in the order of the log: stream, time and position, some at once."""
    checkpoint = view.rest.since
    if checkpoint:
        position, end = await position_span(view, Timestamp(since - SLACK), Timestamp(until + SLACK))
        while batch := await trio.to_thread.run_sync(
            lambda: stored.announced(view.store, after=position, until=end)  # noqa: B023 (it is called at once)
        ):
            yield batch
            position = batch[-1][2]
    newer = sorted(view.rest.entries.values(), key=lambda entry: entry.position)
    yield [
        (entry.stream, entry.observed_at, entry.position) for entry in newer if entry.kind == LifecycleEvent.__name__
    ]


async def position_span(view: View, since: Timestamp, until: Timestamp) -> tuple[Position, Position]:
    """Between which positions the tables have what was announced and observed between two times."""
    breaks = [each.position for each in await clock_jumps(view)]
    checkpoint = view.rest.since
    return await trio.to_thread.run_sync(
        lambda: stored.span(view.store, since, until, checkpoint=checkpoint, breaks=breaks)
    )


async def clock_jumps(view: View) -> list[Recorded]:
    """Every time that a host's clock was set, in the order of the log."""
    kind = ClockJumped.__name__
    entries = [entry for entry in view.rest.entries.values() if entry.kind == kind]
    if view.rest.since:
        entries += await trio.to_thread.run_sync(lambda: view.store.of_hosts((kind,), until=view.rest.since))
    facts = await view.log.read_at([entry.position for entry in entries])
    return [facts[position] for position in sorted(facts)]


def _two_spacings(spacing: float) -> int:
    return int(2 * spacing * SECOND)


def _told(entry: Entry, facts: Mapping[Position, Event], ends: Mapping[str, Timestamp]) -> LoggedWord | None:
    """What another program's log tells, or another log of ours."""
    if entry.kind in SEEN_THERE:
        return seen_word(entry, until=ends[entry.stream])
    fact = facts.get(entry.position)
    return None if fact is None else read_word(fact, entry)


async def _entries(
    view: View,
    instances: Sequence[InstanceId],
    newer: Mapping[InstanceId, Iterable[Entry]],
    *,
    after: Position,
    until: Position,
) -> dict[InstanceId, list[Entry]]:
    """The entries of each VM in the order of the log; those that the tables do not have yet replace theirs."""
    kept: list[Entry] = []
    if view.rest.since:
        kept = await trio.to_thread.run_sync(
            lambda: [
                *stored.words(view.store, instances, after=after, until=until),
                *stored.logged(view.store, instances, until=view.rest.since),
            ]
        )
    places = view.fleet.places
    found: dict[tuple[Position, int | None], Entry] = {(entry.position, entry.index): entry for entry in kept}
    found |= {(entry.position, entry.index): entry for instance in instances for entry in newer.get(instance, ())}
    by_instance: dict[InstanceId, list[Entry]] = defaultdict(list)
    for entry in sorted(found.values(), key=lambda entry: entry.position):
        assert entry.instance is not None
        counted = entry.through(places[entry.stream].host) if entry.open else entry
        by_instance[entry.instance].append(counted)
    return by_instance


async def _facts(view: View, entries: Mapping[InstanceId, Sequence[Entry]]) -> dict[Position, Event]:
    seen_on = view.fleet.seen_on
    wanted = [
        entry.position
        for instance, some in entries.items()
        for entry in some
        if entry.kind in _READ or entry.stale or needs_fact(entry, alone=len(seen_on.get(instance, ())) < 2)  # noqa: PLR2004
    ]
    facts = await view.log.read_at(wanted)
    return {position: recorded.event for position, recorded in facts.items()}


async def _imported_blind(view: View) -> dict[str, list[LoggedWord]]:
    """From when on the logs that were imported tell nothing, by their streams."""
    entries = [entry for entry in view.rest.entries.values() if entry.kind in BLIND]
    if view.rest.since:
        entries += await trio.to_thread.run_sync(lambda: view.store.of_hosts(BLIND, until=view.rest.since))
    found: dict[str, list[LoggedWord]] = defaultdict(list)
    for entry in entries:
        found[entry.stream].append(blind_word(entry))
    return found


async def _of_hosts(view: View) -> dict[str, list[HostWord]]:
    """What each host went through, in the order of the log."""
    entries = [entry for entry in view.rest.entries.values() if entry.kind in _OF_HOSTS]
    if view.rest.since:
        entries += await trio.to_thread.run_sync(lambda: view.store.of_hosts(_OF_HOSTS, until=view.rest.since))
    say_more = {GapOpened.__name__, ClockJumped.__name__}
    facts = await view.log.read_at([entry.position for entry in entries if entry.kind in say_more])
    found: dict[str, list[HostWord]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.position):
        recorded = facts.get(entry.position)
        event = recorded.event if recorded else None
        gap = event if isinstance(event, GapOpened) else None
        found[entry.stream].append(
            HostWord(
                position=entry.position,
                kind=entry.kind,
                at=gap.since if gap else entry.observed_at,
                reason=gap.reason if gap else "",
                by=event.by if isinstance(event, ClockJumped) else 0,
            )
        )
    return found
