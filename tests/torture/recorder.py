"""A service of one host on a log that is made to fail, and the comparison of what it was told with what it stored."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from es_power.domain.events import GapClosed, LifecycleEvent, Position
from es_power.log import SqlLog, open_log
from es_power.projections.power_state import digest
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.service import Service, serve
from es_power.settings import Bridge, Host, Lease, Log, Settings
from es_power.testing.hypervisor import FakeHypervisor

PATIENCE = 60.0


@dataclass
class Recorder:
    """A host whose VMs never rest, and the service that records it."""

    log: SqlLog
    service: Service
    host: FakeHypervisor
    told: int = 0
    vms: list[object] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return sum(each.waiting for each in self.service.recording().buffered.values())

    @property
    def dropped(self) -> int:
        return sum(each.dropped for each in self.service.recording().buffered.values())

    def happen(self, count: int = 1) -> None:
        """Let so many events be announced."""
        for _ in range(count):
            self.told += 1
            self.host.announce(self.vms[self.told % len(self.vms)], 3 + self.told % 2, 0)  # suspended, resumed

    async def keep_happening(self) -> None:
        while True:
            self.happen()
            await trio.sleep(0.005)

    async def stored(self) -> None:
        """Wait until everything that was told is acknowledged."""
        with trio.fail_after(PATIENCE):
            while self.waiting or self.service.recording().outages:
                await trio.sleep(0.01)


@asynccontextmanager
async def recording(place: str, *, capacity: int = 65_536, driver: str = "test") -> AsyncIterator[Recorder]:
    settings = Settings(
        log=Log(path=place),
        hosts=(Host(uri="test:///fake"),),
        bridge=Bridge(capacity=capacity),
        lease=Lease(duration=2.0),
    )
    host = FakeHypervisor(driver=driver)
    vms = [host.add(f"vm-{number}", state=1, reason=1) for number in range(10)]
    async with open_log(place, mode="write", poll=0.05) as log, trio.open_nursery() as nursery:
        service = await nursery.start(serve, log, [(None, host)], settings)
        yield Recorder(log, service, host, vms=list(vms))
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Seen:
    """What became of what was told."""

    stored: int
    lost: int
    twice: int
    #: Lost, as gaps say.
    counted: int
    #: Whether the tables' fold and a fold from the first record on are the same.
    agrees: bool

    @property
    def holds(self) -> bool:
        return self.lost == self.counted and not self.twice and self.agrees


async def compare(place: str, told: int) -> Seen:
    """Read the log, and compare."""
    async with open_log(place) as log:
        records = []
        while some := await log.read(after=Position(len(records)), limit=50_000):
            records += some
        live, _ = await read_models(log, Store(log.database))
        folded, _ = await read_models(log)
    numbers = Counter(
        (each.event.connection, each.event.number) for each in records if isinstance(each.event, LifecycleEvent)
    )
    positions = [each.position for each in records]
    return Seen(
        stored=len(numbers),
        lost=told - len(numbers),
        twice=sum(numbers.values()) - len(numbers),
        counted=sum(each.event.lost or 0 for each in records if isinstance(each.event, GapClosed)),
        agrees=positions == list(range(1, len(records) + 1)) and digest(live.fleet) == digest(folded.fleet),
    )
