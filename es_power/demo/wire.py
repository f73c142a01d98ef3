"""A wire between the service and libvirt that can be cut, or hold answers up: the test driver has no daemon to kill.

What comes over it is libvirt's own, each event and each answer; the wire only decides when.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

import trio

from es_power.domain.events import GapReason, InstanceId
from es_power.errors import HypervisorUnavailableError
from es_power.ingest.hypervisor import Announcement, Connection, Hypervisor, Info


class Late:
    """Answers about one VM that were given, and are on their way for longer than they should be."""

    def __init__(self) -> None:
        self._given = trio.Semaphore(0)
        self._arriving = trio.Semaphore(0)

    async def wait_given(self) -> None:
        """Wait until libvirt has given one more answer, which now is on its way."""
        await self._given.acquire()

    def arrive(self) -> None:
        """Let the one that waits longest arrive, or else the next one at once."""
        self._arriving.release()

    async def delay(self) -> None:
        """Be on the way."""
        self._given.release()
        await self._arriving.acquire()


class Wire:
    """Passes everything through to a hypervisor, as long as it is whole."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._whole = True
        #: Of the open connection.
        self.cutting = trio.Event()
        #: Whose answers are late.
        self.late: dict[InstanceId, Late] = {}

    @property
    def uri(self) -> str:
        """The connection URI."""
        return self._hypervisor.uri

    @property
    def driver(self) -> str:
        """The word for the URI's driver."""
        return self._hypervisor.driver

    def cut(self) -> None:
        """End the open connection, and let none be opened."""
        self._whole = False
        self.cutting.set()

    def mend(self) -> None:
        """Let connections be opened again."""
        self._whole = True

    def slow(self, instance: InstanceId) -> Late:
        """Have answers about a VM be late from now on, until `quick`."""
        self.late[instance] = Late()
        return self.late[instance]

    def quick(self, instance: InstanceId) -> None:
        """Have answers about a VM come as they are given; one that is on its way arrives."""
        if late := self.late.pop(instance, None):
            late.arrive()

    async def open(self) -> Connection:
        """Open a connection, unless the wire is cut."""
        if not self._whole:
            raise HypervisorUnavailableError("the demo has cut the wire")
        self.cutting = trio.Event()
        return _WireConnection(await self._hypervisor.open(), self)


class _WireConnection:
    def __init__(self, connection: Connection, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire
        self._cut = wire.cutting

    @property
    def hostname(self) -> str:
        return self._connection.hostname

    @property
    def boot_id(self) -> UUID | None:
        return self._connection.boot_id

    @property
    def highest_number(self) -> int:
        return self._connection.highest_number

    async def subscribe(self, *, connection: int, announce: Callable[[Announcement], None]) -> None:
        await self._connection.subscribe(connection=connection, announce=announce)

    async def get_info(self, instance: InstanceId) -> Info | None:
        answer = await self._connection.get_info(instance)
        if late := self._wire.late.get(instance):
            await late.delay()
        return answer

    async def list_states(self) -> Sequence[Info]:
        return await self._connection.list_states()

    async def wait_closed(self) -> GapReason:
        await self._cut.wait()
        return GapReason.CONNECTION_LOST

    async def aclose(self) -> None:
        await self._connection.aclose()
