"""The API in this process on a real log: asked as an ASGI application, or over real sockets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import trio

from es_power.api.access import Access
from es_power.api.app import make_app
from es_power.api.gate import Gate
from es_power.api.house import House
from es_power.api.listen import serving, shown, tcp_socket, unix_socket
from es_power.domain.access import Role
from es_power.domain.time import Timestamp
from es_power.ingest.access import Issued, issue_token
from es_power.log import open_log
from es_power.log.patience import PatientLog
from es_power.projections.follower import Follower
from es_power.projections.store import Store
from es_power.settings import Act, Api, Log, Metrics, Settings
from tests.acceptance.night import NOW

URL = "http://localhost:8420"


#: Making the routes takes longer than most tests; they know no house.
routes = cache(make_app)


@dataclass
class Running:
    """A house whose fold runs, and its gate."""

    house: House
    gate: Gate
    access: Access

    def client(self, *, uid: int | None = 0, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """One who asks in this process, over a unix socket as that user, or (None) over TCP."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.gate({**scope, "state": {"peer": uid}}, receive, send)

        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url=URL, headers=headers)

    async def token(self, role: Role, name: str = "ci") -> Issued:
        """A token that the house knows."""
        issued = await issue_token(self.house.log, name=name, role=role, by="alice", at=NOW)
        await self.house.follower.reached(await self.house.log.head())
        return issued


@asynccontextmanager
async def running(
    log: Path, *, now: Timestamp = NOW, door: Path | None = None, rate: int = 100_000, api: Api | None = None
) -> AsyncIterator[Running]:
    """A house on a log that exists, folding what it gains."""
    settings = Settings(log=Log(path=str(log)), api=api or Api(), metrics=Metrics(), act=Act(operators=("nobody",)))
    async with open_log(log, mode="write", poll=0.02) as opened, trio.open_nursery() as nursery:
        store = Store(opened.database)
        follower = await Follower.start(PatientLog(opened), store)
        house = House(
            log=opened,
            store=store,
            follower=follower,
            settings=settings,
            clock=lambda: now,
            door=door or log.with_suffix(".door"),
            url=URL,
        )
        await house.begin()

        async def folded(batch: Any, _: Any) -> None:
            await house.folded(batch)

        nursery.start_soon(follower.run, folded)
        await follower.caught_up()
        access = Access(
            tokens=house.tokens,
            sessions=house.sessions,
            clock=house.clock,
            hosts=settings.api.hosts,
            operators=settings.act.operators,
            rate=rate,
        )
        yield Running(house, Gate(routes(), house, access), access)
        house.broadcast.end()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(running: Running, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """The same at real sockets: a loopback address, and a unix socket."""
    path = folder / "api.sock"
    with tcp_socket("127.0.0.1:0", "[api] listen") as tcp, unix_socket(path, "[api] socket") as local:
        async with serving(running.gate, [tcp, local]):
            yield f"http://{shown(tcp)}", path


def local(path: Path) -> httpx.AsyncClient:
    """One who asks at a unix socket."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost")
