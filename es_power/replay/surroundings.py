"""What the facts say of a VM around a moment: was it running again, was it migrating, was a task under way.

Facts are found in the VM's history, so their order is that of the log. How long after, and how near, is told by the
times at their sources, which are all there is to tell it by.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from es_power.domain.decisions import Sent
from es_power.domain.events import (
    InstanceId,
    LifecycleEvent,
    NovaStopObserved,
    Position,
    RecordCleared,
    RecordDeclared,
    Recorded,
    RecordNotFound,
    RecordObserved,
)
from es_power.domain.libvirt_numbers import detail_name, event_name, reason_name, state_name
from es_power.domain.states import PowerState
from es_power.domain.streams import observed_host
from es_power.domain.time import SECOND, Timestamp
from es_power.log import SqlLog
from es_power.projections.history import Entry

NEAR: Final = 60.0
"""Seconds around a moment in which a fact counts as one of that moment."""

_MOVES: Final = frozenset({"MIGRATED", "MIGRATION", "POSTCOPY"})
"""libvirt's words, as the detail of an event or the reason of a state, for a migration that goes on or is just over."""
_ON_THE_MOVE: Final = frozenset(
    {("STARTED", "MIGRATED"), ("SUSPENDED", "MIGRATED"), ("SUSPENDED", "POSTCOPY"), ("PAUSED", "MIGRATION")}
    | {("RESUMED", "POSTCOPY"), ("PAUSED", "POSTCOPY"), ("RUNNING", "POSTCOPY")}
)
"""A host's last word of a VM whose migration is not over, however long ago it was said."""

_MIGRATING: Final = "migrating"
_POWERING_OFF: Final = "powering-off"
"""Tasks of Nova's (nova/compute/task_states.py): of a live migration, and what its stop sets itself."""

_RECORDS: Final = frozenset(each.__name__ for each in (RecordObserved, RecordDeclared, RecordCleared, RecordNotFound))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A fact that shows something, and how long after the moment it was; negative: before it."""

    position: Position
    #: The place in a sweep.
    index: int | None
    at: Timestamp
    #: Nanoseconds.
    after: int
    #: What it shows, in the words of libvirt or Nova.
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What Nova or a person said to be under way."""

    task_state: str
    #: The record that told of it first.
    position: Position
    since: Timestamp
    #: For how long it had been known at the moment, in nanoseconds; 0 where it became known just after.
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the facts say of one VM around one moment."""

    #: The host whose word it was, and the power_state; None where nothing was known.
    host: str | None
    power_state: PowerState | None
    #: The first fact behind the moment that shows it running, where it was not running then.
    running_again: Seen | None
    #: The nearest fact of a migration.
    migrating: Seen | None
    task: Task | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something would have been done to a VM."""

    instance: InstanceId
    at: Timestamp
    #: The last position that counts as before it; None where only the time is known, as of a stop of Nova's own.
    position: Position | None

    @property
    def of_novas_stop(self) -> bool:
        """Whether Nova did it by itself."""
        return self.position is None


class Histories:
    """The histories of some VMs."""

    def __init__(self, entries: Iterable[Entry], instances: Iterable[InstanceId]) -> None:
        of: dict[InstanceId, list[Entry]] = {instance: [] for instance in instances}
        for entry in entries:
            # What is read in Nova's history of long ago stands behind what happened since, so it places no moment.
            if entry.instance is not None and entry.instance in of and entry.kind != NovaStopObserved.__name__:
                of[entry.instance].append(entry)
        self._of = {instance: _History(known) for instance, known in of.items()}

    def knows(self, moment: Moment) -> bool:
        """Whether anything was known of a VM at a moment."""
        return self._of[moment.instance].before(moment) > 0

    async def look_around(self, log: SqlLog, moments: Sequence[Moment]) -> list[Around]:
        """Say what the facts show around each of the moments; what they say in full is read from the log at once."""
        views = [_View(moment, self._of[moment.instance]) for moment in moments]
        records = {position for each in {moment.instance for moment in moments} for position in self._of[each].told()}
        announced = {entry.position for view in views for entry in view.announced()}
        facts = await log.read_at(sorted(records | announced))
        return [view.around(facts) for view in views]


class _History:
    """All entries of one VM in the order of the log, and the places of those that are looked for in it."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.position)
        self.positions = [entry.position for entry in self.entries]
        #: By stream: where a host said something of its power.
        self.words: dict[str, list[int]] = {}
        self.running: list[int] = []
        self.records: list[int] = []
        for place, entry in enumerate(self.entries):
            if entry.kind in _RECORDS:
                self.records.append(place)
            if entry.power_state is not None:
                self.words.setdefault(entry.stream, []).append(place)
            if entry.power_state is PowerState.RUNNING:
                self.running.append(place)

    def told(self) -> Iterator[Position]:
        """Where somebody's record of it stands."""
        return (self.positions[place] for place in self.records)

    def before(self, moment: Moment) -> int:
        """How many entries are before a moment: where only its time is known, all up to the last that is not later."""
        if moment.position is not None:
            return bisect_right(self.positions, moment.position)
        early = (place for place in reversed(range(len(self.entries))) if self.entries[place].observed_at <= moment.at)
        return next(early, -1) + 1


Facts = Mapping[Position, Recorded]


class _View:
    """One VM's history as seen from a moment."""

    def __init__(self, moment: Moment, history: _History) -> None:
        self._moment = moment
        self._history = history
        self._now = now = history.before(moment)
        known = history.entries
        #: What every host said last of its power.
        self._words = [
            known[places[count - 1]] for places in history.words.values() if (count := bisect_left(places, now))
        ]
        earlier = takewhile(self._is_near, (known[place] for place in reversed(range(now))))
        self._later = list(takewhile(self._is_near, (known[place] for place in range(now, len(known)))))
        self._near = [*earlier, *self._later]

    def _is_near(self, entry: Entry) -> bool:
        return abs(entry.observed_at - self._moment.at) <= NEAR * SECOND

    def announced(self) -> Iterator[Entry]:
        """The announcements that may tell of a migration."""
        return (entry for entry in (*self._near, *self._words) if entry.kind == LifecycleEvent.__name__)

    def around(self, facts: Facts) -> Around:
        """Put together what the facts say."""
        # As for the owner of a VM: where it is on counts, else what was said last.
        then = max(self._words, key=lambda word: (word.power_state in _ON, word.position), default=None)
        power_state = then.power_state if then else None
        task = self._task(facts)
        return Around(
            host=observed_host(then.stream) if then else None,
            power_state=power_state,
            running_again=None if power_state is PowerState.RUNNING else self._running(),
            migrating=self._migrating(facts, task),
            task=task,
        )

    def _running(self) -> Seen | None:
        places = self._history.running
        following = bisect_left(places, self._now)
        if following == len(places):
            return None
        return self._seen(self._history.entries[places[following]], PowerState.RUNNING)

    def _seen(self, entry: Entry, what: str) -> Seen:
        at = entry.observed_at
        return Seen(position=entry.position, index=entry.index, at=at, after=at - self._moment.at, what=what)

    def _migrating(self, facts: Facts, task: Task | None) -> Seen | None:
        """Find the nearest fact of a migration, else what a host said last of one that is not over."""
        found = [entry for entry in self._near if _said(entry, facts)[1] in _MOVES]
        found = found or [entry for entry in self._words if _said(entry, facts) in _ON_THE_MOVE]
        if found:
            nearest = min(found, key=lambda entry: abs(entry.observed_at - self._moment.at))
            return self._seen(nearest, " ".join(_said(nearest, facts)))
        if task is None or task.task_state != _MIGRATING:
            return None
        after = task.since - self._moment.at
        return Seen(position=task.position, index=None, at=task.since, after=after, what=f"task {_MIGRATING}")

    def _task(self, facts: Facts) -> Task | None:
        """Find what was under way: in the newest record, or in the next one where that came soon.

        Nova's records are read now and then, so a task may be told of after the moment. What a stop sets itself is no
        task that it ran into: after one of Nova's own, powering-off does not count, and nothing that follows an act of
        ours does.
        """
        newest = bisect_left(self._history.records, self._now) - 1
        if newest >= 0 and (pending := _task_of(first := self._record(newest, facts))):
            while newest and _task_of(before := self._record(newest - 1, facts)) == pending:
                newest, first = newest - 1, before
            return self._told(first, pending)
        for entry in self._later:
            if entry.kind == Sent.__name__:
                return None
            if entry.kind in _RECORDS:
                recorded = facts.get(entry.position)
                task = _task_of(recorded)
                own = task == _POWERING_OFF and self._moment.of_novas_stop
                return self._told(recorded, task) if task and not own else None
        return None

    def _record(self, number: int, facts: Facts) -> Recorded | None:
        return facts.get(self._history.positions[self._history.records[number]])

    def _told(self, recorded: Recorded | None, task: str) -> Task:
        assert recorded is not None
        since = recorded.event.observed_at
        return Task(task_state=task, position=recorded.position, since=since, pending=max(0, self._moment.at - since))


_ON: Final = frozenset(state for state in PowerState if state.is_on)


def _said(entry: Entry, facts: Facts) -> tuple[str, str]:
    """An event and its detail, or a state and its reason, in libvirt's names; empty for what is neither."""
    recorded = facts.get(entry.position)
    if recorded and isinstance(event := recorded.event, LifecycleEvent):
        return event_name(event.event), detail_name(event.event, event.detail)
    if entry.state is not None and entry.reason is not None:
        return state_name(entry.state), reason_name(entry.state, entry.reason)
    return "", ""


def _task_of(recorded: Recorded | None) -> str | None:
    event = recorded.event if recorded else None
    return event.task_state if isinstance(event, RecordObserved | RecordDeclared) else None
