"""The page, for whoever comes with a browser: it is no secret, and asks for the rest as its visitor.

It loads from here and asks here, and nothing else: no other origin, no script or style within the document, and no page
of another site around it.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from es_power.api.asking import is_known
from es_power.api.problems import NOT_FOUND, ProblemError
from es_power.web import INDEX, Built, built

ASSETS: Final = "/assets/"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_FOR_EVER: Final = "public, max-age=31536000, immutable"


def index(request: Request) -> Response:
    """Send the page; what its address asks for is its own matter."""
    return _sent(request, INDEX, {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


def asset(request: Request) -> Response:
    """Send one of the files that the page is made of."""
    name = request.path_params["name"]
    # Only where a file's name tells its content may it be kept.
    return _sent(request, name, {"Cache-Control": _FOR_EVER if "-" in name else "no-cache"})


def _sent(request: Request, name: str, headers: dict[str, str]) -> Response:
    found: Built | None = built().get(name)
    if found is None:
        raise ProblemError(NOT_FOUND, f"{name} was not built" if name == INDEX else "no such file is part of the page")
    headers |= {"ETag": found.etag, "Vary": "Accept-Encoding"}
    if is_known(request, found.etag):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.zipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


ROUTES: Final = (Route("/", index), Route(f"{ASSETS}{{name}}", asset))
"""Beside the API and not part of it: its description tells what a program may ask."""
