"""A hypervisor for tests: VMs in a dict, scripted events, lost connections and calls that hang.

It has the real one's async interface (`es_power.ingest.hypervisor.Hypervisor`), and everything a test does to it
happens at once, so nothing has to be waited for but what is tested. Events and states are scripted apart, as they are
apart in libvirt: `start` and its like do both, `announce` and `set_state` only one.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import trio

from es_power.domain.events import GapReason, HypervisorEvent, InstanceId, LifecycleEvent
from es_power.domain.ports import Clock
from es_power.domain.time import Timestamp
from es_power.errors import HypervisorUnavailableError
from es_power.ingest.clock import now
from es_power.ingest.hypervisor import Announcement, Hypervisor, Info

_BOOTED, _UNPAUSED, _PAUSED = (1, 1), (1, 5), (3, 1)
_SHUT_DOWN, _DESTROYED, _CRASHED = (5, 1), (5, 2), (5, 3)


class FakeHypervisor:
    """A host with VMs that a test adds, changes and takes away."""

    def __init__(
        self,
        *,
        uri: str = "test:///fake",
        hostname: str = "host-1",
        driver: str = "test",
        deadline: float = 30.0,
        clock: Clock = now,
    ) -> None:
        """`deadline`: seconds after which a call fails while the host hangs."""
        self.uri = uri
        self.driver = driver
        self.hostname = hostname
        #: Change it to let the host have been booted again.
        self.boot_id: UUID | None = UUID(int=1)
        self.vms: dict[InstanceId, Info] = {}
        #: The connections that are open now.
        self.connections: list[FakeConnection] = []
        #: How often a connection was opened, a VM was asked for, all were listed.
        self.opened = self.asked = self.listed = 0
        self._deadline = deadline
        self._clock = clock
        self._reachable = True
        self._answers = trio.Event()
        self._answers.set()

    # ------------------------------------------------------------------------------------------ what a VM does

    def add(self, name: str, *, state: int = 5, reason: int = 0, instance: InstanceId | None = None) -> InstanceId:
        """Let the host know a VM, shut off unless told otherwise, without an event."""
        instance = instance or InstanceId(uuid4())
        self.vms[instance] = Info(instance, name, state, reason)
        return instance

    def set_state(self, instance: InstanceId, state: int, reason: int) -> None:
        """Change what libvirt answers, without an event."""
        self.vms[instance] = self.vms[instance]._replace(state=state, reason=reason)

    def announce(self, instance: InstanceId, event: int, detail: int) -> None:
        """Deliver a lifecycle event to every connection that subscribed; states stay as they are."""
        for connection in self.connections:
            connection.announce(instance, event, detail)

    def lose_events(self, count: int) -> None:
        """Let the next numbers be used up, as by events that nobody got."""
        for connection in self.connections:
            connection.highest_number += count

    def start(self, instance: InstanceId) -> None:
        """Start it: real qemu announces RESUMED first, then STARTED."""
        self.set_state(instance, *_BOOTED)
        self.announce(instance, 4, 0)
        self.announce(instance, 2, 0)

    def suspend(self, instance: InstanceId) -> None:
        """Pause it."""
        self.set_state(instance, *_PAUSED)
        self.announce(instance, 3, 0)

    def resume(self, instance: InstanceId) -> None:
        """Let it go on after `suspend`."""
        self.set_state(instance, *_UNPAUSED)
        self.announce(instance, 4, 0)

    def power_off(self, instance: InstanceId) -> None:
        """Let the guest power itself off."""
        self.set_state(instance, *_SHUT_DOWN)
        self.announce(instance, 6, 1)
        self.announce(instance, 5, 0)

    def destroy(self, instance: InstanceId) -> None:
        """Pull its plug."""
        self.set_state(instance, *_DESTROYED)
        self.announce(instance, 6, 2)
        self.announce(instance, 5, 1)

    def crash(self, instance: InstanceId) -> None:
        """Let its qemu be killed: the event says FAILED, the state's reason says CRASHED."""
        self.set_state(instance, *_CRASHED)
        self.announce(instance, 5, 5)

    def undefine(self, instance: InstanceId) -> None:
        """Let the host forget it."""
        self.announce(instance, 1, 0)
        del self.vms[instance]

    def rename(self, instance: InstanceId, name: str) -> None:
        """Give it another name."""
        self.announce(instance, 1, 1)
        self.vms[instance] = self.vms[instance]._replace(name=name)
        self.announce(instance, 0, 2)

    # ---------------------------------------------------------------------------------------- what a daemon does

    def disconnect(self, reason: GapReason = GapReason.CONNECTION_LOST) -> None:
        """Let the daemon go away: connections are lost, `open` fails until `come_back`."""
        self._reachable = False
        for connection in self.connections:
            connection.lose(reason)
        self.connections.clear()

    def come_back(self) -> None:
        """Let the daemon be there again; connections that were lost stay lost."""
        self._reachable = True

    def hang(self) -> None:
        """Let every call wait until `wake`, or fail after the deadline; no connection is lost by it."""
        self._answers = trio.Event()

    def wake(self) -> None:
        """Let the calls that wait be answered."""
        self._answers.set()

    async def open(self) -> "FakeConnection":
        """Open a connection."""
        await self.answer()
        if not self._reachable:
            raise HypervisorUnavailableError(f"cannot open {self.uri}: no such socket; is libvirtd running there?")
        self.opened += 1
        connection = FakeConnection(self)
        self.connections.append(connection)
        return connection

    async def answer(self) -> None:
        """Take as long as an answer takes."""
        await trio.lowlevel.checkpoint()
        try:
            with trio.fail_after(self._deadline):
                await self._answers.wait()
        except trio.TooSlowError as error:
            raise HypervisorUnavailableError(f"{self.uri} did not answer within {self._deadline:g} s") from error

    def time(self) -> Timestamp:
        """Read the clock that events are stamped with."""
        return self._clock()


class FakeConnection:
    """A connection of a `FakeHypervisor`."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        self.hostname = hypervisor.hostname
        self.boot_id = hypervisor.boot_id
        #: The number of the latest event.
        self.highest_number = 0
        self._hypervisor = hypervisor
        self._connection = 0
        self._announce: Callable[[Announcement], None] | None = None
        self._lost = trio.Event()
        self._reason = GapReason.CONNECTION_LOST

    async def subscribe(self, *, connection: int, announce: Callable[[Announcement], None]) -> None:
        """Deliver what the test announces from here on."""
        await self._ask()
        self._connection = connection
        self._announce = announce

    async def get_info(self, instance: InstanceId) -> Info | None:
        """Look one VM up."""
        await self._ask()
        self._hypervisor.asked += 1
        return self._hypervisor.vms.get(instance)

    async def list_states(self) -> Sequence[Info]:
        """Give all VMs."""
        await self._ask()
        self._hypervisor.listed += 1
        return list(self._hypervisor.vms.values())

    async def wait_closed(self) -> GapReason:
        """Wait for the test to disconnect it."""
        await self._lost.wait()
        return self._reason

    async def aclose(self) -> None:
        """Close it; no event comes any more."""
        if self in self._hypervisor.connections:
            self._hypervisor.connections.remove(self)
        self._announce = None
        await trio.lowlevel.checkpoint()

    def announce(self, instance: InstanceId, event: int, detail: int) -> None:
        """Deliver a lifecycle event, if the service subscribed."""
        self.deliver(
            lambda connection, number: LifecycleEvent(
                observed_at=self._hypervisor.time(),
                instance=instance,
                connection=connection,
                number=number,
                event=event,
                detail=detail,
            )
        )

    def deliver(self, event: Callable[[int, int], HypervisorEvent]) -> None:
        """Deliver any event; `event` is given the connection and the number to build it with."""
        if self._announce is None:
            return
        self.highest_number += 1
        built = event(self._connection, self.highest_number)
        vm = self._hypervisor.vms.get(built.instance)
        self._announce(Announcement(built, vm.name if vm else ""))

    def lose(self, reason: GapReason) -> None:
        """Be lost; every call fails from here on."""
        self._reason = reason
        self._announce = None
        self._lost.set()

    async def _ask(self) -> None:
        await self._hypervisor.answer()
        if self._lost.is_set() or self not in self._hypervisor.connections:
            raise HypervisorUnavailableError(f"the connection to {self._hypervisor.uri} is lost")


if TYPE_CHECKING:
    _promised: type[Hypervisor] = FakeHypervisor
