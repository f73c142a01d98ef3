"""What was over time: why a VM stopped, when each VM ran, and how long it was up."""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from es_power import timewords
from es_power.answers.spans import (
    ANOMALIES,
    GROWTH,
    MARKS,
    SEGMENTS,
    UPTIMES,
    anomaly_row,
    mark_row,
    segment_row,
    uptime_row,
)
from es_power.answers.why import WHY, why_row
from es_power.api import wire
from es_power.api.asking import (
    TIME,
    Cursor,
    Limit,
    MinPosition,
    Past,
    TheHouse,
    answer,
    etag,
    instant,
    invalid,
    read_moment,
    read_time,
    rows_answer,
)
from es_power.api.describe import EXAMPLE_VM, answers
from es_power.api.newest import Newest
from es_power.api.pages import DEFAULT, after, page, some
from es_power.api.problems import AMBIGUOUS, CURSOR, VM_NOT_FOUND
from es_power.api.routes_vms import VmPath
from es_power.domain.events import InstanceId
from es_power.domain.time import SECOND, Timestamp
from es_power.output import Plain, plain
from es_power.projections.anomalies import Anomaly, anomalies
from es_power.projections.as_of import moment_at
from es_power.projections.marks import marks
from es_power.projections.queries import View, find, label_of, texts
from es_power.projections.timeline import timelines
from es_power.projections.uptime import uptimes
from es_power.projections.why import why
from es_power.projections.window import everyone

router = APIRouter(tags=["Time"])

_DAY: Final = 86_400 * SECOND


@router.get(
    "/v1/vms/{vm}/why",
    response_model=wire.Why,
    summary="Why a VM stopped or paused",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS),
)
async def why_it_stopped(request: Request, house: TheHouse, vm: VmPath, past: Past) -> Response:
    """What `es-power why VM` says: a cause, how sure that is, and the evidence with its positions."""
    view = past.view
    found = await why(view, vm, at=view.then.at if view.then and "as_of" in request.query_params else None)
    return answer(
        request, plain(why_row(found), WHY), position=view.position, tag=etag(house.newest.of(view, view.position))
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A time, what is known of it, and what time it is there."""

    view: View
    since: Timestamp
    until: Timestamp
    now: Timestamp
    #: Whether only what was known at another time counts.
    past: bool

    def tag(self, newest: Newest) -> str | None:
        """What an answer about it depends on; None where the time that passes changes it."""
        if self.until >= self.now:
            return None
        return etag(max(newest.begin, self.view.position) if self.past else self.view.position)


def _time(meaning: str) -> Any:
    return Query(
        max_length=64,
        pattern=f"^{TIME}$",
        description=f"{meaning}: an RFC 3339 time with a zone.",
        examples=["2026-11-22T03:12:05Z"],
    )


Since = Annotated[str | None, _time("From then on; else the last day")]
Until = Annotated[str | None, _time("Up to then; else up to now")]
KnownAt = Annotated[str | None, instant("Only by what the log knew then")]
Month = Annotated[
    str | None,
    Query(
        pattern=r"^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])$",
        description="That month, in UTC, in the place of since and until.",
        examples=["2026-10"],
    ),
]
OneVm = Annotated[str | None, Query(min_length=1, max_length=1000, description="Only this VM, named as in a path.")]

_UUID: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TheseVms = Annotated[
    str | None,
    Query(
        alias="vms",
        pattern=f"^{_UUID}(,{_UUID}){{0,99}}$",
        description="Only these VMs, by UUID, up to 100 with commas between them: those that somebody looks at.",
        examples=[EXAMPLE_VM],
    ),
]


def _these(vms: str | None) -> set[InstanceId] | None:
    return None if vms is None else {InstanceId(UUID(each)) for each in vms.split(",")}


async def take_span(
    house: TheHouse,
    since: Since = None,
    until: Until = None,
    known_at: KnownAt = None,
    min_position: MinPosition = None,
) -> Span:
    """Read the time that is asked for; one that ends before it begins, or is still to come, is a problem."""
    view = await house.view_at_least(min_position)
    now = house.clock()
    if known_at is not None:
        known = await read_moment(house, known_at, "known_at")
        now = min(now, known.at)
        view = await house.view_until(known.position)
    end = now if until is None else read_time(until, "until")
    begin = Timestamp(min(end, now) - _DAY) if since is None else read_time(since, "since")
    return _checked(Span(view, begin, end, now, known_at is not None))


def _checked(span: Span) -> Span:
    if span.until <= span.since:
        raise invalid([{"in": "query", "name": "until", "problem": "is not after since"}])
    if span.since >= span.now:
        raise invalid([{"in": "query", "name": "since", "problem": "lies after what is known"}])
    return span


TheSpan = Annotated[Span, Depends(take_span)]


async def _page(
    request: Request, view: View, vm: str | None, limit: int, cursor: str | None, these: set[InstanceId] | None = None
) -> tuple[list[str], str | None]:
    """The VMs of a page, in the order of their names, and the path of the next one."""
    start = after(cursor, ("", ""))
    if vm is not None:
        return [str(await find(view, vm))], None
    instances = await everyone(view)
    if these is not None:
        # A VM that the log has not heard of has no time to tell of, and is left out like one that did not exist then.
        instances = [instance for instance in instances if instance in these]
    labels = {instance: label_of(view.fleet, instance) for instance in instances}
    name_of = await texts(view.log, labels.values())
    keys = sorted((name_of(labels[instance]) or "", str(instance)) for instance in instances)
    cut = page(request, keys, limit, start, lambda key: key)
    return [instance for _, instance in cut.items], cut.next


@router.get(
    "/v1/timeline",
    response_model=wire.Page[wire.Segment],
    summary="When each VM ran, and when it did not",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS, CURSOR, pages=True, tagged=False),
)
async def timeline(
    request: Request,
    house: TheHouse,
    span: TheSpan,
    vm: OneVm = None,
    these: TheseVms = None,
    buckets: Annotated[
        int | None,
        Query(ge=1, le=10_000, description="At most so many segments of each VM; what differs in one is MIXED."),
    ] = None,
    last_report_wins: Annotated[
        bool,
        Query(
            description="What a sync would have had for true that takes whatever report came last, also one that was "
            "overtaken by an event; nothing is UNKNOWN in it."
        ),
    ] = False,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What `es-power timeline` draws, as segments; `limit` counts VMs. Time of which nobody knows is UNKNOWN."""
    vms, more = await _page(request, span.view, vm, limit, cursor, _these(these))
    items: list[Plain] = []
    found = timelines(
        span.view,
        vms,
        since=span.since,
        until=span.until,
        now=span.now,
        buckets=buckets,
        last_report_wins=last_report_wins,
    )
    async with aclosing(found) as each:
        async for line in each:
            if vm is not None or any(segment.state is not None for segment in line.segments):
                items += [plain(segment_row(line, segment), SEGMENTS) for segment in line.segments]
    return answer(
        request, {"items": items, "next": more}, position=span.view.position, tag=span.tag(house.newest), more=more
    )


@router.get(
    "/v1/marks",
    response_model=wire.Page[wire.Mark],
    summary="What stands on the timelines: events, observations, commands",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS, CURSOR, pages=True, tagged=False),
)
async def all_marks(
    request: Request,
    house: TheHouse,
    span: TheSpan,
    vm: OneVm = None,
    these: TheseVms = None,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """The facts behind `/v1/timeline`, one small row each, in the order of the log.

    A run of equal observations is one mark, where it began. `missed` is an observation of a change that no event
    announced, as `/v1/anomalies` counts them; `stale` one that lost to a newer event.
    """
    start = after(cursor, (0, 0))
    found = await marks(
        span.view,
        vm,
        among=_these(these),
        since=span.since,
        until=span.until,
        now=span.now,
        limit=limit + 1,
        beyond=(int(start[0]), int(start[1])) if start else None,
    )
    cut = some(request, found, limit, lambda mark: mark.place)
    return rows_answer(request, cut, mark_row, MARKS, position=span.view.position, tag=span.tag(house.newest))


@router.get(
    "/v1/growth",
    response_model=wire.Page[wire.Growth],
    summary="How busy the log was",
    responses=answers(tagged=False),
)
async def growth(
    request: Request,
    house: TheHouse,
    span: TheSpan,
    steps: Annotated[int, Query(ge=1, le=200, description="In how many equal parts of the time.")] = 100,
) -> Response:
    """Where the log stood at each end of each part: their differences are what was recorded meanwhile."""
    until = min(span.until, span.now)
    times = [Timestamp(span.since + (until - span.since) * step // steps) for step in range(steps + 1)]
    items: list[Plain] = []
    for at in times:
        moment = await moment_at(span.view.log, at)
        items.append(plain({"at": at, "position": min(moment.position, span.view.position)}, GROWTH))
    return answer(request, {"items": items, "next": None}, position=span.view.position, tag=span.tag(house.newest))


@router.get(
    "/v1/anomalies",
    response_model=wire.Page[wire.Anomaly],
    summary="What was out of the ordinary",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS, CURSOR, pages=True, tagged=False),
)
async def all_anomalies(
    request: Request, house: TheHouse, span: TheSpan, vm: OneVm = None, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """What `es-power anomalies` counts: unannounced changes, flapping, storms, refused reports, conflicts."""
    start = after(cursor, (0, "", "", 0, ""))
    found = await anomalies(span.view, None if vm is None else [vm], since=span.since, until=span.until, now=span.now)
    keyed = sorted(found, key=_place_of)
    cut = page(request, keyed, limit, start, _place_of)
    return rows_answer(request, cut, anomaly_row, ANOMALIES, position=span.view.position, tag=span.tag(house.newest))


def _place_of(each: Anomaly) -> tuple[int, str, str, int, str]:
    # One sweep may find something of several VMs: all else is the same of them.
    host, position = " and ".join(each.hosts), min(each.positions, default=0)
    return each.since, each.kind, host, position, str(each.instance or "")


@router.get(
    "/v1/uptime",
    response_model=wire.Page[wire.Uptime],
    summary="How long each VM was up",
    responses=answers(VM_NOT_FOUND, AMBIGUOUS, CURSOR, pages=True, tagged=False),
)
async def uptime(
    request: Request,
    house: TheHouse,
    span: TheSpan,
    vm: OneVm = None,
    month: Month = None,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What `es-power uptime` sums up: known up, known down, unknown, and availability as a range."""
    if month is not None:
        if {"since", "until"} & request.query_params.keys():
            raise invalid([{"in": "query", "name": "month", "problem": "stands for since and until"}])
        begin, end = timewords.month(month, now=span.now, zone=UTC)
        span = _checked(Span(span.view, begin, end, span.now, span.past))
    vms, more = await _page(request, span.view, vm, limit, cursor)
    async with aclosing(uptimes(span.view, vms, since=span.since, until=span.until, now=span.now)) as each:
        items: list[Plain] = [plain(uptime_row(one), UPTIMES) async for one in each if vm is not None or one.existed]
    return answer(
        request, {"items": items, "next": more}, position=span.view.position, tag=span.tag(house.newest), more=more
    )
