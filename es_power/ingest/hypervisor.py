"""A host's libvirt as the observer sees it: what is announced, what can be asked, and how a connection ends.

`LibvirtHypervisor` is the real one, `es_power.testing.FakeHypervisor` the one for tests. A connection that is lost
stays lost: libvirt revives neither it nor anything that came from it, so reconnecting is a new `open`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from es_power.domain.events import GapReason, HypervisorEvent, InstanceId


class Info(NamedTuple):
    """What `get_info` or a bulk call answered of one VM: its name, and libvirt's raw state and reason."""

    instance: InstanceId
    name: str
    state: int
    reason: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event as the callback took it, and the name that libvirt gave the VM then (no question was asked for it)."""

    event: HypervisorEvent
    name: str


class Connection(Protocol):
    """One open connection. Calls raise HypervisorError, or HypervisorUnavailableError where nobody answers in time."""

    @property
    def hostname(self) -> str:
        """The name that the host's libvirt gives it (virConnectGetHostname)."""

    @property
    def boot_id(self) -> UUID | None:
        """Which boot of the host this is; None for a host that is not this machine."""

    @property
    def highest_number(self) -> int:
        """The number of the latest event that was announced; 0 before the first."""

    async def subscribe(self, *, connection: int, announce: Callable[[Announcement], None]) -> None:
        """Have every event that bears on power announced, numbered 1, 2, 3 ... over all kinds.

        `announce` is called on a native thread: it must neither wait nor raise. Events from before are not repeated,
        so a sweep comes after this and not before.
        """

    async def get_info(self, instance: InstanceId) -> Info | None:
        """Ask for one VM; None where libvirt does not know the UUID."""

    async def list_states(self) -> Sequence[Info]:
        """Ask for all VMs of the host, the inactive ones too, in no order."""

    async def wait_closed(self) -> GapReason:
        """Wait until the connection is lost, and say how; never returns where no daemon is in between."""

    async def aclose(self) -> None:
        """Close it; a daemon that does not answer is not waited for long."""


class Hypervisor(Protocol):
    """Where connections come from."""

    @property
    def uri(self) -> str:
        """The connection URI."""

    @property
    def driver(self) -> str:
        """The word for the URI's driver, which with the host name names the stream."""

    async def open(self) -> Connection:
        """Open a new connection, read-only; HypervisorUnavailableError says what to do where nobody answers."""
