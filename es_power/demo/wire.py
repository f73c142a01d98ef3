"""A wire between the service and libvirt that can be cut, since the test driver has no daemon that could be killed."""

from collections.abc import Callable, Sequence
from uuid import UUID

import trio

from es_power.domain.events import GapReason, InstanceId
from es_power.errors import HypervisorUnavailableError
from es_power.ingest.hypervisor import Announcement, Connection, Hypervisor, Info


class CuttableHypervisor:
    """Passes everything through to a hypervisor until the wire is cut, and again once it is mended."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._cut = trio.Event()
        self._seen = trio.Event()
        self._whole = True

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
        self._seen = trio.Event()
        self._cut.set()

    def mend(self) -> None:
        """Let connections be opened again."""
        self._whole = True

    async def wait_seen(self) -> None:
        """Wait until somebody has asked for all states over the mended wire."""
        await self._seen.wait()

    async def open(self) -> Connection:
        """Open a connection, unless the wire is cut."""
        if not self._whole:
            raise HypervisorUnavailableError("the demo has cut the wire")
        self._cut = trio.Event()
        return _CuttableConnection(await self._hypervisor.open(), self._cut, self._seen)


class _CuttableConnection:
    def __init__(self, connection: Connection, cut: trio.Event, seen: trio.Event) -> None:
        self._connection = connection
        self._cut = cut
        self._seen = seen

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
        return await self._connection.get_info(instance)

    async def list_states(self) -> Sequence[Info]:
        found = await self._connection.list_states()
        self._seen.set()
        return found

    async def wait_closed(self) -> GapReason:
        await self._cut.wait()
        return GapReason.CONNECTION_LOST

    async def aclose(self) -> None:
        await self._connection.aclose()
