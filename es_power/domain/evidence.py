"""What a case of `causes` is made of: facts, what surrounds them, and what a verdict gives back of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from es_power.domain.cause_table import Cause, Confidence
from es_power.domain.events import Event, Position
from es_power.domain.states import PowerState
from es_power.domain.time import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact of the log that may bear on a case."""

    position: Position
    index: int | None = None
    #: The host that it is about; None where it is about none.
    host: str | None
    event: Event
    #: The texts of its labels by their fields, and ``actor`` for a step of a command's life.
    texts: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def at(self) -> Timestamp:
        """When it was so, at its source."""
        return self.event.observed_at

    @property
    def order(self) -> tuple[Timestamp, Position, int]:
        """By time, since facts of several programs stand side by side; those of one moment as in the log."""
        return self.at, self.position, self.index or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """A time in which nobody saw the host."""

    position: Position
    since: Timestamp
    #: None: still.
    until: Timestamp | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """The host was booted anew over a time in which nobody saw it."""

    #: The record that first bears the new boot id, and the time that it says.
    position: Position
    at: Timestamp
    before: UUID
    after: UUID
    #: Other guests that were on ten minutes before it was gone, and how many of them were told to go since.
    others: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One change of one VM's state on one host, and what may bear on it."""

    change: Fact
    from_state: PowerState | None
    to_state: PowerState | None
    #: When it came into the former state, and was last seen in it; None where it was never seen before.
    since: Timestamp | None = None
    last_seen: Timestamp | None = None
    #: When it left the new state; None: it has not.
    until: Timestamp | None = None
    #: What else there is, in any order: the VM's facts on that host between two changes, and what others wrote of it.
    facts: Sequence[Fact] = ()
    blind: Sequence[Blind] = ()
    reboot: Reboot | None = None
    #: A fact of another host that shows the VM on at that moment.
    elsewhere: Fact | None = None
    #: Whether libvirt's log of the VM was read up to then; None where there is none (libvirt's test driver).
    log_read: bool | None = None
    #: Whether Nova vouches for the VM, so that its requests are read.
    nova: bool = False


class Kind(StrEnum):
    """What a piece of evidence is."""

    #: A fact of the log, by its own words.
    FACT = "fact"
    #: The host bears another boot id.
    REBOOT = "reboot"
    #: Other guests of the host were told to go.
    OTHERS = "others"
    #: Nobody saw the host.
    GAP = "gap"
    #: No event announced it.
    UNANNOUNCED = "unannounced"
    #: No event said from which side it came.
    ONE_SIDED = "one-sided"
    #: No command of es_power and no request in Nova before it.
    NOT_ASKED = "not asked"
    #: The log of the VM is not read.
    LOG_NOT_READ = "log not read"
    #: The log of the VM is read, and has no line of a signal.
    NO_SIGNAL = "no signal"
    #: The log of the VM is read, and has no line of an end.
    NO_END = "no end"
    #: libvirt tells a guest's own shutdown from one that was asked for by ACPI no more than this.
    ACPI = "acpi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that was found, or looked for in vain."""

    kind: Kind
    #: ``+`` speaks for the verdict; ``-`` was looked for and is not there, or speaks against it.
    weight: str
    position: Position | None = None
    index: int | None = None
    at: Timestamp | None = None
    #: Of a gap: its end, None while it lasts; and why.
    until: Timestamp | None = None
    reason: str | None = None
    #: Of other guests: how many, and of how many.
    count: int | None = None
    of: int | None = None
    fact: Fact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why, how sure, and by what evidence."""

    cause: Cause
    confidence: Confidence
    from_state: PowerState | None
    to_state: PowerState | None
    #: When it was seen to be so; where nothing announced it, the former state was last seen `not_before`.
    at: Timestamp
    not_before: Timestamp | None = None
    #: Who asked for it, where somebody did as far as is known; and under which id of Nova's.
    actor: str | None = None
    request_id: str | None = None
    #: The process that ended qemu, and its name where the log has it.
    pid: int | None = None
    process: str | None = None
    signal: int | None = None
    #: Whether it went past es_power and Nova; None where that is not known.
    out_of_band: bool | None = None
    evidence: tuple[Evidence, ...] = ()
