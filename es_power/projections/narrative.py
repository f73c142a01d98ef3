"""The history of one VM as lines to read: events, runs of equal observations, and what befell its hosts meanwhile.

The read model says where in the log each line's fact stands; what it says is read there. A run that reaches over the
edge of the time that was asked for is shown whole; opened, only its observations within.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

import trio

from es_power.domain.decisions import CommandEvent
from es_power.domain.events import (
    START,
    Event,
    GapOpened,
    HostSwept,
    InstanceId,
    InventoryRecorded,
    Label,
    Position,
    Recorded,
    StateObserved,
)
from es_power.domain.streams import is_imported, told_host
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.projections.as_of import Then
from es_power.projections.history import Entry
from es_power.projections.imported import part_of
from es_power.projections.queries import View, find, part, texts
from es_power.projections.reader import BATCH, next_batch
from es_power.projections.times import source_time

__all__ = ["Line", "follow", "history"]

Key = tuple[Position, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a history."""

    entry: Entry
    #: The fact, a sweep as this VM's part of it; of a run, its first one. None where it cannot be read.
    event: Event | None
    host: str | None
    #: Whether it stands for all observations of a run.
    is_run: bool
    #: The texts of its labels, by the fields that bear them.
    texts: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def by(self) -> str | None:
        """Who said it, where a person did."""
        return self.texts.get("by")

    @property
    def why(self) -> str | None:
        """Why that person did."""
        return self.texts.get("why")


async def history(
    view: View,
    vm: str,
    *,
    after: Position = START,
    until: Position | None = None,
    since_time: Timestamp | None = None,
    until_time: Timestamp | None = None,
    opened: bool = False,
) -> list[Line]:
    """The history of a VM in the order of the log, `after` < position <= `until`; raises as `find` does.

    What was imported stands at its place in time: before the first line that was observed after it. Where a time was
    asked for, `since_time` and `until_time` say which of it is within, whenever it was imported.

    With `opened`, each observation of a run is a line of its own.
    """
    instance = await find(view, vm)
    last = view.position if until is None else until
    entries = await _within(view, instance, after=after, last=last, since_time=since_time, until_time=until_time)
    if not opened:
        return await lines_of(view, _in_time(entries))
    singles: list[Entry] = []
    facts: dict[Key, Recorded] = {}
    for entry in entries:
        if not _is_run(entry):
            singles.append(entry)
            continue
        async for recorded in _observations(view, instance, entry):
            if after < recorded.position <= last:
                facts[recorded.position, recorded.index] = recorded
                singles.append(_single(entry, recorded))
    return await lines_of(view, _in_time(sorted(singles, key=lambda entry: entry.place)), facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a history."""

    instance: InstanceId
    lines: Sequence[Line]
    #: The position of the newest fact in the whole of it.
    newest: Position


async def page(
    view: View,
    vm: str,
    *,
    limit: int,
    after: Position = START,
    until: Position | None = None,
    since_time: Timestamp | None = None,
    until_time: Timestamp | None = None,
    beyond: tuple[int, int] | None = None,
    reverse: bool = False,
) -> Page:
    """The same lines as `history`, up to `limit` of them: those that follow on the line at `beyond`.

    What is not on the page is not read. With `reverse` the newest come first.
    """
    instance = await find(view, vm)
    last = view.position if until is None else until
    entries = _in_time(
        await _within(view, instance, after=after, last=last, since_time=since_time, until_time=until_time)
    )
    newest = max((entry.last_position for entry in entries), default=START)
    if reverse:
        entries.reverse()
    # Where that line is there no more, its page is the last one.
    places = [entry.place for entry in entries]
    start = 0 if beyond is None else places.index(beyond) + 1 if beyond in places else len(places)
    lines = await lines_of(view, entries[start : start + limit])
    return Page(instance=instance, lines=lines, newest=newest)


async def _within(
    view: View,
    instance: InstanceId,
    *,
    after: Position,
    last: Position,
    since_time: Timestamp | None,
    until_time: Timestamp | None,
) -> list[Entry]:
    """The entries that were asked for, of a view of another time those that count in it."""
    found = await _entries(
        view,
        instance,
        after=after if since_time is None else START,
        until=last if until_time is None else view.position,
    )
    entries = [entry for entry in found if _is_within(entry, after, last, since_time, until_time)]
    return entries if view.then is None else await _counted(view, instance, entries, view.then)


async def follow(view: View, instance: InstanceId) -> AsyncIterator[Line]:
    """Give what the log gains about a VM, each observation as a line of its own, until cancelled.

    The view goes along; so does its position.
    """
    models = view.models
    while True:
        for recorded in await next_batch(view.log, models):
            step = models.apply([recorded])
            streams = models.fleet.seen_on.get(instance, ())
            observation = _observation(view, instance, recorded)
            for entry in step.entries.values():
                concerned = entry.instance == instance or (entry.instance is None and entry.stream in streams)
                if concerned and entry.position == recorded.position:
                    facts = {(observation.position, observation.index): observation} if observation else {}
                    observation = None
                    for line in await lines_of(view, [entry], facts):
                        yield line
            run = models.history.open.get((instance, recorded.stream))
            if observation is not None and run is not None:
                facts = {(observation.position, observation.index): observation}
                for line in await lines_of(view, [_single(run, observation)], facts):
                    yield line
        await view.log.wait_beyond(view.position)


# ----------------------------------------------------------------------------------------------- entries


async def _entries(view: View, instance: InstanceId, *, after: Position, until: Position) -> list[Entry]:
    """All entries of a VM, and those of its hosts from when they first showed it until it was gone from there."""
    streams = view.fleet.hosts_of(instance)
    shown = {*streams, *view.fleet.told.get(instance, {})}
    stored: list[Entry] = []
    since = view.rest.since
    if since:
        stored = await trio.to_thread.run_sync(
            lambda: view.store.history(instance, shown, after=after, until=min(until, since))
        )
    newer = [
        entry
        for entry in view.rest.entries.values()
        if entry.instance == instance or (entry.instance is None and entry.stream in shown)
    ]
    of_hosts = {entry.stream for entry in (*stored, *newer) if entry.instance is None}
    first: dict[str, Position] = {}
    if since and of_hosts:
        first = await trio.to_thread.run_sync(lambda: view.store.first_seen(instance, of_hosts))
    for entry in newer:
        if entry.instance == instance:
            first[entry.stream] = min(entry.position, first.get(entry.stream, entry.position))
    gone = {stream: known.position for stream, known in streams.items() if known.gone}
    entries = {entry.place: entry for entry in [*(_as_of(view, entry) for entry in stored), *newer]}
    places = view.fleet.places  # of another time, without a host that came later
    return [
        entry.through(places[entry.stream].host) if entry.open and entry.stream in places else entry
        for _, entry in sorted(entries.items())
        if entry.instance == instance
        or first.get(entry.stream, view.position) <= entry.position <= gone.get(entry.stream, entry.position)
    ]


def _is_within(
    entry: Entry, after: Position, last: Position, since_time: Timestamp | None, until_time: Timestamp | None
) -> bool:
    begins = entry.last_position > after
    ends = entry.position <= last
    if is_imported(entry.stream):
        begins = begins if since_time is None else entry.observed_at >= since_time
        ends = ends if until_time is None else entry.observed_at <= until_time
    return begins and ends


def _in_time(entries: Sequence[Entry]) -> list[Entry]:
    """Put what was imported to its place in time; all else stays in the order of the log."""
    told = sorted(
        (entry for entry in entries if is_imported(entry.stream)), key=lambda entry: (entry.observed_at, entry.position)
    )
    placed: list[Entry] = []
    waiting = iter(told)
    following = next(waiting, None)
    for entry in entries:
        if is_imported(entry.stream):
            continue
        while following is not None and following.observed_at < entry.observed_at:
            placed.append(following)
            following = next(waiting, None)
        placed.append(entry)
    return [*placed, *([following] if following is not None else []), *waiting]


async def _counted(view: View, instance: InstanceId, entries: Sequence[Entry], then: Then) -> list[Entry]:
    """Those of the facts that count in a view of another time, a run with the observations that do."""
    later = [entry.position for entry in entries if entry.kind == GapOpened.__name__ and entry.position > then.position]
    opened = await view.log.read_at(later) if later else {}
    since = {recorded.position: source_time(recorded.event) for recorded in opened.values()}
    found = [entry for entry in entries if then.has(entry.position, since.get(entry.position, entry.observed_at))]
    return [
        await _cut(view, instance, entry, then) if _is_run(entry) and entry.last_position > then.position else entry
        for entry in found
    ]


async def _cut(view: View, instance: InstanceId, run: Entry, then: Then) -> Entry:
    count, last = 0, run
    async with aclosing(_observations(view, instance, run)) as observations:
        async for recorded in observations:
            if not then.has(recorded.position, recorded.event.observed_at):
                break
            count, last = count + 1, _single(run, recorded)
    whole = replace(run, open=False, sweeps=None, last_position=last.position, last_observed_at=last.observed_at)
    return replace(whole, count=max(count, 1))


def _as_of(view: View, entry: Entry) -> Entry:
    """A run as the view has it, where a service has brought its table further meanwhile."""
    if entry.instance is None or entry.last_position <= view.position:
        return entry
    run = view.models.history.open.get((entry.instance, entry.stream))
    return run if run is not None and run.place == entry.place else entry


def _is_run(entry: Entry) -> bool:
    return entry.kind == StateObserved.__name__ and not entry.stale


# ---------------------------------------------------------------------------------------------- opened runs


async def _observations(view: View, instance: InstanceId, run: Entry) -> AsyncGenerator[Recorded, None]:
    """Read the observations that a run stands for: all of this VM in its stream, from the first to the last."""
    log = view.log
    orders: dict[int, Mapping[InstanceId, int]] = {}
    first = (await log.read_at([run.position])).get(run.position)
    # A damaged record does not tell its version; then the stream is read from its start.
    after = first.version - 1 if first else 0
    while True:
        try:
            batch = await log.read_stream(run.stream, after=after, limit=BATCH)
        except UnknownEventError:
            after += 1
            continue
        for recorded in batch:
            if recorded.position > run.last_position:
                return
            after, event = recorded.version, recorded.event
            if recorded.position < run.position:
                continue
            if isinstance(event, StateObserved) and event.instance == instance:
                yield recorded
            elif isinstance(event, HostSwept):
                if event.inventory not in orders:
                    orders[event.inventory] = await inventory_order(log, run.stream, event.inventory)
                index = orders[event.inventory].get(instance)
                if index is not None and 2 * len(orders[event.inventory]) == len(event.states):
                    yield part(recorded, event, index, instance)
        if not batch:
            return


async def inventory_order(log: SqlLog, stream: str, inventory: int) -> Mapping[InstanceId, int]:
    """Where each VM stands in the inventory of that version; nowhere, where that cannot be read."""
    with suppress(UnknownEventError):
        for recorded in await log.read_stream(stream, after=inventory - 1, limit=1):
            if isinstance(recorded.event, InventoryRecorded):
                return {instance: index for index, instance in enumerate(recorded.event.instances)}
    return {}


def _observation(view: View, instance: InstanceId, recorded: Recorded) -> Recorded | None:
    """What the newest record says of a VM, where it is an observation of it."""
    event = recorded.event
    if isinstance(event, StateObserved) and event.instance == instance:
        return recorded
    if isinstance(event, HostSwept) and recorded.position not in view.fleet.quarantined:
        index = view.fleet.places[recorded.stream].order.get(instance)
        return None if index is None else part(recorded, event, index, instance)
    return None


def _single(run: Entry, recorded: Recorded) -> Entry:
    """One observation of a run as an entry of its own."""
    return replace(
        run,
        position=recorded.position,
        index=recorded.index,
        observed_at=recorded.event.observed_at,
        recorded_at=recorded.recorded_at,
        changed=run.changed and recorded.position == run.position,
        last_position=recorded.position,
        last_observed_at=recorded.event.observed_at,
        count=1,
        open=False,
        sweeps=None,
    )


# -------------------------------------------------------------------------------------------------- lines


def _host(view: View, entry: Entry, event: Event | None) -> str | None:
    """Where a fact belongs: the observed host, or the one that a command is for; a record is for none."""
    if isinstance(event, CommandEvent):
        row = view.models.commands.rows.get(event.command)
        return row.requested.host if row else None
    return told_host(entry.stream) or None


async def lines_of(
    view: View, entries: Sequence[Entry], opened: Mapping[Key, Recorded] = MappingProxyType({})
) -> list[Line]:
    """Put entries into lines; `opened` has the observations that are lines of their own."""
    facts = await view.log.read_at([entry.position for entry in entries if (entry.position, entry.index) not in opened])
    events: list[Event | None] = []
    for entry in entries:
        recorded = opened.get((entry.position, entry.index)) or facts.get(entry.position)
        if recorded and isinstance(recorded.event, HostSwept) and entry.index is not None and entry.instance:
            recorded = part(recorded, recorded.event, entry.index, entry.instance)
        events.append(part_of(recorded, entry.index) if recorded else None)
    labels = [_labels(event) for event in events]
    text_of = await texts(view.log, [label for each in labels for label in each.values()])
    return [
        Line(
            entry=entry,
            event=event,
            host=_host(view, entry, event),
            is_run=_is_run(entry) and (entry.position, entry.index) not in opened,
            texts={name: text_of(label) for name, label in borne.items()},
        )
        for entry, event, borne in zip(entries, events, labels, strict=True)
    ]


def _labels(event: Event | None) -> Mapping[str, Label]:
    """The labels that a fact bears, by their fields."""
    named = {} if event is None else {each.name: getattr(event, each.name) for each in fields(event)}
    return {name: value for name, value in named.items() if isinstance(value, Label)}
