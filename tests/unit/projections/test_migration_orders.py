"""Every order in which the facts of a live migration may reach the log: the owner ends right, and nothing is stopped.

A guest that is vouched ACTIVE moves from host a to host b, or fails to. libvirt announces four things, two on each
host; nothing promises their order across hosts, and here a host's own order is not kept either. After each of them the
service asks that host for the guest, or happens to sweep both hosts. What it is told was true at some time between the
asking and the end of the move, and comes into the log at once or after any of the later announcements.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import pytest

from es_power.domain.decisions import StopRequested
from es_power.domain.events import InstanceId
from es_power.domain.instance import Instance, Owner
from es_power.domain.libvirt_numbers import TRANSITIONS
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observer
from es_power.projections.fleet import Fleet
from es_power.projections.readmodels import ReadModels, Step
from es_power.testing.facts import Facts, vm

WEB = vm(1)
State = tuple[int, int] | None
HOSTS = ("a", "b")
OFF = PowerState.SHUTDOWN
GONE: State = None
RUNNING, RUNNING_MIGRATED, PAUSED_MIGRATION = (1, 1), (1, 2), (3, 2)
SHUTOFF_MIGRATED, SHUTOFF_FAILED = (5, 4), (5, 6)


@dataclass(frozen=True)
class Announced:
    """One thing that libvirt announces: host, lifecycle event and detail."""

    host: str
    event: int
    detail: int


@dataclass(frozen=True)
class Move:
    """What happens: the announcements in true order, and the guest's state on each host before, between and after."""

    announced: tuple[Announced, ...]
    states: dict[str, tuple[State, ...]]
    owner: str


def success(left: State, there_before: State = GONE) -> Move:
    """A move that succeeds; `left` is what a shows of a guest that left, `there_before` what b showed of it."""
    return Move(
        announced=(Announced("b", 2, 1), Announced("a", 3, 1), Announced("b", 4, 1), Announced("a", 5, 3)),
        states={
            "a": (RUNNING, RUNNING, PAUSED_MIGRATION, PAUSED_MIGRATION, left),
            "b": (there_before, PAUSED_MIGRATION, PAUSED_MIGRATION, RUNNING_MIGRATED, RUNNING_MIGRATED),
        },
        owner="b",
    )


def failure(left: State, there_before: State = GONE) -> Move:
    """A move that fails; nothing is announced on a, where the guest runs on; `left` is what b shows of it then."""
    return Move(
        announced=(Announced("b", 2, 1), Announced("b", 5, 5)),
        states={"a": (RUNNING, RUNNING, RUNNING), "b": (there_before, PAUSED_MIGRATION, left)},
        owner="a",
    )


MOVES = {
    "of a transient guest": success(GONE),
    "of a persistent guest": success(SHUTOFF_MIGRATED),
    "back to where it was": success(SHUTOFF_MIGRATED, SHUTOFF_MIGRATED),
    "fails, of a transient guest": failure(GONE),
    "fails, of a persistent guest": failure(SHUTOFF_FAILED, SHUTOFF_MIGRATED),
}


@dataclass(frozen=True)
class Answer:
    """What was asked for after one announcement: how far the move was, what was heard before, when it is recorded."""

    phase: int
    #: By host, the highest event number when it was asked.
    numbers: tuple[tuple[str, int], ...]
    #: The place of the announcement after which it is recorded.
    after: int


@dataclass(frozen=True)
class Telling:
    """One way in which a move may come into the log: the announcements in some order, and the answer to each."""

    order: tuple[Announced, ...]
    answers: tuple[Answer, ...]

    def facts(self, move: Move, *, swept: bool, policy: str) -> Facts:
        """Write it down, after what was there before."""
        facts = Facts()
        for host in HOSTS:
            facts.start(host, policy=policy)
        facts.declare(WEB, VmState.ACTIVE)
        for host in HOSTS:
            answer(facts, host, move.states[host][0], swept=swept)
        for place, announced in enumerate(self.order):
            facts.announce(WEB, announced.event, announced.detail, announced.host)
            for asked, given in zip(self.order, self.answers, strict=True):
                for host, number in given.numbers:
                    if given.after == place and (swept or host == asked.host):
                        answer(facts, host, move.states[host][given.phase], number, swept=swept)
        return facts


def answer(facts: Facts, host: str, state: State, number: int | None = None, *, swept: bool) -> None:
    """Record an answer: a look at the guest, or a sweep of the host; a guest that it misses is looked at once more."""
    if swept:
        facts.sweep({} if state is None else {WEB: state}, host, number=number)
    if not swept or state is None:
        facts.observe(WEB, *(state or (None,)), host=host, number=number)


def tellings(move: Move) -> Iterator[Telling]:
    """Every order, with every delay of every answer, and every place from which on they tell of the end of the move."""
    end = len(move.announced)
    for places in permutations(range(end)):
        order = tuple(move.announced[place] for place in places)
        seen = set()
        for slow_from, *after in product(range(end + 1), *(range(index, end) for index in range(end))):
            answers = tuple(
                Answer(
                    # What was announced has happened when the question is asked.
                    phase=end if index >= slow_from else 1 + max(places[: index + 1]),
                    numbers=tuple((host, sum(heard.host == host for heard in order[: index + 1])) for host in HOSTS),
                    after=after[index],
                )
                for index in range(end)
            )
            if answers not in seen:
                seen.add(answers)
                yield Telling(order, answers)


def ordered(step: Step) -> list[StopRequested]:
    return [each.event for each in step.derived if isinstance(each.event, StopRequested)]


@pytest.mark.parametrize(
    ("policy", "swept"),
    [("nova-2013", False), ("nova-2013", True), ("nova-2026", False)],
    ids=["nova-2013 and looks", "nova-2013 and sweeps", "nova-2026 and looks"],
)
@pytest.mark.parametrize("name", MOVES)
def test_in_every_order_the_owner_ends_right_and_nothing_is_stopped(name: str, policy: str, swept: bool) -> None:
    move = MOVES[name]
    owner = Owner(host=observer(move.owner, "qemu"))
    for telling in tellings(move):
        facts = telling.facts(move, swept=swept, policy=policy)
        models = ReadModels()
        told = models.apply(facts.records)
        assert (models.fleet.owner(WEB), ordered(told)) == (owner, []), telling

        count = len(facts.records)
        for host in HOSTS:
            answer(facts, host, move.states[host][-1], swept=True)
        confirmed = models.apply(facts.records[count:])
        assert (models.fleet.owner(WEB), ordered(confirmed)) == (owner, []), telling
        assert models.fleet.quarantined == {}


def test_every_order_is_among_them() -> None:
    assert {name: len({telling.order for telling in tellings(move)}) for name, move in MOVES.items()} == {
        "of a transient guest": 24,
        "of a persistent guest": 24,
        "back to where it was": 24,
        "fails, of a transient guest": 2,
        "fails, of a persistent guest": 2,
    }


def test_a_build_where_the_last_event_wins_calls_the_running_guest_stopped() -> None:
    """The control: also in the one order that libvirt was seen to keep, and after a failed move."""
    wrong = {
        name: [order for order in permutations(move.announced) if TRANSITIONS[order[-1].event].power_state == OFF]
        for name, move in MOVES.items()
    }

    assert [len(orders) for orders in wrong.values()] == [6, 6, 6, 1, 1]
    assert all(MOVES[name].announced in orders for name, orders in wrong.items())


def newest_word(fleet: Fleet, instance: InstanceId) -> Owner:
    """A broken election: whichever host was heard of last."""
    hosts = fleet.hosts_of(instance)
    return Owner(host=max(hosts, key=lambda host: (hosts[host].position, host)))


@pytest.mark.parametrize(
    ("target", "attribute", "broken"),
    [(Fleet, "owner", newest_word), (Instance, "migrated_away", False)],
    ids=["the newest word counts", "a guest that left is off"],
)
def test_a_broken_election_stops_a_running_guest(
    monkeypatch: pytest.MonkeyPatch, target: type, attribute: str, broken: object
) -> None:
    """The control: these orders do find a build that listens to the host that the guest has left."""
    move = MOVES["of a persistent guest"]
    monkeypatch.setattr(target, attribute, broken)
    stopped = {
        telling.order
        for telling in tellings(move)
        if ordered(ReadModels().apply(telling.facts(move, swept=False, policy="nova-2013").records))
    }

    assert stopped
