"""The live end of a log: fold what it gains, and tell others."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, Self

import structlog
import trio

from es_power.domain.events import Position, Recorded
from es_power.domain.ports import EventReader
from es_power.errors import LogRewoundError, TablesDamagedError, UnknownEventError
from es_power.projections.reader import BATCH, load, next_batch
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store

GATHER: Final = 0.05
"""Seconds, at least, from one batch to the next, so that nobody folds, and commits, each record by itself.

A commit of the tables keeps the log's own waiting, so that at some hundred records a second it is the log that is
slowed. What comes after a while of silence, as the sweep that ends a gap does, waits for nothing.
"""

Listener = Callable[[Sequence[Recorded], Step], Awaitable[None]]


class Watcher:
    """Has the read models of everything that is in the log, a moment after it came; writes nothing."""

    def __init__(self, log: EventReader, store: Store, models: ReadModels) -> None:
        self._log = log
        self._store = store
        self.models = models
        self._told = 0
        self._last: Recorded | None = None
        #: When the newest batch was read, on trio's clock.
        self._read_at = -inf
        self._folded = trio.Event()

    @classmethod
    async def start(cls, log: EventReader, store: Store) -> Self:
        """Begin where the tables end; without tables that can be read, where the log begins."""
        try:
            models = await load(log, store, resume=True)
        except TablesDamagedError as damage:
            structlog.get_logger().warning("the log is read from its beginning", because=str(damage))
            models = await trio.to_thread.run_sync(lambda: store.load_first(resume=True)[0])
        return cls(log, store, models)

    async def caught_up(self) -> None:
        """Wait until everything that is in the log now is folded."""
        head = await self._log.head()
        while self.models.fleet.position < head:
            await self._folded.wait()

    async def reached(self, position: Position) -> None:
        """Wait until everything up to a position is folded."""
        while self.models.fleet.position < position:
            await self._folded.wait()

    async def run(self, listener: Listener) -> None:
        """Fold until cancelled; `listener` is awaited with each batch and what it led to."""
        while True:
            batch = await self._next()
            self._last = batch[-1]
            step = self.models.apply(batch)
            self._tell_of_what_was_set_aside()
            await self._hand_on(batch, step, listener)
            self._wake()

    def _reached_the_end(self) -> None:
        """All that is in the log is folded."""

    async def _hand_on(self, batch: Sequence[Recorded], step: Step, listener: Listener) -> None:
        await listener(batch, step)

    def _wake(self) -> None:
        self._folded.set()
        self._folded = trio.Event()

    async def _next(self) -> Sequence[Recorded]:
        """Wait for what the log gains."""
        while not (batch := await self._gathered()):
            # The end of the log may have been a record that was set aside, in no batch.
            self._tell_of_what_was_set_aside()
            self._reached_the_end()
            self._wake()
            await self._log.wait_beyond(self.models.fleet.position)
        await self._require_same_log()
        # Whoever is behind does not wait for more.
        self._read_at = trio.current_time() if len(batch) < BATCH else -inf
        return batch

    async def _gathered(self) -> Sequence[Recorded]:
        await trio.sleep(max(0.0, self._read_at + GATHER - trio.current_time()))
        return await next_batch(self._log, self.models)

    async def _require_same_log(self) -> None:
        """Find out whether the log was replaced by one that has grown since: what was folded last must still be there.

        It is looked for after what follows on it was read, so that a log replaced at any moment before that is noticed.
        """
        if self._last is not None:
            position = self._last.position
            with suppress(UnknownEventError):  # damaged since; it was folded while it was whole
                for found in await self._log.read(after=Position(position - 1), until=position):
                    if found != self._last:
                        raise LogRewoundError(checkpoint=position, head=await self._log.head())

    def _tell_of_what_was_set_aside(self) -> None:
        quarantined = list(self.models.fleet.quarantined.values())
        for aside in quarantined[self._told :]:
            structlog.get_logger().error("a record was set aside", position=aside.position, reason=aside.reason)
        self._told = len(quarantined)
