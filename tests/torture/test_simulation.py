"""Seeds x 72 days x 50 VMs in trio's mock clock."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count as count_from
from random import SystemRandom
from time import monotonic
from unittest import mock

import pytest

from es_power import chance
from es_power.domain.events import HostSwept, Recorded
from es_power.domain.instance import Instance, evolve
from es_power.ingest.observer import Observer
from es_power.projections import fleet
from tests.acceptance.documents import CHECKOUT
from tests.stateful.simulation import NaiveSimulated, Simulated, program, simulate

DAYS = 72.0
SHORT = 9.0
"""Days that are played once more, here and in another process."""
CONTROL = 4.0
"""Days within which the broken variants are caught."""


@pytest.mark.torture
@pytest.mark.timeout(1200)  # two cores that others use too take five minutes
def test_after_each_sweep_the_table_is_what_is_true(
    count: Callable[[int, int], int], seed: int, report: Callable[..., None]
) -> None:
    seeds = count(2, 1000)
    begun = monotonic()
    held = sweeps = compared = records = acts = 0
    for number in range(seed, seed + seeds):
        ended = simulate(number, DAYS)
        held += 1
        sweeps, compared = sweeps + ended.sweeps, compared + ended.compared
        records, acts = records + ended.records, acts + ended.acts
    took = monotonic() - begun
    # Nothing is compared where something had happened since the listing, which is seldom.
    assert compared > 0.9 * sweeps
    assert acts > 0
    assert simulate(seed, SHORT).digest == in_another_process(seed)
    caught = [name for name, broken in BROKEN.items() if is_caught(broken)]
    assert list(BROKEN) == caught
    detail = (
        f"{DAYS:g} days each, {sweeps:,} sweeps, {compared:,} of them compared, {records:,} facts, {acts:,} stops and "
        f"none wrong; {3600 * seeds / took:.1f} seeds an hour; {SHORT:g} days of one seed gave the same bytes in two "
        "processes"
    )
    report("simulation", tried=seeds, held=held, control=f"{', '.join(caught)}: each caught", detail=detail)


def in_another_process(seed: int) -> str:
    """The digest that a seed comes to where Python orders its sets otherwise."""
    program = f"from tests.stateful.simulation import simulate; print(simulate({seed}, {SHORT}).digest)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
        timeout=1800,
    )
    return done.stdout.strip()


def is_caught(broken: Callable[[], None]) -> bool:
    """Whether the simulation finds something wrong with a broken variant."""
    caught = False
    try:
        broken()
    except* AssertionError:
        caught = True
    return caught


def believes_that_events_tell_all() -> None:
    """A sweep looks only at VMs of which something was heard since the sweep before it."""
    looks = fleet._to_look_at

    def careless(place: fleet.Place, event: HostSwept, number: int) -> Sequence[int]:
        return looks(place, replace(event, states=place.states or event.states), number)

    with mock.patch.object(fleet, "_to_look_at", careless):
        simulate(0, CONTROL)


def says_nothing_of_blind_time() -> None:
    """A connection that is lost opens no gap."""

    async def nothing(self: Observer, since: object, reason: object) -> None:
        pass

    with mock.patch.object(Observer, "_open_gap", nothing):
        simulate(first_with("disconnect"), CONTROL)


def first_with(step: str) -> int:
    """The first seed in whose program that happens."""
    return next(seed for seed in count_from(0) if any(step == name for name, _, _ in program(seed, CONTROL)))


def believes_the_last_event() -> None:
    """Stops are ordered by the last event, and by no look; here at a seed whose days mislead it."""
    simulate(1, CONTROL, kind=NaiveSimulated)


def forgets_the_numbers_of_events() -> None:
    """What is told late is believed, though a newer event came before it."""

    def forgetful(instance: Instance, recorded: Recorded) -> Instance:
        return evolve(replace(instance, connection=0, number=0), recorded)

    class Compared(Simulated):
        """The fold against the one that is right, in the end: each sweep mends what it has wrong."""

        async def check(self) -> None:
            await self.check_order()

    with mock.patch("es_power.domain.instance.evolve", forgetful):
        simulate(0, CONTROL, kind=Compared)


BROKEN = {
    "a sweep that believes that events tell all": believes_that_events_tell_all,
    "no gap after a lost connection": says_nothing_of_blind_time,
    "an actor that believes the last event": believes_the_last_event,
    "a fold that forgets the numbers of events": forgets_the_numbers_of_events,
}


def test_what_is_drawn_elsewhere_than_from_the_seed_shows_in_the_bytes() -> None:
    def not_from_the_seed(_: object) -> AbstractContextManager[None]:
        return chance.drawn_from(SystemRandom())

    with mock.patch("tests.stateful.world.drawn_from", not_from_the_seed):
        digests = {simulate(5, 0.02).digest for _ in range(2)}

    assert len(digests) == 2
