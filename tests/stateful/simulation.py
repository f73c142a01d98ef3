"""Days of 50 VMs on two hosts, drawn from a seed: everything that may befall guests, services, actors and the log.

It is a program for the world of `acting_world`, with more VMs. After each sweep that shows what is true now, the table
has to say what is true now; in the end all else that this world holds to be true is held against it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
import trio

from es_power.domain.decisions import StopRequested
from es_power.domain.events import (
    START,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    Position,
    Recorded,
)
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.states import VmState
from es_power.domain.streams import observer
from es_power.log.database import Database
from es_power.projections.gaps import gaps
from es_power.projections.queries import look
from es_power.settings import Nova, Settings, Sweep
from es_power.testing.facts import vm
from es_power.testing.hypervisor import FakeConnection, FakeHypervisor
from tests.stateful.acting_world import NOBODYS, NOVAS, PERSONS, ActingWorld
from tests.stateful.naive import NaiveWorld
from tests.stateful.world import HOSTS, Step, WatchedHost, play
from tests.unit.ingest.nova import server

DAY = 86_400.0
HOUR = 3_600.0
NUMBERS = range(1, 51)
_OF_NOVA = (*NOVAS, *(number for number in range(6, 51) if number % 3 == 0))
_OF_PEOPLE = (*PERSONS, *(number for number in range(6, 51) if number % 3 == 1))
_OF_NOBODY = (*NOBODYS, *(number for number in range(6, 51) if number % 3 == 2))
_ACTIONS = ("start", "power_off", "destroy", "crash", "suspend", "resume")
SPACINGS = ([600.0, HOUR, 3 * HOUR, 6 * HOUR], [1, 4, 8, 8])
"""Seconds between sweeps, by the settings of one service or of the next (the default, and what large sites set), and
how many services have them: what no event told has to wait for a sweep, and that is where it may go wrong."""


class Counted(dict[InstanceId, Any]):
    """The VMs of a host, and how often they changed."""

    changes = 0

    def __setitem__(self, key: InstanceId, value: Any) -> None:
        self.changes += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: InstanceId) -> None:
        self.changes += 1
        super().__delitem__(key)


class SimulatedHost(WatchedHost):
    """A host that knows whether anything happened on it since all of its VMs were listed."""

    def __init__(self, name: str, clock: Any) -> None:
        super().__init__(name, clock)
        self.vms = Counted()
        self._told = 0
        self._listed: tuple[int, int] | None = None

    @property
    def is_as_listed(self) -> bool:
        return self._listed == (self.vms.changes, self._told)

    def announce(self, instance: InstanceId, event: int, detail: int) -> None:
        self._told += 1
        super().announce(instance, event, detail)

    def release(self, *, twice: bool) -> None:
        self._told += 1
        super().release(twice=twice)

    async def open(self) -> FakeConnection:
        connection = await super().open()
        lists = connection.list_states

        async def list_states() -> Sequence[Any]:
            found = await lists()
            self._listed = self.vms.changes, self._told
            return found

        connection.list_states = list_states
        return connection


@dataclass(frozen=True, slots=True)
class Outage:
    """From where in the log on nobody saw a host."""

    stream: str
    position: Position


class Simulated(ActingWorld):
    """A world of 50 VMs."""

    vms = NUMBERS

    def __init__(self, database: Database, nursery: trio.Nursery) -> None:
        super().__init__(database, nursery)
        #: Sweeps after which the table was compared with the truth, and all of them.
        self.compared = self.swept = 0
        self._heard = START
        self.outages: list[Outage] = []
        self._spacing = 600.0
        for number in range(6, 51):
            host = HOSTS[number % 2]
            self.hosts[host].add(f"vm-{number}", state=1, reason=1, instance=vm(number))
        for number in _OF_NOVA:
            host = next(name for name, host in self.hosts.items() if vm(number) in host.vms)
            self.nova.rows[vm(number)] = server(vm(number), host=host, node=host)

    def make_host(self, name: str) -> WatchedHost:
        return SimulatedHost(name, self.time)

    def settings(self) -> Settings:
        nova = Nova(enabled=True, spacing=self._spacing, full=6 * HOUR)
        return msgspec.structs.replace(super().settings(), sweep=Sweep(spacing=self._spacing), nova=nova)

    async def space(self, seconds: float) -> None:
        """Have the next service sweep that often, and read Nova's records as often."""
        self._spacing = seconds

    # ------------------------------------------------------------------------------------------- what is held true

    def heard(self, batch: Sequence[Recorded]) -> None:
        for recorded in batch:
            # A service whose tables were lost folds the whole log: what it says of old sweeps is true at its end.
            if isinstance(recorded.event, HostSwept) and recorded.position > self._heard:
                self.swept += 1
                host = self.hosts[recorded.stream.split("/")[1]]
                if host.is_as_listed:
                    self.compared += 1
                    self.compare(host)
        self._heard = max(self._heard, batch[-1].position)

    def compare(self, host: FakeHypervisor) -> None:
        """Hold what the table says of a host against what is true there."""
        assert self.service is not None
        place = self.service.models.fleet.places[observer(host.hostname, "test")]
        expected = {instance: POWER_STATES.get(info.state) for instance, info in host.vms.items()}
        actual = {instance: place.get(instance) for instance in place.instances}
        assert expected == {each: known.power_state for each, known in actual.items() if not known.gone}
        assert not any(known.provisional for known in actual.values() if not known.gone)

    def _nobody_sees(self, *names: str) -> None:
        for name in names:
            stream = observer(name, "test")
            if self.service is not None and stream in self.service.observers:
                self.outages.append(Outage(stream, self.log._queries.head()))

    async def check(self) -> None:
        """Hold everything against what was true."""
        if not self._acting.cancel_called:
            self.check_all_tables()
        for done in self.done:
            assert not done.was_wrong, f"a guest that ran and was meant to was stopped: {done}"
            assert done.was_sent, f"nothing in the log says that this was to be done: {done}"
        records = await self._records()
        nobodys = {vm(number) for number in _OF_NOBODY}
        asked = {each.event.instance for each in records if isinstance(each.event, StopRequested)}
        assert not asked & nobodys
        self.check_outages(records)
        assert all(gap.until is not None and gap.since <= gap.until for gap in await gaps(await look(self.log)))
        # The log is held against its replay when everybody has ended, and all of it is there.
        await self.act_stop()

    def check_all_tables(self) -> None:
        for host in self.hosts.values():
            self.compare(host)

    def check_outages(self, records: Sequence[Recorded]) -> None:
        """Whenever nobody saw a host, the log says so: a gap was open, or one was opened before the host was seen anew.

        One sweep may have been on its way into the log when nobody saw the host any more.
        """
        for outage in self.outages:
            is_blind, sweeps = False, 0
            for recorded in records:
                event = recorded.event
                if recorded.stream != outage.stream:
                    continue
                if recorded.position > outage.position:
                    sweeps += isinstance(event, HostSwept)
                    if is_blind or isinstance(event, GapOpened):
                        break
                    assert sweeps <= 1, f"no gap tells of {outage}"
                if isinstance(event, GapOpened | GapClosed):
                    is_blind = isinstance(event, GapOpened)

    # --------------------------------------------------------------------------------------------------- the bytes

    def digest(self) -> str:
        """SHA-256 over all that the log holds."""
        sha = sha256()
        with self.log.database.read() as connection:
            for table in ("records", "streams", "labels", "tracking"):
                for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1"):
                    sha.update(repr(tuple(row)).encode())
        return sha.hexdigest()


class NaiveSimulated(Simulated, NaiveWorld):
    """The same with an actor that believes the last event."""

    async def check(self) -> None:
        await NaiveWorld.check(self)


# --------------------------------------------------------------------------------------------------------- programs


def program(seed: int, days: float) -> list[Step]:
    """Draw what befalls the world in so many days: something now and then, and then often one thing upon the other."""
    draw = random.Random(f"program {seed}")
    steps: list[Step] = [("space", tuple(draw.choices(*SPACINGS)), {})]
    steps += [("start", ("nova-2013",), {}), ("act_start", (), {}), ("wait", (60.0,), {})]
    meant = [VmState.ACTIVE, VmState.STOPPED]
    steps += [("declare", (number, draw.choice(meant), None), {}) for number in _OF_PEOPLE]
    passed = 0.0
    while passed < days * DAY:
        for step in _happening(draw):
            steps.append(step)
            if step[0] == "wait":
                passed += step[1][0]
        pause = draw.expovariate(1 / draw.choices(*_PAUSES)[0])
        passed += pause
        steps.append(("wait", (pause,), {}))
    return steps


_PAUSES = ([2.0, 120.0, 16 * HOUR], [1, 3, 1])
"""Seconds until the next thing happens, each of them on average, and how often it is each."""


def _happening(draw: random.Random) -> Iterator[Step]:
    kinds, weights = zip(*_WEIGHTS.items(), strict=True)
    yield from draw.choices(kinds, weights)[0](draw)


def _guest(draw: random.Random) -> Iterator[Step]:
    number, action = draw.choice(NUMBERS), draw.choice(_ACTIONS)
    way = draw.randrange(8)
    if way < 4:
        yield "act", (number, action), {}
    elif way == 4:
        yield "unheard", (number, action), {}
    elif way == 5:
        yield "late", (number, action, draw.choice(_ACTIONS)), {"twice": draw.random() < 0.5}
    elif way == 6:
        yield "say", (number, draw.randrange(10), draw.randrange(7)), {}
    else:
        yield "reboot", (number, draw.choice([0.0, 0.2, 0.4, 10.0])), {}


def _storm(draw: random.Random) -> Iterator[Step]:
    yield "burst", (draw.choice(NUMBERS),), {}


def _migration(draw: random.Random) -> Iterator[Step]:
    order = draw.sample(range(4), 4)
    moment = draw.choice([0.0, 0.05, 0.3, 10.0])
    yield "live_migrate", (draw.choice(NUMBERS), order, moment), {"persistent": draw.random() < 0.5}


def _definition(draw: random.Random) -> Iterator[Step]:
    number = draw.choice(_OF_NOBODY)
    yield "act", (number, "undefine"), {}
    yield "wait", (draw.expovariate(1 / HOUR),), {}
    yield "define", (number, draw.choice(["web", "\u202eliam", "x"]), draw.choice(HOSTS)), {}


def _record(draw: random.Random) -> Iterator[Step]:
    if draw.random() < 0.5:
        yield "declare", (draw.choice(_OF_PEOPLE), draw.choice([VmState.ACTIVE, VmState.STOPPED]), None), {}
    else:
        yield "user", (draw.choice(_OF_NOVA), draw.choice(["stop", "start"]), draw.choice([0.0, 0.3, 10.0])), {}


def _daemon(draw: random.Random) -> Iterator[Step]:
    host, length = draw.choice(HOSTS), draw.expovariate(1 / 300)
    if draw.random() < 0.5:
        yield "disconnect", (host, draw.choice([GapReason.CONNECTION_LOST, GapReason.KEEPALIVE])), {}
        yield from _meanwhile(draw, length)
        yield "come_back", (host,), {}
    else:
        yield "hang", (host,), {}
        yield from _meanwhile(draw, length)
        yield "wake", (host,), {}


def _process(draw: random.Random) -> Iterator[Step]:
    if draw.random() < 0.5:
        yield draw.choice(["stop", "crash"]), (), {}
        yield from _meanwhile(draw, draw.expovariate(1 / 300))
        if draw.random() < 0.1:
            yield "lose_tables", (), {}
        yield "space", tuple(draw.choices(*SPACINGS)), {}
        yield "start", ("nova-2013",), {}
    else:
        yield draw.choice(["act_stop", "act_crash"]), (), {}
        yield from _meanwhile(draw, draw.expovariate(1 / 300))
        yield "act_start", (), {}


def _database(draw: random.Random) -> Iterator[Step]:
    yield "refuse", (), {"forgetful": draw.random() < 0.5}
    yield from _meanwhile(draw, draw.expovariate(1 / 120))
    yield "accept", (), {}


def _nova(draw: random.Random) -> Iterator[Step]:
    yield "nova_is_silent", (), {}
    yield from _meanwhile(draw, draw.expovariate(1 / 300))
    yield "nova_answers", (), {}


def _clock(draw: random.Random) -> Iterator[Step]:
    yield "jump", (draw.choice([-7200, -60, -3, 3, 60, 7200]),), {}


def _boot(draw: random.Random) -> Iterator[Step]:
    yield "boot_host", (draw.choice(HOSTS),), {}


def _meanwhile(draw: random.Random, length: float) -> Iterator[Step]:
    """Guests go on while something is away."""
    yield "wait", (length / 2,), {}
    for _ in range(draw.randrange(3)):
        yield "act", (draw.choice(NUMBERS), draw.choice(_ACTIONS)), {}
    yield "wait", (length / 2,), {}


_WEIGHTS = {
    _guest: 60,
    _record: 15,
    _migration: 10,
    _storm: 3,
    _definition: 3,
    _daemon: 4,
    _process: 3,
    _database: 2,
    _nova: 2,
    _clock: 1,
    _boot: 1,
}


@dataclass(slots=True)
class Ended:
    """What a simulation came to."""

    digest: str = ""
    sweeps: int = 0
    compared: int = 0
    acts: int = 0
    records: int = 0


def simulate(seed: int, days: float, *, kind: type[Simulated] = Simulated) -> Ended:
    """Play one seed to its end, with everything held against the truth."""
    ended = Ended()

    async def check(world: Simulated) -> None:
        await world.check()
        ended.digest, ended.acts = world.digest(), len(world.done)
        ended.sweeps, ended.compared, ended.records = world.swept, world.compared, await world.log.head()

    play(program(seed, days), kind=kind, check=check, seed=seed)
    return ended
