"""A sweep of 10,000 VMs through a real libvirtd: the observer's, libvirt's bare call, and Nova's way."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import libvirt
import trio

from benchmarks.figures import ROUNDS, Figure, amount, at_least, at_most, ratios
from benchmarks.observing import HOW
from es_power.domain.events import HostSwept
from es_power.ingest.libvirt import LibvirtHypervisor, event_loop
from es_power.ingest.observer import Observer
from es_power.ingest.roster import Roster
from es_power.log import SqlLog, open_log
from es_power.testing.facts import vm
from tests.rigs.libvirtd import libvirtd, missing_parts
from tests.rigs.machines import fake_host, fake_vm

_STATE = 1  # VIR_DOMAIN_STATS_STATE


def measure(*, quick: bool = False) -> list[Figure]:
    if reason := missing_parts():
        print(f"sweep: left out, {reason}")
        return []
    vms, rounds = (20, 1) if quick else (10_000, 3 * ROUNDS)
    with libvirtd() as daemon, TemporaryDirectory() as directory:
        file = daemon.directory / "many.xml"
        file.write_text(fake_host(fake_vm(f"vm-{n}", uuid=vm(n)) for n in range(vms)))
        daemon.give_away(file.parent)
        uri = daemon.uri(path=str(file))
        ours, bare, each = trio.run(_sweeps, uri, Path(directory) / "log.db", rounds)
    return [
        Figure(
            name=f"A sweep of {vms:,} VMs, against the bare getAllDomainStats",
            target=at_most(1.5),
            seen=ratios(ours, bare),
            detail=f"{amount(1e3 * median(ours))} ms from the question to the sweep in the log; "
            f"{amount(1e3 * median(bare))} ms bare, in the calling thread",
        ),
        Figure(
            name=f"A sweep of {vms:,} VMs, against lookupByUUID and info for each",
            target=at_least(8),
            seen=ratios(each, ours[::3]),
            detail=f"{amount(1e3 * median(each))} ms Nova's way",
        ),
    ]


async def _sweeps(uri: str, path: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    ours: list[float] = []
    bare: list[float] = []
    each: list[float] = []
    async with event_loop(), open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        hypervisor = LibvirtHypervisor(uri)
        connection = await hypervisor.open()
        observer = Observer(log, hypervisor, name="observer/host-1/test", roster=Roster(), how=HOW)
        nursery.start_soon(observer.run, connection)
        await observer.seeing.wait()
        raw = libvirt.openReadOnly(uri)
        uuids = [known.UUID() for known in raw.listAllDomains()]
        for turn in range(rounds):
            bare.append(_time(lambda: raw.getAllDomainStats(_STATE, 0)))
            ours.append(await _sweep(observer, log))
            if turn % 3 == 0:
                each.append(_time(lambda: _one_by_one(raw, uuids)))
        raw.close()
        nursery.cancel_scope.cancel()
    return ours, bare, each


async def _sweep(observer: Observer, log: SqlLog) -> float:
    """Ask the observer for one, and wait until the log has it."""
    before = await log.head()
    begin = perf_counter()
    observer.sweep_soon()
    await log.wait_beyond(before)
    took = perf_counter() - begin
    assert any(isinstance(recorded.event, HostSwept) for recorded in await log.read(after=before))
    return took


def _one_by_one(raw: Any, uuids: list[bytes]) -> None:
    for uuid in uuids:
        raw.lookupByUUID(uuid).info()


def _time(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin
