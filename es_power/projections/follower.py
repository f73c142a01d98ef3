"""The live end of the read models: fold what the log gains, keep the tables, tell others."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import structlog
import trio

from es_power.domain.decisions import CommandEvent, Expired, Resolved, Retried, Sent, Withdrawn
from es_power.domain.events import START, Position, Recorded
from es_power.domain.ports import EventReader
from es_power.domain.streams import planner
from es_power.errors import LogUnavailableError, TablesDamagedError
from es_power.projections.reader import load, next_batch, read_models
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store

ASK_AGAIN: Final = 1.0
"""Seconds after which a log that did not answer is asked again."""

GATHER: Final = 0.05
"""Seconds in which what the log gains is gathered, so that a storm does not fold, and commit, each record by itself."""

Listener = Callable[[Sequence[Recorded], Step], Awaitable[None]]


class Follower:
    """Owns the read models of a service."""

    def __init__(self, log: EventReader, store: Store, models: ReadModels) -> None:
        self._log = log
        self._store = store
        self.models = models
        #: What was folded and is not in the tables yet; they are at `_saved`.
        self._unsaved = Step()
        self._saved = models.fleet.position
        #: Commands that were derived and are not in the log yet, by id and step: their process manager owes them.
        self._owed: set[tuple[UUID, str]] = set()
        #: How far each process manager had come when its first command was derived here.
        self._tracked: dict[str, Position] = {}
        self._told = 0
        self._folded = trio.Event()

    @classmethod
    async def start(cls, log: EventReader, store: Store) -> "Follower":
        """Make the tables where they are missing, and begin where they end; damaged ones begin anew."""
        await trio.to_thread.run_sync(store.create)
        try:
            models = await load(log, store, resume=True)
        except TablesDamagedError as damage:
            structlog.get_logger().warning("the tables are made anew from the log", because=str(damage))
            await trio.to_thread.run_sync(store.drop)
            await trio.to_thread.run_sync(store.create)
            models = ReadModels(resume=True)
        return cls(log, store, models)

    async def caught_up(self) -> None:
        """Wait until everything that is in the log now is folded."""
        head = await self._log.head()
        while self.models.fleet.position < head:
            await self._folded.wait()

    async def run(self, listener: Listener) -> None:
        """Fold until cancelled; `listener` is awaited with each batch and what it led to, before the tables have it.

        The tables do not go beyond a fact while a command that follows from it is not in the log: whoever begins at
        them would take it for recorded, be it this service after a crash or another one of the same log.
        """
        while True:
            batch = await self._next()
            step = self.models.apply(batch)
            self._unsaved.add(step)
            self._tell_of_what_was_set_aside()
            await self._settle(batch, step)
            await listener(batch, step)
            if not self._owed:
                await self._save()
            self._wake()

    def _wake(self) -> None:
        self._folded.set()
        self._folded = trio.Event()

    async def _next(self) -> Sequence[Recorded]:
        """Wait for what the log gains; a log that does not answer is asked again."""
        while True:
            try:
                if batch := await next_batch(self._log, self.models):
                    return batch
                # The end of the log may have been a record that was set aside, in no batch.
                self._tell_of_what_was_set_aside()
                self._wake()
                await self._log.wait_beyond(self.models.fleet.position)
                await trio.sleep(GATHER)
            except LogUnavailableError as error:
                structlog.get_logger().error("the log cannot be read now", error=str(error))
                await trio.sleep(ASK_AGAIN)

    def _tell_of_what_was_set_aside(self) -> None:
        quarantined = list(self.models.fleet.quarantined.items())
        for position, reason in quarantined[self._told :]:
            structlog.get_logger().error("a record was set aside", position=position, reason=reason)
        self._told = len(quarantined)

    async def _settle(self, batch: Sequence[Recorded], step: Step) -> None:
        """Note which commands are owed, and which of them the log has now."""
        for each in step.derived:
            name = planner(each.stream)
            if name not in self._tracked:
                self._tracked[name] = await self._log.tracked(name) or START
            # What lies before that was dealt with: if it is not in the log, no process manager will add it any more.
            if each.because > self._tracked[name]:
                self._owed.add((each.event.command, type(each.event).__name__))
        for recorded in batch:
            if isinstance(recorded.event, CommandEvent):
                self._owed.discard((recorded.event.command, type(recorded.event).__name__))
            if isinstance(recorded.event, Sent | Withdrawn | Expired | Retried):
                # An actor or a person was there first; the process manager adds nothing to that.
                self._owed -= {(recorded.event.command, each.__name__) for each in (Withdrawn, Resolved)}

    async def _save(self) -> None:
        try:
            if not await self._saved_since(self.models, self._unsaved, self._saved):
                # They were rebuilt meanwhile, and end before what was last written: all since then is missing.
                models, step = await read_models(self._log, self._store, until=self.models.fleet.position)
                await self._saved_since(models, step, step.since)
        except LogUnavailableError as error:
            # The tables can wait: whoever reads them folds the rest of the log on top.
            structlog.get_logger().warning("the tables cannot be written now", error=str(error))
            return
        self._saved, self._unsaved = self.models.fleet.position, Step()

    async def _saved_since(self, models: ReadModels, step: Step, since: Position) -> bool:
        return await trio.to_thread.run_sync(lambda: self._store.save(models, step, since=since))
