"""The facts of deciding and acting: the life of a stop command, and what keeps commands back.

The rules of `events` hold here too. A command's life is told in the command's own stream; holds, breakers and alarms
stand in the stream of the actor that wrote them. `command` folds a life.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from es_power.domain.events import Event, InstanceEvent, InstanceId, Label, Position
from es_power.domain.time import Timestamp

# ------------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningStarted(Event):
    """A process manager begins to derive commands for one host from here on; what is older leads to none."""

    policy: str
    policy_version: int


class StopVerb(StrEnum):
    """What a rule calls for (nova/compute/api.py: stop, force_stop)."""

    STOP = "stop"
    FORCE_STOP = "force_stop"


class Route(StrEnum):
    """The way by which a command reaches what it is about."""

    #: Nova's API, os-stop: the record and the guest follow.
    NOVA = "nova"
    #: libvirt, for a guest that is on.
    HYPERVISOR = "hypervisor"
    #: The record alone, of a declared VM whose guest is off already.
    RECORD = "record"


# ------------------------------------------------------------------------------------ the life of a stop command


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEvent(InstanceEvent):
    """One step in the life of one stop command."""

    command: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested(CommandEvent):
    """A policy calls for a stop; version 1 of the command's own stream."""

    host: str
    policy: str
    policy_version: int
    rule: str
    verb: StopVerb
    reason: str
    #: The facts that justify it: the observation (and its index in a sweep), and the record it was joined with.
    observation: Position
    observation_index: int | None
    record: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(CommandEvent):
    """It may be sent, as far as its present actor goes: said by a person, or by the mode ``auto``."""

    #: The stream of the actor that wrote it, and that actor's epoch: a later start is not bound by it.
    actor: str
    epoch: int
    #: Who said so and why; both None where the mode did.
    by: Label | None = None
    why: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAgain(CommandEvent):
    """A fresh look before the act still calls for it; under dry-run this is where a command's life rests."""

    #: The look's own facts: the answer to `get_info`, and the record.
    observation: Position
    record: Position
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(CommandEvent):
    """The act follows, once; durable before it begins, so whoever finds this does not know whether it happened."""

    actor: str
    epoch: int
    route: Route
    verb: StopVerb


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed(CommandEvent):
    """It was seen to have happened."""

    #: The fact that shows it: an observation, or Nova's record.
    because: Position
    #: Nanoseconds from the last look's answer to the beginning of the act; None where another start than this acted.
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(CommandEvent):
    """Whoever should have done it said no, and did nothing."""

    reason: str
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(CommandEvent):
    """It was tried, and was not seen to have happened."""

    reason: str
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(CommandEvent):
    """It is not to be sent any more."""

    reason: str
    #: The fact that ended it.
    because: Position
    #: The stream of the actor that withdrew it; empty: the process manager did, from what the facts derive.
    actor: str = ""
    #: The person who rejected it, and why.
    by: Label | None = None
    why: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(CommandEvent):
    """Nobody approved it in time."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(CommandEvent):
    """A person wants what ended to be tried again: the next observation that calls for it requests a new command."""

    by: Label
    why: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(CommandEvent):
    """The disagreement that it was requested for is over, after the command itself had ended."""

    reason: str
    because: Position


# ------------------------------------------------------------------------------------------------- the actor


@dataclass(frozen=True, slots=True, kw_only=True)
class ActingStarted(Event):
    """An actor took over the commands of one host; what is older is not sent unless it is approved again."""

    epoch: int
    holder: str
    version: str
    #: Every setting that bears on an act, in words: ``settle`` to ``15.0``.
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced(Event):
    """A person keeps back all commands of a host, or of one instance."""

    hold: UUID
    #: Exactly one of the two.
    host: str | None
    instance: InstanceId | None
    #: When it ends by itself; None: when it is released.
    until: Timestamp | None
    by: Label
    why: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldReleased(Event):
    """A hold ended: a person released it, or its time was over."""

    hold: UUID
    by: Label | None = None
    why: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    """Much of a host would be stopped at once: its commands wait until a person closes the breaker."""

    host: str
    reason: str
    #: The commands that it keeps back.
    commands: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(Event):
    """A person looked, and lets the host's commands go on."""

    host: str
    by: Label
    why: Label


class Alarm(StrEnum):
    """What a person should look at."""

    #: A task has been pending for so long that nothing else will happen to the instance.
    STUCK_TASK = "stuck task"
    #: An approval stands in the log that this actor did not write.
    FOREIGN_APPROVAL = "foreign approval"
    #: Two hosts show the same instance on.
    TWO_HOSTS = "two hosts"
    #: Nova's own power sync stops instances too.
    NOVA_ACTS = "Nova acts too"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised(Event):
    """Something that no rule mends."""

    alarm: Alarm
    reason: str
    instance: InstanceId | None = None
    host: str | None = None


KeepingEvent = HoldPlaced | HoldReleased | BreakerOpened | BreakerClosed | AlarmRaised
"""What keeps commands back, and what a person should know."""
