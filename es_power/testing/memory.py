"""An EventLog that is nothing but Python: for tests of what reads and appends, without a database or a thread."""

from collections.abc import Sequence
from time import time_ns
from uuid import UUID

import trio

from es_power.domain.events import Event, Position, Recorded
from es_power.domain.ports import Append, Clock
from es_power.domain.time import Timestamp
from es_power.errors import ConcurrentAppendError, LogRewoundError


class MemoryLog:
    """Keeps events as objects; passes the same contract as the log in a database.

    `records` may be looked at freely. The clock gives `recorded_at`; without one it is the wall clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.records: list[Recorded] = []
        self._clock: Clock = clock or (lambda: Timestamp(time_ns()))
        self._versions: dict[str, int] = {}
        self._keys: dict[UUID, Position] = {}
        self._tracked: dict[str, Position] = {}
        self._labels: dict[int, str] = {}
        self._grown = trio.Event()

    async def append(self, append: Append) -> Position:
        """Take all of it in, or raise ConcurrentAppendError; see `domain.ports.EventLog`."""
        await trio.lowlevel.checkpoint()
        if append.key in self._keys:
            return self._keys[append.key]
        versions = dict(self._versions)
        events: list[tuple[str, int, Event]] = []
        for write in append.writes:
            actual = versions.get(write.stream, 0)
            if actual != write.expected:
                raise ConcurrentAppendError(write.stream, expected=write.expected, actual=actual)
            events += [(write.stream, version, event) for version, event in enumerate(write.events, actual + 1)]
            versions[write.stream] = actual + len(write.events)
        if append.tracking:
            name, position = append.tracking.name, append.tracking.position
            reached = self._tracked.get(name, -1)
            if reached >= position:
                raise ConcurrentAppendError(f"tracking of {name}", expected=position - 1, actual=reached)
            self._tracked[name] = position
        self._versions = versions
        for label in append.labels:
            self._labels.setdefault(label.id, label.text)
        for forgotten in append.forgets:
            self.forget(forgotten)
        first = Position(len(self.records) + 1)
        now = self._clock()
        for stream, version, event in events:
            position = Position(len(self.records) + 1)
            self.records.append(
                Recorded(position=position, stream=stream, version=version, recorded_at=now, event=event)
            )
        self._grown.set()
        self._grown = trio.Event()
        if not events:
            return Position(len(self.records))
        self._keys[append.key] = first
        return first

    def forget(self, label: int) -> None:
        """Erase a label's text, as a person may demand."""
        self._labels.pop(label, None)

    async def head(self) -> Position:
        """The position of the last record; 0 in an empty log."""
        await trio.lowlevel.checkpoint()
        return Position(len(self.records))

    async def read(self, *, after: Position, until: Position | None = None, limit: int = 1000) -> Sequence[Recorded]:
        """Records with after < position <= until, in order; LogRewoundError where `after` lies ahead of the head."""
        await trio.lowlevel.checkpoint()
        if after > len(self.records):
            raise LogRewoundError(checkpoint=after, head=len(self.records))
        return self.records[after : after + limit if until is None else min(until, after + limit)]

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> Sequence[Recorded]:
        """Records of one stream with a version above `after`, in order."""
        await trio.lowlevel.checkpoint()
        found = [record for record in self.records if record.stream == stream]
        return found[after : None if limit is None else after + limit]

    async def version(self, stream: str) -> int:
        """The version of the stream's last record; 0 where it does not exist."""
        await trio.lowlevel.checkpoint()
        return self._versions.get(stream, 0)

    async def find(self, key: UUID) -> Position | None:
        """The position of the first record of the append with this key."""
        await trio.lowlevel.checkpoint()
        return self._keys.get(key)

    async def tracked(self, name: str) -> Position | None:
        """How far the process manager of that name has read; None before its first time."""
        await trio.lowlevel.checkpoint()
        return self._tracked.get(name)

    async def labels(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of labels; a forgotten or unknown one is left out."""
        await trio.lowlevel.checkpoint()
        return {each: self._labels[each] for each in ids if each in self._labels}

    async def wait_beyond(self, position: Position) -> None:
        """Wait until the log has grown beyond `position`; a log that ends before it is for `read` to refuse."""
        while len(self.records) == position:
            await self._grown.wait()
        await trio.lowlevel.checkpoint()
