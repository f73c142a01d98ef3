"""A service that hears millions of events from a fake host, and tells how much memory it holds: a process of its own.

All of the service's way is taken: the bridge, the observer with its questions, group commit into a real file, the fold,
the tables and their snapshots. `python -m tests.torture.soak LOG EVENTS LEAK` prints, twenty times, events, kilobytes
and events a second.
"""

import gc
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Final

import trio

from es_power.log import open_log
from es_power.service import Service, serve
from es_power.settings import Host, Log, Settings
from es_power.testing.hypervisor import FakeHypervisor

VMS: Final = 500
PARTS: Final = 20
_ROUND: Final = 2 * VMS  # events: each VM is paused, and goes on


def resident() -> int:
    """Kilobytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def soak(place: Path, events: int, leak: int = 0) -> AsyncGenerator[tuple[int, int, float]]:
    """Have a service hear so many events; twenty times, how many it has heard, its size, and events a second.

    `leak` is how many bytes of each event are kept for ever, as a broken service would.
    """
    kept: list[bytes] = []
    host = FakeHypervisor()
    vms = [host.add(f"vm-{number}", state=1, reason=1) for number in range(VMS)]
    settings = Settings(log=Log(path=str(place)), hosts=(Host(uri=host.uri),))
    async with open_log(place, mode="write") as log, trio.open_nursery() as nursery:
        service: Service = await nursery.start(serve, log, [(None, host)], settings)
        heard, begun = 0, monotonic()
        for part in range(1, PARTS + 1):
            while heard < events * part // PARTS:
                for vm in vms:
                    host.suspend(vm)
                    host.resume(vm)
                heard += _ROUND
                kept.append(os.urandom(leak * _ROUND))
                await _folded(service, heard)
            yield heard, resident(), heard / (monotonic() - begun)
        nursery.cancel_scope.cancel()


async def _folded(service: Service, heard: int) -> None:
    """Wait until the fold has the round's last event; what more there is, answers, comes by itself."""
    [place] = service.models.fleet.places.values()
    while max(known.number for known in place.instances.values()) < heard:
        await trio.sleep(0.005)


async def _tell(place: Path, events: int, leak: int) -> None:
    async with aclosing(soak(place, events, leak)) as parts:
        async for heard, size, rate in parts:
            print(heard, size, round(rate), flush=True)  # noqa: T201


if __name__ == "__main__":
    trio.run(_tell, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
