"""A small world for the real service: two fake hosts, people, a log that may refuse, and time that costs nothing.

Everything between the hypervisor and the database is the real thing. Only threads are not: what would run in one runs
at once, so that trio's mock clock sees all that happens, and the same program takes the same course every time.
"""

import itertools
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar
from unittest import mock

import structlog
import trio
from trio.testing import MockClock

from es_power.chance import drawn_from
from es_power.domain.decisions import StopRequested
from es_power.domain.events import (
    GapReason,
    HostSwept,
    HypervisorEvent,
    InstanceId,
    InventoryRecorded,
    LifecycleEvent,
    Position,
    Recorded,
    StateObserved,
)
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.policy import Decision, DriverAnswer, Situation, decide, get_policy
from es_power.domain.ports import Append
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import HypervisorUnavailableError, LogUnavailableError
from es_power.ingest.clock import ClockState
from es_power.ingest.declarations import clear, declare
from es_power.ingest.hypervisor import Announcement
from es_power.ingest.records import NovaReader
from es_power.log.database import Database
from es_power.log.patience import PatientLog
from es_power.log.upgrade import ensure_schema
from es_power.log.writer import SqlLog
from es_power.projections.follower import Follower
from es_power.projections.gaps import gaps
from es_power.projections.power_state import power_rows
from es_power.projections.queries import look
from es_power.projections.readmodels import ReadModels
from es_power.projections.store import Store
from es_power.projections.tables import METADATA
from es_power.replay import verify
from es_power.service import Service
from es_power.settings import Bridge, Host, Lease, Log, PolicyChoice, Settings, Sweep
from es_power.testing.facts import T0, vm
from es_power.testing.hypervisor import FakeConnection, FakeHypervisor
from tests.rigs.clock import without_threads

HOSTS = ("a", "b")
VMS = (1, 2, 3)
CAPACITY = 6
"""Events that the bridge holds: a burst overflows it."""


class FlakyLog(SqlLog):
    """A log that refuses while it is told to, before or after it has taken what it is given."""

    refusing = False
    #: Takes the append all the same, and says that it did not.
    forgetful = False

    async def append(self, append: Append) -> Position:
        if self.forgetful:
            await super().append(append)
        if self.refusing:
            await trio.lowlevel.checkpoint()
            raise LogUnavailableError("the disk is full")
        return await super().append(append)


class WatchedHost(FakeHypervisor):
    """A host that remembers what it delivered, and may lose, repeat or delay an event."""

    def __init__(self, name: str, clock: Callable[[], Timestamp]) -> None:
        super().__init__(uri=f"test:///{name}", hostname=name, clock=clock)
        #: (connection, number, time) of every event that a callback was given.
        self.delivered: list[tuple[int, int, Timestamp]] = []
        self.deaf = False
        self.held: list[tuple[FakeConnection, Announcement]] = []
        self.holding = False

    def announce(self, instance: InstanceId, event: int, detail: int) -> None:
        if self.deaf:
            self.lose_events(1)
            return
        for connection in self.connections:
            if connection._announce is None:
                continue
            if self.holding:
                connection.highest_number += 1
                late = LifecycleEvent(
                    observed_at=self.time(),
                    instance=instance,
                    connection=connection._connection,
                    number=connection.highest_number,
                    event=event,
                    detail=detail,
                )
                self.held.append((connection, Announcement(late, self.name_of(instance))))
            else:
                connection.announce(instance, event, detail)
                self.delivered.append((connection._connection, connection.highest_number, self.time()))

    def name_of(self, instance: InstanceId) -> str:
        return self.vms[instance].name if instance in self.vms else ""

    def release(self, *, twice: bool) -> None:
        """Deliver what was held back, after events with higher numbers."""
        held, self.held, self.holding = self.held, [], False
        for connection, announcement in held * (2 if twice else 1):
            if connection._announce is not None:
                connection._announce(announcement)


class PlainStates:
    """Each VM's state on each host as one would find it by hand: the fact with the highest event number counts."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, InstanceId], PowerState | None] = {}
        #: The observations that counted when they came.
        self.believed: set[tuple[Position, InstanceId]] = set()
        self._highest: dict[tuple[str, InstanceId], tuple[int, int]] = {}
        self._inventories: dict[str, Sequence[InstanceId]] = {}

    def apply(self, recorded: Recorded) -> None:
        event, stream = recorded.event, recorded.stream
        if isinstance(event, InventoryRecorded):
            self._inventories[stream] = event.instances
        elif isinstance(event, HostSwept):
            for index, instance in enumerate(self._inventories[stream]):
                self._observed(recorded, event.answer(index, instance))
        elif isinstance(event, StateObserved):
            self._observed(recorded, event)
        elif isinstance(event, LifecycleEvent):
            place, key = (stream, event.instance), (event.connection, event.number)
            if key > self._highest.get(place, (0, 0)):
                self._highest[place] = key
                if event.transition is not None:
                    self.states[place] = event.transition.power_state

    def _observed(self, recorded: Recorded, event: StateObserved) -> None:
        place = (recorded.stream, event.instance)
        if (event.connection, event.number) >= self._highest.get(place, (0, 0)):
            self.states[place] = PowerState.NOSTATE if event.state is None else POWER_STATES.get(event.state)
            self.believed.add((recorded.position, event.instance))


@dataclass(slots=True, kw_only=True)
class Blind:
    """A time in which nobody saw a host."""

    since: Timestamp
    until: Timestamp | None = None


class World:
    """What a program acts on: its steps are this class's methods."""

    #: The numbers of its VMs.
    vms: Collection[int] = VMS
    #: Whose records the service reads, if anybody's.
    nova: NovaReader | None = None

    def __init__(self, database: Database, nursery: trio.Nursery) -> None:
        self.log = FlakyLog(database, clock=self.time, poll=10_000)
        self.nursery = nursery
        self._ticks = itertools.count()
        self._begun = trio.current_time()
        self.hosts = {name: self.make_host(name) for name in HOSTS}
        self.policy = "nova-2013"
        self.service: Service | None = None
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        #: What ended a service that nobody stopped.
        self.failures: list[BaseException] = []
        self.blind: dict[str, list[Blind]] = {name: [] for name in HOSTS}
        self.hosts["a"].add("web", state=1, reason=1, instance=vm(1))
        self.hosts["a"].add("db", state=5, reason=1, instance=vm(2))
        self.hosts["b"].add("mail", state=1, reason=1, instance=vm(3))

    def make_host(self, name: str) -> WatchedHost:
        return WatchedHost(name, self.time)

    def time(self) -> Timestamp:
        """A wall clock: trio's, and no two readings are equal."""
        return Timestamp(self.steady() + 1_000 * next(self._ticks))

    def steady(self, _: object = None) -> Timestamp:
        """The clock that nobody sets."""
        return Timestamp(T0 + int((trio.current_time() - self._begun) * SECOND))

    # -------------------------------------------------------------------------------------------- the service

    async def start(self, policy: str) -> None:
        if self.service is not None:
            return
        self.policy = policy
        self.ended = trio.Event()
        follower = await Follower.start(PatientLog(self.log), Store(self.log.database))
        self.service = Service(self.log, self.settings(), follower, nova=self.nova, listen=self.heard)
        self.scope = trio.CancelScope()
        self.nursery.start_soon(self._run, self.service)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """The service has folded a batch."""

    def settings(self) -> Settings:
        return Settings(
            log=Log(path=":memory:"),
            hosts=(Host(uri="test:///"),),
            bridge=Bridge(capacity=CAPACITY),
            sweep=Sweep(jitter=0.0),
            policy=PolicyChoice(name=self.policy),
            lease=Lease(duration=1e6),
        )

    async def _run(self, service: Service) -> None:
        with self.scope:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(service.run, [(None, host) for host in self.hosts.values()])
            except* HypervisorUnavailableError:
                pass  # no host was there at the start
            except* Exception as failure:  # noqa: BLE001 (the program's end tells of it)
                self.failures += failure.exceptions
        self.service = None
        self.ended.set()

    async def stop(self) -> None:
        """Let it end in good order."""
        if self.service is not None:
            self._nobody_sees(*HOSTS)
            self.scope.cancel()
            await self.ended.wait()

    async def crash(self) -> None:
        """Let it end with no last word, wherever it is."""
        if self.service is not None:
            self._nobody_sees(*HOSTS)
            was, self.log.refusing = self.log.refusing, True
            self.scope.cancel()
            await self.ended.wait()
            self.log.refusing = was

    async def lose_tables(self) -> None:
        """Drop the read models' tables while nobody keeps them."""
        if self.service is None:
            with self.log.database.write() as connection:
                METADATA.drop_all(connection)

    def _nobody_sees(self, *names: str) -> None:
        at = self.time()
        for name in names:
            stream = observer(name, "test")
            if self.service is not None and stream in self.service.observers:
                self.blind[name].append(Blind(since=at))

    # ---------------------------------------------------------------------------------------------- the hosts

    async def act(self, number: int, action: str) -> None:
        """Do something to a VM where it is."""
        for host in self.hosts.values():
            if vm(number) in host.vms:
                getattr(host, action)(vm(number))

    async def unheard(self, number: int, action: str) -> None:
        """The same, and every event of it is lost, though its number was given out."""
        for host in self.hosts.values():
            host.deaf = True
        await self.act(number, action)
        for host in self.hosts.values():
            host.deaf = False

    async def late(self, number: int, action: str, then: str, *, twice: bool) -> None:
        """Two things happen, and the events of the first come after those of the second, perhaps twice."""
        for host in self.hosts.values():
            host.holding = True
        await self.act(number, action)
        for host in self.hosts.values():
            host.holding = False
        await self.act(number, then)
        for host in self.hosts.values():
            host.release(twice=twice)

    async def say(self, number: int, event: int, detail: int) -> None:
        """An event that nothing in the host's state bears out."""
        for host in self.hosts.values():
            if vm(number) in host.vms:
                host.announce(vm(number), event, detail)

    async def disagree(self, number: int, vm_state: VmState) -> None:
        """A VM becomes what the record says that it should not be, and that is seen."""
        await self.declare(number, vm_state, None)
        await self.act(number, "power_off" if vm_state is VmState.ACTIVE else "start")
        await trio.sleep(1)

    async def burst(self, number: int) -> None:
        """More events at once than fit."""
        for _ in range(CAPACITY):
            await self.act(number, "suspend")
            await self.act(number, "start")

    async def odd_state(self, number: int, state: int) -> None:
        for host in self.hosts.values():
            if vm(number) in host.vms:
                host.set_state(vm(number), state, 0)

    async def define(self, number: int, name: str, at: str) -> None:
        if not any(vm(number) in host.vms for host in self.hosts.values()):
            self.hosts[at].add(name, instance=vm(number))
            self.hosts[at].announce(vm(number), 0, 0)

    async def rename(self, number: int, name: str) -> None:
        for host in self.hosts.values():
            if vm(number) in host.vms:
                host.rename(vm(number), name)

    async def migrate(self, number: int, order: Sequence[int], *, persistent: bool) -> None:
        """Move a running VM to the other host; the order of its events across hosts is nobody's promise."""
        for here, there in ((self.hosts["a"], self.hosts["b"]), (self.hosts["b"], self.hosts["a"])):
            known = here.vms.get(vm(number))
            if known is not None and known.state == 1:
                there.add(known.name, state=1, reason=2, instance=vm(number))
                told = [(there, 2, 1), (here, 3, 1), (there, 4, 1), (here, 5, 3)]
                here.set_state(vm(number), 5, 4)
                for host, event, detail in (told[index] for index in order):
                    host.announce(vm(number), event, detail)
                if not persistent:
                    here.undefine(vm(number))
                return

    async def forget_source(self, number: int) -> None:
        """Undefine the VM on hosts where it is off while another has it on, as after a migration."""
        bearers = [host for host in self.hosts.values() if vm(number) in host.vms]
        for host in bearers if len(bearers) > 1 else ():
            if host.vms[vm(number)].state == 5:
                host.undefine(vm(number))

    async def disconnect(self, name: str, reason: GapReason) -> None:
        self._nobody_sees(name)
        self.hosts[name].disconnect(reason)

    async def come_back(self, name: str) -> None:
        self.hosts[name].come_back()

    async def hang(self, name: str) -> None:
        self.hosts[name].hang()

    async def wake(self, name: str) -> None:
        self.hosts[name].wake()

    # --------------------------------------------------------------------------------------- people and the log

    async def declare(self, number: int, vm_state: VmState, task_state: str | None) -> None:
        with suppress(LogUnavailableError):
            await declare(self.log, [(vm(number), vm_state, task_state)], by="somebody", why="because", at=self.time())

    async def clear(self, number: int) -> None:
        with suppress(LogUnavailableError):
            await clear(self.log, vm(number), by="somebody", why="because", at=self.time())

    async def refuse(self, *, forgetful: bool) -> None:
        self.log.refusing, self.log.forgetful = True, forgetful

    async def accept(self) -> None:
        self.log.refusing = self.log.forgetful = False

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def yield_(self, times: int) -> None:
        for _ in range(times):
            await trio.lowlevel.checkpoint()

    async def sweep(self) -> None:
        for each in list(self.service.observers.values()) if self.service else ():
            each.sweep_soon()

    # --------------------------------------------------------------------------------------------- invariants

    async def settle(self) -> None:
        """Let everything that was wrong be well again, and everything that is under way come to its end."""
        await self.accept()
        for host in self.hosts.values():
            host.wake()
            host.come_back()
        for _ in range(2):  # a start that is under way may yet end, since it found no host
            await self.start(self.policy)
            await trio.sleep(200)  # longer than any backoff
        await self.sweep()
        await trio.sleep(5)  # longer than any gathering
        assert self.failures == []
        assert self.service is not None, "the service did not start"
        for blind in itertools.chain(*self.blind.values()):
            blind.until = blind.until or self.time()

    async def check(self) -> None:
        """Hold what the service says against what is true."""
        assert self.service is not None
        self.check_table(self.service)
        self.check_commands(self.service)
        await self.check_log()
        await self.check_order()
        await self.check_gaps()

    def check_table(self, service: Service) -> None:
        fleet = service.models.fleet
        for name, host in self.hosts.items():
            stream = observer(name, "test")
            for instance, info in host.vms.items():
                known = fleet.get(instance, stream)
                assert (POWER_STATES.get(info.state), False) == (known.power_state, known.gone), (name, info)
                assert not known.provisional
            if stream in fleet.places:
                gone = {each for each, known in fleet.places[stream].instances.items() if known.gone}
                assert fleet.places[stream].instances.keys() - host.vms.keys() == gone
        rows = {row.instance: row for row in power_rows(fleet, now=self.time())}
        for number in self.vms:
            on = [name for name, host in self.hosts.items() if self._truth(host, number) in _ON]
            if len(on) == 1:
                row = rows[vm(number)]
                assert (on[0], self._truth(self.hosts[on[0]], number), "") == (row.host, row.power_state, row.note)

    def _truth(self, host: FakeHypervisor, number: int) -> PowerState | None:
        return POWER_STATES.get(host.vms[vm(number)].state) if vm(number) in host.vms else None

    def check_commands(self, service: Service) -> None:
        fleet, rows = service.models.fleet, service.models.commands.rows.values()
        open_now = [row.requested for row in rows if row.state.is_open]
        assert len(open_now) == len({each.instance for each in open_now}), "two commands of one instance are open"
        found = {each.instance: (each.host, each.policy, each.rule, each.verb) for each in open_now}
        wanted = {}
        for number in self.vms:
            said, owner = fleet.vouched.get(vm(number)), fleet.owner(vm(number)).host
            if said is None or owner is None:
                continue
            host = owner.split("/")[1]
            decision = self._decide(host, number, said.vm_state, said.task_state)
            if decision.verb is not None:
                wanted[vm(number)] = (host, self.policy, decision.rule, decision.verb)
        assert wanted == found

    def _decide(self, host: str, number: int, vm_state: VmState, task_state: str | None) -> Decision:
        info = self.hosts[host].vms.get(vm(number))
        answer: DriverAnswer = "NOTFOUND" if info is None else POWER_STATES.get(info.state) or "ERROR"
        situation = Situation(
            vm_state=vm_state, task_state=task_state, db_power_state=None, driver=answer, host_matches=True
        )
        return decide(get_policy(self.policy), situation)

    async def check_log(self) -> None:
        records = await self._records()
        assert [each.position for each in records] == list(range(1, len(records) + 1))
        _, differences = await verify(self.log)
        assert list(differences) == []

    async def check_order(self) -> None:
        """Whatever order facts came in, the one with the highest number is believed, and only such lead to commands."""
        models, plain = ReadModels(), PlainStates()
        for recorded in await self._records():
            models.apply([recorded])
            plain.apply(recorded)
            for (stream, instance), state in plain.states.items():
                assert state == models.fleet.get(instance, stream).power_state, recorded
            if isinstance(recorded.event, StopRequested):
                request = recorded.event
                assert (request.observation, request.instance) in plain.believed

    async def check_gaps(self) -> None:
        found = await gaps(await look(self.log))
        known = {
            (each.stream.split("/")[1], each.event.connection, each.event.number)
            for each in await self._records()
            if isinstance(each.event, HypervisorEvent)
        }
        for name, host in self.hosts.items():
            dark = [(gap.since, gap.until) for gap in found if gap.host == name]
            assert all(until is not None for _, until in dark), "a gap is open though all is seen"
            for connection, number, at in host.delivered:
                in_dark = any(since <= at <= until for since, until in dark if until)
                assert (name, connection, number) in known or in_dark, f"event {number} was delivered and is nowhere"
            for blind in self.blind[name]:
                assert any(
                    since <= blind.since + _NOTICED and blind.since <= until for since, until in dark if until
                ), blind

    async def _records(self) -> Sequence[Recorded]:
        return await self.log.read(after=Position(0), limit=1_000_000)


_ON = {PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED}
_NOTICED = 1_000_000
"""Nanoseconds, or a thousand readings of the clock, in which the service notices what happened to it."""

Step = tuple[str, tuple[object, ...], dict[str, object]]


@contextmanager
def _in_silence() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    try:
        yield
    finally:
        structlog.reset_defaults()


@contextmanager
def _from_one_seed(seed: int) -> Iterator[None]:
    """Draw everything from a seed; trio's order of tasks too, which it lets hypothesis decide."""
    scheduler = trio._core._run
    with (
        drawn_from(random.Random(seed)),
        mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        mock.patch.object(scheduler, "_r", random.Random(seed)),
        mock.patch("es_power.identity.holder", return_value="here, process 1"),
        mock.patch("es_power.service.holder", return_value="here, process 1"),
        mock.patch("es_power.acting.holder", return_value="here, process 1"),
        mock.patch("es_power.ingest.observer.clock_state", ClockState),
        mock.patch("es_power.ingest.sweep.clock_state", ClockState),
    ):
        yield


W = TypeVar("W", bound=World)


def play(
    program: Sequence[Step],
    *,
    check: Callable[[W], Awaitable[None]] = World.check,
    kind: Callable[[Database, trio.Nursery], W] = World,
    seed: int | None = None,
) -> None:
    """Run a program in a world of its own, and check that world whenever it settles and at the end.

    With a `seed` nothing is left to chance: the same program takes the same course to the same bytes.
    """

    async def main() -> None:
        database = Database(":memory:")
        with ExitStack() as stack:
            stack.callback(database.close)
            ensure_schema(database)
            async with trio.open_nursery() as nursery:
                world = kind(database, nursery)
                stack.enter_context(mock.patch("es_power.ingest.clock.time.time_ns", world.time))
                stack.enter_context(mock.patch("es_power.ingest.clock.time.clock_gettime_ns", world.steady))
                for name, args, kwargs in [*program, ("settle", (), {})]:
                    await getattr(world, name)(*args, **kwargs)
                    if name == "settle":
                        await check(world)
                await world.stop()
                await world.check_log()
                nursery.cancel_scope.cancel()

    with _in_silence(), without_threads(), nullcontext() if seed is None else _from_one_seed(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
