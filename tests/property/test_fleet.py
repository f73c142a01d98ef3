"""The fleet's short cuts change nothing: folding a sweep whole equals folding each VM's part of it."""

from hypothesis import given, strategies as st

from es_power.domain import instance as instance_fold
from es_power.domain.events import HostSwept, InstanceEvent, InstanceId, InventoryRecorded, Recorded, StateObserved
from es_power.domain.instance import Instance, fold
from es_power.projections.fleet import Fleet
from es_power.projections.power_state import digest, power_rows
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import Facts, vm
from tests.property.logs import EVENTS, LOGS, VMS, Act, write


def parts(records: list[Recorded]) -> list[Recorded]:
    """The log with each sweep taken apart into the observations it stands for."""
    inventories: dict[str, tuple[InstanceId, ...]] = {}
    apart: list[Recorded] = []
    for recorded in records:
        event = recorded.event
        if isinstance(event, InventoryRecorded):
            inventories[recorded.stream] = event.instances
        if isinstance(event, HostSwept):
            apart += [
                Recorded(
                    position=recorded.position,
                    stream=recorded.stream,
                    version=recorded.version,
                    recorded_at=recorded.recorded_at,
                    event=event.answer(index, instance),
                    index=index,
                )
                for index, instance in enumerate(inventories[recorded.stream])
            ]
        else:
            apart.append(recorded)
    return apart


@given(LOGS)
def test_a_sweep_folded_whole_leaves_each_vm_as_folding_its_part_does(acts: list[Act]) -> None:
    facts = write(acts)
    fleet = Fleet()
    for recorded in facts.records:
        fleet.apply(recorded)
    by_vm: dict[tuple[InstanceId, str], list[Recorded]] = {}
    for recorded in parts(facts.records):
        event = recorded.event
        if isinstance(event, InstanceEvent) and recorded.stream.startswith("observer/"):
            by_vm.setdefault((event.instance, recorded.stream), []).append(recorded)

    expected: dict[tuple[InstanceId, str], Instance] = {key: fold(history) for key, history in by_vm.items()}

    assert expected == {(instance, stream): known for instance, stream, known in fleet}


@given(LOGS)
def test_a_log_with_its_sweeps_taken_apart_leads_to_the_same_commands_and_runs(acts: list[Act]) -> None:
    facts = write(acts)
    whole, apart = ReadModels(), ReadModels()

    whole_step = whole.apply(facts.records)
    apart_step = apart.apply(parts(facts.records))

    assert whole_step.derived == apart_step.derived
    counts = {
        key: (run.through(whole.fleet.places[key[1]].host).count, run.state) for key, run in whole.history.open.items()
    }
    assert counts == {key: (run.count, run.state) for key, run in apart.history.open.items()}


@given(LOGS, st.integers(0, 40))
def test_folding_in_two_batches_is_folding_in_one(acts: list[Act], cut: int) -> None:
    facts = write(acts)
    once, twice = ReadModels(), ReadModels()
    once.apply(facts.records)
    twice.apply(facts.records[:cut])
    twice.apply(facts.records[cut:])

    assert digest(once.fleet) == digest(twice.fleet)
    assert once.history.open == twice.history.open


@given(LOGS)
def test_after_a_sweep_that_asked_last_the_table_says_what_the_sweep_said(acts: list[Act]) -> None:
    facts = write(acts)
    answers = {vm(1): (1, 1), vm(2): (5, 1), vm(3): (3, 1), vm(4): (1, 1)}
    facts.sweep(answers, "a")
    fleet = Fleet()
    for recorded in facts.records:
        fleet.apply(recorded)

    assert answers == {
        i: (fleet.get(i, "observer/a/qemu").state, fleet.get(i, "observer/a/qemu").reason) for i in answers
    }


@given(LOGS)
def test_every_vm_has_a_row_for_each_host_that_showed_it(acts: list[Act]) -> None:
    facts = write(acts)
    fleet = Fleet()
    for recorded in facts.records:
        fleet.apply(recorded)

    rows = list(power_rows(fleet, now=facts.now, everything=True))

    assert sorted((row.instance, row.host) for row in rows) == sorted(
        (instance, stream.split("/")[1]) for instance, stream, _ in fleet
    )


@given(VMS, EVENTS)
def test_an_event_delivered_twice_counts_once(instance: InstanceId, event: tuple[int, int]) -> None:
    facts = Facts()
    recorded = facts.announce(instance, *event)
    once = instance_fold.evolve(Instance(), recorded)

    assert once == instance_fold.evolve(once, recorded)
    assert isinstance(facts.observe(instance, 1).event, StateObserved)


def test_a_sweep_that_was_asked_before_the_last_one_loses_to_events_that_the_last_one_knew() -> None:
    facts = Facts()
    facts.start("a")
    facts.announce(vm(1), 0, 0)
    facts.sweep({vm(1): (1, 1)})
    facts.sweep({vm(1): (1, 1)}, number=0)
    fleet = Fleet()
    changes = [fleet.apply(recorded) for recorded in facts.records]

    assert [change.stale for change in changes[-1]] == [True]
    assert facts.records[-2].position == fleet.get(vm(1), "observer/a/qemu").position
