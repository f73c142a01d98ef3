"""Stop commands, and what people say of them: that is passed on to the actor, which alone records it."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from es_power.answers.commands import COMMANDS, LIFE, command_row, life_row
from es_power.api import wire
from es_power.api.access import Principal
from es_power.api.asking import Asker, Cursor, IdempotencyKey, Limit, Past, TheHouse, answer, etag, rows_answer
from es_power.api.describe import answers
from es_power.api.house import House
from es_power.api.idempotency import repeated
from es_power.api.pages import DEFAULT, after, page
from es_power.api.problems import (
    AMBIGUOUS,
    COMMAND_NOT_FOUND,
    CURSOR,
    FORBIDDEN,
    IN_PROGRESS,
    KEY_REUSED,
    NO_ACTOR,
    NOT_JSON,
    REFUSED,
    ProblemError,
)
from es_power.dispatch.door import AnyWish, Approve, Reject, wish_at
from es_power.errors import ActorRefusedError, ActorUnavailableError
from es_power.output import as_json, plain
from es_power.projections.explain import command, commands
from es_power.projections.queries import texts

router = APIRouter(tags=["Stop commands"])

CommandPath = Annotated[
    str,
    Path(description="The command's id, or the beginning of it.", min_length=1, max_length=36, examples=[wire.COMMAND]),
]


@router.get(
    "/v1/commands",
    response_model=wire.Page[wire.Command],
    summary="All stop commands",
    responses=answers(CURSOR, pages=True),
)
async def all_commands(
    request: Request, house: TheHouse, past: Past, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """What `es-power commands list` shows, in the order in which they were requested."""
    start = after(cursor, (0,))
    cut = page(request, await commands(past.view), limit, start, lambda each: (each.row.position,))
    # A command's row shows the name that its VM has.
    tag = etag(house.newest.of_states(past.view, house.newest.commands))
    return rows_answer(request, cut, command_row, COMMANDS, position=past.view.position, tag=tag)


@router.get(
    "/v1/commands/{command_id}",
    response_model=wire.CommandAnswer,
    summary="One stop command and its life",
    responses=answers(COMMAND_NOT_FOUND, AMBIGUOUS),
)
async def one_command(request: Request, house: TheHouse, command_id: CommandPath, past: Past) -> Response:
    """What `es-power commands show` shows."""
    found = await command(past.view, command_id)
    body = plain(command_row(found), COMMANDS)
    body["life"] = [plain(life_row(step), LIFE + COMMANDS) for step in found.life]
    tag = etag(house.newest.of_states(past.view, house.newest.commands))
    return answer(request, body, position=past.view.position, tag=tag)


_WRITES = answers(
    COMMAND_NOT_FOUND, AMBIGUOUS, FORBIDDEN, REFUSED, IN_PROGRESS, KEY_REUSED, NO_ACTOR, NOT_JSON, log=False
)


@router.post(
    "/v1/commands/{command_id}/approve", response_model=wire.Said, summary="Let a command be sent", responses=_WRITES
)
async def approve(
    request: Request,
    house: TheHouse,
    who: Asker,
    command_id: CommandPath,
    said: wire.Wish,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """What `es-power commands approve` does: the actor looks once more before it sends it."""
    return await _wish(
        request,
        house,
        who,
        command_id,
        idempotency_key,
        said.why,
        lambda id_, by: Approve(command=id_, why=said.why, by=by),
    )


@router.post(
    "/v1/commands/{command_id}/reject", response_model=wire.Said, summary="Withdraw a command", responses=_WRITES
)
async def reject(
    request: Request,
    house: TheHouse,
    who: Asker,
    command_id: CommandPath,
    said: wire.Wish,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """What `es-power commands reject` does: it will not be sent."""
    return await _wish(
        request,
        house,
        who,
        command_id,
        idempotency_key,
        said.why,
        lambda id_, by: Reject(command=id_, why=said.why, by=by),
    )


async def _wish(
    request: Request,
    house: House,
    who: Asker,
    command_id: str,
    key: str | None,
    why: str,
    wish: Callable[[UUID, str], AnyWish],
) -> Response:
    async def do() -> Response:
        found = await command(house.view(), command_id)
        asked = wish(found.row.requested.command, await user_of(house, who))
        try:
            said = await wish_at(house.door, asked)
        except ActorUnavailableError as error:
            raise ProblemError(NO_ACTOR, str(error), headers={"Retry-After": "10"}) from error
        except ActorRefusedError as error:
            raise ProblemError(REFUSED, str(error)) from error
        return Response(as_json({"said": said}), media_type="application/json")

    return await repeated(house.done, who.key, key, f"{request.url.path} {why}", do)


async def user_of(house: House, who: Principal) -> str:
    """Whom to name as the one who said something."""
    if isinstance(who.user, str):
        return who.user
    text_of = await texts(house.log, [who.user])
    return f"token {text_of(who.user)}" if who.session is None else text_of(who.user) or "somebody"
