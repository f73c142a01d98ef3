"""The real service is killed with -9 at random points, while a real libvirt announces what happens to its VMs.

Each victim is forked from a process that has imported everything, and is `es-power run` from there on. It is killed
after so many words of its own, of which the first is of its start, and a moment more. The next goes on with its log.
"""

import os
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import sleep

import pytest
import trio

from es_power.domain.events import (
    GapClosed,
    HostSwept,
    HypervisorEvent,
    Position,
    Recorded,
    ServiceStarted,
)
from es_power.errors import LogNotFoundError
from es_power.log import open_log
from es_power.replay import verify
from es_power.testing import vm
from tests.rigs.actor import Actor, actor
from tests.rigs.forks import Forks, forks
from tests.rigs.libvirtd import Libvirtd, libvirtd, missing_parts
from tests.rigs.machines import fake_vm
from tests.torture.frame import Bench
from tests.torture.ledger import Ledger, wrong
from tests.torture.victims import PATIENCE, Victim

pytestmark = [pytest.mark.torture, pytest.mark.libvirt]

LIVES = 10
"""Kills after which the log begins anew, so that a look at the whole of it stays cheap."""

MOST = 40
"""Lines that a service says, at most, before it is killed."""

LONGEST = 0.05
"""Seconds, at most, from then to the kill."""

PACE = 0.01
"""Seconds, at most, between two things that happen to VMs."""

VMS = range(1, 6)

DEEDS = {
    "on": {"suspend": "paused", "destroy": "off"},
    "paused": {"resume": "on", "destroy": "off"},
    "off": {"create": "on"},
}
"""What can be done to a VM in each state, and what it is then."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Libvirtd]:
    """A libvirtd with VMs to which something happens all the time."""
    if reason := missing_parts():
        pytest.skip(reason)
    with libvirtd() as running, actor(running.uri()) as other, unrest(other):
        yield running


@contextmanager
def unrest(other: Actor) -> Iterator[None]:
    """Do things to VMs, in a thread, as long as the block runs."""
    ended, states, draw = threading.Event(), dict.fromkeys(VMS, "off"), random.Random(0)
    for number in VMS:
        other.act("-", "defineXML", fake_vm(f"guest-{number}", uuid=vm(number)))

    def go_on() -> None:
        while not ended.wait(draw.random() * PACE):
            number = draw.choice(VMS)
            deed, state = draw.choice(list(DEEDS[states[number]].items()))
            other.act(f"guest-{number}", deed)
            states[number] = state

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a libvirtd hangs"


@pytest.fixture(scope="module")
def victims() -> Iterator[Forks]:
    with forks("tests.torture.victims") as victims:
        yield victims


def test_a_service_that_is_killed_has_lost_nothing_and_has_nothing_twice(
    daemon: Libvirtd, victims: Forks, tmp_path: Path, bench: Bench
) -> None:
    wanted, draw = bench.count(40, 10_000), random.Random(bench.seed)
    lives = Lives(victims, daemon.uri(), tmp_path / "lives", draw)
    bad = [words for words in islice(lives.kill(), wanted) if words]
    hasty = Lives(victims, daemon.uri(), tmp_path / "hasty", draw, hasty=True)
    caught, tries = 0, 0
    for words in hasty.kill():
        tries += 1
        caught += bool(words)
        if tries >= max(5, wanted // 50) and caught:
            break
        assert tries < wanted + 50, "acknowledging before the commit was not caught"

    bench.report(
        "kills",
        tried=wanted,
        held=wanted - len(bad),
        control=f"acknowledging before the commit: {caught} of {tries} kills lost something",
        detail="; ".join([f"{lives.acknowledged:,} acknowledged appends", *bad[:3]]),
    )


class Lives:
    """Services that go on with each other's log, each until it is killed."""

    def __init__(self, victims: Forks, uri: str, place: Path, draw: random.Random, *, hasty: bool = False) -> None:
        self._victims, self._uri, self._place, self._draw, self._hasty = victims, uri, place, draw, hasty
        self._ledgers: dict[Path, Ledger] = {}

    @property
    def acknowledged(self) -> int:
        """How many appends were acknowledged by all of them."""
        return sum(len(ledger.acknowledged) for ledger in self._ledgers.values())

    def kill(self) -> Iterator[str]:
        """Kill one after the other; say after each what is wrong with the log that it left, or nothing."""
        number, words = 0, ""
        while True:
            if number % LIVES == 0 or words:
                place = self._place / str(number)
                place.mkdir(parents=True)
            victim = Victim(log=str(place / "log.db"), place=str(place), uri=self._uri, hasty=self._hasty)
            self._live(victim)
            ledger = self._ledgers[place] = Ledger.read(victim.said)
            found = wrong(Path(victim.log), ledger) or trio.run(_faults, victim.log)
            words = f"kill {number}: {found[0]}" if found else ""
            yield words
            number += 1

    def _live(self, victim: Victim) -> None:
        said = victim.lines + self._draw.randrange(MOST)
        process = self._victims.start(victim.line)
        victim.await_lines(said, process)
        sleep(self._draw.random() * LONGEST)
        os.kill(process, signal.SIGKILL)
        assert self._victims.wait() == -signal.SIGKILL, (Path(victim.place) / "output").read_text()


async def _faults(place: str) -> list[str]:
    """What is wrong with what a log says, and with the tables beside it."""
    try:
        async with open_log(place) as log:
            records = await log.read(after=Position(0), limit=100_000)
            _, differences = await verify(log)
    except LogNotFoundError:  # it was killed before it had made one
        return []
    return [*_misnumbered(records), *_unseen_time(records), *map(str, differences)]


def _misnumbered(records: Sequence[Recorded]) -> Iterator[str]:
    """What a connection delivered is there once, in order, and without a hole."""
    heard: defaultdict[int, list[int]] = defaultdict(list)
    for each in records:
        if isinstance(each.event, HypervisorEvent):
            heard[each.event.connection].append(each.event.number)
    for connection, numbers in heard.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"connection {connection} delivered {numbers}"


def _unseen_time(records: Sequence[Recorded]) -> Iterator[str]:
    """Whoever starts after a kill knows of a time in which nobody saw the host, before it says what it sees."""
    owes = False
    for each in records:
        match each.event:
            case ServiceStarted(epoch=epoch):
                owes = epoch > 1
            case GapClosed():
                owes = False
            case HostSwept() if owes:
                yield f"no gap before the sweep at {each.position}"
            case _:
                pass
