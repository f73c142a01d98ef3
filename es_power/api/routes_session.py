"""How a browser is let in: a link that is good for one use becomes a session, which a cookie names."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from es_power.api import wire
from es_power.api.access import COOKIE, SESSION, cookie_of, csrf_of, require
from es_power.api.asking import Asker, TheHouse
from es_power.api.describe import answers
from es_power.api.house import House
from es_power.api.links import LINK_LASTS
from es_power.api.problems import FORBIDDEN, UNAUTHENTICATED, ProblemError
from es_power.api.routes_commands import user_of
from es_power.domain.access import SESSION_LASTS, Role
from es_power.domain.time import SECOND
from es_power.errors import LogError
from es_power.ingest import access
from es_power.output import Plain, as_json

router = APIRouter(tags=["Access"])


@router.post(
    "/v1/links",
    status_code=201,
    response_model=wire.Link,
    summary="Make a link for a browser",
    responses=answers(FORBIDDEN, log=False),
)
async def make_link(
    house: TheHouse,
    who: Asker,
    role: Annotated[Role, Query(description="What the session may do, at most what you may.")] = Role.OPERATE,
) -> Response:
    """What `es-power ui` does: the link opens one session, once, within five minutes."""
    require(who, role)
    if who.session is not None:
        raise ProblemError(FORBIDDEN, "a session makes no further sessions; run `es-power ui` on the host")
    path = await offer_link(house, await user_of(house, who), role)
    body: dict[str, Plain] = {
        "path": path,
        "url": f"{house.url}{path}" if house.url else None,
        "seconds": LINK_LASTS,
    }
    return Response(as_json(body), 201, {"Cache-Control": "no-store"}, "application/json")


async def offer_link(house: House, user: str, role: Role) -> str:
    """Make a link, which is recorded; give its path."""
    link, secret = house.links.offer()
    house.sessions.take(await access.issue_link(house.log, link, role=role, by=user, at=house.clock()))
    return f"/session?link={secret}"


@router.get(
    "/session",
    status_code=303,
    response_class=Response,
    summary="Use a link",
    responses={
        **answers(log=False),
        303: {
            "description": "The browser has its session, and goes to the page.",
            "headers": {
                "Location": {"description": "The page.", "schema": {"type": "string"}},
                "Set-Cookie": {"description": "HttpOnly, SameSite=Strict.", "schema": {"type": "string"}},
            },
        },
    },
    openapi_extra={"security": []},
)
async def use_link(
    request: Request, house: TheHouse, link: Annotated[str, Query(max_length=200, description="The link's secret.")]
) -> Response:
    """Open a session, and give the browser its cookie; a link is good once."""
    used = house.links.take(link)
    if used is None:
        raise ProblemError(UNAUTHENTICATED, "that link was used already, is too old, or never was one: `es-power ui`")
    secret = access.make_secret()
    try:
        # Taken in at once: the page asks for what only a session is given before it can be folded.
        house.sessions.take(await access.open_session(house.log, used.id, secret, at=house.clock()))
    except LogError:
        # Nobody gets the session, and who tries again needs the link.
        house.links.put_back(link, used)
        raise
    response = Response(status_code=303, headers={"Location": "/", "Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE,
        secret,
        max_age=SESSION_LASTS // SECOND,
        httponly=True,
        samesite="strict",
        secure=house.settings.api.proxy and request.url.hostname not in {"localhost", "127.0.0.1", "::1"},
    )
    return response


@router.get(SESSION, response_model=wire.Session, summary="Who asks", responses=answers(log=False))
async def who_asks(request: Request, house: TheHouse, who: Asker) -> Response:
    """Say who asks and what they may do; a browser's session gets its CSRF token here."""
    csrf = csrf_of(cookie_of(request.headers)) if who.session is not None else None
    user = await user_of(house, who)
    body: dict[str, Plain] = {"user": user, "role": who.role, "csrf": csrf}
    return Response(as_json(body), 200, {"Cache-Control": "no-store"}, "application/json")


@router.delete(
    SESSION,
    status_code=204,
    response_class=Response,
    summary="End the browser's session",
    responses=answers(FORBIDDEN, log=False),
)
async def end_session(house: TheHouse, who: Asker) -> Response:
    """Forget the session that asks; for anybody else it does nothing."""
    if who.session is not None:
        house.sessions.end(who.session)  # also where the log takes nothing now
        await access.end_session(house.log, who.session, at=house.clock())
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response
