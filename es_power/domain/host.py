"""What is known of one observed host, as a left fold over its stream; and who vouches for an instance."""

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from es_power.domain.events import (
    START,
    ClockJumped,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InventoryRecorded,
    Position,
    RecordDeclared,
    Recorded,
    RecordObserved,
    ServiceStarted,
    ServiceStopped,
    SettingsRecorded,
)
from es_power.domain.states import PowerState, VmState
from es_power.domain.time import NEVER, Timestamp

DEFAULT_SPACING: Final = 600.0
"""Seconds between sweeps where nothing was recorded (Nova's sync_power_state_interval)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host under one driver, as its observer has recorded it."""

    epoch: int = 0
    holder: str = ""
    uri: str = ""
    #: False after the observer ended in good order; a crash leaves it True, and the states age.
    running: bool = False
    spacing: float = DEFAULT_SPACING
    policy: str = ""
    policy_version: int = 0
    mode: str = "dry-run"
    #: Since when nobody sees it, and why; None while somebody does.
    blind_since: Timestamp | None = None
    blind_reason: GapReason | None = None
    #: The version of the inventory in force, in the host's stream.
    inventory: int = 0
    #: The newest sweep, and how many there were.
    swept_at: Timestamp = NEVER
    sweep_position: Position = START
    sweeps: int = 0
    boot_id: UUID | None = None
    #: From where in the log on the host is in its present boot; where nobody can tell, since it was last out of sight.
    booted: Position = START


def evolve(host: Host, recorded: Recorded) -> Host:
    """Apply one fact of the host's own stream."""
    match recorded.event:
        case ServiceStarted() as event:
            started = replace(host, epoch=event.epoch, holder=event.holder, uri=event.uri, running=True)
            return started if event.boot_id else replace(started, boot_id=None, booted=recorded.position)
        case ServiceStopped():
            return replace(host, running=False)
        case SettingsRecorded() as event:
            return replace(
                host,
                spacing=event.spacing,
                policy=event.policy,
                policy_version=event.policy_version,
                mode=event.mode,
            )
        case ClockJumped() as event if host.blind_since is not None:
            return replace(host, blind_since=Timestamp(host.blind_since + event.by))
        case GapOpened() as event:
            return replace(host, blind_since=event.since, blind_reason=event.reason)
        case GapClosed():
            seen = replace(host, blind_since=None, blind_reason=None)
            return seen if host.boot_id else replace(seen, booted=recorded.position)
        case InventoryRecorded():
            return replace(host, inventory=recorded.version)
        case HostSwept() as event:
            return replace(
                host,
                swept_at=event.observed_at,
                sweep_position=recorded.position,
                sweeps=host.sweeps + 1,
                boot_id=event.boot_id or host.boot_id,
                booted=recorded.position if event.boot_id not in {None, host.boot_id} else host.booted,
            )
        case _:
            return host


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What Nova or a person says an instance is meant to be."""

    vm_state: VmState
    task_state: str | None
    position: Position
    #: Nova's host of record; None where it has none, or where a person vouches.
    host: str | None = None
    #: When Nova was asked; None where a person vouches.
    asked_at: Timestamp | None = None
    power_state: PowerState | None = None
    #: Up to where the log was read when Nova was asked.
    after: Position = START
    #: The hypervisor's name of Nova's host of record.
    node: str | None = None
    #: From where in the log on it says this.
    since: Position = START

    @property
    def is_novas(self) -> bool:
        """Whether Nova said it, and not a person."""
        return self.asked_at is not None

    def is_of(self, host: str) -> bool:
        """Whether a host, by the name its libvirt gives it, is the host of record; a person names none."""
        return not self.is_novas or host in (self.host, self.node)

    def justifies(self, observation: Position) -> bool:
        """Whether it may order something by an observation.

        Nova has to say the same before the observation, or the hypervisor may show what was before Nova's last word;
        and after it, or Nova may have begun something meanwhile.
        """
        return not self.is_novas or self.since < observation <= self.after

    def following(self, before: "Vouched | None") -> "Vouched":
        """The same, with where it begins, after what was said before."""
        same = before is not None and self.says(before)
        return replace(self, since=before.since if before is not None and same else self.position)

    def says(self, other: "Vouched") -> bool:
        """Whether it says the same of what the instance is meant to be, and where."""
        mine = (self.vm_state, self.task_state, self.host, self.is_novas)
        return mine == (other.vm_state, other.task_state, other.host, other.is_novas)


def vouched(recorded: Recorded) -> Vouched | None:
    """Read a record as what it vouches for; None for an event that is no record."""
    match recorded.event:
        case RecordDeclared(vm_state=vm_state, task_state=task_state):
            return Vouched(vm_state=vm_state, task_state=task_state, position=recorded.position)
        case RecordObserved() as event:
            return Vouched(
                vm_state=event.vm_state,
                task_state=event.task_state,
                position=recorded.position,
                host=event.host,
                asked_at=event.asked_at,
                power_state=event.power_state,
                after=event.after,
                node=event.node,
            )
        case _:
            return None


def essence(said: Vouched | RecordObserved) -> tuple[object, ...]:
    """What makes two records of an instance say the same."""
    return said.vm_state, said.task_state, said.power_state, said.host, said.node
