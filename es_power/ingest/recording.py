"""How it goes with recording: whether the log takes what is seen, and how much waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from es_power.log.patience import Doing, Outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffered:
    """What one host's events have come to on their way to the log."""

    #: In memory, handed over by libvirt and not acknowledged by the log.
    waiting: int
    #: Dropped since the service began, since there was no room in memory either.
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """How it goes with all hosts of a service."""

    #: What the log refuses now.
    outages: Mapping[Doing, Outage] = field(default_factory=dict)
    #: By the observers' streams.
    buffered: Mapping[str, Buffered] = field(default_factory=dict)
