"""Programs of all that may befall a service, drawn as data; in the end, what it says is held against the truth."""

import itertools
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import example, given, settings, strategies as st

from es_power.domain.events import GapReason, Recorded
from es_power.domain.instance import Instance, evolve
from es_power.domain.states import VmState
from tests.stateful.world import HOSTS, VMS, Step, play

ACTIONS = ("start", "power_off", "destroy", "crash", "suspend", "resume", "undefine")


def step(name: str, *args: st.SearchStrategy[object], **kwargs: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.tuples(*args), st.fixed_dictionaries(kwargs))


NUMBER = st.sampled_from(VMS)
HOST = st.sampled_from(HOSTS)
ACTION = st.sampled_from(ACTIONS)
NAME = st.sampled_from(["web", "db", "mail", "\u202eliam"])

SERVICE = st.one_of(
    step("start", st.sampled_from(["nova-2013", "nova-2013", "nova-2026"])),
    step("stop"),
    step("crash"),
    step("lose_tables"),
    step("settle"),
)
LIFE = st.one_of(
    step("act", NUMBER, ACTION),
    step("unheard", NUMBER, ACTION),
    step("late", NUMBER, ACTION, ACTION, twice=st.booleans()),
    step("say", NUMBER, st.integers(0, 9), st.integers(0, 6)),
    step("burst", NUMBER),
    step("odd_state", NUMBER, st.sampled_from([0, 2, 6, 99, 300])),
    step("define", NUMBER, NAME, HOST),
    step("rename", NUMBER, NAME),
    step("migrate", NUMBER, st.permutations(range(4)), persistent=st.booleans()),
    step("forget_source", NUMBER),
)
DAEMON = st.one_of(
    step("disconnect", HOST, st.sampled_from([GapReason.CONNECTION_LOST, GapReason.KEEPALIVE])),
    step("come_back", HOST),
    step("hang", HOST),
    step("wake", HOST),
)
DECLARE = step(
    "declare",
    NUMBER,
    st.sampled_from([VmState.ACTIVE, VmState.STOPPED, VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.ERROR]),
    st.sampled_from([None, None, None, None, None, "powering-off"]),
)
PEOPLE = st.one_of(DECLARE, DECLARE, step("clear", NUMBER))
LOG = st.one_of(step("refuse", forgetful=st.booleans()), step("accept"))
TIME = st.one_of(
    step("wait", st.sampled_from([0.0, 0.05, 1.0, 40.0, 650.0])), step("yield_", st.integers(1, 30)), step("sweep")
)
BEGINNING: list[Step] = [
    ("start", ("nova-2013",), {}),
    ("yield_", (300,), {}),
    ("declare", (1, VmState.ACTIVE, None), {}),
    ("declare", (2, VmState.STOPPED, None), {}),
    ("wait", (1.0,), {}),
]
#: More than there is room for comes, and the log takes the record of that and no more before the service ends.
OVERFLOWN: list[Step] = [
    *BEGINNING,
    *([("act", (1, "start"), {})] * 2),
    ("burst", (1,), {}),
    *([("act", (1, "start"), {})] * 5),
    ("refuse", (), {"forgetful": True}),
    ("stop", (), {}),
]
DISAGREE = step("disagree", NUMBER, st.sampled_from([VmState.ACTIVE, VmState.STOPPED]))
STEPS = st.one_of(LIFE, LIFE, LIFE, DISAGREE, PEOPLE, TIME, TIME, SERVICE, DAEMON, LOG)
PROGRAMS = st.lists(STEPS, min_size=10, max_size=40).map(lambda drawn: [*BEGINNING, *drawn])


@given(PROGRAMS)
@example([*BEGINNING, ("disagree", (1, VmState.ACTIVE), {}), ("clear", (1,), {})])
@example([*BEGINNING, ("disagree", (1, VmState.ACTIVE), {}), ("crash", (), {}), ("clear", (1,), {})])
@example([*BEGINNING, ("burst", (1,), {}), ("yield_", (7,), {}), ("stop", (), {})])
@example([*BEGINNING, ("act", (1, "suspend"), {}), ("sweep", (), {}), ("yield_", (3,), {}), ("crash", (), {})])
@example(
    [*BEGINNING, ("act", (1, "start"), {}), ("burst", (1,), {}), ("refuse", (), {"forgetful": True}), ("stop", (), {})]
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_what_is_said_is_true_in_the_end(program: list[Step]) -> None:
    play(program)


def test_every_order_of_a_migrations_events_ends_the_same() -> None:
    for order, persistent in zip(itertools.permutations(range(4)), itertools.cycle([True, False]), strict=False):
        play(
            [
                ("start", ("nova-2013",), {}),
                ("declare", (1, VmState.ACTIVE, None), {}),
                ("wait", (1.0,), {}),
                ("migrate", (1, order), {"persistent": persistent}),
                ("wait", (1.0,), {}),
                ("act", (1, "power_off"), {}),
            ]
        )


def test_a_fold_that_forgets_the_events_numbers_is_caught() -> None:
    def forgetful(instance: Instance, recorded: Recorded) -> Instance:
        return evolve(replace(instance, connection=0, number=0), recorded)

    program = [*BEGINNING, ("late", (1, "suspend", "start"), {"twice": False}), ("wait", (1.0,), {})]
    play(program)

    with (
        mock.patch("es_power.domain.instance.evolve", forgetful),
        pytest.RaisesGroup(AssertionError, flatten_subgroups=True),
    ):
        play(program)
