"""Whether the service lives and is ready, and its metrics: on a listener of its own, for programs of this machine."""

from pathlib import Path

import trio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from es_power.api.access import Access
from es_power.api.house import House
from es_power.api.metrics import AUTO, Told, exposition
from es_power.api.problems import INTERNAL, METHOD, NOT_FOUND, ProblemError, problem
from es_power.domain.time import rfc3339
from es_power.errors import LogError
from es_power.log.database import parse_place
from es_power.projections.queries import hosts, status

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAR = 10_000  # records behind the log's head, from which on answers are too old to be ready


def make_health(house: House) -> Starlette:
    """Make the routes."""

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        checks = await _checks(house)
        fine = all(checks.values())
        if house.sealer is not None:
            # It is told, and somebody should look; but who asks for states is answered as well as ever.
            checks["sealed"] = house.sealer.is_fine
        told = {**_refused(house), **_set_aside(house)}
        return JSONResponse({"ready": fine, "checks": checks, **told}, 200 if fine else 503)

    async def metrics(_: Request) -> Response:
        return Response(exposition(await _told(house)), media_type=_MEDIA_TYPE)

    async def failed(request: Request, error: Exception) -> Response:
        kind = {404: NOT_FOUND, 405: METHOD}.get(getattr(error, "status_code", 500), INTERNAL)
        return problem(ProblemError(kind, "here are /healthz, /readyz and /metrics"), instance=request.url.path)

    routes = [Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", metrics)]
    return Starlette(routes=routes, exception_handlers={HTTPException: failed})


def for_programs(app: ASGIApp, access: Access) -> ASGIApp:
    """Let no page of another site ask, not even by a name that somebody points here."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            access.check_place(Headers(scope=scope))
        except ProblemError as error:
            await error.response(instance=scope["path"])(scope, receive, send)
        else:
            await app(scope, receive, send)

    return checked


async def _checks(house: House) -> dict[str, bool]:
    try:
        head = await house.log.head()
    except LogError:
        return {"log": False}
    seen = hosts(house.view())
    return {
        "log": True,
        "written": "written" not in house.recording().outages,
        "folded": head - house.position < _FAR,
        "observing": house.is_ready,
        "seen": any(each.known.running and each.known.blind_since is None for each in seen),
    }


def _refused(house: House) -> dict[str, object]:
    """What the log refuses now, since when and why, and how much waits for it; nothing where all is well."""
    recording = house.recording()
    if not recording.outages:
        return {}
    return {
        "refused": {
            doing: {"since": rfc3339(outage.since), "because": outage.reason}
            for doing, outage in recording.outages.items()
        },
        "events_waiting": sum(each.waiting for each in recording.buffered.values()),
        "events_dropped": sum(each.dropped for each in recording.buffered.values()),
    }


def _set_aside(house: House) -> dict[str, int]:
    """How many records could not be read or applied, where there are any."""
    count = len(house.view().fleet.quarantined)
    return {"quarantined": count} if count else {}


async def _told(house: House) -> Told:
    view = house.view()
    try:
        head, rows = await house.log.head(), await status(view, now=house.clock())
    except LogError:  # then it is all the more worth telling how much waits for it
        head, rows = house.position, []
    wanted = house.settings.metrics.vm_labels
    each_vm = wanted == "always" or (wanted == "auto" and len(view.fleet.seen_on) <= AUTO)
    place = parse_place(house.settings.log.path).path
    return Told(
        view=view,
        status=rows,
        counts=house.counts,
        now=house.clock(),
        head=head,
        tables_at=house.follower.saved,
        log_bytes=await trio.to_thread.run_sync(_size, place) if place else None,
        wal_bytes=await trio.to_thread.run_sync(house.log.database.wal_bytes),
        recording=house.recording(),
        followers=house.broadcast.followers,
        resets=house.broadcast.resets,
        each_vm=each_vm,
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
