"""The demo's guests: VMs of libvirt's test driver, which exist in this process only and hold no memory.

The driver delivers real events through libvirt's own event loop; nothing on the machine is touched.
"""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

import libvirt
import trio

from es_power.domain.events import InstanceId

URI: Final = "test:///default"

_XML: Final = """
<domain type='test'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>
"""


class Guests:
    """Named VMs, and what a clumsy operator does to them; every call runs in a worker thread."""

    def __init__(self, count: int, folder: Path) -> None:
        self._names = [f"demo-{number:0{len(str(count))}}" for number in range(1, count + 1)]
        self._folder = folder
        self._limiter = trio.CapacityLimiter(1)

    async def boot(self) -> Mapping[str, InstanceId]:
        """Define and start them all; give their UUIDs by name."""
        return await trio.to_thread.run_sync(self._boot, limiter=self._limiter)

    async def act(self, action: str, name: str) -> bool:
        """Do one thing to one VM: start, pause, resume, shutdown, destroy, crash, save; False where libvirt refuses.

        It refuses what makes no sense, such as to resume what is off.
        """
        return await trio.to_thread.run_sync(self._act, action, name, limiter=self._limiter)

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return list(self._names)

    def _boot(self) -> Mapping[str, InstanceId]:
        self._connection = libvirt.open(URI)
        found: dict[str, InstanceId] = {}
        for name in self._names:
            domain = self._connection.defineXML(_XML.format(name=name))
            domain.create()
            found[name] = InstanceId(UUID(domain.UUIDString()))
        return found

    def _act(self, action: str, name: str) -> bool:
        domain = self._connection.lookupByName(name)
        saved = self._folder / f"{name}.save"
        actions: Mapping[str, Callable[[], object]] = {
            "start": lambda: self._connection.restore(str(saved)) if saved.exists() else domain.create(),
            "pause": domain.suspend,
            "resume": domain.resume,
            "shutdown": domain.shutdown,
            "destroy": domain.destroy,
            "crash": lambda: domain.coreDump(str(self._folder / f"{name}.core"), libvirt.VIR_DUMP_CRASH),
            "save": lambda: domain.save(str(saved)),
        }
        with suppress(libvirt.libvirtError):
            actions[action]()
            if action == "start":
                saved.unlink(missing_ok=True)
            return True
        return False


CHAOS: Final = ("pause", "resume", "shutdown", "start", "start", "destroy", "start", "crash", "save", "resume")
"""What happens to a random VM, one after the other; several of these are refused most of the time, as in life."""


def choose(dice: random.Random, names: list[str]) -> tuple[str, str]:
    """Draw what to do next, and to whom."""
    return dice.choice(CHAOS), dice.choice(names)
