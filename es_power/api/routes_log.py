"""The log itself, the hosts that write it, and the times in which they were blind."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from es_power.answers.facts import FACTS, fact_row, labels_of, texts_of, unreadable_row
from es_power.answers.rows import GAPS, HOSTS, QUARANTINE, doubt_row, gap_row, host_row
from es_power.api import wire
from es_power.api.asking import (
    LARGEST,
    Asker,
    Cursor,
    Limit,
    Now,
    Past,
    TheHouse,
    answer,
    etag,
    instant,
    read_moment,
    rows_answer,
)
from es_power.api.describe import answers
from es_power.api.pages import DEFAULT, after as after_cursor, link, page
from es_power.api.problems import CURSOR, RECORD_PRUNED, REWOUND, TOO_MANY, ProblemError
from es_power.api.stream import Following
from es_power.domain.events import Position
from es_power.errors import UnknownEventError
from es_power.output import Plain, plain
from es_power.projections.doubts import quarantine
from es_power.projections.gaps import gaps
from es_power.projections.queries import hosts, texts

router = APIRouter(tags=["The log"])

_STREAMED = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The position of the log."},
        "event": {"type": "string", "enum": ["ready", "fact", "reset"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "Milliseconds after which to come again."},
    },
    "required": ["id", "event", "data"],
}

After = Annotated[
    int | None,
    Query(ge=0, le=LARGEST, description="The position after which to begin; else the first that is there."),
]


@router.get(
    "/v1/events",
    response_model=wire.Page[wire.Fact],
    summary="What was recorded, in order",
    responses=answers(REWOUND, pages=True),
)
async def events(
    request: Request,
    house: TheHouse,
    now: Now,
    after: After = None,
    until: Annotated[str | None, instant("The last ones that were recorded up to then")] = None,
    limit: Limit = DEFAULT,
) -> Response:
    """Every record of the log after a position. `next` is there on the last page too: ask it again later."""
    log, end = house.log, now.position
    if after is not None and after > end:
        raise ProblemError(REWOUND, f"the log ends at {end}", position=end)
    items: list[Plain] = []
    begin = await log.pruned_up_to() if after is None else Position(after)
    await log.require_kept(begin)
    if until is None:
        reached, last = begin, end
    else:
        last = min((await read_moment(house, until, "until")).position, end)
        reached = Position(max(begin, await log.pruned_up_to(), last - limit))
    while len(items) < limit and reached < last:
        try:
            batch = await log.read(after=reached, until=last, limit=limit - len(items))
        except UnknownEventError as error:
            reached = Position(error.position or reached + 1)
            items.append(plain(unreadable_row(reached, error.reason), FACTS))
            continue
        if not batch:
            break
        text_of = await texts(log, texts_of(batch))
        for recorded in batch:
            said = {name: text_of(label) for name, label in labels_of(recorded).items()}
            items.append(plain(fact_row(recorded, said), FACTS))
        reached = batch[-1].position
    more = link(request, after=reached, until=None)
    return answer(
        request, {"items": items, "next": more}, position=end, tag=etag(house.newest.of(now, reached)), more=more
    )


@router.get(
    "/v1/stream",
    response_class=Response,
    summary="What is recorded from now on",
    responses={
        **answers(REWOUND, RECORD_PRUNED, TOO_MANY, log=False),
        200: {
            "description": "Server-sent events: `ready` once, then a `fact` for each record, its `data` as in "
            "/v1/events and its `id` the position; after 15 s without one a comment. `reset` ends the stream of a "
            "reader that is slower than the log grows: come again with the last id.",
            "content": {
                "text/event-stream": {
                    "schema": _STREAMED,
                    "example": 'id: 48102\nevent: fact\ndata: {"position": 48102, "kind": "LifecycleEvent"}\n\n',
                }
            },
        },
    },
)
async def stream(
    house: TheHouse,
    who: Asker,
    after: Annotated[int | None, Query(ge=0, le=LARGEST, description="Begin after this position, not now.")] = None,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=LARGEST, description="What a browser sends when it comes again: it is before `after`."),
    ] = None,
) -> Response:
    """Follow the log without losing anything in between: by the id of the last event that was heard."""
    head = house.position
    place = last_event_id if last_event_id is not None else after
    if place is not None and place > head:
        raise ProblemError(REWOUND, f"the log ends at {head}", position=head)
    if place is not None:
        await house.log.require_kept(Position(place))
    if house.broadcast.followers >= house.settings.api.followers:
        raise ProblemError(
            TOO_MANY, f"{house.broadcast.followers} follow already ([api] followers)", headers={"Retry-After": "10"}
        )
    begin = Position(head if place is None else place)
    return Following(
        house.log,
        house.broadcast,
        begin,
        folded=lambda: house.position,
        is_let_in=lambda: house.lets_in(who),
    )


@router.get(
    "/v1/hosts",
    response_model=wire.Page[wire.Host],
    summary="The observed hosts",
    responses=answers(CURSOR, pages=True),
)
async def all_hosts(
    request: Request, house: TheHouse, past: Past, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """Each host under each driver, and whether somebody sees it now."""
    start = after_cursor(cursor, ("",))
    cut = page(request, hosts(past.view), limit, start, lambda each: (each.stream,))
    tag = etag(house.newest.of_states(past.view))
    return rows_answer(request, cut, host_row, HOSTS, position=past.view.position, tag=tag)


@router.get(
    "/v1/gaps", response_model=wire.Page[wire.Gap], summary="Blind times", responses=answers(CURSOR, pages=True)
)
async def all_gaps(
    request: Request, house: TheHouse, past: Past, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """What `es-power gaps` shows: when nobody saw a host, and why."""
    start = after_cursor(cursor, (0,))
    cut = page(request, await gaps(past.view), limit, start, lambda each: (each.position,))
    tag = etag(house.newest.of(past.view, house.newest.gaps))
    return rows_answer(request, cut, gap_row, GAPS, position=past.view.position, tag=tag)


@router.get(
    "/v1/quarantine",
    response_model=wire.Page[wire.Doubt],
    summary="Records that were set aside",
    responses=answers(CURSOR, pages=True),
)
async def all_set_aside(
    request: Request, house: TheHouse, now: Now, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """What `es-power quarantine` lists: what could not be read or applied, and whom it leaves in doubt."""
    start = after_cursor(cursor, (0,))
    cut = page(request, await quarantine(now), limit, start, lambda each: (each.record.position,))
    tag = etag(house.newest.of(now, now.position))
    return rows_answer(request, cut, doubt_row, QUARANTINE, position=now.position, tag=tag)
