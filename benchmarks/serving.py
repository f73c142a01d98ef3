"""A service's HTTP API on a log that exists, without observers: what it gains is folded and told as ever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from typing import Any

import trio

from es_power.api.access import Access
from es_power.api.app import make_app
from es_power.api.gate import Gate
from es_power.api.house import House
from es_power.api.listen import serving
from es_power.ingest.clock import now
from es_power.log import open_log
from es_power.projections.follower import Follower
from es_power.projections.store import Store
from es_power.service import settle_memory
from es_power.settings import Log, Settings


@asynccontextmanager
async def served(path: Path, listening: socket, url: str = "") -> AsyncIterator[House]:
    settings = Settings(log=Log(path=str(path)))
    async with open_log(path, mode="write") as log, trio.open_nursery() as nursery:
        store = Store(log.database)
        follower = await Follower.start(log, store)
        house = House(log=log, store=store, follower=follower, settings=settings, clock=now, door=path, url=url)
        await house.begin()

        async def folded(batch: Any, _: Any) -> None:
            await house.folded(batch)

        nursery.start_soon(follower.run, folded)
        await follower.caught_up()
        settle_memory()
        access = Access(
            tokens=house.tokens, sessions=house.sessions, clock=house.clock, hosts=(), operators=(), rate=1e9
        )
        app = make_app()
        app.openapi()
        async with serving(Gate(app, house, access), [listening]):
            yield house
        nursery.cancel_scope.cancel()
