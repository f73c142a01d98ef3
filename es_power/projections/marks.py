"""What stands on a VM's lane: events, observations and commands, each where it was seen, page by page.

Rules:
1. A run of equal observations is one mark, where it began: what confirms it adds nothing to a lane.
2. An observation that shows a change which no event announced is *missed*, whether its host was in sight or not; the
   rule is that of `anomalies`. One that lost to a newer event is *stale*.
3. The order is that of the log, so a page goes on where the one before ended, whatever comes meanwhile.
4. What other programs' logs tell stands in the history alone: nobody here heard it at that time.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
import trio

from es_power.domain.decisions import CommandEvent
from es_power.domain.events import HypervisorEvent, InstanceId, Position, StateObserved
from es_power.domain.time import Timestamp
from es_power.projections import stored
from es_power.projections.anomalies import BLINDING, AnomalyKind, blinded, unannounced
from es_power.projections.history import Entry
from es_power.projections.narrative import Line, lines_of
from es_power.projections.past import position_at
from es_power.projections.queries import View, find
from es_power.projections.tables import HISTORY
from es_power.projections.timeline import timespan
from es_power.projections.window import SLACK, position_span

__all__ = ["Mark", "MarkKind", "marks"]


class MarkKind(StrEnum):
    """What a mark stands for."""

    #: What libvirt announced.
    EVENT = "event"
    #: What it answered.
    OBSERVATION = "observation"
    #: What it answered, and no event had announced.
    MISSED = "missed"
    #: What it had answered before something newer was announced: refused.
    STALE = "stale"
    #: A step in the life of a stop command.
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One mark of a lane."""

    instance: InstanceId
    kind: MarkKind
    line: Line
    #: Of a missed one: whether its host was out of sight when it changed.
    unseen: bool = False

    @property
    def place(self) -> tuple[Position, int]:
        """Where in the log it stands, and where in a sweep; -1: in none."""
        return self.line.entry.place


_OBSERVED: Final = StateObserved.__name__
_EVENTS: Final = frozenset(each.__name__ for each in HypervisorEvent.__subclasses__())
_COMMANDS: Final = frozenset(each.__name__ for each in CommandEvent.__subclasses__())
_KINDS: Final = frozenset({_OBSERVED, *_EVENTS, *_COMMANDS})


async def marks(
    view: View,
    vm: str | None = None,
    *,
    among: Collection[InstanceId] | None = None,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
    limit: int | None = None,
    beyond: tuple[int, int] | None = None,
) -> list[Mark]:
    """The marks of one VM, of some, or of all, with since <= time < until, in the order of the log.

    At most `limit` of them, those that follow on the place `beyond`; what is not asked for is not read. Raises as
    `find` does, and ValueError as `timelines` does.
    """
    view, end = await timespan(view, since=since, until=until, now=now)
    instances = among if vm is None else {await find(view, vm)}
    entries = await _entries(view, instances, since=since, until=end, limit=limit, beyond=beyond)
    kinds = await _kinds(view, entries)
    lines = await lines_of(view, entries)
    return [
        Mark(instance=entry.instance, kind=kind, line=line, unseen=unseen)
        for entry, (kind, unseen), line in zip(entries, kinds, lines, strict=True)
        if entry.instance is not None
    ]


async def _entries(
    view: View,
    instances: Collection[InstanceId] | None,
    *,
    since: Timestamp,
    until: Timestamp,
    limit: int | None,
    beyond: tuple[int, int] | None,
) -> list[Entry]:
    checkpoint = view.rest.since
    found: dict[tuple[Position, int], Entry] = {}
    if checkpoint:
        # What was announced and observed is found by its own time; a command's steps, by when they were recorded.
        first, last = await position_span(view, Timestamp(since - SLACK), Timestamp(until + SLACK))
        # On a log that begins within the slack, it begins there.
        first = min(first, await position_at(view.log, view.store, Timestamp(since - SLACK)))
        last = max(last, await position_at(view.log, view.store, Timestamp(until + SLACK)))
        table = HISTORY.c
        query = sa.select(HISTORY).where(
            table.position > first,
            table.position <= min(last, checkpoint),
            table.kind.in_(_KINDS),
            table.observed_at >= since,
            table.observed_at < until,
            table.instance.is_not(None)
            if instances is None
            else table.instance.in_([each.bytes for each in instances]),
        )
        if beyond is not None:
            query = query.where(sa.tuple_(table.position, table.index) > sa.tuple_(*beyond))
        ordered = query.order_by(table.position, table.index).limit(limit)
        [kept] = await trio.to_thread.run_sync(lambda: view.store.some([ordered]))
        found = {entry.place: entry for entry in kept}
    for entry in view.rest.entries.values():
        is_asked_for = entry.instance is not None if instances is None else entry.instance in instances
        is_within = since <= entry.observed_at < until and (beyond is None or entry.place > beyond)
        if is_asked_for and is_within and entry.kind in _KINDS:
            found[entry.place] = entry
    return [entry for _, entry in sorted(found.items())][:limit]


async def _kinds(view: View, entries: Sequence[Entry]) -> list[tuple[MarkKind, bool]]:
    """What each stands for, and whether it is a change that happened out of sight."""
    changes = [entry for entry in entries if entry.kind == _OBSERVED and entry.changed]
    before = dict(zip((each.place for each in changes), await _words_before(view, changes), strict=True))
    blind = await _blind(view) if changes else {}
    found: list[tuple[MarkKind, bool]] = []
    for entry in entries:
        earlier = before.get(entry.place)
        missed = unannounced(earlier, entry, blind.get(entry.stream, ())) if earlier else None
        found.append((_kind(entry, missed), missed is AnomalyKind.UNSEEN))
    return found


def _kind(entry: Entry, missed: AnomalyKind | None) -> MarkKind:
    if entry.kind in _COMMANDS:
        return MarkKind.COMMAND
    if entry.kind in _EVENTS:
        return MarkKind.EVENT
    if entry.stale:
        return MarkKind.STALE
    return MarkKind.MISSED if missed else MarkKind.OBSERVATION


async def _words_before(view: View, entries: Sequence[Entry]) -> list[Entry | None]:
    """Of each, the newest word of the same host about the same VM before it that was not refused."""
    newer: dict[tuple[InstanceId | None, str], list[Entry]] = defaultdict(list)
    for entry in view.rest.entries.values():
        if stored.is_word(entry):
            newer[entry.instance, entry.stream].append(entry)
    kept: list[Entry | None] = [None] * len(entries)
    if view.rest.since:
        kept = await trio.to_thread.run_sync(lambda: stored.words_before(view.store, entries, until=view.rest.since))
    return [
        max(
            (each for each in (*newer[entry.instance, entry.stream], old) if each and each.place < entry.place),
            key=lambda entry: entry.place,
            default=None,
        )
        for entry, old in zip(entries, kept, strict=True)
    ]


async def _blind(view: View) -> dict[str, list[Position]]:
    """Where each host went out of sight."""
    entries: Iterable[Entry] = [entry for entry in view.rest.entries.values() if entry.instance is None]
    if view.rest.since:
        kept = await trio.to_thread.run_sync(lambda: view.store.of_hosts(BLINDING, until=view.rest.since))
        entries = (*kept, *entries)
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.stream].append(entry)
    return {stream: blinded(of_host) for stream, of_host in found.items()}
