"""The lean fold changes nothing: from bare fields, in batches of any size, it is the fleet that the facts give."""

from hypothesis import given, strategies as st

from es_power.domain.events import LifecycleEvent, RebootReported, Recorded
from es_power.domain.streams import observer
from es_power.log.codec import Codec
from es_power.log.queries import RawRecord
from es_power.projections.fleet import Fleet
from es_power.projections.lean import LeanFold
from es_power.projections.power_state import digest
from es_power.testing.facts import Facts, vm
from tests.property.logs import LOGS, Act, write

CODEC = Codec()


def bare(recorded: Recorded) -> RawRecord:
    kind, raw = CODEC.raw(*CODEC.encode(recorded.event))
    return recorded.position, recorded.stream, recorded.version, recorded.recorded_at, kind, raw


def folded(records: list[Recorded]) -> Fleet:
    fleet = Fleet()
    for recorded in records:
        fleet.apply(recorded)
    return fleet


def folded_lean(records: list[Recorded], size: int = 1000) -> Fleet:
    fold = LeanFold(CODEC)
    for start in range(0, len(records), size):
        fold.apply([bare(recorded) for recorded in records[start : start + size]])
    fold.settle()
    return fold.fleet


def assert_equal(expected: Fleet, actual: Fleet) -> None:
    assert expected.places == actual.places
    assert expected.seen_on == actual.seen_on
    assert expected.vouched == actual.vouched
    assert expected.quarantined == actual.quarantined
    assert expected.position == actual.position
    assert digest(expected) == digest(actual)


@given(LOGS, st.integers(1, 7))
def test_bare_fields_fold_to_the_fleet_that_the_facts_give(acts: list[Act], size: int) -> None:
    records = write(acts).records

    assert_equal(folded(records), folded_lean(records, size))


#: What the short cuts are for: one VM on one host, told of and asked about again and again.
OF_ONE_VM = st.lists(
    st.one_of(
        st.builds(lambda e: lambda facts: facts.announce(vm(1), *e), st.sampled_from([(2, 0), (3, 0), (5, 0), (5, 3)])),
        st.builds(
            lambda state, lag: lambda facts: facts.observe(vm(1), state, number=max(0, facts.number() - lag)),
            st.sampled_from([None, 1, 3, 5]),
            st.integers(0, 1),
        ),
        st.just(lambda facts: facts.sweep({vm(1): (1, 1), vm(2): (5, 1)})),
    ),
    max_size=12,
)


@given(OF_ONE_VM, st.integers(1, 7))
def test_one_vm_folds_as_its_facts_do(acts: list[Act], size: int) -> None:
    records = write(acts).records

    assert_equal(folded(records), folded_lean(records, size))


@given(LOGS, LOGS)
def test_what_comes_after_is_folded_onto_the_one_as_onto_the_other(acts: list[Act], more: list[Act]) -> None:
    records = write([*acts, *more]).records
    split = len(write(acts).records)
    lean = folded_lean(records[:split])
    for recorded in records[split:]:
        lean.apply(recorded)

    assert_equal(folded(records), lean)


def test_a_vm_that_two_hosts_have_shown_is_folded_by_the_fleet() -> None:
    facts = Facts()
    for host in ("a", "b", "a", "b"):
        facts.announce(vm(1), 2, 0, host)
        facts.announce(vm(1), 5, 3, host)

    assert_equal(folded(facts.records), folded_lean(facts.records))


def test_an_event_of_another_kind_comes_between_those_that_are_folded_lean() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1)})
    facts.announce(vm(1), 3, 0)
    facts.record(observer("a", "qemu"), RebootReported(observed_at=facts.now, instance=vm(1), connection=1, number=9))
    facts.record(
        observer("a", "qemu"),
        LifecycleEvent(observed_at=facts.now, instance=vm(1), connection=1, number=8, event=4, detail=0),
    )
    fleet = folded_lean(facts.records)

    assert_equal(folded(facts.records), fleet)
    assert fleet.get(vm(1), observer("a", "qemu")).number == 9


def test_a_vm_that_is_on_again_unannounced_is_one_that_never_stopped() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1)})
    facts.announce(vm(1), 5, 3)
    facts.observe(vm(1), 1)
    fleet = folded_lean(facts.records)

    assert_equal(folded(facts.records), fleet)
    assert fleet.get(vm(1), observer("a", "qemu")).last_event is None


def test_an_event_in_a_stream_that_is_no_observers_shows_no_host() -> None:
    facts = Facts()
    facts.record(
        "imported/elsewhere",
        LifecycleEvent(observed_at=facts.now, instance=vm(1), connection=1, number=1, event=2, detail=0),
    )

    assert_equal(folded(facts.records), folded_lean(facts.records))


def test_a_record_that_does_not_fit_is_set_aside() -> None:
    facts = Facts()
    facts.sweep({vm(1): (1, 1)})
    position, stream, version, recorded_at, kind, _ = bare(facts.gap())
    fold = LeanFold(CODEC)
    fold.apply([bare(recorded) for recorded in facts.records[:2]])

    fold.apply([(position, stream, version, recorded_at, kind, ("no time", 0, "no reason"))])

    assert [position] == list(fold.fleet.quarantined)
    assert position == fold.fleet.position
