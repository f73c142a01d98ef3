"""What one host's words amount to over time, for one VM; the rules are `timeline`'s."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from es_power.domain.events import (
    ClockJumped,
    Event,
    GapClosed,
    GapOpened,
    LifecycleEvent,
    Position,
    ServiceStarted,
    ServiceStopped,
    StateObserved,
)
from es_power.domain.libvirt_numbers import PAUSED_MIGRATION, SHUTOFF_MIGRATED, STOPPED_MIGRATED
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.time import Timestamp
from es_power.projections.history import Entry
from es_power.projections.spans import END, Known, Point

OLD: Final = "not seen for two spacings"
MISSED: Final = "a change that no event announced"
STOPPED: Final = "blind: the service was stopped"

_STARTED_MIGRATED: Final = (2, 1)
"""A guest begins to come in."""

"""How an observation of a guest reads that is coming in."""

_EVENT: Final = LifecycleEvent.__name__
_OBSERVED: Final = StateObserved.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWord:
    """A fact of a host that bears on what can be known there."""

    position: Position
    kind: str
    #: Since when; of blind time, what its fact says.
    at: Timestamp
    reason: str = ""
    #: Of a clock that was set: by how many nanoseconds.
    by: int = 0


def needs_fact(entry: Entry, *, alone: bool) -> bool:
    """Whether an entry does not tell enough without its fact: what libvirt announced, in numbers.

    `alone`: no other host ever showed the VM.
    """
    return entry.kind == _EVENT and (not alone or not entry.changed or entry.power_state is PowerState.SHUTDOWN)


def lane(
    words: Iterable[Entry],
    of_host: Sequence[HostWord],
    facts: Mapping[Position, Event],
    *,
    stream: str,
    two_spacings: int,
) -> list[Point]:
    """Fold the words of one host in the order of the log; `two_spacings` is in nanoseconds."""
    fold = _Lane(stream, two_spacings)
    told = iter(of_host)
    following = next(told, None)
    for entry in words:
        while following is not None and following.position < entry.position:
            fold.host(following)
            following = next(told, None)
        if not entry.stale:
            fold.word(entry, facts.get(entry.position))
    while following is not None:
        fold.host(following)
        following = next(told, None)
    return _with_leaving(fold.points)


class _Lane:
    """The points so far; a later word overrules what earlier ones say of the time from its own on."""

    __slots__ = (
        "_blind",
        "_event",
        "_first",
        "_known",
        "_run",
        "_sighted",
        "_stopped",
        "_stream",
        "_two_spacings",
        "points",
    )

    def __init__(self, stream: str, two_spacings: int) -> None:
        self.points: list[Point] = []
        self._stream = stream
        self._two_spacings = two_spacings
        self._known: Known | None = None
        #: The time of the first word.
        self._first = END
        #: The last event that announced a change of power, in numbers.
        self._event: tuple[int, int] | None = None
        #: When what is known was last seen to be so; None before the first word, and after blind time.
        self._sighted: Timestamp | None = None
        #: The newest run of observations, where nothing came after it.
        self._run: Entry | None = None
        self._blind = ""
        self._stopped = False

    def host(self, word: HostWord) -> None:
        """Take in a fact of the host."""
        if word.kind == GapOpened.__name__ or (word.kind == ServiceStopped.__name__ and not self._blind):
            self._stopped = word.kind == ServiceStopped.__name__
            self._blind = STOPPED if self._stopped else f"blind: {word.reason}"
            self._sighted = None
            if self._known is not None and not self._known.gone:
                # Of the time before the first word there is nothing to doubt.
                self._set(max(word.at, self._first), UNKNOWN, self._blind, position=word.position)
        elif word.kind == GapClosed.__name__ or (word.kind == ServiceStarted.__name__ and self._stopped):
            self._blind, self._stopped = "", False
            if self._run is not None and self._run.last_position > word.position:
                # What was observed in blind time is observed again by the sweep that ends it.
                self._show(replace(self._run, observed_at=max(word.at, self._run.observed_at)), is_change=False)
        elif word.kind == ClockJumped.__name__ and self._known is not None:
            self._jump(word, self._known)

    def _jump(self, word: HostWord, known: Known) -> None:
        """Go on by a clock that was set: of a time that it shows twice, what is told last counts."""
        if self._blind and not known.gone:
            self._set(word.at, UNKNOWN, self._blind, position=word.position)
        elif self._sighted is not None and word.at - word.by <= self._sighted + self._two_spacings:
            self._sight(word.at, word.position, is_change=False)
        elif self._sighted is not None and not known.gone:
            self._set(word.at, UNKNOWN, OLD, position=word.position)

    def word(self, entry: Entry, fact: Event | None) -> None:
        """Take in what was announced or observed of the VM."""
        if entry.kind == _EVENT:
            announced = fact if isinstance(fact, LifecycleEvent) else None
            if not entry.changed and (announced is None or announced.transition is None):
                return  # it says nothing of power
            known = self._announced(entry, announced)
        else:
            known = self._observed(entry)
        self._run = entry if entry.kind == _OBSERVED else None
        before, self._known = self._known, known
        if before is None:
            self._first = entry.observed_at
        if self._blind and not known.gone:
            self._set(entry.observed_at, UNKNOWN, self._blind, position=entry.position)
            return
        if self._sighted is not None and before is not None and _is_missed(entry, before, known):
            # As long as nobody saw that it was another state, no other host's word is in doubt by it.
            self._set(self._sighted, UNKNOWN, MISSED, position=entry.position, known=before)
        self._show(entry, is_change=entry.kind == _EVENT and entry.changed)

    def _show(self, entry: Entry, *, is_change: bool) -> None:
        first, last = entry.observed_at, max(entry.last_observed_at, entry.observed_at)
        if last - first > self._two_spacings * max(entry.count - 1, 1):
            # So few observations for so long a run: of what was between them nobody knows.
            self._sight(first, entry.position, is_change=is_change)
            self._sight(last, entry.position, is_change=False)
        else:
            self._sight(first, entry.position, is_change=is_change)
            self._age(last, entry.position)

    def _sight(self, at: Timestamp, position: Position, *, is_change: bool) -> None:
        assert self._known is not None
        state = self._known.power_state
        if self._known.gone:
            self._set(at, None, position=position, is_change=is_change)
        elif state is None:
            self._set(at, UNKNOWN, "libvirt's state is not one we know", position=position)
        else:
            self._set(at, state.value, position=position, is_change=is_change)
        self._age(at, position)

    def _age(self, at: Timestamp, position: Position) -> None:
        """Seen at that time: from two spacings later on nobody should rely on it, unless there is another word."""
        assert self._known is not None
        self._sighted = at
        old = Timestamp(at + self._two_spacings)
        while self.points[-1].why == OLD and self.points[-1].at < old:
            self.points.pop()
        if not self._known.gone and self._known.power_state is not None:
            self._set(old, UNKNOWN, OLD, position=position)

    def _set(
        self,
        at: Timestamp,
        state: str | None,
        why: str = "",
        *,
        position: Position,
        is_change: bool = False,
        known: Known | None = None,
    ) -> None:
        known = known or self._known
        assert known is not None
        while self.points and self.points[-1].at >= at:
            self.points.pop()
        point = Point(
            at=at, state=state, why=why, stream=self._stream, position=position, known=known, is_change=is_change
        )
        self.points.append(point)

    def _announced(self, entry: Entry, announced: LifecycleEvent | None) -> Known:
        self._event = (announced.event, announced.detail) if announced else None
        return self._learnt(entry, migrated=self._event == STOPPED_MIGRATED, incoming=self._event == _STARTED_MIGRATED)

    def _observed(self, entry: Entry) -> Known:
        seen = (entry.state, entry.reason)
        if entry.power_state is not None and entry.power_state.is_on:
            self._event = None
        return self._learnt(
            entry,
            gone=entry.state is None,
            migrated=seen == SHUTOFF_MIGRATED or self._event == STOPPED_MIGRATED,
            incoming=seen == PAUSED_MIGRATION,
        )

    def _learnt(self, entry: Entry, *, gone: bool = False, migrated: bool, incoming: bool) -> Known:
        old = self._known or Known()
        known = Known(
            power_state=entry.power_state,
            gone=gone,
            position=entry.last_position,
            left_on=old.left_on,
            before=old.before,
            migrated=migrated,
            incoming=incoming,
        )
        if old.is_on and not known.is_on:
            return replace(known, left_on=entry.position, before=old.power_state)
        return known


def _is_missed(entry: Entry, before: Known, known: Known) -> bool:
    """Whether an observation shows a change of power that an event should have announced.

    That a VM which is off is gone, or is there again and off, no event about power announces.
    """
    if entry.kind != _OBSERVED or not entry.changed or before.gone:
        return False
    return before.is_on or not known.gone


def _with_leaving(points: Sequence[Point]) -> list[Point]:
    """Mark the points at which it is on and will leave by a migration."""
    leaves = False
    found: list[Point] = []
    for point in reversed(points):
        if point.known.is_on:
            found.append(replace(point, leaves=True) if leaves else point)
        else:
            leaves = point.known.migrated
            found.append(point)
    return found[::-1]
