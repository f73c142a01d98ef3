"""Serves the API of one service, and its health: which sockets, in which nursery, and how it ends."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from socket import AF_UNIX, socket

import structlog
import trio

from es_power.api.access import Access
from es_power.api.app import make_app
from es_power.api.gate import Gate
from es_power.api.health import for_programs, make_health
from es_power.api.house import House
from es_power.api.listen import address_of, serving, shown, tcp_socket, unix_socket
from es_power.dispatch.door import door_path
from es_power.errors import ListenError
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.projections.follower import Follower
from es_power.projections.store import Store
from es_power.settings import Settings


@dataclass(slots=True)
class Sockets:
    """What is listened at: made before anything else, so that a place that is taken ends the program at once."""

    api: list[socket] = field(default_factory=list)
    health: list[socket] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def open(cls, settings: Settings) -> "Sockets":
        """Listen as the settings say; ListenError names the one that cannot be."""
        sockets = cls()
        try:
            sockets._api(settings)
            sockets._health(settings)
        except BaseException:
            sockets.close()
            raise
        return sockets

    def _api(self, settings: Settings) -> None:
        api = settings.api
        if not api.enabled:
            return
        if api.listen:
            self.api.append(self._open.enter_context(tcp_socket(api.listen, "[api] listen", proxy=api.proxy)))
        path = door_path(api.socket, settings.log.path, os.environ, name="api")
        try:
            self.api.append(self._open.enter_context(unix_socket(path, "[api] socket")))
        except ListenError as error:
            if api.socket:
                raise
            # Nobody asked for it, and where no runtime directory was made for the service it has no place.
            structlog.get_logger().warning("the command line cannot reach the API", because=str(error))

    def _health(self, settings: Settings) -> None:
        if settings.metrics.enabled and settings.metrics.listen:
            place = tcp_socket(settings.metrics.listen, "[metrics] listen", proxy=settings.api.proxy)
            self.health.append(self._open.enter_context(place))

    def close(self) -> None:
        """Listen no more, and take the socket's file away."""
        self._open.close()


@asynccontextmanager
async def answering(
    settings: Settings, sockets: Sockets, log: SqlLog, store: Store, follower: Follower
) -> AsyncIterator[House]:
    """Answer inside the block; its end waits for nobody who is connected."""
    door = door_path(settings.act.socket, settings.log.path, os.environ)
    house = House(log=log, store=store, follower=follower, settings=settings, clock=now, door=door)
    house.url = next((f"http://{shown(each)}" for each in sockets.api if each.family != AF_UNIX), "")
    places = [place for place in (settings.api.listen, settings.metrics.listen) if place]
    access = Access(
        tokens=house.tokens,
        sessions=house.sessions,
        clock=house.clock,
        hosts={*settings.api.hosts, *(address_of(place, "", proxy=True)[0] for place in places)},
        operators=settings.act.operators,
        rate=settings.api.rate,
    )
    await house.begin()
    async with AsyncExitStack() as parts:
        if sockets.api:
            app = make_app()
            # What is described is made now, and not while the first one who asks waits.
            await trio.to_thread.run_sync(app.openapi)
            await parts.enter_async_context(serving(Gate(app, house, access), sockets.api))
        if sockets.health:
            await parts.enter_async_context(serving(for_programs(make_health(house), access), sockets.health))
        try:
            yield house
        finally:
            house.broadcast.end()
