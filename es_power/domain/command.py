"""The life of one stop command, as a left fold over its stream: what it is at, and what may come next.

    Planned -> (settle) -> Approved -> (look again) -> Sent -> Confirmed | Refused | Failed
    and from everywhere before Sent: Withdrawn, Expired. Under dry-run the look again is the end of the way.

A log may hold what no actor of ours writes (a restored copy, somebody's hand). A step that may not come next changes
nothing here, so that nothing is sent on its word.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from es_power.domain.decisions import (
    Approved,
    CommandEvent,
    Confirmed,
    Expired,
    Failed,
    LookedAgain,
    Refused,
    Resolved,
    Retried,
    Sent,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import Position, Recorded


class CommandState(StrEnum):
    """How far a command has come."""

    PLANNED = "Planned"
    APPROVED = "Approved"
    #: Looked at once more and still called for; what is left is to send it.
    LOOKED_AGAIN = "Looked again"
    SENT = "Sent"
    CONFIRMED = "Confirmed"
    REFUSED = "Refused"
    FAILED = "Failed"
    WITHDRAWN = "Withdrawn"
    EXPIRED = "Expired"

    @property
    def is_open(self) -> bool:
        """Whether it may still be sent."""
        return self in _OPEN


_OPEN: Final = frozenset({CommandState.PLANNED, CommandState.APPROVED, CommandState.LOOKED_AGAIN})

_AFTER: Final[Mapping[type[CommandEvent], CommandState]] = MappingProxyType(
    {
        Approved: CommandState.APPROVED,
        LookedAgain: CommandState.LOOKED_AGAIN,
        Sent: CommandState.SENT,
        Confirmed: CommandState.CONFIRMED,
        Refused: CommandState.REFUSED,
        Failed: CommandState.FAILED,
        Withdrawn: CommandState.WITHDRAWN,
        Expired: CommandState.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One stop command."""

    requested: StopRequested
    #: Where it was requested, and the newest record of its stream.
    position: Position
    last_position: Position
    #: The version of its stream.
    version: int = 1
    state: CommandState = CommandState.PLANNED
    #: Whether the disagreement it was requested for counts as lasting: as long as it does, no other is requested.
    stands: bool = True
    #: Why it is in this state.
    reason: str
    #: Where it was approved last, and by which start of which actor.
    approved: Position | None = None
    approved_by: tuple[str, int] | None = None

    def may(self, step: type[CommandEvent]) -> bool:
        """Whether a step may come next."""
        if step is Retried:
            return not self.state.is_open and self.state is not CommandState.SENT and self.stands
        if step is Resolved:
            return not self.state.is_open and self.stands
        if step is Sent:
            return self.state in {CommandState.APPROVED, CommandState.LOOKED_AGAIN} and self.approved is not None
        if step in {Confirmed, Refused, Failed}:
            return self.state is CommandState.SENT
        if step is Withdrawn:  # also what was to be sent, where its actor came too late to do so
            return self.state.is_open or self.state is CommandState.SENT
        return step in _AFTER and self.state.is_open


def begin(recorded: Recorded) -> Command:
    """Begin a life; the record holds a StopRequested."""
    event = recorded.event
    assert isinstance(event, StopRequested)
    return Command(
        requested=event,
        position=recorded.position,
        last_position=recorded.position,
        version=recorded.version,
        reason=event.reason,
    )


def evolve(command: Command, recorded: Recorded) -> Command:
    """Apply one step; one that may not come next leaves the command as it is, but for the place of its last record."""
    event = recorded.event
    seen = replace(command, last_position=recorded.position, version=recorded.version)
    if not isinstance(event, CommandEvent) or not command.may(type(event)):
        return seen
    if isinstance(event, Retried | Resolved):
        return replace(seen, stands=False)
    moved = replace(seen, state=_AFTER[type(event)], reason=getattr(event, "reason", command.reason))
    match event:
        case Approved(actor=actor, epoch=epoch):
            return replace(moved, approved=recorded.position, approved_by=(actor, epoch))
        case Confirmed():
            return replace(moved, stands=False, reason="it was seen to have happened")
        case Withdrawn(by=by):
            # What a person rejected stays rejected until the disagreement is over.
            return replace(moved, stands=by is not None)
        case _:
            return moved
