"""Logs to draw: whatever two observers, a person and the clock may write, in any order."""

from collections.abc import Callable

from hypothesis import strategies as st

from es_power.domain.events import InstanceId
from es_power.domain.states import VmState
from es_power.testing.facts import Facts, vm

Act = Callable[[Facts], object]

HOSTS = st.sampled_from(["a", "b"])
VMS = st.builds(vm, st.integers(1, 4))
EVENTS = st.tuples(st.integers(0, 9), st.integers(0, 6))
STATES = st.tuples(st.sampled_from([0, 1, 1, 1, 3, 4, 5, 5, 6, 7, 99]), st.integers(0, 3))
LAG = st.integers(0, 2)


def _act(name: str, *args: object) -> Act:
    return lambda facts: getattr(facts, name)(*args)


def _observe(vm_id: InstanceId, state: tuple[int, int] | None, host: str, lag: int) -> Act:
    return lambda facts: facts.observe(vm_id, *(state or (None, None)), host, number=max(0, facts.number(host) - lag))


def _sweep(states: dict[InstanceId, tuple[int, int]], host: str, lag: int) -> Act:
    return lambda facts: facts.sweep(states, host, number=max(0, facts.number(host) - lag))


ACTS = st.one_of(
    st.builds(lambda i, e, h: _act("announce", i, *e, h), VMS, EVENTS, HOSTS),
    st.builds(_observe, VMS, st.none() | STATES, HOSTS, LAG),
    st.builds(_sweep, st.dictionaries(VMS, STATES), HOSTS, LAG),
    st.builds(lambda h: _sweep({vm(1): (1, 1), vm(2): (5, 1)}, h, 0), HOSTS),
    st.builds(lambda i, v: _act("declare", i, v), VMS, st.sampled_from(VmState)),
    st.builds(lambda i: _act("clear", i), VMS),
    st.builds(lambda h: _act("gap", h), HOSTS),
    st.builds(lambda h: _act("seen_again", h), HOSTS),
    st.builds(lambda h, p: lambda facts: facts.start(h, policy=p), HOSTS, st.sampled_from(["nova-2013", "nova-2026"])),
)
LOGS = st.lists(ACTS, max_size=25)


def write(acts: list[Act]) -> Facts:
    facts = Facts()
    facts.start("a")
    facts.start("b")
    for act in acts:
        act(facts)
    return facts
