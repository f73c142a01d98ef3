"""What if: the stops that two sides call for over the same history, and where they differ.

A side is a policy, as if it had decided from the first fact on; or what was recorded, which is the commands of the
log; or Nova, which is the stops that its own history shows as its own (NovaStopObserved: by nobody's order).

**The same stop.** A stop belongs to a disagreement: it begins with the fact that called for the stop (of an observation
and a record that were joined, the later one) and lasts until the fact that withdrew, resolved or confirmed it. Two
sides call for the same stop where it is of the same instance and their disagreements overlap; all that overlap are one.
The order of facts is their positions. A stop of Nova's has none, only the time at which it began, so it is compared by
time: it is the same where it began while the disagreement lasted, give or take SLACK. A side with another verb (`stop`,
`force_stop`) calls for the same stop otherwise.

A stop of Nova's that began before anything was known of its instance is not compared: no fact says anything about it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal
from uuid import UUID

from es_power.domain.command import Command
from es_power.domain.decisions import Confirmed, Resolved, Retried, StopVerb, Withdrawn
from es_power.domain.events import InstanceId, NovaStopObserved, Position, Recorded
from es_power.domain.policy import Policy
from es_power.domain.time import SECOND, Timestamp
from es_power.log import SqlLog
from es_power.projections.beginning import beginning_of
from es_power.projections.reader import batches
from es_power.projections.stop_commands import Derived
from es_power.replay.refold import Progress, Replay, lives, replay
from es_power.replay.surroundings import Around, Histories, Moment

__all__ = ["SLACK", "Comparison", "Disagreement", "Side", "Stop", "compare"]

SLACK: Final = 5.0
"""Seconds by which a stop of Nova's may lie outside a disagreement: its clock is another, and tells seconds."""

Side = Policy | Literal["recorded", "nova"]
"""Whose stops: a policy's, the recorded ones, or Nova's own."""

End = tuple[Position, Timestamp]
"""The fact with which a disagreement is over, and its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One stop that a side calls for."""

    #: The name of the side.
    side: str
    instance: InstanceId
    #: When it was called for, or began.
    at: Timestamp
    #: The fact that it follows from; of Nova's, the record that tells of it.
    position: Position
    #: When its disagreement was over; None: not yet.
    end: End | None = None
    #: None for a stop of Nova's.
    command: Command | None = None
    #: Nova's id of the request; None for a command.
    request_id: str | None = None

    @property
    def verb(self) -> StopVerb | None:
        """Stop or force_stop; None where Nova's history does not tell."""
        return self.command.requested.verb if self.command else None

    @property
    def moment(self) -> Moment:
        """When it would be done."""
        return Moment(instance=self.instance, at=self.at, position=self.position if self.command else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Stops of two sides that are the same, or of one where the other calls for none."""

    left: tuple[Stop, ...]
    right: tuple[Stop, ...]
    #: What the facts say around its first stop; None where the sides agree, so that nobody asks.
    around: Around | None = None

    @property
    def first(self) -> Stop:
        """The stop that was called for first."""
        return min((*self.left, *self.right), key=lambda stop: stop.at)

    @property
    def only(self) -> str | None:
        """The side that alone calls for it; None: both do."""
        return None if self.left and self.right else self.first.side

    @property
    def is_otherwise(self) -> bool:
        """Whether both call for it, but for another command."""
        verbs = [{stop.verb for stop in stops} for stops in (self.left, self.right)]
        return self.only is None and verbs[0] != verbs[1] and None not in verbs[0] | verbs[1]

    @property
    def differs(self) -> bool:
        """Whether the sides differ."""
        return self.only is not None or self.is_otherwise


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides over one history."""

    left: str
    right: str
    replay: Replay
    #: In the order in which they began.
    disagreements: Sequence[Disagreement]
    #: Nova's stops that began before anything was known of their instance.
    unseen: int

    @property
    def differing(self) -> Sequence[Disagreement]:
        """Where the sides differ."""
        return [each for each in self.disagreements if each.differs]

    @property
    def both(self) -> int:
        """How many stops both call for, be it otherwise."""
        return self._only[None]

    @property
    def otherwise(self) -> int:
        """How many of these are another command."""
        return sum(each.is_otherwise for each in self.disagreements)

    @property
    def only_left(self) -> int:
        """How many the first side alone calls for."""
        return self._only[self.left]

    @property
    def only_right(self) -> int:
        """How many the second side alone calls for."""
        return self._only[self.right]

    @cached_property
    def _only(self) -> Counter[str | None]:
        return Counter(each.only for each in self.disagreements)


async def compare(
    log: SqlLog,
    left: Side,
    right: Side,
    *,
    since: Timestamp | None = None,
    until: Position | None = None,
    progress: Progress = lambda _: None,
) -> Comparison:
    """Find the stops that two sides call for, up to `until` or the log's end, and look around those that differ.

    With `since`, only those whose disagreement began then or later; what was before bears on them all the same. Raises
    as `replay` does; ValueError where both sides have the same name. Nothing is appended.
    """
    names = (name_of(left), name_of(right))
    if names[0] == names[1]:
        raise ValueError(f"{names[0]} cannot differ from itself")
    first = next((side for side in (left, right) if isinstance(side, Policy)), None)
    replayed = await replay(log, until=until, policy=first, progress=progress)
    found: list[Sequence[Stop]] = []
    for side in (left, right):
        if isinstance(side, Policy):
            derived = replayed.step.derived if side is first else await _derive(log, side, replayed.position)
            found.append(_derived_stops(side, derived, replayed))
        else:
            found.append(_NAMED[side](replayed))
    entries = replayed.step.entries.values()
    histories = Histories(entries, {stop.instance for stops in found for stop in stops})
    seen = [[stop for stop in stops if histories.knows(stop.moment)] for stops in found]
    disagreements = [each for each in _pair(seen[0], seen[1]) if since is None or each.first.at >= since]
    differing = [each for each in disagreements if each.differs]
    arounds = await histories.look_around(log, [each.first.moment for each in differing])
    looked = {id(each): around for each, around in zip(differing, arounds, strict=True)}
    return Comparison(
        left=names[0],
        right=names[1],
        replay=replayed,
        disagreements=[replace(each, around=looked.get(id(each))) for each in disagreements],
        unseen=sum(map(len, found)) - sum(map(len, seen)),
    )


def name_of(side: Side) -> str:
    """Name a side."""
    return side.name if isinstance(side, Policy) else side


# ---------------------------------------------------------------------------------------------- the stops of a side


async def _derive(log: SqlLog, policy: Policy, until: Position) -> Sequence[Derived]:
    """Derive what another policy calls for; the hashes up to there are known to be right."""
    models = (await beginning_of(log)).models(whatif=policy)
    derived: list[Derived] = []
    async for batch in batches(log, models, until=until):
        derived += models.apply(batch).derived
    return derived


def _derived_stops(policy: Policy, derived: Sequence[Derived], replayed: Replay) -> Sequence[Stop]:
    """A policy's; a command of the log that it comes to as well ended as it did in the log."""
    ends = _ends(replayed.steps) | {
        each.event.command: (each.because, each.event.observed_at)
        for each in derived
        if isinstance(each.event, Withdrawn | Resolved)
    }
    return _stops(policy.name, lives(derived), ends)


def _recorded_stops(replayed: Replay) -> Sequence[Stop]:
    return _stops("recorded", replayed.models.commands.rows.values(), _ends(replayed.steps))


def _novas_stops(replayed: Replay) -> Sequence[Stop]:
    return [
        Stop(
            side="nova",
            instance=event.instance,
            at=event.observed_at,
            position=recorded.position,
            request_id=event.request_id,
        )
        for recorded in replayed.nova_stops
        if isinstance(event := recorded.event, NovaStopObserved) and event.by_nova_itself
    ]


_NAMED: Final = {"recorded": _recorded_stops, "nova": _novas_stops}


def _ends(steps: Iterable[Recorded]) -> dict[UUID, End]:
    """The facts that ended the disagreements of recorded commands; what a person rejects does not end one."""
    ends: dict[UUID, End] = {}
    for recorded in steps:
        match event := recorded.event:
            case Resolved() | Confirmed() | Withdrawn(by=None):
                ends[event.command] = event.because, event.observed_at
            case Retried():
                ends[event.command] = recorded.position, event.observed_at
            case _:
                pass
    return ends


def _stops(side: str, commands: Iterable[Command], ends: Mapping[UUID, End]) -> Sequence[Stop]:
    return [
        Stop(
            side=side,
            instance=command.requested.instance,
            at=command.requested.observed_at,
            position=_began(command),
            end=ends.get(command.requested.command),
            command=command,
        )
        for command in commands
    ]


def _began(command: Command) -> Position:
    return max(command.requested.observation, command.requested.record)


# ------------------------------------------------------------------------------------------------ which are the same


def _pair(left: Sequence[Stop], right: Sequence[Stop]) -> list[Disagreement]:
    """Put together the stops whose disagreements overlap."""
    by_time = not all(stop.command for stop in (*left, *right))
    spans = sorted(
        (
            (stop.instance, *_span(stop, by_time=by_time), side, stop)
            for side, of in enumerate((left, right))
            for stop in of
        ),
        key=lambda span: span[:4],
    )
    groups: list[tuple[list[Stop], list[Stop]]] = []
    instance, reaches = None, 0.0
    for of, begin, end, side, stop in spans:
        if of != instance or begin >= reaches:
            groups.append(([], []))
            instance, reaches = of, end
        groups[-1][side].append(stop)
        reaches = max(reaches, end)
    pairs = [Disagreement(left=tuple(one), right=tuple(other)) for one, other in groups]
    return sorted(pairs, key=lambda each: (each.first.at, each.first.position))


def _span(stop: Stop, *, by_time: bool) -> tuple[float, float]:
    """From where to where a disagreement lasts, by position or by time; the end is not part of it."""
    if stop.command is None:
        reach = int(SLACK * SECOND) + 1
        return stop.at - reach, stop.at + reach
    begin: int = stop.at if by_time else stop.position
    if stop.end is None:
        return begin, float("inf")
    # Neither a clock that was set back, nor what was confirmed by the fact that called for it, makes it nothing.
    return begin, max(stop.end[by_time], begin + 1)
