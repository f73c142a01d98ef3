"""What the routes have in common: how a question is put, and how its answer is sent."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import trio
from fastapi import Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from es_power import timewords
from es_power.api.access import Principal
from es_power.api.house import House
from es_power.api.pages import MOST, Page
from es_power.api.problems import INVALID, POSITION, TOO_MANY, ProblemError
from es_power.domain.events import Position
from es_power.domain.time import NEVER, Timestamp
from es_power.output import Column, Plain, Row, as_json, plain
from es_power.projections.as_of import Moment, moment_at, moment_of
from es_power.projections.queries import View

LARGEST: Final = 2**63 - 1

#: Exact, days of months and leap years too, so that the API's description says all that is refused. The years are those
#: that the log's nanoseconds reach.
_YEAR: Final = "(19[7-9][0-9]|2[01][0-9]{2})"
_LEAP: Final = "(2000|19(7[26]|8[048]|9[26])|2[01](0[48]|[2468][048]|[13579][26]))"
_DAY: Final = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?"
_ZONE: Final = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
TIME: Final = f"{_DAY}[Tt ]{_CLOCK}{_ZONE}"

INSTANTS: Final = frozenset({"as_of", "known_at", "since", "until"})
"""The parameters that take a time or a position."""

NO_TIME: Final = (
    "is no RFC 3339 time with a zone, such as 2026-11-22T03:12:05Z (in a URL, + is %2B), and no position of the log"
)


def house_of(request: Request) -> House:
    """The service that is asked."""
    house: House = request.state.house
    return house


def principal_of(request: Request) -> Principal:
    """Who asks."""
    principal: Principal = request.state.principal
    return principal


TheHouse = Annotated[House, Depends(house_of)]
Asker = Annotated[Principal, Depends(principal_of)]


async def no_strangers(request: Request) -> None:
    """Refuse parameters that the route does not know, or knows once and gets twice: a mistyped one says nothing."""
    described = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    known = [each["name"] for each in described.get("parameters", ()) if each["in"] == "query"]
    given = [name for name, _ in request.query_params.multi_items()]
    wrong = [
        {"in": "query", "name": name, "problem": f"is unknown; known are {', '.join(known) or 'none'}"}
        for name in dict.fromkeys(given)
        if name not in known
    ]
    wrong += [
        {"in": "query", "name": name, "problem": "is given more than once"}
        for name in dict.fromkeys(given)
        if name in known and given.count(name) > 1
    ]
    if wrong:
        raise invalid(wrong)


def invalid(errors: Sequence[Mapping[str, str]]) -> ProblemError:
    """Say what is wrong with a request."""
    first = errors[0]
    return ProblemError(INVALID, f"{first['name']} {first['problem']}", errors=list(errors))


# ---------------------------------------------------------------------------------------------------- parameters

Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=2000, description="Where the page before ended: follow its Link header instead of making one."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your own: the same request with the same key is done once, and answered alike.",
    ),
]
MinPosition = Annotated[
    int | None,
    Query(
        ge=0,
        le=LARGEST,
        description="Answer with everything up to this position of the log, and wait for that a moment: what was "
        "written just now is read.",
    ),
]


def instant(meaning: str) -> Any:
    """Describe a parameter that takes a time or a position."""
    return Query(
        max_length=64,
        pattern=f"^([0-9]{{1,18}}|{TIME})$",
        description=f"{meaning}: an RFC 3339 time with a zone, or a position of the log.",
        examples=["2026-11-22T03:12:05Z", "48211"],
    )


async def live_view(house: TheHouse, min_position: MinPosition = None) -> View:
    """A view as of now."""
    return await house.view_at_least(min_position)


Now = Annotated[View, Depends(live_view)]


class Then:
    """A view of now, or of what was true then, by what was known then; and times as positions of its log."""

    def __init__(self, house: House, view: View) -> None:
        self.view = view
        self._house = house

    async def moment(self, text: str, name: str) -> Moment:
        """Read a time or a position."""
        return await read_moment(self._house, text, name)


async def view_then(
    house: TheHouse,
    min_position: MinPosition = None,
    as_of: Annotated[str | None, instant("What was true then, by what is known now")] = None,
    known_at: Annotated[str | None, instant("Only by what the log knew then")] = None,
) -> Then:
    """A view as the parameters ask for it."""
    now = await house.view_at_least(min_position)
    if as_of is None and known_at is None:
        return Then(house, now)
    asked = await read_moment(house, as_of, "as_of") if as_of is not None else None
    known = await read_moment(house, known_at, "known_at") if known_at is not None else None
    return Then(house, await house.past_view(as_of=asked, known_at=known))


Past = Annotated[Then, Depends(view_then)]


async def read_moment(house: House, text: str, name: str) -> Moment:
    """Read a time with a zone, or a position that the log has."""
    if text.isascii() and text.isdecimal():
        try:
            return await moment_of(house.log, Position(int(text)))
        except ValueError as error:
            raise ProblemError(POSITION, f"{name}: {error}", position=house.position) from error
    return await moment_at(house.log, read_time(text, name))


def read_time(text: str, name: str) -> Timestamp:
    """Read an RFC 3339 time; one without a zone is a problem, since the zone would be a guess."""
    if not re.fullmatch(TIME, text):
        raise invalid([{"in": "query", "name": name, "problem": NO_TIME}])
    # A leap second is the last one of its minute here: no clock of ours shows it.
    return timewords.parse(f"{text[:17]}59{text[19:]}" if text[17:19] == "60" else text, now=NEVER)


@contextmanager
def alone(turn: trio.Semaphore, taken: str) -> Iterator[None]:
    """Do what takes a processor for a while for one who asks at a time; `taken` tells whoever comes meanwhile."""
    try:
        turn.acquire_nowait()
    except trio.WouldBlock as error:
        raise ProblemError(TOO_MANY, taken, headers={"Retry-After": "10"}) from error
    try:
        yield
    finally:
        turn.release()


# ------------------------------------------------------------------------------------------------------- answers


def etag(position: int, *, aged: int = 0) -> str:
    """The newest fact that an answer depends on; `aged` counts what the passing of time alone changed in it since."""
    return f'"{position}-{aged}"' if aged else f'"{position}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client says that it has this answer already."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in given.split(","))


def headers(view_position: Position, tag: str | None = None) -> dict[str, str]:
    """The headers that every answer about the log has."""
    return {"X-ES-Position": str(view_position)} | ({"ETag": tag} if tag else {})


def answer(request: Request, body: Plain, *, position: Position, tag: str | None, more: str | None = None) -> Response:
    """Send an answer that is true at a position; nothing but the headers where the client has it."""
    sent = headers(position, tag)
    if more is not None:
        sent["Link"] = f'<{more}>; rel="next"'
    if tag is not None and is_known(request, tag):
        return Response(status_code=304, headers=sent)
    return Response(as_json(body), headers=sent, media_type="application/json")


def rows_answer(
    request: Request,
    page: Page[Any],
    row: Callable[[Any], Row],
    columns: Iterable[Column],
    *,
    position: Position,
    tag: str | None,
) -> Response:
    """Send a page of rows."""
    listed = tuple(columns)
    items: list[Plain] = [plain(row(each), listed) for each in page.items]
    return answer(request, {"items": items, "next": page.next}, position=position, tag=tag, more=page.next)
