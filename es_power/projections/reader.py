"""Read models of a log at a position: what its tables say, and the rest of the log on top."""

from collections.abc import AsyncIterator, Callable

import trio

from es_power.domain.events import START, InventoryRecorded, Position, Recorded
from es_power.domain.ports import EventReader
from es_power.errors import UnknownEventError
from es_power.projections.history import Entry
from es_power.projections.quarantine import unreadable
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store

BATCH = 1000
"""Records folded between two checkpoints of trio, and between two commits of the tables."""


async def read_models(
    log: EventReader,
    store: Store | None = None,
    *,
    until: Position | None = None,
    tables: bool = True,
    progress: Callable[[Position], None] = lambda _: None,
) -> tuple[ReadModels, Step]:
    """Fold the log up to `until` (or its head), from the tables where they are not beyond it, else from its beginning.

    The step holds the history entries and command rows that the tables do not have yet. Without `tables` these are not
    asked. RecordPrunedError where the log begins after `until`. A log in no database is whole, and has no store.
    """
    models, rest = ReadModels(), Step()
    if store is not None:
        models, rest = await trio.to_thread.run_sync(store.load_on if tables else store.load_first)
        if until is not None and models.fleet.position > until:
            models, rest = await trio.to_thread.run_sync(store.load_first)
            if models.fleet.position > until:
                await trio.to_thread.run_sync(store.require_kept, until)
        await _list_inventories(log, models)
    async for batch in batches(log, models, until=until):
        rest.add(models.apply(batch))
        progress(models.fleet.position)
    return models, rest


async def load(log: EventReader, store: Store, *, resume: bool = False) -> ReadModels:
    """Read the models as of the tables' checkpoint."""
    models = await trio.to_thread.run_sync(lambda: store.load(resume=resume))
    await _list_inventories(log, models)
    return models


async def load_all(log: EventReader, store: Store) -> tuple[ReadModels, list[Entry]]:
    """Read the models and all history as of the tables' checkpoint."""
    models, entries = await trio.to_thread.run_sync(store.load_all)
    await _list_inventories(log, models)
    return models, entries


async def _list_inventories(log: EventReader, models: ReadModels) -> None:
    for stream, place in models.fleet.places.items():
        # A sweep names its inventory by version, so the one in force is read where it stands.
        inventory = place.host.inventory
        if inventory:
            try:
                records = await log.read_stream(stream, after=inventory - 1, limit=1)
            except UnknownEventError as error:
                # Its sweeps cannot be read either, until there is another one; all else that is known stands.
                models.fleet.quarantine(unreadable(error, Position(error.position or START)))
                continue
            event = records[0].event
            assert isinstance(event, InventoryRecorded)
            place.order = {instance: index for index, instance in enumerate(event.instances)}


async def next_batch(log: EventReader, models: ReadModels, *, until: Position | None = None) -> list[Recorded]:
    """Read what follows on the models' position; a record that cannot be read is set aside, and the next one read."""
    while True:
        try:
            return list(await log.read(after=models.fleet.position, until=until, limit=BATCH))
        except UnknownEventError as error:
            position = Position(error.position or models.fleet.position + 1)
            models.fleet.set_aside(unreadable(error, position))


async def batches(
    log: EventReader, models: ReadModels, *, until: Position | None = None
) -> AsyncIterator[list[Recorded]]:
    """Read what follows on the models' position until there is no more; the caller applies each batch."""
    while batch := await next_batch(log, models, until=until):
        yield batch
