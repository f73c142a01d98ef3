"""Why, of any evidence: it never fails, is never surer for what hides, and invents nothing."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import given, strategies as st

from es_power.domain.cause_table import Cause, Confidence
from es_power.domain.causes import judge
from es_power.domain.decisions import Route
from es_power.domain.events import Event, LifecycleEvent, StateObserved, Trigger
from es_power.domain.evidence import Blind, Case, Fact, Kind
from es_power.domain.states import PowerState, Transition
from tests.unit.domain.cases import (
    WEB,
    Laid,
    control_error,
    ended,
    gap,
    io_error,
    nova_asked,
    nova_logged,
    nova_says,
    nova_stopped,
    reboot,
    rebooted,
    refused,
    second,
    sent,
    signal,
    started,
    watchdog,
)

_SECONDS = st.integers(-900, 900)
_NUMBERS = st.integers(-1, 12)


def _lifecycle(at: int, event: int, detail: int) -> Event:
    return LifecycleEvent(observed_at=second(at), instance=WEB, connection=1, number=1, event=event, detail=detail)


def _observation(at: int, state: int | None, reason: int | None) -> Event:
    return StateObserved(
        observed_at=second(at),
        instance=WEB,
        asked_at=second(at),
        state=state,
        reason=reason,
        trigger=Trigger.SWEEP,
        connection=1,
        number=1,
    )


def _at(make: Callable[..., Event], *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    return st.tuples(*arguments, _SECONDS).map(lambda each: make(*each))


_OURS = st.one_of(
    st.builds(_lifecycle, _SECONDS, _NUMBERS, _NUMBERS),
    st.builds(_observation, _SECONDS, st.none() | _NUMBERS, st.none() | _NUMBERS),
)
_THEIRS = st.one_of(
    _at(ended, st.sampled_from(["shutdown", "destroyed", "crashed", "saved", "migrated", "failed", "", "no word"])),
    _at(nova_logged, st.sampled_from(Transition)),
    st.builds(signal, _SECONDS, pid=st.integers(0, 2**40)),
    st.builds(started, _SECONDS),
)
_ASKED = st.one_of(
    st.builds(sent, _SECONDS, st.sampled_from(Route)),
    st.builds(refused, _SECONDS),
    st.builds(nova_stopped, _SECONDS, itself=st.booleans()),
    st.builds(nova_asked, st.text(), _SECONDS),
    st.builds(nova_says, st.none() | st.text() | st.just("powering-off"), _SECONDS),
)
_REPORTED = st.one_of(
    st.builds(watchdog, _NUMBERS, _SECONDS),
    st.builds(io_error, _NUMBERS, _SECONDS),
    st.builds(control_error, _SECONDS),
    st.builds(rebooted, _SECONDS),
)
_STATES = st.none() | st.sampled_from(PowerState)
_TIMES = st.none() | _SECONDS.map(second)
_GAPS = st.builds(gap, _SECONDS, st.none() | _SECONDS)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    events = [draw(_OURS | _THEIRS), *draw(st.lists(st.one_of(_OURS, _THEIRS, _ASKED, _REPORTED), max_size=12))]
    laid = Laid(
        events=events,
        change=0,
        process=draw(st.none() | st.text() | st.sampled_from(["libvirtd", "/usr/sbin/virtqemud -t", "bash"])),
        user=draw(st.none() | st.text()),
        log_host=draw(st.sampled_from(["a", "b"])),
    )
    told = draw(st.integers(0, 3))
    case = laid()
    return replace(
        case,
        from_state=draw(_STATES),
        to_state=draw(_STATES),
        since=draw(_TIMES),
        last_seen=draw(_TIMES),
        until=draw(_TIMES),
        blind=draw(st.lists(_GAPS, max_size=3)),
        reboot=draw(st.none() | st.just(reboot(told=told, others=draw(st.integers(told, 9))))),
        elsewhere=draw(st.none() | st.just(case.facts[0])),
        log_read=draw(st.none() | st.booleans()),
        nova=draw(st.booleans()),
    )


@given(cases())
def test_whatever_is_laid_before_there_is_a_verdict_with_evidence_that_was_laid_before(case: Case) -> None:
    verdict = judge(case)
    laid: list[Fact] = [*case.facts, *([case.elsewhere] if case.elsewhere else [])]

    assert verdict.evidence, "never a bare verdict"
    for evidence in verdict.evidence:
        assert evidence.weight in {"+", "-"}
        assert (evidence.fact is not None) == (evidence.kind is Kind.FACT)
        if evidence.fact is not None:
            assert evidence.fact in laid
            assert evidence.position == evidence.fact.position
    if verdict.cause is Cause.UNKNOWN:
        assert (verdict.confidence, verdict.out_of_band) == (Confidence.LOW, None)
    else:
        assert verdict.out_of_band == (verdict.actor is None)


@given(cases(), _GAPS)
def test_a_gap_never_changes_the_cause_and_never_makes_it_surer(case: Case, blind: Blind) -> None:
    seen, unseen = judge(replace(case, blind=())), judge(replace(case, blind=(*case.blind, blind)))
    order = list(Confidence)

    assert seen.cause is unseen.cause
    assert order.index(unseen.confidence) >= order.index(seen.confidence)


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_facts_are_laid_before_does_not_matter(case: Case, random: Random) -> None:
    facts = list(case.facts)
    random.shuffle(facts)

    assert judge(case) == judge(replace(case, facts=facts))
