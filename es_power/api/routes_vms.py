"""VMs: what is said of them, and their histories."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import Response

from es_power.answers.rows import HISTORY, STATUS, line_row, status_row
from es_power.api import wire
from es_power.api.asking import Cursor, Limit, Past, TheHouse, answer, etag, instant, invalid, rows_answer
from es_power.api.describe import EXAMPLE_VM, answers
from es_power.api.gate import SLASH
from es_power.api.pages import DEFAULT, after, page, some
from es_power.api.problems import AMBIGUOUS, CURSOR, VM_NOT_FOUND
from es_power.domain.events import START, InstanceId
from es_power.output import Plain, plain
from es_power.projections.as_of import position_before
from es_power.projections.narrative import page as history_page
from es_power.projections.queries import Status, find, status

router = APIRouter(tags=["VMs"])

VmPath = Annotated[
    str,
    AfterValidator(lambda named: named.replace(SLASH, "/")),
    Path(
        description="A UUID, a name, HOST/NAME (its slash written %2F), or the beginning of either.",
        examples=[EXAMPLE_VM],
        max_length=1000,
        min_length=1,
    ),
]
Everything = Annotated[
    bool, Query(alias="all", description="Also VMs that are gone, and each VM on every host that showed it.")
]


def _key(each: Status) -> tuple[str, str, str]:
    return each.name or "", str(each.row.instance), each.row.host


def _aged(found: list[Status]) -> int:
    """How many read UNKNOWN only since time passed: at one position of the log that number only grows."""
    return sum(each.row.note.startswith("not seen") for each in found)


@router.get(
    "/v1/vms",
    response_model=wire.Page[wire.Vm],
    summary="The power state of each VM",
    responses=answers(CURSOR, pages=True),
)
async def vms(
    request: Request,
    house: TheHouse,
    past: Past,
    state: Annotated[wire.State | None, Query(description="Only those in this power_state.")] = None,
    host: Annotated[str | None, Query(description="Only those of this host.", max_length=255)] = None,
    drift: Annotated[bool, Query(description="Only those that are not what their record says.")] = False,
    everything: Everything = False,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What `es-power status` shows, in the order of names."""
    start = after(cursor, ("", "", ""))
    view = past.view
    found = await status(view, now=house.clock(), everything=everything)
    tag = etag(house.newest.of_states(view), aged=_aged(found))
    chosen = [
        each
        for each in found
        if (state is None or each.row.power_state == state)
        and (host is None or each.row.host == host)
        and (not drift or each.row.drift is not None)
    ]
    cut = page(request, chosen, limit, start, _key)
    return rows_answer(request, cut, status_row, STATUS, position=view.position, tag=tag)


@router.get(
    "/v1/vms/{vm}",
    response_model=wire.VmAnswer,
    summary="The power state of one VM",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS),
)
async def one_vm(request: Request, house: TheHouse, vm: VmPath, past: Past, everything: Everything = False) -> Response:
    """What `es-power status VM` shows: where several hosts show it on, a row for each of them."""
    view = past.view
    instance = await find(view, vm)
    found = await status(view, str(instance), now=house.clock(), everything=everything)
    items: list[Plain] = [plain(status_row(each), STATUS) for each in found]
    tag = etag(house.newest.of_vm(view, instance), aged=_aged(found))
    return answer(request, {"items": items}, position=view.position, tag=tag)


@router.get(
    "/v1/vms/{vm}/history",
    response_model=wire.Page[wire.Line],
    summary="What happened to one VM",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS, CURSOR, pages=True, prunable=True),
)
async def history(
    request: Request,
    house: TheHouse,
    vm: VmPath,
    past: Past,
    since: Annotated[str | None, instant("From then on")] = None,
    until: Annotated[str | None, instant("Up to then")] = None,
    reverse: Annotated[bool, Query(description="Newest first.")] = False,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What `es-power history VM` shows: events, runs of equal observations, blind times, records, commands."""
    beyond = after(cursor, (0, 0))
    since_moment = await past.moment(since, "since") if since is not None else None
    until_moment = await past.moment(until, "until") if until is not None else None
    first = await position_before(house.log, since_moment) if since_moment else START
    last = until_moment.position if until_moment else None
    if last is not None and first > last:
        raise invalid([{"in": "query", "name": "since", "problem": "lies after until"}])
    part = await history_page(
        past.view,
        vm,
        limit=limit + 1,
        after=first,
        until=last,
        since_time=since_moment.at if since_moment and not since_moment.by_position else None,
        until_time=until_moment.at if until_moment and not until_moment.by_position else None,
        beyond=(int(beyond[0]), int(beyond[1])) if beyond else None,
        reverse=reverse,
    )
    cut = some(
        request,
        part.lines,
        limit,
        lambda line: line.entry.place,
    )
    instance = InstanceId(part.instance)
    tag = etag(house.newest.of(past.view, part.newest))
    response = rows_answer(
        request, cut, lambda line: line_row(line, instance), HISTORY, position=past.view.position, tag=tag
    )
    if since is None and (pruned := await house.log.pruned_up_to()):
        response.headers["X-ES-Pruned"] = str(pruned)
    return response
