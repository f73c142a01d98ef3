"""What the rest of the house may ask of the world. Adapters implement these; tests have a kit of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from es_power.chance import new_uuid
from es_power.domain.events import Event, Position, Recorded
from es_power.domain.time import Timestamp


class Clock(Protocol):
    """The wall clock of this machine."""

    def __call__(self) -> Timestamp:
        """Read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelText:
    """A label's row beside the log: what a Label in a record stands for."""

    id: int
    salt: bytes
    text: str
    #: Of a text that is not kept whole, SHA-256 of all of it; else None.
    whole: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Events for one stream; `expected` is the version it must have before (0: it must not exist yet)."""

    stream: str
    expected: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """How far a process manager has read, stored in the same transaction as what it appends."""

    name: str
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """What one caller wants in the log: all of it in one transaction, or nothing."""

    writes: Sequence[Write]
    labels: Sequence[LabelText] = ()
    #: The ids of labels whose texts are erased for good.
    forgets: Sequence[int] = ()
    tracking: Tracking | None = None
    #: By this the outcome of an append can be looked up when it is unknown.
    key: UUID = field(default_factory=new_uuid)


class EventReader(Protocol):
    """The log as its readers see it; nothing here can write."""

    async def head(self) -> Position:
        """The position of the last record; 0 in an empty log."""

    async def read(self, *, after: Position, until: Position | None = None, limit: int = 1000) -> Sequence[Recorded]:
        """Records with after < position <= until, in order; LogRewoundError where `after` lies ahead of the head."""

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> Sequence[Recorded]:
        """Records of one stream with a version above `after`, in order."""

    async def version(self, stream: str) -> int:
        """The version of the stream's last record; 0 where it does not exist."""

    async def find(self, key: UUID) -> Position | None:
        """The position of the first record of the append with this key; None where it never became durable."""

    async def tracked(self, name: str) -> Position | None:
        """How far the process manager of that name has read; None before its first time."""

    async def labels(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of labels; a forgotten or unknown one is left out."""

    async def wait_beyond(self, position: Position) -> None:
        """Wait until the log may have grown beyond `position`: a hint, never a promise."""


class EventLog(EventReader, Protocol):
    """An append-only, totally ordered record of events."""

    async def append(self, append: Append) -> Position:
        """Make it durable and return the position of its first record (positions of one append are contiguous).

        Raises ConcurrentAppendError where a stream is not at its expected version, and LogUnavailableError where
        the database refused. Cancelled before its commit began, nothing is written; cancelled during it, the
        commit runs to its end first, and `find(append.key)` tells.
        """
