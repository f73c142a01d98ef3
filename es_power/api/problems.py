"""What can be wrong with a request, as problems of RFC 9457: one catalogue, from which the documentation is made.

A problem's `type` is a path of the API itself, where it is explained; docs/reference/problems.md says the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of problem."""

    #: The last part of its `type`.
    name: str
    status: int
    title: str
    #: What it means, and what to do.
    meaning: str

    @property
    def type(self) -> str:
        """The address of the page that explains it."""
        return f"/problems/{self.name}"


class ProblemError(Exception):
    """A request is answered with a problem."""

    def __init__(self, kind: Kind, detail: str, *, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers, self.more = kind, detail, dict(headers or {}), more

    def response(self, *, instance: str = "", request_id: str = "") -> Response:
        """Write it."""
        return problem(self, instance=instance, request_id=request_id)


def problem(error: ProblemError, *, instance: str = "", request_id: str = "") -> Response:
    """Make a problem's answer; `instance` is the path that was asked for."""
    kind = error.kind
    body = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": printable(error.detail),
        "instance": printable(instance),
        "request_id": request_id,
        **error.more,
    }
    return Response(
        json.dumps({key: value for key, value in body.items() if value != ""}),
        kind.status,
        {**error.headers, "Cache-Control": "no-store"},
        MEDIA_TYPE,
    )


def printable(text: str, limit: int = 1000) -> str:
    """Cut a text that is too long for a message; JSON's own escapes do the rest."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def _kind(name: str, status: int, title: str, meaning: str) -> Kind:
    made = Kind(name=name, status=status, title=title, meaning=meaning)
    CATALOGUE[name] = made
    return made


CATALOGUE: Final[dict[str, Kind]] = {}

UNAUTHENTICATED: Final = _kind(
    "unauthenticated",
    401,
    "Nobody knows who asks",
    "Send `Authorization: Bearer TOKEN` with a token that `es-power token add` made and nobody revoked, or the session "
    "that a link of `es-power ui` opened. The unix socket asks for neither.",
)
FORBIDDEN: Final = _kind(
    "forbidden",
    403,
    "Whoever asks may not do that",
    "It takes the role `operate` to approve, to reject, to sign a checkpoint and to compare policies, and `admin` to "
    "let others in and to have the log verified. Over the unix socket root and the service's own user are admins, and "
    "users of `[act] operators` operate.",
)
FOREIGN_ORIGIN: Final = _kind(
    "foreign-origin",
    403,
    "A page of another site asks",
    "A browser sent an Origin that is not this API's own. Programs send none.",
)
CSRF: Final = _kind(
    "csrf",
    403,
    "A browser's session writes only with its CSRF header",
    "Send `X-CSRF-Token` with what `GET /v1/session` gives as `csrf`. Tokens need no such header.",
)
FOREIGN_HOST: Final = _kind(
    "foreign-host",
    421,
    "Another host is asked for",
    "The Host header names neither this machine nor a name of `[api] hosts`. Where a proxy stands in front, name what "
    "it is asked by there.",
)
NOT_FOUND: Final = _kind(
    "not-found",
    404,
    "There is nothing at this path",
    "`/openapi.json` lists every path.",
)
METHOD: Final = _kind(
    "method-not-allowed",
    405,
    "This path has no such method",
    "The Allow header lists those that it has.",
)
VM_NOT_FOUND: Final = _kind(
    "vm-not-found",
    404,
    "No such VM is known",
    "A VM is named by its UUID, its name, HOST/NAME, or the beginning of either. `/v1/vms?all=true` lists all that "
    "the log ever heard of.",
)
COMMAND_NOT_FOUND: Final = _kind(
    "command-not-found",
    404,
    "No such stop command is known",
    "`/v1/commands` lists all.",
)
RECORD_NOT_FOUND: Final = _kind(
    "record-not-found",
    404,
    "There is no such record",
    "The log ends before that position; `X-ES-Position` of any answer says where.",
)
RECORD_PRUNED: Final = _kind(
    "record-pruned",
    410,
    "What is asked for was pruned",
    "It lies in a part of the log that was taken out. The archive that `es-power prune` wrote has it, and is a log.",
)
NOT_SEALED: Final = _kind(
    "not-sealed",
    409,
    "No checkpoint covers that record yet",
    "`POST /v1/audit/checkpoint`, or `es-power audit checkpoint`, signs what is there now; the service does it every "
    "`[audit] every`.",
)
NO_KEY: Final = _kind(
    "no-key",
    409,
    "No key is set to sign with",
    "`es-power audit keygen FILE` makes one. Name it as `[audit] key`, and start the service anew.",
)
DAMAGED: Final = _kind(
    "log-damaged",
    500,
    "A record is not as it was written",
    "`es-power audit verify` says which ones, and what was done to them.",
)
TABLES_DAMAGED: Final = _kind(
    "tables-damaged",
    500,
    "The tables beside the log cannot be read",
    "They are made of the log, and nothing of the log is lost by that: `es-power replay --rebuild` makes them anew. So "
    "does a service that starts and finds them damaged. The detail says what is wrong with them.",
)
PROBLEM_NOT_FOUND: Final = _kind("problem-not-found", 404, "There is no such kind of problem", "`/problems` lists all.")
AMBIGUOUS: Final = _kind(
    "ambiguous",
    409,
    "More than one fits",
    "The detail lists some of them; ask with a whole UUID.",
)
INVALID: Final = _kind(
    "invalid-request",
    422,
    "The request is not one that can be answered",
    "`errors` names each parameter, header or field, and what it must be. Times are RFC 3339 with a zone, such as "
    "`2026-11-22T03:12:05Z`; in a URL a plus sign is written `%2B`.",
)
CURSOR: Final = _kind(
    "bad-cursor",
    404,
    "No page of this list begins there",
    "Follow the Link header of the page before, without changing anything in it; or begin again without a cursor.",
)
POSITION: Final = _kind(
    "position-not-reached",
    409,
    "The answers have not come that far",
    "`min_position` lies ahead of what this service has folded. Where the log has it, ask again in a moment; where the "
    "log ends before it, it is another log's.",
)
REWOUND: Final = _kind(
    "log-rewound",
    409,
    "The log ends before that position",
    "It was read from another log, or this one was replaced by an older copy. Begin again without it.",
)
TOO_LARGE: Final = _kind("body-too-large", 413, "The body is too large", "No request needs more than 16 KiB.")
URI_TOO_LONG: Final = _kind(
    "uri-too-long",
    414,
    "The address is too long",
    "Path and query together may have 32 KiB. A very long name of a VM is found by its beginning, or by UUID.",
)
NOT_JSON: Final = _kind(
    "not-json",
    415,
    "The body is not JSON",
    "Send `Content-Type: application/json`.",
)
TOO_MANY: Final = _kind(
    "too-many-requests",
    429,
    "Too many requests",
    "Wait for as many seconds as Retry-After says. `[api] rate` is the limit, for each token, user or address.",
)
KEY_REUSED: Final = _kind(
    "idempotency-key-reused",
    422,
    "That Idempotency-Key was used for another request",
    "A key stands for one request: repeat that one, or take a new key.",
)
IN_PROGRESS: Final = _kind(
    "in-progress",
    409,
    "The same request is still being answered",
    "Repeat it in a moment, with the same Idempotency-Key.",
)
REFUSED: Final = _kind(
    "refused",
    409,
    "The actor says what speaks against it",
    "The detail is the actor's own words, and `/v1/commands/ID` says how far the command has come.",
)
NO_ACTOR: Final = _kind(
    "no-actor",
    503,
    "No actor answers",
    "Approvals and rejections are recorded by the actor: start `es-power act`, or `es-power run --act`.",
)
UNAVAILABLE: Final = _kind(
    "log-unavailable",
    503,
    "The log cannot be read or written now",
    "Its database does not answer, or takes nothing: its disk is full, say. What was to be written was not, and never "
    "will be. Ask again after as many seconds as Retry-After says; `/readyz` says since when it is so, and why.",
)
TOO_SLOW: Final = _kind(
    "too-slow",
    503,
    "It took too long",
    "An answer has 30 seconds. Ask for less: a shorter time, or smaller pages.",
)
BAD_REQUEST: Final = _kind("bad-request", 400, "The request cannot be read", "The detail says what is wrong with it.")
INTERNAL: Final = _kind(
    "internal-error",
    500,
    "A mistake of es_power's",
    "The service's own log has it under the same `request_id`. Please report it.",
)
