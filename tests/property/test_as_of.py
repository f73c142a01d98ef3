"""In two times, the answer is that of all facts that count, folded one by one: however late, and whatever is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings, strategies as st

from es_power.domain.events import GapOpened, Position, Recorded
from es_power.domain.logged import QemuEnded, QemuStarted
from es_power.domain.ports import Append, Write
from es_power.domain.streams import imported, is_told
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections import loading, past, snapshots, store as tables, times
from es_power.projections.as_of import bounds, fold_as_of, moment_at, moment_of
from es_power.projections.fleet import Fleet
from es_power.projections.power_state import digest
from es_power.projections.readmodels import ReadModels
from es_power.projections.store import Store
from es_power.projections.told import told_states
from es_power.testing.facts import SOMEBODY, T0
from tests.property.logs import ACTS, LOGS, VMS, Act, write


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A few records to a block, and to a snapshot."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (past, loading, times):
            patch.setattr(module, "BLOCK", 5)
        patch.setattr(tables, "EVERY", 7)
        yield


def _tell(vm: object, kind: type[QemuEnded | QemuStarted], ago: int) -> Act:
    more = {"reason": "shutdown"} if kind is QemuEnded else {}
    return lambda facts: facts.record(
        imported("qemu-log", "a"),
        kind(observed_at=Timestamp(facts.now - ago * SECOND), instance=vm, file=SOMEBODY, offset=1, **more),
    )


TOLD = st.builds(_tell, VMS, st.sampled_from([QemuStarted, QemuEnded]), st.integers(0, 60))
#: Of each record, by how many seconds it was seen before it came in, and how far the clock was back when it did.
SHIFTS = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 5, 30]), st.sampled_from([0, 0, 0, 0, 3, 20])), max_size=60)
MOMENTS = st.integers(-2, 70)


def shifted(records: Sequence[Recorded], shifts: Sequence[tuple[int, int]]) -> list[Recorded]:
    found = []
    for recorded, (late, back) in zip(records, [*shifts, *[(0, 0)] * len(records)], strict=False):
        event, recorded_at = recorded.event, Timestamp(recorded.recorded_at - back * SECOND)
        times_of = {"observed_at": Timestamp(event.observed_at - late * SECOND)}
        if isinstance(event, GapOpened):
            times_of = {"since": Timestamp(event.since - late * SECOND)}
        found.append(replace(recorded, recorded_at=recorded_at, event=replace(event, **times_of)))
    return found


def position_at(records: Sequence[Recorded], at: Timestamp) -> int:
    return max((recorded.position for recorded in records if recorded.recorded_at <= at), default=0)


def counted(records: Sequence[Recorded], at: Timestamp, known: int) -> list[Recorded]:
    """The facts that count, read off the definition."""
    position = min(position_at(records, at), known)

    def source(recorded: Recorded) -> Timestamp:
        return recorded.event.since if isinstance(recorded.event, GapOpened) else recorded.event.observed_at

    return [
        recorded
        for recorded in records
        if recorded.position <= position
        or (recorded.position <= known and not is_told(recorded.stream) and source(recorded) <= at)
    ]


def folded(records: Sequence[Recorded]) -> Fleet:
    fleet = Fleet()
    for recorded in records:
        try:
            fleet.apply(recorded)
        except Exception as error:  # noqa: BLE001 (set aside, as in the product)
            fleet.set_aside(recorded.position, str(error))
    return fleet


async def asked(
    records: Sequence[Recorded], kept: int, moments: Sequence[tuple[int, int | None]]
) -> list[tuple[int, str, dict[object, tuple[int, int]]]]:
    """The answers of a log whose tables end at `kept`: where the time is, the fleet, and the lines that tell of VMs."""
    clock = iter([recorded.recorded_at for recorded in records])
    answers = []
    async with open_log(":memory:", mode="write", clock=lambda: next(clock)) as log:
        for recorded in records:
            await log.append(
                Append(writes=[Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])])
            )
        store, models = Store(log.database), ReadModels()
        store.create()
        for start in range(0, kept, 3):
            since = models.fleet.position
            step = models.apply(records[start : min(start + 3, kept)])
            assert store.save(models, step, since=since)
        for at, known in moments:
            moment = await moment_at(log, Timestamp(T0 + at * SECOND))
            assert await log.position_at(moment.at) == moment.position
            then = await bounds(
                log, as_of=moment, known_at=None if known is None else await moment_of(log, Position(known))
            )
            fleet = await fold_as_of(log, then)
            told = {vm: (line.at, line.position) for vm, line in (await told_states(log, then)).items()}
            answers.append((moment.position, digest(fleet), told))
    return answers


def told_by(records: Sequence[Recorded], at: Timestamp, known: int) -> dict[object, tuple[int, int]]:
    """The newest line of each VM (there is one stream of them)."""
    found: dict[object, tuple[int, int]] = {}
    for recorded in records:
        event = recorded.event
        if isinstance(event, QemuStarted | QemuEnded) and recorded.position <= known and event.observed_at <= at:
            line = (event.observed_at, recorded.position)
            found[event.instance] = max(found.get(event.instance, line), line)
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(TOLD, ACTS), max_size=40),
    SHIFTS,
    st.floats(0, 1),
    st.lists(st.tuples(MOMENTS, st.none() | st.floats(0, 1)), min_size=4, max_size=4),
)
def test_as_of_a_time_known_at_another_is_the_fold_of_the_facts_that_count(
    acts: list[Act], shifts: list[tuple[int, int]], kept: float, moments: list[tuple[int, float | None]]
) -> None:
    records = shifted(write(acts).records, shifts)
    head = len(records)
    whole = [(at, None if known is None else round(known * head)) for at, known in moments]

    answers = trio.run(asked, records, round(kept * head), whole)

    for (seconds, known), answer in zip(whole, answers, strict=True):
        at, limit = Timestamp(T0 + seconds * SECOND), head if known is None else known
        facts = counted(records, at, limit)
        assert answer == (position_at(records, at), digest(folded(facts)), told_by(records, at, limit))


@settings(deadline=None)
@given(LOGS, LOGS)
def test_a_snapshot_is_the_fleet_that_it_was_made_of(acts: list[Act], more: list[Act]) -> None:
    records = write([*acts, *more]).records
    split = len(write(acts).records)
    fleet = folded(records[:split])
    for place in fleet.places.values():
        place.dirty.clear()  # what a store has to write, and no part of what is known

    loaded = snapshots.unpack(snapshots.pack(fleet))

    assert fleet.places == loaded.places
    assert fleet.seen_on == loaded.seen_on
    assert (fleet.vouched, fleet.quarantined, fleet.position) == (loaded.vouched, loaded.quarantined, loaded.position)
    for recorded in records[split:]:
        fleet.apply(recorded)
        loaded.apply(recorded)
    assert digest(fleet) == digest(loaded)
