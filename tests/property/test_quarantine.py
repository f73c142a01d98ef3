"""Any one bad record leaves what is known of all VMs that it is not about as it is, whichever way they are folded."""

from unittest import mock

import pytest
from hypothesis import given, settings, strategies as st

from es_power.domain.decisions import StopRequested
from es_power.domain.events import HostSwept, InstanceEvent, InstanceId, Recorded
from es_power.domain.states import UNKNOWN, VmState
from es_power.domain.streams import observer
from es_power.errors import UnknownEventError
from es_power.log.codec import Codec
from es_power.projections import fleet as fleet_module
from es_power.projections.fleet import Fleet
from es_power.projections.lean import LeanFold
from es_power.projections.power_state import power_rows
from es_power.projections.quarantine import EVERYBODY, SetAside, failed, unreadable
from es_power.projections.readmodels import ReadModels
from es_power.projections.snapshots import pack, unpack
from es_power.projections.stop_commands import Derived
from es_power.testing.facts import Facts, vm
from tests.property.logs import LOGS, Act, write
from tests.property.test_lean import bare


def as_unreadable(recorded: Recorded, *, with_instance: bool = True) -> SetAside:
    error = UnknownEventError(type(recorded.event).__name__, position=recorded.position)
    error.stream = recorded.stream
    error.instance = getattr(recorded.event, "instance", None) if with_instance else None
    return unreadable(error, recorded.position)


def folded(records: list[Recorded], bad: int | None = None, **how: bool) -> tuple[ReadModels, list[Derived]]:
    """The models, where the record of one place cannot be read."""
    models, derived = ReadModels(), []
    for place, recorded in enumerate(records):
        if place == bad:
            models.fleet.set_aside(as_unreadable(recorded, **how))
        else:
            derived += models.apply([recorded]).derived
    return models, derived


def folded_lean(records: list[Recorded], bad: int) -> Fleet:
    fold = LeanFold(Codec())
    fold.apply([bare(each) for each in records[:bad]])
    fold.fleet.set_aside(as_unreadable(records[bad]))
    fold.apply([bare(each) for each in records[bad + 1 :]])
    fold.settle()
    return fold.fleet


def in_doubt(whole: Fleet, part: Fleet) -> set[InstanceId]:
    """The VMs that may be concerned, of those that the whole log shows."""
    doubtful = {each for aside in part.quarantined.values() for each in aside.doubtful}
    return {
        instance
        for instance in {*whole.seen_on, *whole.vouched}
        if doubtful & {instance, EVERYBODY, *whole.seen_on.get(instance, ())}
    }


@settings(deadline=None)
@given(LOGS, st.data())
def test_one_bad_record_changes_nothing_of_the_vms_that_it_is_not_about(acts: list[Act], data: st.DataObject) -> None:
    records = write(acts).records
    bad = data.draw(st.integers(0, len(records) - 1))
    (whole, called_for), (part, still_called_for) = folded(records), folded(records, bad)
    doubted = in_doubt(whole.fleet, part.fleet)

    assert records[bad].position in part.fleet.quarantined
    for instance in {*whole.fleet.seen_on, *whole.fleet.vouched} - doubted:
        assert whole.fleet.hosts_of(instance) == part.fleet.hosts_of(instance)
        assert whole.fleet.owner(instance) == part.fleet.owner(instance)
        assert whole.fleet.vouched.get(instance) == part.fleet.vouched.get(instance)
        assert part.fleet.doubt(instance) is None
        assert [each for each in called_for if each.event.instance == instance] == [
            each for each in still_called_for if each.event.instance == instance
        ]


@settings(deadline=None)
@given(LOGS, st.data())
def test_no_stop_is_requested_for_a_vm_in_doubt_and_it_is_marked(acts: list[Act], data: st.DataObject) -> None:
    facts = write(acts)
    bad = data.draw(st.integers(0, len(facts.records) - 1))
    models, derived = folded(facts.records, bad)
    rows = {row.instance: row for row in power_rows(models.fleet, now=facts.now)}

    for instance in in_doubt(models.fleet, models.fleet):
        since = facts.records[bad].position
        requested = [each for each in derived if isinstance(each.event, StopRequested) and each.because > since]
        assert not [each for each in requested if each.event.instance == instance]
        if instance in rows:
            row = rows[instance]
            assert row.note
            assert row.power_state == UNKNOWN or row.position > since


@settings(deadline=None)
@given(LOGS, st.data())
def test_every_way_of_folding_sets_the_same_aside(acts: list[Act], data: st.DataObject) -> None:
    records = write(acts).records
    bad = data.draw(st.integers(0, len(records) - 1))
    models, _ = folded(records, bad)
    lean = folded_lean(records, bad)
    again = unpack(pack(models.fleet))

    assert models.fleet.quarantined == lean.quarantined == again.quarantined
    for instance in models.fleet.seen_on:
        assert models.fleet.doubt(instance) == lean.doubt(instance) == again.doubt(instance)
        assert models.fleet.hosts_of(instance) == lean.hosts_of(instance)
    assert models.fleet.copy().quarantined == models.fleet.quarantined


def test_a_record_that_does_not_tell_its_vm_puts_all_of_its_host_in_doubt() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1)})
    facts.sweep({vm(2): (1, 1)}, "b")
    bad = facts.announce(vm(1), 5, 0)
    models, _ = folded(facts.records, bad.position - 1, with_instance=False)

    assert models.fleet.doubt(vm(1)) is not None
    assert models.fleet.doubt(vm(2)) is None


@pytest.mark.parametrize(
    ("stream", "doubtful"),
    [
        (observer("a", "qemu"), [observer("a", "qemu")]),
        ("planner/a/qemu", [observer("a", "qemu")]),
        ("records/a/qemu", [observer("a", "qemu")]),
        ("actor/a/qemu", [observer("a", "qemu")]),
        ("declarations", [EVERYBODY]),
        ("", [EVERYBODY]),
        ("access", []),
        ("command/1", []),
        ("imported/jsonl/far", []),
        ("qemu-log/a/qemu", []),
    ],
)
def test_what_a_stream_bears_on_is_in_doubt(stream: str, doubtful: list[str]) -> None:
    aside = SetAside(position=1, stream=stream, kind="Prophesied", reason="unknown topic")

    assert doubtful == list(aside.doubtful)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_sweep_of_which_one_part_fails_tells_of_all_others(number: int) -> None:
    evolve = fleet_module.instance_fold.evolve

    def failing(instance: object, recorded: Recorded) -> object:
        if isinstance(recorded.event, InstanceEvent) and recorded.event.instance == vm(number):
            raise ZeroDivisionError("a bug")
        return evolve(instance, recorded)

    facts = Facts()
    facts.start()
    for each in (1, 2, 3):
        facts.declare(vm(each), VmState.STOPPED)
    with mock.patch.object(fleet_module.instance_fold, "evolve", failing):
        swept = facts.sweep({vm(each): (1, 1) for each in (1, 2, 3)})
        models = ReadModels()
        derived = models.apply(facts.records).derived
        lean = LeanFold(Codec())
        lean.apply([bare(each) for each in facts.records])
        lean.settle()

    others = {vm(each) for each in (1, 2, 3)} - {vm(number)}
    assert {each.event.instance for each in derived} == others
    for fleet in (models.fleet, lean.fleet):
        aside = fleet.quarantined[swept.position]
        assert (aside.kind, aside.instances) == (HostSwept.__name__, (vm(number),))
        assert {instance for instance, _, known in fleet if known.is_on} == others


def test_what_fails_is_told_with_what_it_was() -> None:
    recorded = Facts().announce(vm(1), 5, 0)

    assert failed(recorded, ValueError("no")).reason == "ValueError: no"
