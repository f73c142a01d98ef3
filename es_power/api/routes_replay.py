"""What if: the policies, and where the stops of two of them differ over this log's history."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from es_power.answers.whatif import COMPARISON, comparison_row
from es_power.api import wire, wire_replay
from es_power.api.asking import Now, TheHouse, alone, answer, invalid, read_moment, read_time
from es_power.api.describe import answers
from es_power.api.problems import (
    DAMAGED,
    FORBIDDEN,
    NOT_JSON,
    POSITION,
    RECORD_PRUNED,
    TOO_MANY,
    TOO_SLOW,
    ProblemError,
)
from es_power.domain.policy import POLICIES, get_policy, policy_table
from es_power.output import Plain, as_json, plain
from es_power.replay import Side, compare

router = APIRouter(tags=["What if"])

T = TypeVar("T")

SAME: Final = "is the same as policy, and cannot differ from itself"
_MOST: Final = 1_000_000
"""Records of a log that is replayed over HTTP: what comes out of them is kept in memory meanwhile."""


@router.get(
    "/v1/policies",
    response_model=wire.Page[wire_replay.Policy],
    summary="The decision tables",
    responses=answers(tagged=False),
)
async def policies(request: Request, now: Now) -> Response:
    """What `es-power policy` shows: each policy with its table."""
    items: list[Plain] = [
        {
            "name": each.name,
            "version": each.version,
            "description": each.description,
            "table": [dict(row) for row in policy_table(each)],
        }
        for each in POLICIES.values()
    ]
    return answer(request, {"items": items, "next": None}, position=now.position, tag=None)


@router.post(
    "/v1/replays",
    response_model=wire_replay.Comparison,
    summary="Where two policies would have differed",
    responses=answers(FORBIDDEN, NOT_JSON, POSITION, RECORD_PRUNED, TOO_MANY, TOO_SLOW, DAMAGED, log=False),
)
async def replays(request: Request, house: TheHouse, said: wire_replay.ReplayWish) -> Response:
    """What `es-power replay --policy A --against B` answers: the log folded again, every hash checked.

    Nothing is appended and nothing is stopped. It takes a processor for as long as it takes, so it needs the role
    `operate`, is done for one at a time, and ends with its request; a log of more than a million records, or one that
    takes longer than 30 s, is one for the command line.
    """
    if said.policy == said.against:
        raise invalid([{"in": "body", "name": "against", "problem": SAME}])
    since = read_time(said.since, "since") if said.since is not None else None
    until = (await read_moment(house, said.until, "until")).position if said.until is not None else house.position
    if (records := until - await house.log.pruned_up_to()) > _MOST:
        raise ProblemError(TOO_SLOW, f"it has {records} records: `es-power replay` has time for them")
    with alone(house.replaying, "a replay is under way already"):
        compared = await _while_it_is_waited_for(
            request,
            lambda: compare(house.log, _side(said.policy), _side(said.against), since=since, until=until),
        )
        row = await comparison_row(house.log, compared, limit=said.limit)
    return Response(as_json(plain(row, COMPARISON)), 200, {"Cache-Control": "no-store"}, "application/json")


def _side(name: str) -> Side:
    match name:
        case "recorded" | "nova":
            return name
        case _:
            return get_policy(name)


async def _while_it_is_waited_for(request: Request, question: Callable[[], Awaitable[T]]) -> T:
    """Answer a question unless whoever asks it goes away, which cancels it."""
    found: list[T] = []
    failed: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            found.append(await question())
        except Exception as error:  # noqa: BLE001 (outside of the nursery it is raised as it is)
            failed.append(error)
        nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]
    if not found:
        raise ProblemError(TOO_SLOW, "nobody waits for the answer any more")
    return found[0]
