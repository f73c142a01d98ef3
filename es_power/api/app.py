"""The API put together: routes, what is wrong as problems, and the gate in front."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from es_power.api import (
    routes_audit,
    routes_commands,
    routes_log,
    routes_page,
    routes_problems,
    routes_replay,
    routes_session,
    routes_time,
    routes_vms,
)
from es_power.api.asking import INSTANTS, NO_TIME, no_strangers
from es_power.api.pages import path_of
from es_power.api.problems import (
    AMBIGUOUS,
    BAD_REQUEST,
    COMMAND_NOT_FOUND,
    DAMAGED,
    INTERNAL,
    INVALID,
    METHOD,
    NOT_FOUND,
    NOT_JSON,
    NOT_SEALED,
    RECORD_NOT_FOUND,
    RECORD_PRUNED,
    REWOUND,
    TABLES_DAMAGED,
    UNAVAILABLE,
    VM_NOT_FOUND,
    Kind,
    ProblemError,
)
from es_power.errors import (
    AmbiguousNameError,
    CommandNotFoundError,
    EsPowerError,
    InstanceNotFoundError,
    LogRewoundError,
    LogUnavailableError,
    NotSealedError,
    RecordNotFoundError,
    RecordPrunedError,
    SealBrokenError,
    TablesDamagedError,
)
from es_power.identity import package_version

_KINDS: Final[Mapping[type[EsPowerError], Kind]] = {
    InstanceNotFoundError: VM_NOT_FOUND,
    CommandNotFoundError: COMMAND_NOT_FOUND,
    AmbiguousNameError: AMBIGUOUS,
    LogUnavailableError: UNAVAILABLE,
    LogRewoundError: REWOUND,
    RecordNotFoundError: RECORD_NOT_FOUND,
    RecordPrunedError: RECORD_PRUNED,
    NotSealedError: NOT_SEALED,
    SealBrokenError: DAMAGED,
    TablesDamagedError: TABLES_DAMAGED,
}
_RETRY_AFTER: Final = "5"  # seconds, in which a service itself tries a log again that refuses
_OF_STARLETTE: Final[Mapping[int, Kind]] = {404: NOT_FOUND, 405: METHOD, 415: NOT_JSON}

_ABOUT: Final = """\
What the command line answers, by the same functions. Every answer about the log is true at the position in
`X-ES-Position`; its `ETag` is the position of the newest fact that it depends on. Times are RFC 3339 with a zone.
"""


def make_app() -> FastAPI:
    """Make the routes; the gate says of which service each request is."""
    app = FastAPI(
        title="es-power",
        version=package_version(),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        dependencies=[Depends(no_strangers)],
        redirect_slashes=False,
    )
    for routes in (
        *(routes_vms, routes_time, routes_log, routes_audit),
        *(routes_commands, routes_replay, routes_session, routes_problems),
    ):
        app.include_router(routes.router)
    app.router.routes.extend(routes_page.ROUTES)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_starlette)
    app.add_exception_handler(EsPowerError, _of_ours)
    # The gate writes down what happened: this answer is sent before it hears of that.
    app.add_exception_handler(Exception, _mistake)
    original = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _without_null(_with_access(original()))
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response(instance=path_of(request), request_id=request.state.request_id)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {
            "in": str(each["loc"][0]),
            "name": ".".join(map(str, each["loc"][1:])) or "body",
            "problem": NO_TIME if each["loc"][-1] in INSTANTS else each["msg"],
        }
        for each in error.errors()
    ]
    detail = f"{errors[0]['name']}: {errors[0]['problem']}"
    return await _problem(request, ProblemError(INVALID, detail, errors=errors))


async def _of_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(known := getattr(request.state, "problem", None), ProblemError):
        return await _problem(request, known)
    kind = _OF_STARLETTE.get(error.status_code, BAD_REQUEST if error.status_code < INTERNAL.status else INTERNAL)
    return await _problem(request, ProblemError(kind, error.detail, headers=error.headers))


async def _of_ours(request: Request, error: Exception) -> Response:
    for kind_of, kind in _KINDS.items():
        if isinstance(error, kind_of):
            headers = {"Retry-After": _RETRY_AFTER} if kind is UNAVAILABLE else None
            return await _problem(request, ProblemError(kind, str(error), headers=headers))
    raise error


async def _mistake(request: Request, _: Exception) -> Response:
    return await _problem(request, ProblemError(INTERNAL, "the service's own log says what happened"))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Take away the null of parameters that may be left out: none can be sent."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                choices = [each for each in parameter["schema"].get("anyOf", ()) if each != {"type": "null"}]
                if len(choices) == 1:
                    parameter["schema"] = {**choices[0], "title": parameter["schema"].get("title", parameter["name"])}
    return schema


def _with_access(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe who is let in."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "What `es-power token add` prints. Roles: read, operate, admin.",
        }
    }
    schema["security"] = [{"token": []}]
    return schema
