"""Whether a log is whole: the file's pages, and every record by its hash."""

from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
import trio

from es_power.domain.events import Position
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.log.chain import Chain
from es_power.log.schema import RECORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Where a log ends."""

    position: Position
    #: The hash of its last record; empty in an empty log.
    hash: bytes


async def check(log: SqlLog) -> Ending:
    """Read a log that nobody writes from its first byte to its last.

    SealBrokenError or LogError where a record or a page is not as it was written, or is missing.
    """
    await trio.to_thread.run_sync(log.database.check_pages)
    head, chain = await log.head(), Chain()
    while chain.position < head:
        reached = chain.position
        with suppress(UnknownEventError):  # whatever such a record says, its hash was checked
            await log.scan(lambda _: None, after=reached, until=head, chain=chain)
        if chain.position == reached:
            break
    chain.close(head, await log.ends())
    return Ending(position=head, hash=await trio.to_thread.run_sync(_hash_at, log, head))


def _hash_at(log: SqlLog, position: Position) -> bytes:
    with log.database.read() as connection:
        found: bytes | None = connection.scalar(sa.select(RECORDS.c.hash).where(RECORDS.c.position == position))
        return found or b""
