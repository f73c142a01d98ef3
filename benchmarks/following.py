"""From an append to clients that follow the log over HTTP: 500 of them, in a process of their own, on a real socket."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import trio

from benchmarks.figures import Figure, amount, at_most, percentile
from benchmarks.logs import hosts, lifecycle, write
from benchmarks.serving import served
from es_power.api.house import House
from es_power.api.listen import unix_socket
from es_power.domain.events import LifecycleEvent
from es_power.domain.ports import Append, Write
from es_power.domain.time import Timestamp

_BETWEEN = 0.2
"""Seconds between two events, each of which all clients are sent."""


def measure(*, quick: bool = False) -> list[Figure]:
    clients, events, number, vms = (5, 5, 2, 3) if quick else (500, 100, 200, 50)
    with TemporaryDirectory() as directory:
        log = write(Path(directory) / "log.db", lifecycle(10 * number * vms, hosts(number, vms)))
        took, asked = trio.run(_served, log, clients, events)
    return [
        Figure(
            name=f"Event to {clients} clients that follow over HTTP, 99th percentile",
            target=at_most(250, "ms"),
            seen=[percentile(took, 0.99) * 1e3],
            unit="ms",
            detail=f"{number * vms:,} VMs; from the append's call to the client's read, all clients in one process; "
            f"median {amount(median(took) * 1e3)} ms of {len(took):,}; the service gathers for 50 ms",
        ),
        Figure(
            name="One VM's state over HTTP, 99th percentile",
            target=at_most(25, "ms"),
            seen=[percentile(asked, 0.99) * 1e3],
            unit="ms",
            detail=f"{number * vms:,} VMs, one client on a unix socket, nobody follows; every tenth right after an "
            f"event; median {amount(median(asked) * 1e3)} ms of {len(asked):,}",
        ),
    ]


async def _served(path: Path, clients: int, events: int) -> tuple[list[float], list[float]]:
    socket = path.with_name("api.sock")
    with unix_socket(socket, "[api] socket") as listening:
        async with served(path, listening) as house:
            asked = await _ask(house, socket, 10 * events)
            took = await _follow(house, socket, clients, events)
    return took, asked


async def _happen(house: House) -> tuple[int, int]:
    """Append an event; its position, and when that was called for."""
    stream = next(iter(house.follower.models.fleet.places))
    place = house.follower.models.fleet.places[stream]
    instance = next(iter(place.instances))
    version = await house.log.version(stream)
    event = LifecycleEvent(
        observed_at=Timestamp(time.time_ns()),
        instance=instance,
        connection=1,
        number=10**9 + version,
        event=2,
        detail=0,
    )
    begin = time.time_ns()
    return await house.log.append(Append(writes=[Write(stream=stream, expected=version, events=[event])])), begin


async def _ask(house: House, socket: Path, number: int) -> list[float]:
    took = []
    everyone = list(house.follower.models.fleet.seen_on)
    stream = await trio.open_unix_socket(socket)
    async with stream:
        for turn in range(number):
            if turn % 10 == 0:
                position, _ = await _happen(house)
                await house.follower.reached(position)  # type: ignore[arg-type]
            begin = time.perf_counter()
            instance = everyone[turn * 7919 % len(everyone)]
            await stream.send_all(f"GET /v1/vms/{instance} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"}"):
                answer += await stream.receive_some()
            took.append(time.perf_counter() - begin)
            assert answer.startswith(b"HTTP/1.1 200")
    return took


async def _follow(house: House, socket: Path, clients: int, events: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.following", str(socket), str(clients), str(events)]
    follows = await trio.lowlevel.open_process(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
    while house.broadcast.followers < clients:  # noqa: ASYNC110 (nobody tells of each who comes)
        await trio.sleep(0.05)
    begun = {}
    for _ in range(events):
        position, begin = await _happen(house)
        begun[position] = begin
        await trio.sleep(_BETWEEN)
    said = b""
    assert follows.stdout is not None
    async for part in follows.stdout:
        said += part
    await follows.wait()
    heard = json.loads(said)
    assert len(heard) == clients * events
    return [(at - begun[position]) / 1e9 for position, at in heard]


def _clients(socket: str, clients: int, events: int) -> None:
    """Follow, and print (position, time) of all that was heard."""
    heard: list[tuple[int, int]] = []

    async def one() -> None:
        stream = await trio.open_unix_socket(socket)
        async with stream:
            await stream.send_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            mine = 0
            while mine < events:
                part = await stream.receive_some()
                at = time.time_ns()
                for position in re.findall(rb"id: (\d+)\nevent: fact", part):
                    heard.append((int(position), at))
                    mine += 1

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(one)

    trio.run(all_of_them)
    json.dump(heard, sys.stdout)


if __name__ == "__main__":
    _clients(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
