"""The tables hold what the fold holds: kept batch by batch, loaded, or rebuilt, it is the same."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from es_power.domain.events import Recorded
from es_power.log.database import Database
from es_power.projections.power_state import digest
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store
from tests.property.logs import LOGS, Act, write
from tests.unit.log.facts import new_database


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    database = new_database()
    yield database
    database.close()


def load(store: Store, records: list[Recorded]) -> ReadModels:
    """As `reader.load` does, with the inventories out of a list."""
    models = store.load()
    for stream, place in models.fleet.places.items():
        for recorded in records:
            if (recorded.stream, recorded.version) == (stream, place.host.inventory):
                place.order = {instance: index for index, instance in enumerate(recorded.event.instances)}
    return models


@settings(deadline=None)  # making the tables takes longer than the fold
@given(LOGS, st.lists(st.integers(1, 7), min_size=60, max_size=60))
def test_tables_kept_batch_by_batch_load_as_the_fold(database: Database, acts: list[Act], sizes: list[int]) -> None:
    records = write(acts).records
    store = Store(database)
    store.rebuild(ReadModels(), Step())  # empty tables, as at a first start
    live, rest, since = ReadModels(), list(records), 0
    for size in sizes:
        batch, rest = rest[:size], rest[size:]
        if batch:
            step = live.apply(batch)
            assert store.save(live, step, since=since)
            since = live.fleet.position
    loaded = load(store, records)

    assert digest(live.fleet) == digest(loaded.fleet)
    assert live.history.open == loaded.history.open
    assert live.commands.rows == loaded.commands.rows
    assert live.derivation.planned >= loaded.derivation.planned

    # And what comes after is folded onto the one as onto the other.
    more = write([*acts, *acts]).records[len(records) :]
    live.apply(more)
    loaded.apply(more)

    assert digest(live.fleet) == digest(loaded.fleet)


@settings(deadline=None)
@given(LOGS)
def test_rebuilt_tables_load_as_the_fold(database: Database, acts: list[Act]) -> None:
    records = write(acts).records
    replayed = ReadModels()
    step: Step = replayed.apply(records)
    store = Store(database)

    store.rebuild(replayed, step)
    loaded = load(store, records)

    assert digest(replayed.fleet) == digest(loaded.fleet)
    assert replayed.history.open == loaded.history.open


def test_tables_that_somebody_else_moved_are_left_alone(database: Database) -> None:
    records = write([]).records
    store = Store(database)
    store.rebuild(ReadModels(), Step())
    live = ReadModels()
    step = live.apply(records)

    assert store.save(live, step, since=0)
    assert store.save(live, step, since=0)
