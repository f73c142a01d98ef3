"""From libvirt's callback to durable, at 200 events a second, and what the callback itself costs libvirt's thread.

The service is whole: observer, process manager, follower and tables; the VMs are in a real libvirtd, and another
process acts on them.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any
from unittest.mock import patch

import libvirt
import trio

from benchmarks.figures import Figure, amount, at_most, percentile, ratios
from benchmarks.observing import WatchedLog
from es_power.domain.events import Event, LifecycleEvent
from es_power.ingest.callbacks import EventCallbacks
from es_power.ingest.libvirt import LibvirtHypervisor, event_loop
from es_power.log import open_log
from es_power.service import serve
from es_power.settings import Host, Log, Settings
from tests.rigs.libvirtd import libvirtd, missing_parts
from tests.rigs.machines import fake_vm

_VMS = 100
_RATE = 200
_ROW = (1, 1, 1_800_000_000_000_000_000, "LifecycleEvent:1", bytes(38), bytes(32), bytes(16))


def measure(*, quick: bool = False) -> list[Figure]:
    if reason := missing_parts():
        print(f"latency: left out, {reason}")
        return []
    events, rounds = (20, 1) if quick else (1_000, 5)
    ours: list[float] = []
    hand: list[float] = []
    callbacks: list[float] = []
    handovers: list[float] = []
    with TemporaryDirectory() as directory, _uri() as uri, _timed(callbacks, handovers):
        for turn in range(rounds):
            hand.append(_by_hand(Path(directory) / f"hand-{turn}.db", events))
            ours.append(trio.run(_served, uri, Path(directory) / f"ours-{turn}.db", events))
    slowest = percentile(callbacks, 0.99)
    return [
        Figure(
            name=f"Callback to durable at {_RATE} events/s, against a one-row commit",
            target=at_most(4),
            seen=ratios(ours, hand),
            detail=f"median {amount(median(ours))} µs in the whole service; {amount(median(hand))} µs by hand",
        ),
        Figure(
            name="The callback itself, 99th percentile",
            target=at_most(50, "µs"),
            seen=[slowest],
            unit="µs",
            detail=f"median {amount(median(callbacks))} µs of {len(callbacks):,}; the hand-over after it, on the same "
            f"thread: median {amount(median(handovers))} µs, 99th percentile {amount(percentile(handovers, 0.99))} µs",
        ),
    ]


@contextmanager
def _uri() -> Iterator[str]:
    """VMs of the test driver, in a libvirtd of our own; they live as long as somebody is connected to them."""
    with libvirtd() as daemon:
        connection = libvirt.open(daemon.uri())
        for number in range(_VMS):
            connection.defineXML(fake_vm(f"vm-{number}")).create()
        yield daemon.uri()
        connection.close()


@contextmanager
def _timed(callbacks: list[float], handovers: list[float]) -> Iterator[None]:
    """Time what libvirt's thread runs, in microseconds."""
    by_event_id, hand_over = EventCallbacks.by_event_id, EventCallbacks.hand_over

    def all_timed(these: EventCallbacks) -> Mapping[int, Callable[..., None]]:
        return {event_id: _stopwatch(callback, callbacks) for event_id, callback in by_event_id(these).items()}

    with (
        patch.object(EventCallbacks, "by_event_id", all_timed),
        patch.object(EventCallbacks, "hand_over", _stopwatch(hand_over, handovers)),
    ):
        yield


def _stopwatch(function: Callable[..., None], microseconds: list[float]) -> Callable[..., None]:
    def timed(*arguments: Any) -> None:
        begin = perf_counter_ns()
        function(*arguments)
        microseconds.append((perf_counter_ns() - begin) / 1e3)

    return timed


async def _served(uri: str, path: Path, events: int) -> float:
    """Microseconds from the callback to durable: the median."""
    took: list[float] = []
    done = trio.Event()

    def durable(stored: Sequence[Event], at: int) -> None:
        took.extend((at - event.observed_at) / 1e3 for event in stored if isinstance(event, LifecycleEvent))
        if len(took) >= events:
            done.set()

    async with event_loop(), open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        watched: Any = WatchedLog(log, durable)
        settings = Settings(log=Log(path=str(path)), hosts=(Host(uri=uri),))
        await nursery.start(serve, watched, [(None, LibvirtHypervisor(uri))], settings)
        act = [sys.executable, "-m", "benchmarks.latency", uri, str(events)]
        actor = await trio.to_thread.run_sync(
            lambda: subprocess.run(act, cwd=Path(__file__).parents[1], check=True, capture_output=True)
        )
        assert actor.returncode == 0
        with trio.fail_after(10):
            await done.wait()
        nursery.cancel_scope.cancel()
    return median(took)


def _act(uri: str, events: int) -> None:
    """Suspend and resume VMs in turn, at the rate."""
    connection = libvirt.open(uri)
    vms = connection.listAllDomains()
    for machine in vms:
        if machine.isActive() and machine.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            machine.resume()
    begin = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
        machine = vms[number % len(vms)]
        if number // len(vms) % 2:
            machine.resume()
        else:
            machine.suspend()


def _by_hand(path: Path, events: int) -> float:
    """Microseconds of a commit of one row at the rate: the median; same pragmas, a row as ours."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE records (position INTEGER PRIMARY KEY, stream INT, version INT, recorded_at INT, topic TEXT,"
        " state BLOB, hash BLOB, key BLOB, UNIQUE (stream, version))"
    )
    took: list[float] = []
    begin = time.monotonic()
    for number in count(1):
        time.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
        start = perf_counter_ns()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO records VALUES (?,?,?,?,?,?,?,?)", (number, 1, number, *_ROW[2:]))
        connection.execute("COMMIT")
        took.append((perf_counter_ns() - start) / 1e3)
        if number == events:
            break
    connection.close()
    return median(took)


if __name__ == "__main__":
    _act(sys.argv[1], int(sys.argv[2]))
