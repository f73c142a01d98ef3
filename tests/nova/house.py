"""es_power beside the rig as an operator runs it: an observer that reads Nova's records, and an actor in mode auto.

Each has a client of Nova of its own, as two processes would, from a clouds.yaml as an operator writes it. Everything is
real but the guests, which are domains of libvirt's test driver: they run nothing, and Nova and es_power see the same
ones. A test gets in between the last look and the act by `Between`, which does something first and then lets the real
client go on.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TypeVar, cast
from unittest.mock import patch
from uuid import UUID

import trio

from es_power.acting import Acts, serve_acts
from es_power.cli.serving import Acting, nova_of
from es_power.domain.decisions import CommandEvent
from es_power.domain.events import Event, HostSwept, InstanceId
from es_power.ingest.libvirt import LibvirtHypervisor
from es_power.log import SqlLog
from es_power.nova import NovaApi
from es_power.nova.exchange import Passage
from es_power.service import Service, serve
from es_power.settings import Act, Breaker, Host, Log, Nova, PolicyChoice, Settings, Sweep
from tests.nova.programs import PATIENCE
from tests.nova.rig import NovaRig
from tests.nova.settings import HOST

E = TypeVar("E", bound=Event)

#: On a busy machine a look takes seconds; how long it takes is measured by one test, and is not what the others are of.
QUICK = Act(settle=0.1, after_boot=0.001, window=20.0, confirm=PATIENCE)
USUAL = Breaker()


#: What is told that a request goes out; a worker thread has the context of who started it.
_OUT: ContextVar[Callable[[], object]] = ContextVar("out", default=lambda: None)


class NotedPassage(Passage):
    """A passage that says when it is taken."""

    def take(self) -> None:
        super().take()
        _OUT.get()()


class Between:
    """The actor's client of Nova; what a test wants done before a stop goes out is done once for each in `before`."""

    def __init__(self, *before: Callable[[], object]) -> None:
        self._before = list(before)
        self._api: NovaApi | None = None
        #: What was asked to be stopped, and what came of it where that was an error.
        self.stops: list[InstanceId] = []
        self.errors: list[Exception] = []
        #: For each request that went out, by instance: the seconds from the actor's order until its body did.
        self.went_out: defaultdict[InstanceId, list[float]] = defaultdict(list)

    def client(self, api: NovaApi) -> NovaApi:
        """Stand before a client."""
        self._api = api
        return cast("NovaApi", self)

    @property
    def api(self) -> NovaApi:
        """The real client."""
        assert self._api is not None
        return self._api

    async def server(self, instance: InstanceId) -> object:
        """Ask for one instance."""
        return await self.api.server(instance)

    async def stop(self, instance: InstanceId, *, send_within: float | None = None) -> str | None:
        """Ask for a stop."""
        self.stops.append(instance)
        if self._before:
            await trio.to_thread.run_sync(self._before.pop(0))
        asked, out = time.monotonic(), self.went_out[instance]
        _OUT.set(lambda: out.append(time.monotonic() - asked))
        try:
            return await self.api.stop(instance, send_within=send_within)
        except Exception as error:
            self.errors.append(error)
            raise


class House:
    """What a test does and reads; `service` and `acts` are those that run now."""

    def __init__(self, nova: NovaRig, log: SqlLog, service: Service, acts: Acts) -> None:
        self.nova = nova
        self.log = log
        self.service = service
        self.acts = acts

    async def guest(self, server: str, method: str) -> None:
        """Do something to a guest beside Nova."""
        await trio.to_thread.run_sync(self.nova.guest, server, method)

    async def user(self, server: str, action: str, status: str) -> None:
        """Do something to a server by Nova's API, as a user would, and wait until Nova has done it."""
        (await trio.to_thread.run_sync(self.nova.act, server, action)).good()
        await trio.to_thread.run_sync(self.nova.until, server, status)

    async def facts(self, kind: type[E], server: str | None = None) -> list[E]:
        """The facts of a kind, of one server where one is named."""
        return [
            each.event
            for each in await self.log.read(after=0, limit=100_000)
            if isinstance(each.event, kind)
            and (server is None or getattr(each.event, "instance", None) == UUID(server))
        ]

    async def until(
        self, kind: type[E], server: str | None = None, count: int = 1, *, such: Callable[[E], bool] = lambda _: True
    ) -> list[E]:
        """Wait until the log has so many facts of a kind, and give them."""
        with trio.move_on_after(PATIENCE):
            while True:
                head = await self.log.head()
                found = [each for each in await self.facts(kind, server) if such(each)]
                if len(found) >= count:
                    return found
                await self.log.wait_beyond(head)
        lives = "\n".join(map(str, await self.facts(CommandEvent)))
        raise AssertionError(f"no {count} {kind.__name__} within {PATIENCE:.0f} s; the commands:\n{lives}")

    async def life(self, server: str) -> Sequence[str]:
        """The steps of a server's commands, in order."""
        return [type(event).__name__ for event in await self.facts(CommandEvent, server)]

    async def sweeps(self, more: int = 3) -> None:
        """Wait until the host was swept so many times more, and what that led to is folded."""
        await self.until(HostSwept, count=len(await self.facts(HostSwept)) + more)
        head = await self.log.head()
        with trio.fail_after(PATIENCE):
            while self.service.models.fleet.position < head:
                await trio.sleep(0.02)


def settings(nova: NovaRig, log: SqlLog, *, act: Act = QUICK, breaker: Breaker = USUAL) -> Settings:
    """What an operator would write, with shorter times."""
    return Settings(
        log=Log(path=str(log.database.place.path)),
        hosts=(Host(uri=nova.uri, name=HOST),),
        sweep=Sweep(spacing=0.5),
        policy=PolicyChoice(name="nova-2026", mode="auto"),
        act=act,
        breaker=breaker,
        nova=Nova(enabled=True, cloud="rig", spacing=1.0, timeout=2.0),
    )


@asynccontextmanager
async def observing(log: SqlLog, how: Settings) -> AsyncIterator[Service]:
    """Run an observer's service, which reads Nova's records."""
    hosts = [(each.name, LibvirtHypervisor(each.uri)) for each in how.hosts]
    async with nova_of(how) as api, trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, log, hosts, how, nova=api))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def acting(log: SqlLog, how: Settings, between: Between | None = None) -> AsyncIterator[Acts]:
    """Run an actor, with the ways to act that the settings give it."""
    hosts = [(each.name, LibvirtHypervisor(each.uri)) for each in how.hosts]
    noted = patch("es_power.nova.api.Passage", NotedPassage) if between else nullcontext()
    async with nova_of(how) as api, trio.open_nursery() as nursery:
        assert api is not None
        ways = Acting(how, between.client(api) if between else api)
        with noted:
            yield await nursery.start(partial(serve_acts, log, hosts, how, stoppers=ways.stoppers, nova=ways.ask))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def house(
    nova: NovaRig, log: SqlLog, *, between: Between | None = None, act: Act = QUICK, breaker: Breaker = USUAL
) -> AsyncIterator[House]:
    """Run both over one log."""
    how = settings(nova, log, act=act, breaker=breaker)
    async with observing(log, how) as service, acting(log, how, between) as acts:
        yield House(nova, log, service, acts)
