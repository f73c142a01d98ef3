"""Whether a log is whole, for who is about to trust it with what cannot be got back."""

from dataclasses import dataclass

import sqlalchemy as sa
import trio

from es_power.audit.verifying import verify
from es_power.domain.events import Position
from es_power.errors import LogError, SealBrokenError
from es_power.log import SqlLog
from es_power.log.schema import RECORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Where a log ends."""

    position: Position
    #: The hash of its last record; empty in an empty log.
    hash: bytes


async def check(log: SqlLog) -> Ending:
    """Read a log from its first byte to its last, as `es-power audit verify` does.

    SealBrokenError where a record is not as it was written or is missing, LogError where anything else is damaged.
    """
    verdict = await verify(log)
    for damage in verdict.damage:
        if damage.position is not None:
            raise SealBrokenError(damage.position, reason=damage.detail)
        raise LogError(f"{log.database.place} is damaged: {damage.detail}")
    return Ending(position=verdict.position, hash=await trio.to_thread.run_sync(_hash_at, log, verdict.position))


def _hash_at(log: SqlLog, position: Position) -> bytes:
    with log.database.read() as connection:
        found: bytes | None = connection.scalar(sa.select(RECORDS.c.hash).where(RECORDS.c.position == position))
        return found or b""
