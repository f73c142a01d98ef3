"""A watcher that keeps the tables."""

from collections.abc import Sequence
from typing import Final, Self
from uuid import UUID

import structlog
import trio

from es_power.domain.decisions import CommandEvent, Expired, Resolved, Retried, Sent, StopRequested, Withdrawn
from es_power.domain.events import START, InstanceId, Position, Recorded
from es_power.domain.ports import EventReader
from es_power.domain.streams import planner
from es_power.errors import LogUnavailableError, TablesDamagedError, UnknownEventError
from es_power.projections.reader import BATCH, load, read_models
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store
from es_power.projections.watcher import Listener, Watcher

_AT_ONCE: Final = 20_000
"""Records between two writes of the tables while there is more to read; less than from one snapshot to the next."""


class Follower(Watcher):
    """Owns the read models of a service."""

    def __init__(self, log: EventReader, store: Store, models: ReadModels) -> None:
        super().__init__(log, store, models)
        #: What was folded and is not in the tables yet; they are at `_saved`.
        self._unsaved = Step()
        self._saved = models.fleet.position
        #: Commands that were derived and are not in the log yet, by id and step: their process manager owes them.
        self._owed: set[tuple[UUID, str]] = set()
        #: How far each process manager had come when its first command was derived here.
        self._tracked: dict[str, Position] = {}
        #: Commands that were derived from what their process manager has read already: in the log, or nowhere.
        self._dealt_with: dict[UUID, InstanceId] = {}

    @property
    def saved(self) -> Position:
        """Up to where the tables have it."""
        return self._saved

    def snapshot(self) -> tuple[ReadModels, Step]:
        """The read models as of now, for questions that take their time, and what of them the tables do not have."""
        rest = self._unsaved.copy()
        rest.since = self._saved
        return self.models.copy(), rest

    @classmethod
    async def start(cls, log: EventReader, store: Store) -> Self:
        """Make the tables where they are missing, and begin where they end; damaged ones begin anew.

        So do those that pass over a record which another version could not apply, and this one can read: then the VMs
        in doubt by it are folded from their own histories.
        """
        await trio.to_thread.run_sync(store.create)
        try:
            elsewhere = await trio.to_thread.run_sync(store.set_aside_elsewhere)
            mended = [position for position in elsewhere if await _is_readable(log, position)]
            because = f"record {mended[0]}, which another version set aside, can be read" if mended else ""
            models = await load(log, store, resume=True)
        except TablesDamagedError as damage:
            because = str(damage)
        if because:
            structlog.get_logger().warning("the tables are made anew from the log", because=because)
            await trio.to_thread.run_sync(store.drop)
            await trio.to_thread.run_sync(store.create)
            models = await load(log, store, resume=True)
        return cls(log, store, models)

    def _reached_the_end(self) -> None:
        """Let go of commands that were derived from old facts and that nobody appended, so that new facts decide."""
        dealt_with, self._dealt_with = self._dealt_with, {}
        for command, instance in dealt_with.items():
            if command not in self.models.commands.rows:
                self.models.derivation.drop(instance, command)

    async def _hand_on(self, batch: Sequence[Recorded], step: Step, listener: Listener) -> None:
        """Tell the listener before the tables have it.

        The tables do not go beyond a fact while a command that follows from it is not in the log: whoever begins at
        them would take it for recorded, be it this service after a crash or another one of the same log.
        """
        self._unsaved.add(step)
        await self._settle(batch, step)
        await listener(batch, step)
        # Far behind, as after an upgrade, the tables take more at a time: each page is written once for all of it.
        behind = len(batch) == BATCH and self.models.fleet.position - self._saved < _AT_ONCE
        if not self._owed and not behind:
            await self._save()

    async def _settle(self, batch: Sequence[Recorded], step: Step) -> None:
        """Note which commands are owed, and which of them the log has now."""
        for each in step.derived:
            name = planner(each.stream)
            if name not in self._tracked:
                self._tracked[name] = await self._log.tracked(name) or START
            # What lies before that was dealt with: if it is not in the log, no process manager will add it any more.
            if each.because > self._tracked[name]:
                self._owed.add((each.event.command, type(each.event).__name__))
            elif isinstance(each.event, StopRequested):
                self._dealt_with[each.event.command] = each.event.instance
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


async def _is_readable(log: EventReader, position: Position) -> bool:
    try:
        return bool(await log.read(after=Position(position - 1), until=position))
    except UnknownEventError:
        return False
