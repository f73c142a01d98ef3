"""A whole house on a real SQLite log, with a fake host and a stopper that counts: observer, process manager, actor."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from es_power.acting import Acts, serve_acts
from es_power.dispatch.actor import Actor
from es_power.dispatch.desk import AskNova
from es_power.domain.decisions import CommandEvent, Route
from es_power.domain.events import Event, InstanceId, Position, Recorded
from es_power.domain.states import VmState
from es_power.errors import UnknownEventError
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import SqlLog, open_log
from es_power.service import Service, serve
from es_power.settings import Act, Breaker, Host, Log, PolicyChoice, Settings
from es_power.testing import FakeHypervisor, FakeStopper

E = TypeVar("E", bound=Event)

QUICK = Act(settle=0.1, after_boot=0.001, confirm=2.0)
USUAL = Breaker()


@dataclass
class House:
    log: SqlLog
    host: FakeHypervisor
    stopper: FakeStopper
    service: Service
    acts: Acts

    @property
    def actor(self) -> Actor:
        return self.acts.actors[self.host.hostname]

    async def facts(self, kind: type[E]) -> list[E]:
        return [each.event for each in await readable(self.log) if isinstance(each.event, kind)]

    async def until(self, kind: type[E], count: int = 1) -> list[E]:
        """Wait until the log has so many facts of a kind, and give them."""
        with trio.fail_after(10):
            while True:
                head = await self.log.head()
                found = await self.facts(kind)
                if len(found) >= count:
                    return found
                await self.log.wait_beyond(head)

    async def life(self) -> Sequence[str]:
        """The steps of all commands, in order."""
        return [type(event).__name__ for event in await self.facts(CommandEvent)]


async def readable(log: SqlLog) -> list[Recorded]:
    """All records but those that cannot be read."""
    found: list[Recorded] = []
    position, head = Position(0), await log.head()
    while position < head:
        try:
            found += await log.read(after=position, limit=100_000)
            position = found[-1].position
        except UnknownEventError:
            position = Position(position + 1)
    return found


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqlLog]:
    async with open_log(tmp_path / "log.db", mode="write", poll=0.02) as log:
        yield log


def settings(
    log: SqlLog,
    *,
    mode: str = "auto",
    modes: dict[str, str] | None = None,
    act: Act = QUICK,
    breaker: Breaker = USUAL,
) -> Settings:
    return Settings(
        log=Log(path=str(log.database.place.path)),
        hosts=(Host(uri="test:///fake"),),
        policy=PolicyChoice(mode=mode, modes=modes or {}),
        act=act,
        breaker=breaker,
    )


@asynccontextmanager
async def observing(log: SqlLog, host: FakeHypervisor) -> AsyncIterator[Service]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve, log, [(None, host)], settings(log))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def acting(
    log: SqlLog, host: FakeHypervisor, stopper: FakeStopper, how: Settings, *, nova: AskNova | None = None
) -> AsyncIterator[Acts]:
    stoppers = {Route.HYPERVISOR: stopper, Route.NOVA: stopper}
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve_acts, log, [(None, host)], how, stoppers=lambda _: stoppers, nova=nova))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def house(
    log: SqlLog,
    host: FakeHypervisor,
    *,
    mode: str = "auto",
    modes: dict[str, str] | None = None,
    act: Act = QUICK,
    breaker: Breaker = USUAL,
    stopper: FakeStopper | None = None,
    nova: AskNova | None = None,
) -> AsyncIterator[House]:
    """Run an observer's service and an actor's beside it, as two processes would."""
    stopper = stopper or FakeStopper(host)
    how = settings(log, mode=mode, modes=modes, act=act, breaker=breaker)
    async with observing(log, host) as service, acting(log, host, stopper, how, nova=nova) as acts:
        yield House(log, host, stopper, service, acts)


async def say(log: SqlLog, vm: InstanceId, vm_state: VmState) -> None:
    """Declare what a VM is meant to be."""
    await declare(log, [(vm, vm_state, None)], by="me", why="test", at=now())
