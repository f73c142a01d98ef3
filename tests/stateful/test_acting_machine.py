"""Programs of all that may befall guests, services and actors: nothing that runs and is meant to is ever stopped."""

import itertools

import pytest
from hypothesis import HealthCheck, Phase, example, find, given, settings, strategies as st
from hypothesis.errors import NoSuchExample

from es_power.domain.states import VmState
from es_power.testing.facts import vm
from tests.stateful.acting_world import NOBODYS, NOVAS, PERSONS, ActingWorld
from tests.stateful.naive import NaiveWorld
from tests.stateful.test_service_machine import ACTIONS, DAEMON, HOST, LOG, step
from tests.stateful.world import Step, play

NUMBER = st.sampled_from([*NOVAS, *NOVAS, *PERSONS, *NOBODYS])
NOVA = st.sampled_from(NOVAS)
ACTION = st.sampled_from(ACTIONS[:-1])
#: Seconds, many of them about as long as a command settles and is looked at again.
MOMENT = st.sampled_from([0.0, 0.05, 0.2, 0.25, 0.3, 0.35, 0.4, 1.0, 10.0])

GUESTS = st.one_of(
    step("act", NUMBER, ACTION),
    step("unheard", NUMBER, ACTION),
    step("late", NUMBER, ACTION, ACTION, twice=st.booleans()),
    step("say", NUMBER, st.integers(0, 9), st.integers(0, 6)),
    step("burst", NUMBER),
    step("live_migrate", NUMBER, st.permutations(range(4)), MOMENT, persistent=st.booleans()),
    step("forget_source", NUMBER),
    step("deaf", NUMBER),
)
RECORDS = st.one_of(
    step("nova_writes", NOVA, st.sampled_from([VmState.ACTIVE, VmState.STOPPED]), st.sampled_from([None, "rebooting"])),
    step("user", NOVA, st.sampled_from(["stop", "start"]), MOMENT),
    step("declare", st.sampled_from(PERSONS), st.sampled_from([VmState.ACTIVE, VmState.STOPPED]), st.none()),
    step("clear", st.sampled_from(PERSONS)),
    step("nova_is_silent"),
    step("nova_answers"),
)
#: What looks as if it had to be acted upon, and has not.
MISLEADING = st.one_of(
    step("reboot", NUMBER, MOMENT),
    step("reboot", NOVA, st.just(0.0)),
    step("revive", NOVA, MOMENT),
    step("late", NOVA, st.just("power_off"), st.just("start"), twice=st.booleans()),
    step("live_migrate", NOVA, st.permutations(range(4)), MOMENT, persistent=st.booleans()),
    step("user", NOVA, st.just("start"), MOMENT),
)
MISLEAD = st.tuples(step("be_well"), MISLEADING)
#: What has to be acted upon: without it nothing would be risked.
DISAGREE = st.one_of(
    step("act", NOVA, st.just("power_off")),
    step("disagree", st.sampled_from(PERSONS), st.just(VmState.STOPPED)),
)
PROCESSES = st.one_of(
    step("start", st.sampled_from(["nova-2013", "nova-2026"])),
    step("stop"),
    step("crash"),
    step("act_start"),
    step("act_stop"),
    step("act_crash"),
    step("approve"),
)
TIME = st.one_of(
    step("wait", st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3, 1.0, 40.0])),
    step("yield_", st.integers(1, 30)),
    step("sweep"),
    step("jump", st.sampled_from([-3600, -5, 5, 3600])),
    step("boot_host", HOST),
)
BEGINNING: list[Step] = [
    ("start", ("nova-2013",), {}),
    ("act_start", (), {}),
    ("wait", (30.0,), {}),
    ("declare", (2, VmState.STOPPED, None), {}),
    ("declare", (5, VmState.ACTIVE, None), {}),
    ("wait", (1.0,), {}),
]
STEPS = st.tuples(st.one_of(GUESTS, GUESTS, DISAGREE, DISAGREE, RECORDS, PROCESSES, TIME, TIME, DAEMON, LOG))
PROGRAMS = st.lists(st.one_of(STEPS, STEPS, STEPS, MISLEAD), min_size=8, max_size=30).map(
    lambda drawn: [*BEGINNING, *itertools.chain(*drawn)]
)
#: The same programs each time: what is looked for is there, or it is not.
SEARCH = settings(max_examples=100, deadline=None, phases=[Phase.generate], derandomize=True, database=None)


def a_program(*steps: Step) -> list[Step]:
    return [*BEGINNING, *steps]


REBOOTED = a_program(("reboot", (1, 0.0), {}), ("wait", (1.0,), {}))
TOLD_LATE = a_program(("late", (1, "power_off", "start"), {"twice": True}), ("wait", (1.0,), {}))
STARTED_UNHEARD = a_program(("revive", (1, 0.3), {}), ("wait", (9.0,), {}))
ASKED_TO_BE_ON = a_program(
    ("disagree", (2, VmState.STOPPED), {}), ("declare", (2, VmState.ACTIVE, None), {}), ("wait", (1.0,), {})
)
NOT_BEFORE_IT_MOVED = a_program(("live_migrate", (1, (2, 1, 3, 0), 0.05), {"persistent": True}), ("wait", (9.0,), {}))


@given(PROGRAMS)
@example(REBOOTED)
@example(TOLD_LATE)
@example(STARTED_UNHEARD)
@example(ASKED_TO_BE_ON)
@example(NOT_BEFORE_IT_MOVED)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_that_runs_and_is_meant_to_is_ever_stopped(program: list[Step]) -> None:
    play(program, kind=ActingWorld, check=ActingWorld.check)


def test_what_disagrees_for_good_is_stopped_once() -> None:
    done: list[object] = []

    async def check(world: ActingWorld) -> None:
        await world.check()
        done.extend(each.instance for each in world.done)

    program = a_program(("act", (1, "power_off"), {}), ("act", (2, "start"), {}), ("wait", (30.0,), {}))
    play(program, kind=ActingWorld, check=check)

    assert sorted(done) == [vm(1), vm(2)]


@pytest.mark.parametrize("program", [REBOOTED, TOLD_LATE])
def test_one_that_believes_the_last_event_stops_what_runs(program: list[Step]) -> None:
    play(program, kind=ActingWorld, check=ActingWorld.check)
    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        play(program, kind=NaiveWorld, check=NaiveWorld.check)


def test_programs_that_mislead_one_that_believes_the_last_event_are_drawn() -> None:
    def misleads(program: list[Step]) -> bool:
        misled = False
        try:
            play(program, kind=NaiveWorld, check=NaiveWorld.check)
        except* AssertionError:
            misled = True
        return misled

    try:
        find(PROGRAMS, misleads, settings=SEARCH)
    except NoSuchExample:
        pytest.fail("none of the programs misleads it")
