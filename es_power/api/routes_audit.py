"""The seal: checkpoints, proofs, parts of the log with them, and whether the whole log is as it was written."""

from typing import Annotated, Final

import trio
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from es_power.answers.dossier import make_dossier
from es_power.answers.seals import CHECKPOINTS, PROOF, SEALED, VERDICT, checkpoint_row, sealed_row, verdict_row
from es_power.api import wire, wire_audit
from es_power.api.access import require
from es_power.api.asking import (
    LARGEST,
    Asker,
    Cursor,
    IdempotencyKey,
    Limit,
    Now,
    TheHouse,
    Then,
    alone,
    answer,
    etag,
    instant,
    invalid,
    rows_answer,
)
from es_power.api.describe import answers
from es_power.api.house import House
from es_power.api.idempotency import repeated
from es_power.api.pages import DEFAULT, after as after_cursor, page
from es_power.api.problems import (
    AMBIGUOUS,
    CURSOR,
    DAMAGED,
    FORBIDDEN,
    IN_PROGRESS,
    KEY_REUSED,
    NO_KEY,
    NOT_SEALED,
    POSITION,
    RECORD_NOT_FOUND,
    RECORD_PRUNED,
    TABLES_DAMAGED,
    TOO_MANY,
    TOO_SLOW,
    VM_NOT_FOUND,
    ProblemError,
)
from es_power.api.routes_time import OneVm
from es_power.audit.keys import VerifierKey
from es_power.audit.proving import newest_size, prove
from es_power.audit.verifying import verify as verify_log
from es_power.domain.access import Role
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import START, Position
from es_power.errors import DossierError, NoteError
from es_power.output import Plain, as_json, plain
from es_power.projections.as_of import position_before
from es_power.projections.queries import View, find

router = APIRouter(tags=["The seal"])

_MOST_FACTS: Final = 5_000

NO_KEY_GIVEN = "is no verifier key, as `es-power audit keygen` prints it"


@router.get(
    "/v1/audit",
    response_model=wire_audit.Seal,
    summary="How the log is sealed",
    responses=answers(DAMAGED, tagged=False),
)
async def seal(request: Request, house: TheHouse, now: Now) -> Response:
    """The newest checkpoint, the key that signs, and which places did not take the last one."""
    newest = max(await _kept(house, now), key=lambda each: (each[1].size, each[0]), default=None)
    sealer = house.sealer
    body: dict[str, Plain] = {
        "checkpoint": plain(checkpoint_row(newest), CHECKPOINTS) if newest else None,
        "position": now.position,
        "verifier": str(sealer.verifier) if sealer else None,
        "key": sealer.verifier.id.hex() if sealer else None,
        "failed": dict(sealer.last.failed) if sealer and sealer.last else {},
        "failure": sealer.failure if sealer else "",
    }
    return answer(request, body, position=now.position, tag=None)


@router.get(
    "/v1/audit/checkpoints",
    response_model=wire.Page[wire_audit.Checkpoint],
    summary="All checkpoints",
    responses=answers(CURSOR, pages=True),
)
async def all_checkpoints(
    request: Request, house: TheHouse, now: Now, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """The checkpoints that are facts of the log, oldest first."""
    start = after_cursor(cursor, (0,))
    cut = page(request, await _kept(house, now), limit, start, lambda each: (each[0],))
    tag = etag(house.newest.of(now, house.newest.checkpoints))
    return rows_answer(request, cut, checkpoint_row, CHECKPOINTS, position=now.position, tag=tag)


@router.get(
    "/v1/audit/proof/{position}",
    response_model=wire_audit.Proof,
    summary="The proof of one record",
    responses=answers(RECORD_NOT_FOUND, RECORD_PRUNED, NOT_SEALED, DAMAGED),
)
async def proof(
    request: Request,
    house: TheHouse,
    now: Now,
    position: Annotated[int, Path(ge=1, le=LARGEST, description="The record's position in the log.", examples=[4711])],
) -> Response:
    """What `es-power audit proof` prints, by the newest checkpoint; es_power/audit/offline.py checks it."""
    [proved] = await trio.to_thread.run_sync(prove, house.log.database, [Position(position)], house.checkpoints)
    tag = etag(house.newest.of(now, house.newest.checkpoints))
    return answer(request, plain(proved.as_row(), PROOF), position=now.position, tag=tag)


@router.post(
    "/v1/audit/checkpoint",
    status_code=201,
    response_model=wire_audit.Sealed,
    summary="Sign the log as it is now",
    responses=answers(FORBIDDEN, NO_KEY, IN_PROGRESS, KEY_REUSED, DAMAGED, log=False),
)
async def checkpoint(request: Request, house: TheHouse, who: Asker, idempotency_key: IdempotencyKey = None) -> Response:
    """What `es-power audit checkpoint` does, with the service's own key: signed, sent to all places, and recorded."""
    require(who, Role.OPERATE)
    sealer = house.sealer
    if sealer is None:
        raise ProblemError(NO_KEY, "the service has no key to sign with: [audit] key names none")

    async def do() -> Response:
        body = plain(sealed_row(await sealer.seal()), SEALED)
        return Response(as_json(body), 201, {"Cache-Control": "no-store"}, "application/json")

    return await repeated(house.done, who.key, idempotency_key, request.url.path, do)


@router.get(
    "/v1/audit/verify",
    response_model=wire_audit.Verdict,
    summary="Verify the whole log",
    responses=answers(FORBIDDEN, TOO_MANY, TOO_SLOW, log=False),
)
async def verify(
    house: TheHouse,
    who: Asker,
    key: Annotated[
        str | None,
        Query(
            max_length=1000,
            description="The verifier key that has to have signed the checkpoints of its name.",
            examples=[wire_audit.VERIFIER],
        ),
    ] = None,
) -> Response:
    """What `es-power audit verify` does without checkpoints from outside, which alone show that none was written anew.

    It reads every record, so it takes the role `admin`, and is done for one at a time. A log that takes longer than
    30 s is one for the command line.
    """
    require(who, Role.ADMIN)
    try:
        keys = [VerifierKey.read(key)] if key is not None else []
    except NoteError as error:
        raise invalid([{"in": "query", "name": "key", "problem": NO_KEY_GIVEN}]) from error
    with alone(house.examining, "somebody is given one already"):
        verdict = await verify_log(house.log, keys=keys)
    body = as_json(plain(verdict_row(verdict), VERDICT))
    return Response(body, 200, {"Cache-Control": "no-store"}, "application/json")


@router.get(
    "/v1/audit/export",
    response_class=Response,
    summary="A part of the log for an auditor",
    responses={
        **answers(
            *(VM_NOT_FOUND, AMBIGUOUS, POSITION, NOT_SEALED, RECORD_PRUNED, DAMAGED, TABLES_DAMAGED, TOO_SLOW),
            log=False,
        ),
        200: {
            "description": "A ZIP with one directory: the facts, the proof of each, the checkpoint that they lead to, "
            "blind times, the clock, a manifest, the verifier, and a README.md that says how to check it.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}, "example": "PK..."}},
        },
    },
)
async def export(
    house: TheHouse,
    now: Now,
    since: Annotated[str | None, instant("Recorded from then on")] = None,
    until: Annotated[str | None, instant("Recorded up to then, else up to the newest checkpoint")] = None,
    vm: OneVm = None,
) -> Response:
    """What `es-power audit export` writes, of up to 5,000 facts, for one who asks at a time."""
    then = Then(house, now)
    after = await position_before(house.log, await then.moment(since, "since")) if since is not None else START
    signed = await trio.to_thread.run_sync(newest_size, house.log.database, house.checkpoints)
    last = (await then.moment(until, "until")).position if until is not None else signed
    if until is not None and after >= last:
        raise invalid([{"in": "query", "name": "until", "problem": "is not after since, or no record lies between"}])
    instances = [await find(now, vm)] if vm is not None else []
    with alone(house.examining, "somebody is given one already"):
        try:
            dossier = await make_dossier(
                now,
                after=after,
                until=last,
                signed=signed,
                instances=instances,
                checkpoints=house.checkpoints,
                most=_MOST_FACTS,
            )
        except DossierError as error:
            raise invalid([{"in": "query", "name": "since", "problem": f"is too long ago: {error}"}]) from error
        name = f"es-power-{after + 1}-{last}"
        body = await trio.to_thread.run_sync(dossier.zipped, name)
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.zip"'}
    return Response(body, 200, headers, "application/zip")


async def _kept(house: House, now: View) -> list[tuple[Position, CheckpointSealed]]:
    kept = await trio.to_thread.run_sync(house.checkpoints.read)
    return [(position, fact) for position, fact in kept if position <= now.position]
