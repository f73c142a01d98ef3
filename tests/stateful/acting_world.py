"""The small world with a Nova, and with actors on its hosts: what they stop is held against the truth.

The truth is that of the world, not of the log: what a guest is when the order reaches it, and what Nova's database or a
person says of it. A world may change at any step, so an act is judged by what was true from its last look on: whatever
changed in between, within the window, is nobody's fault.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import msgspec
import trio

from es_power.acting import Acts, serve_acts
from es_power.dispatch.nova import NovaStopper
from es_power.dispatch.stopper import Stopper
from es_power.domain.decisions import Route, Sent, StopRequested
from es_power.domain.events import InstanceId, Position, RecordCleared, RecordDeclared, RecordNotFound, RecordObserved
from es_power.domain.ports import Append
from es_power.domain.states import PowerState, VmState
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import EsPowerError, NovaRefusedError, NovaUnavailableError
from es_power.ingest.hypervisor import Info
from es_power.ingest.records import ask
from es_power.log.database import Database
from es_power.settings import Act, Breaker, Nova, PolicyChoice, Settings
from es_power.testing import FakeStopper
from es_power.testing.facts import vm
from tests.stateful.world import FlakyLog, WatchedHost, World
from tests.unit.ingest.nova import FakeNova, server

NOVAS, PERSONS, NOBODYS = (1, 3), (2, 5), (4,)
"""Of whose VMs Nova has a record, a person says what they are meant to be, and nobody says anything."""

WINDOW = 2.0
_RUNNING, _OFF = 1, 5


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a stopper did to a guest."""

    instance: InstanceId
    #: Whether it ran and was meant to, at the moment of the act and at every answer of the last look.
    was_wrong: bool
    #: Whether the log had a command for it as sent for which nothing was done yet.
    was_sent: bool
    #: Seconds since the last look.
    window: float


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One answer that an actor got."""

    at: float
    #: Whether the guest ran, and was meant to.
    is_right: bool


class WitnessedLog(FlakyLog):
    """A log that knows which commands stand in it as sent, and what people say."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.sent: dict[InstanceId, set[object]] = {}
        self.said: dict[InstanceId, VmState] = {}

    async def append(self, append: Append) -> Position:
        try:
            return await super().append(append)
        finally:
            # Also where it was taken and said to be refused: then it is found by its key, or appended again.
            for event in (event for write in append.writes for event in write.events):
                match event:
                    case Sent(instance=instance, command=command) if event.route is not Route.RECORD:
                        self.sent.setdefault(instance, set()).add(command)
                    case RecordDeclared(instance=instance, vm_state=vm_state):
                        self.said[instance] = vm_state
                    case RecordCleared(instance=instance):
                        self.said.pop(instance, None)


class Hand:
    """A host as a stopper sees it: everything that it does there is told before it is done."""

    def __init__(self, host: WatchedHost, tell: Callable[[InstanceId], None]) -> None:
        self._host = host
        self._tell = tell

    @property
    def vms(self) -> dict[InstanceId, Info]:
        return self._host.vms

    def power_off(self, instance: InstanceId) -> None:
        self._tell(instance)
        self._host.power_off(instance)

    def destroy(self, instance: InstanceId) -> None:
        self._tell(instance)
        self._host.destroy(instance)


class Looks:
    """A host as an actor looks at it: what it is told is noted."""

    def __init__(self, host: WatchedHost, note: Callable[[InstanceId], None]) -> None:
        self.uri, self.driver, self.hostname = host.uri, host.driver, host.hostname
        self._host, self._note = host, note

    async def open(self):
        connection = await self._host.open()
        answer = connection.get_info

        async def get_info(instance: InstanceId) -> Info | None:
            info = await answer(instance)
            self._note(instance)
            return info

        connection.get_info = get_info
        return connection


class ActingWorld(World):
    """A world in which what is planned is done."""

    #: Nanoseconds by which the wall clock was set.
    jumped = 0

    def __init__(self, database: Database, nursery: trio.Nursery) -> None:
        super().__init__(database, nursery)
        self.log = WitnessedLog(database, clock=self.time, poll=10_000)
        self.hosts["a"].add("shop", state=1, reason=1, instance=vm(4))
        self.hosts["b"].add("build", state=5, reason=1, instance=vm(5))
        self.nova = FakeNova()
        self.nova.rows = {
            vm(1): server(vm(1), host="a", node="a"),
            vm(3): server(vm(3), host="b", node="b"),
        }
        self.done: list[Done] = []
        self.stoppers = {f"test:///{name}": self._ways(host) for name, host in self.hosts.items()}
        #: Of each instance, the answers of Nova and of libvirt that an actor got last, in this order.
        self._glances: dict[InstanceId, list[Glance]] = {}
        self.acts: Acts | None = None
        self._acting = trio.CancelScope()
        self._acted = trio.Event()
        self._acted.set()

    def time(self) -> Timestamp:
        return Timestamp(super().time() + self.jumped)

    def settings(self) -> Settings:
        return msgspec.structs.replace(
            super().settings(),
            policy=PolicyChoice(name=self.policy, mode="auto"),
            nova=Nova(enabled=True, spacing=20.0, full=100.0),
            act=Act(settle=0.2, after_boot=0.0, confirm=5.0, window=WINDOW),
            # What has to hold one by one is not to be hidden by what holds back many.
            breaker=Breaker(commands=100, most=100, whole=100),
        )

    # ---------------------------------------------------------------------------------------------- the truth

    def is_right(self, instance: InstanceId) -> bool:
        """Whether a guest runs where it is stopped by its record, and is meant to."""
        row = self.nova.rows.get(instance)
        if row is not None:
            host = self.hosts.get(row.host or "")
            known = host.vms.get(instance) if host else None
            return row.vm_state is VmState.ACTIVE and known is not None and known.state == _RUNNING
        runs = any(host.vms[instance].state == _RUNNING for host in self.hosts.values() if instance in host.vms)
        return runs and self.log.said.get(instance) is VmState.ACTIVE

    def _glance(self, instance: InstanceId, *, first: bool) -> None:
        glance = Glance(at=trio.current_time(), is_right=self.is_right(instance))
        known = self._glances.setdefault(instance, [])
        if first or len(known) > 1 or instance not in self.nova.rows:
            known.clear()
        known.append(glance)

    def _witness(self, instance: InstanceId) -> None:
        glances = self._glances.get(instance, [])
        right_all_along = self.is_right(instance) and all(glance.is_right for glance in glances)
        before = sum(done.instance == instance for done in self.done)
        self.done.append(
            Done(
                instance=instance,
                was_wrong=right_all_along,
                was_sent=before < len(self.log.sent.get(instance, ())),
                window=trio.current_time() - min((glance.at for glance in glances), default=-1e9),
            )
        )

    # ---------------------------------------------------------------------------------------------- who acts

    def _ways(self, host: WatchedHost) -> dict[Route, Stopper]:
        by_libvirt = FakeStopper(Hand(host, self._witness))
        return {Route.HYPERVISOR: by_libvirt, Route.NOVA: NovaStopper(SimpleNamespace(stop=self.stop_in_nova))}

    async def stop_in_nova(self, instance: InstanceId, *, send_within: float | None = None) -> str:
        """What os-stop does (nova/compute/api.py: stop)."""
        await trio.lowlevel.checkpoint()
        row = self.nova.rows.get(instance)
        if self.nova.error is not None:
            raise self.nova.error
        if row is None or row.vm_state not in {VmState.ACTIVE, VmState.ERROR} or row.task_state:
            raise NovaRefusedError("it is not in a state to be stopped", status=409)
        self._witness(instance)
        host = self.hosts.get(row.host or "")
        if host and instance in host.vms and host.vms[instance].state != _OFF:
            host.power_off(instance)
        self.nova.put(instance, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
        return "req-1"

    async def _ask(self, instance: InstanceId, after: Position) -> RecordObserved | RecordNotFound:
        fact = await ask(self.nova, instance, after)
        self._glance(instance, first=True)
        return fact

    async def act_start(self) -> None:
        if self._acted.is_set():
            self._acting, self._acted = trio.CancelScope(), trio.Event()
            self.nursery.start_soon(self._run_acts)

    async def _run_acts(self) -> None:
        with self._acting:
            try:
                async with trio.open_nursery() as nursery:
                    self.acts = await nursery.start(self.serve_acts)
            except* Exception as failure:  # noqa: BLE001 (the program's end tells of it)
                self.failures += failure.exceptions
        self.acts = None
        self._acted.set()

    async def serve_acts(self, *, task_status: trio.TaskStatus[Acts]) -> None:
        """Act on all hosts until cancelled."""
        hosts = [(None, Looks(host, partial(self._glance, first=False))) for host in self.hosts.values()]
        await serve_acts(
            self.log,
            hosts,
            self.settings(),
            stoppers=self.stoppers.__getitem__,
            nova=self._ask,
            task_status=task_status,
        )

    async def act_stop(self) -> None:
        self._acting.cancel()
        await self._acted.wait()

    async def act_crash(self) -> None:
        """Let the actors end with no last word, wherever they are."""
        was, self.log.refusing = self.log.refusing, True
        await self.act_stop()
        self.log.refusing = was

    async def approve(self) -> None:
        """A person approves whatever may still be sent."""
        rows = list(self.service.models.commands.rows.values()) if self.service else []
        for row in rows:
            actor = self.acts.actors.get(row.requested.host) if self.acts and row.state.is_open else None
            if actor is not None:
                with suppress(EsPowerError), trio.move_on_after(20):
                    await actor.approve(row.requested.command, by="ann", why="go on")

    # ------------------------------------------------------------------------------------ what Nova and guests do

    async def reboot(self, number: int, seconds: float) -> None:
        """A guest is off for a moment, as in a hard reboot."""
        await self.act(number, "destroy")
        await trio.sleep(seconds)
        await self.act(number, "start")

    async def revive(self, number: int, seconds: float) -> None:
        """A guest powers itself off and is started again, of which nobody hears."""
        await self.act(number, "power_off")
        await trio.sleep(seconds)
        await self.unheard(number, "start")

    async def be_well(self) -> None:
        """What is there is up and answers, and Nova's instances run where Nova has them, as they are meant to."""
        await self.accept()
        await self.nova_answers()
        for name, host in self.hosts.items():
            host.wake()
            host.come_back()
            for instance in self.nova.rows.keys() & host.vms.keys():
                if host.vms[instance].state == _RUNNING or self.nova.rows[instance].host == name:
                    self.nova.put(instance, vm_state=VmState.ACTIVE, task_state=None, host=name, node=name)
                    host.start(instance)
        await self.start(self.policy)
        await self.act_start()
        await trio.sleep(5)

    async def boot_host(self, name: str) -> None:
        """A host goes down with its guests, and comes up with those that were on."""
        host = self.hosts[name]
        on = [instance for instance, known in host.vms.items() if known.state == _RUNNING]
        host.disconnect()
        for instance in on:
            host.set_state(instance, _OFF, 0)
        host.boot_id = None if host.boot_id is None else type(host.boot_id)(int=host.boot_id.int + 1)
        host.come_back()
        await trio.sleep(3)
        for instance in on:
            if instance in host.vms:
                host.start(instance)

    async def nova_writes(self, number: int, vm_state: VmState, task_state: str | None) -> None:
        if vm(number) in self.nova.rows:
            self.nova.put(vm(number), vm_state=vm_state, task_state=task_state)

    async def user(self, number: int, wish: str, seconds: float) -> None:
        """A user stops or starts an instance: a task, then the guest, then the record."""
        if vm(number) not in self.nova.rows:
            return
        task, action, vm_state = {
            "stop": ("powering-off", "power_off", VmState.STOPPED),
            "start": ("powering-on", "start", VmState.ACTIVE),
        }[wish]
        self.nova.put(vm(number), task_state=task)
        await trio.sleep(seconds)
        await self.act(number, action)
        await trio.sleep(seconds)
        self.nova.put(vm(number), task_state=None, vm_state=vm_state)

    async def live_migrate(self, number: int, order: Sequence[int], seconds: float, *, persistent: bool) -> None:
        """Nova moves an instance: a task, the guest with events in any order, then the record."""
        if vm(number) not in self.nova.rows:
            await self.migrate(number, order, persistent=persistent)
            return
        self.nova.put(vm(number), task_state="migrating")
        await trio.sleep(seconds)
        await self.migrate(number, order, persistent=persistent)
        await trio.sleep(seconds)
        states = {name: host.vms[vm(number)].state for name, host in self.hosts.items() if vm(number) in host.vms}
        running = [name for name, state in states.items() if state == _RUNNING]
        host = running[0] if running else self.nova.rows[vm(number)].host
        self.nova.put(vm(number), task_state=None, host=host, node=host)

    async def nova_is_silent(self) -> None:
        self.nova.error = NovaUnavailableError("no answer")

    async def nova_answers(self) -> None:
        self.nova.error = None

    async def jump(self, seconds: int) -> None:
        """The wall clock is set."""
        self.jumped += seconds * SECOND

    async def deaf(self, number: int) -> None:
        """A guest does not hear that it should shut down."""
        for ways in self.stoppers.values():
            ways[Route.HYPERVISOR].deaf.add(vm(number))

    # --------------------------------------------------------------------------------------------- invariants

    async def settle(self) -> None:
        await self.nova_answers()
        await super().settle()
        await self.act_start()
        await trio.sleep(60)
        assert self.failures == []

    async def check(self) -> None:
        """Hold what was done against what was true."""
        for done in self.done:
            assert not done.was_wrong, f"a guest that ran and was meant to was stopped: {done}"
            assert done.was_sent, f"nothing in the log says that this was to be done: {done}"
            assert done.window <= WINDOW, done
        for recorded in await self._records():
            if isinstance(recorded.event, StopRequested):
                assert recorded.event.instance not in {vm(number) for number in NOBODYS}
        await self.check_log()
        await self.act_stop()
