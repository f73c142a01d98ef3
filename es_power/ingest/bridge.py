"""The one place where a native thread meets trio.

Nova's note queues an event on libvirt's thread and wakes the main thread through a pipe; the names are its names, and
the pipe is trio's own door for threads. Rules of this file:
1. `queue_event` takes no lock of ours, never waits and never raises: while it runs, libvirt's thread delivers nothing.
2. The queue is bounded. What does not fit is counted, and the count reaches the listeners as an `Overflow` in its
   place between the events: a loss must become a fact.
3. One native thread queues. `deque` and the counters below are safe then, since each has one writer.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import trio

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Overflow(Generic[T]):
    """Events were dropped because nobody emptied the queue in time: `lost` of them, none before `after`."""

    lost: int
    after: T


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatistics:
    """How many events went through the door since it was made."""

    #: Taken in.
    queued: int
    #: Handed to the listeners.
    emitted: int
    #: Refused, since the queue was full.
    dropped: int
    #: In the queue now.
    waiting: int


class EventBridge(Generic[T]):
    """A one-way door from a native thread to listeners in trio; made inside trio, by the task that owns it."""

    def __init__(self, *, capacity: int = 100_000) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._capacity = capacity
        self._listeners: list[Callable[[Sequence[T | Overflow[T]]], Awaitable[None]]] = []
        self._emitting = trio.Lock()
        # Each event with how many had been dropped before it. The thread that queues writes both, so that a loss that
        # it came to count late, after the queue that it saw full was emptied, still stands before what it took in next.
        # An overflow waits here too, where its emission was broken off.
        self._queue: deque[tuple[T | Overflow[T], int]] = deque()
        # Written by the native thread only.
        self._queued = 0
        self._dropped = 0
        # Written by trio only, but for `_idle`, which the native thread takes away when it has rung.
        self._idle = False
        self._awake = trio.Event()
        self._emitted = 0
        self._reported = 0
        self._latest: T | None = None

    def queue_event(self, event: T) -> None:
        """Take in one event, on libvirt's thread."""
        if len(self._queue) < self._capacity:
            self._queue.append((event, self._dropped))
            self._queued += 1
        else:
            self._dropped += 1
        # Ringing writes to a socket and so lets go of the interpreter, which may take milliseconds to get back; while
        # the other side is awake it looks into the queue by itself before it sleeps again.
        if self._idle:
            self._idle = False
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._awake.set()

    def register_event_listener(self, callback: Callable[[Sequence[T | Overflow[T]]], Awaitable[None]]) -> None:
        """Have `callback` awaited with each batch, in order; what it raises ends `run`."""
        self._listeners.append(callback)

    async def run(self) -> NoReturn:
        """Emit what is queued as it comes, until cancelled."""
        while True:
            self._awake = trio.Event()
            self._idle = True
            # `_idle` first, the look second: an event queued in between either is seen here, or rings.
            if not self._queue and self._dropped == self._reported:
                await self._awake.wait()
            self._idle = False
            await self.emit_queued_events()

    async def emit_queued_events(self) -> None:
        """Hand all that is queued to the listeners as one batch; returns when they are done with it."""
        async with self._emitting:
            batch: list[T | Overflow[T]] = []
            for _ in range(len(self._queue)):
                item, dropped = self._queue.popleft()
                self._tell_lost(batch, dropped)
                batch.append(item)
                self._latest = item.after if isinstance(item, Overflow) else item
            # The losses that no event has followed yet; perhaps one has by now, and then the gap begins too early.
            self._tell_lost(batch, self._dropped)
            try:
                await self._emit(batch)
            except BaseException:
                # Cancelled, as when the service ends: whoever emits next finds it all in its place.
                self._queue.extendleft((item, 0) for item in reversed(batch))
                raise
            self._emitted += sum(not isinstance(item, Overflow) for item in batch)

    def _tell_lost(self, batch: list[T | Overflow[T]], dropped: int) -> None:
        lost = dropped - self._reported
        if lost > 0:
            assert self._latest is not None  # only a full queue drops
            batch.append(Overflow(lost, after=self._latest))
            self._reported = dropped

    async def _emit(self, batch: Sequence[T | Overflow[T]]) -> None:
        for listener in self._listeners if batch else ():
            await listener(batch)

    def statistics(self) -> BridgeStatistics:
        """Read the counters."""
        return BridgeStatistics(
            queued=self._queued, emitted=self._emitted, dropped=self._dropped, waiting=len(self._queue)
        )
