"""The whole service on real libvirt, over a log of its own, with a second process that acts on VMs beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from es_power.domain.events import InstanceId, Recorded
from es_power.domain.states import PowerState
from es_power.ingest.clock import now
from es_power.ingest.libvirt import LibvirtHypervisor
from es_power.log import SqlLog, open_log
from es_power.projections.power_state import PowerRow, digest, power_rows
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.service import Service, serve
from es_power.settings import Connection, Host, Log, QemuLog, Settings, Sweep
from tests.rigs.actor import Actor, actor
from tests.rigs.libvirtd import PATIENCE


class Recording:
    """A service that observes one URI or several, its log, and a second process that acts on the first."""

    def __init__(self, service: Service, log: SqlLog, other: Actor) -> None:
        self.service = service
        self.log = log
        self._other = other

    async def act(self, *words: object) -> None:
        await trio.to_thread.run_sync(self._other.act, *words)

    async def records(self) -> list[Recorded]:
        return list(await self.log.read(after=0, limit=100_000))

    async def until(self, wanted: Callable[[list[Recorded]], bool]) -> list[Recorded]:
        """Wait until the log says something and the tables know of it, and give all of it."""
        with trio.move_on_after(PATIENCE):
            while True:
                records = await self.records()
                if wanted(records) and self.service.models.fleet.position >= records[-1].position:
                    return records
                await trio.sleep(0.02)
        raise AssertionError("\n".join(str(recorded.event) for recorded in records))

    async def instance(self, name: str) -> InstanceId:
        """The UUID that bears a name."""
        for row in power_rows(self.service.models.fleet, now=now(), everything=True):
            if row.name and name in (await self.log.labels([row.name.id])).values():
                return row.instance
        raise AssertionError(name)

    async def row(self, instance: InstanceId, state: PowerState | None) -> PowerRow:
        """Wait until the table says so, confirmed by an observation (None: gone), and give the row."""
        with trio.move_on_after(PATIENCE):
            while True:
                for row in power_rows(self.service.models.fleet, now=now(), everything=True):
                    same = row.gone if state is None else row.power_state == state
                    if row.instance == instance and same and not row.provisional:
                        return row
                await trio.sleep(0.02)
        raise AssertionError(list(power_rows(self.service.models.fleet, now=now(), everything=True)))


@asynccontextmanager
async def recording(
    path: Path, *uris: str, silence: int = 1, spacing: float = 600.0, qemu_logs: Path | None = None
) -> AsyncIterator[Recording]:
    """Run a service; a daemon may be silent for twice `silence` seconds, and is swept every `spacing` seconds.

    The qemu logs in a folder are followed where one is given.
    """
    settings = Settings(
        log=Log(path=str(path)),
        hosts=tuple(Host(uri=uri) for uri in uris),
        connection=Connection(keepalive_interval=silence, keepalive_count=1, backoff_max=0.2),
        sweep=Sweep(spacing=spacing),
        qemu_log=QemuLog(enabled=qemu_logs is not None, folder=str(qemu_logs or "")),
    )
    hypervisors = [
        LibvirtHypervisor(uri, deadline=5 * silence, keepalive_interval=silence, keepalive_count=1) for uri in uris
    ]
    with actor(uris[0]) as other:
        async with open_log(path, mode="write", poll=0.02) as log, trio.open_nursery() as nursery:
            service = await nursery.start(serve, log, [(None, each) for each in hypervisors], settings)
            yield Recording(service, log, other)
            nursery.cancel_scope.cancel()
        async with open_log(path) as log:
            # Whatever a test did: what the tables say is what a replay says.
            live, _ = await read_models(log, Store(log.database))
            replayed, _ = await read_models(log)
            assert digest(live.fleet) == digest(replayed.fleet)


def count(records: list[Recorded], kind: type) -> int:
    return sum(isinstance(recorded.event, kind) for recorded in records)
