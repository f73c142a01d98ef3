"""What the API's description says of every route: the headers of its answers, and the problems that it may answer."""

from typing import Any, Final

from es_power.api import wire
from es_power.api.problems import (
    BAD_REQUEST,
    CSRF,
    FOREIGN_HOST,
    INTERNAL,
    INVALID,
    MEDIA_TYPE,
    POSITION,
    RECORD_PRUNED,
    TABLES_DAMAGED,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHENTICATED,
    UNAVAILABLE,
    URI_TOO_LONG,
    Kind,
)

EXAMPLE_VM: Final = wire.VM

_POSITION: Final = {
    "description": "The position of the log that the answer is true at.",
    "schema": {"type": "integer", "minimum": 0},
}
_ETAG: Final = {
    "description": "The position of the newest fact that the answer depends on; behind a dash, how many VMs became "
    "UNKNOWN since then by the passing of time alone.",
    "schema": {"type": "string"},
}
_PRUNED: Final = {
    "description": "Where no `since` was given and the log was pruned: of what was observed up to this position its "
    "archive tells.",
    "required": False,
    "schema": {"type": "integer", "minimum": 1},
}
_LINK: Final = {"description": "The next page, where there is one.", "schema": {"type": "string"}}

#: What any route may answer.
ALWAYS: Final = (
    BAD_REQUEST,
    UNAUTHENTICATED,
    CSRF,
    TOO_LARGE,
    URI_TOO_LONG,
    FOREIGN_HOST,
    INVALID,
    TOO_MANY,
    INTERNAL,
    UNAVAILABLE,
)


def answers(
    *problems: Kind, pages: bool = False, log: bool = True, tagged: bool = True, prunable: bool = False
) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route; those about the log have its position and can be asked for by ETag."""
    described: dict[int | str, dict[str, Any]] = {}
    if log:
        headers: dict[str, Any] = {"X-ES-Position": _POSITION} | ({"Link": _LINK} if pages else {})
        if prunable:
            headers["X-ES-Pruned"] = _PRUNED
        # What the passing of time changes has none.
        headers["ETag"] = _ETAG if tagged else {**_ETAG, "required": False}
        described[200] = {"description": "The answer.", "headers": headers}
        described[304] = {"description": "The client has this answer already (If-None-Match).", "headers": headers}
    for kind in (*ALWAYS, *((POSITION, RECORD_PRUNED, TABLES_DAMAGED) if log else ()), *problems):
        status = kind.status
        examples = described.setdefault(status, _problems())["content"][MEDIA_TYPE]["examples"]
        examples[kind.name] = {
            "summary": kind.title,
            "value": {"type": kind.type, "title": kind.title, "status": status, "detail": kind.meaning},
        }
        described[status]["description"] = "; or ".join(each["summary"] for each in examples.values())
    return described


def _problems() -> dict[str, Any]:
    return {"model": wire.Problem, "content": {MEDIA_TYPE: {"examples": {}}}}
