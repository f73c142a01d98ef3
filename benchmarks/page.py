"""The page in a real Chromium: what drawing costs with a large fleet, and what a hundred thousand live events leave."""

import json
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import trio

from benchmarks.figures import Figure, amount, at_most, percentile
from benchmarks.logs import LIFE, hosts, lifecycle, write
from benchmarks.serving import served
from es_power.api.house import House
from es_power.api.listen import shown, tcp_socket
from es_power.api.routes_session import offer_link
from es_power.domain.access import Role
from es_power.domain.events import InstanceId, LifecycleEvent
from es_power.domain.ports import Append, Write
from es_power.domain.time import SECOND, Timestamp
from es_power.ingest.clock import now

_BENCH = Path(__file__).parents[1] / "web" / "bench"
_AT_ONCE = 200
"""Events of one append, and of one VM each."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to draw, and how often it is."""

    hosts: int
    vms: int
    segments: int
    rounds: int
    frames: int
    events: int
    #: So often in between the page's memory is looked at.
    looks: int

    @property
    def fleet(self) -> int:
        return self.hosts * self.vms


_FULL = Size(hosts=100, vms=50, segments=100, rounds=5, frames=200, events=100_000, looks=10)
_QUICK = Size(hosts=2, vms=3, segments=4, rounds=1, frames=3, events=400, looks=2)


def measure(*, quick: bool = False) -> list[Figure]:
    size = _QUICK if quick else _FULL
    made = [_node("made.mjs", size.fleet, size.segments, size.frames) for _ in range(size.rounds)]
    facts = size.fleet * size.segments
    with TemporaryDirectory() as directory:
        since = Timestamp(now() - facts * SECOND // 100)
        log = write(
            Path(directory) / "log.db", lifecycle(facts, hosts(size.hosts, size.vms, since=since)), in_time=True
        )
        seen = trio.run(_visited, log, size)
    heaps = seen["heaps"]
    fleet = f"{size.fleet:,} VMs with {size.segments} segments and as many marks each"
    return [
        Figure(
            name="A pan of the lanes, redrawn",
            target=at_most(10, "ms"),
            seen=[median(each["pan"]) for each in made],
            unit="ms",
            detail=f"{fleet}; median of {size.frames} frames a round, up to the last pixel; 99th percentile "
            f"{amount(max(percentile(each['pan'], 0.99) for each in made))} ms; scrolled: median "
            f"{amount(median(median(each['scroll']) for each in made))} ms",
        ),
        Figure(
            name="A pan of the lanes in the whole page, on a service",
            target=at_most(10, "ms"),
            seen=[median(each) for each in seen["pans"]],
            unit="ms",
            detail=f"{fleet}; the work of a frame, from the wheel's event to what was painted, while the log grows by "
            f"nothing; 99th percentile {amount(max(percentile(each, 0.99) for each in seen['pans']))} ms",
        ),
        Figure(
            name="The lanes, drawn first",
            target=at_most(500, "ms"),
            seen=[each["first"] for each in made],
            unit="ms",
            detail=f"{fleet}; from the lanes' data in memory to the last pixel, the table around them included",
        ),
        Figure(
            name="The page, opened until its lanes are drawn",
            target=None,
            seen=seen["first"],
            unit="ms",
            detail=f"{fleet}; from the address to lanes in all rows in sight; {amount(median(seen['rows']))} ms until "
            "there are rows; the service, in Python on the same machine, answers with the whole fleet first",
        ),
        Figure(
            name=f"Memory of the page after {size.events:,} live events, against after {size.events // size.looks:,}",
            target=at_most(1.1),
            seen=[heaps[-1] / heaps[1]],
            detail=f"{', '.join(amount(each / 1e6) for each in heaps)} MB of JavaScript's heap, collected, before and "
            f"after each {size.events // size.looks:,}; the document has {seen['nodes'][1]:,} nodes, then "
            f"{seen['nodes'][-1]:,}",
        ),
    ]


def _node(script: str, *arguments: object) -> Any:
    done = subprocess.run(
        ["node", _BENCH / script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


async def _visited(log: Path, size: Size) -> dict[str, Any]:
    """Serve the log, have the page opened, and let events happen; what was measured meanwhile."""
    async with _offered(log) as (house, url):
        browser = await trio.lowlevel.open_process(
            ["node", _BENCH / "live.mjs", url, str(size.rounds), str(size.frames)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert browser.stdin is not None
        assert browser.stdout is not None
        lines = _lines(browser.stdout)
        found: dict[str, Any] = json.loads(await anext(lines))
        heaps, nodes = [found.pop("heap")], [found.pop("nodes")]
        everyone = list(house.follower.models.fleet.seen_on)
        for _ in range(size.looks):
            position = await _happen(house, everyone, size.events // size.looks)
            await browser.stdin.send_all(f"{position}\n".encode())
            looked = json.loads(await anext(lines))
            heaps.append(looked["heap"])
            nodes.append(looked["nodes"])
        await lines.aclose()
        await browser.stdin.aclose()
        await browser.wait()
    return found | {"heaps": heaps, "nodes": nodes}


@asynccontextmanager
async def _offered(log: Path) -> AsyncIterator[tuple[House, str]]:
    """Serve the log at a port, and give the link to its page."""
    with tcp_socket("127.0.0.1:0", "[api] listen") as listening:
        url = f"http://{shown(listening)}"
        async with served(log, listening, url) as house:
            yield house, url + await offer_link(house, "bench", Role.READ)


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[str]:
    rest = b""
    async for part in stream:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode()


async def _happen(house: House, everyone: list[InstanceId], number: int) -> int:
    """Have so many events recorded, a few VMs' at a time, no faster than they are folded; the last one's position."""
    fleet = house.follower.models.fleet
    for first in range(0, number, _AT_ONCE):
        stream = next(iter(fleet.places))
        version = await house.log.version(stream)
        events = [
            LifecycleEvent(
                observed_at=Timestamp(time.time_ns()),
                instance=everyone[(first + n) % min(10, len(everyone))],
                connection=1,
                number=10**9 + version + n,
                event=LIFE[first // _AT_ONCE % len(LIFE)][0][0],
                detail=0,
            )
            for n in range(min(_AT_ONCE, number - first))
        ]
        await house.log.append(Append(writes=[Write(stream=stream, expected=version, events=events)]))
        await house.follower.reached(await house.log.head())
    return int(await house.log.head())
