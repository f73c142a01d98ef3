"""What the demo proves of its log: that the tables come out of it, and that no byte of it changes unseen."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio

from es_power.audit.keys import VerifierKey
from es_power.audit.verdict import Verdict
from es_power.audit.verifying import verify
from es_power.domain.events import Position
from es_power.domain.time import Timestamp
from es_power.log import SqlLog, open_log
from es_power.projections.power_state import digest
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.replay import rebuild
from es_power.upkeep.backup import back_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The table of power states before and after it was thrown away and folded again from the first record."""

    position: Position
    before: str
    after: str


async def rebuild_tables(log: SqlLog) -> Rebuilt:
    """Throw the tables away, and fold the log into new ones."""
    store = Store(log.database)
    while True:
        kept, _ = await read_models(log, store)
        before, position = digest(kept.fleet), kept.fleet.position
        await rebuild(log)
        again, _ = await read_models(log, store)
        if again.fleet.position == position:  # else something was recorded meanwhile, which both should have
            return Rebuilt(position=position, before=before, after=digest(again.fleet))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampered:
    """A copy of the log with one bit of one record turned over, and what a verification says of it, and of the log."""

    copy: Path
    #: The byte of the file.
    offset: int
    found: Verdict
    original: Verdict


async def tamper(
    log: SqlLog, copy: Path, position: Position, *, keys: Sequence[VerifierKey], at: Timestamp
) -> Tampered:
    """Copy the log, turn over one bit of the record at a position in the copy, and verify both."""
    await back_up(log, copy, at=at)
    offset = await trio.to_thread.run_sync(_flip, copy, position)
    async with open_log(copy) as damaged:
        found = await verify(damaged, keys=keys)
    return Tampered(copy=copy, offset=offset, found=found, original=await verify(log, keys=keys))


def _flip(file: Path, position: Position) -> int:
    """Turn over a bit of what a record says, in the file itself, where no database is asked; give its byte."""
    with closing(sqlite3.connect(file)) as connection:
        [state] = connection.execute("SELECT state FROM records WHERE position = ?", (position,)).fetchone()
    data = file.read_bytes()
    # A long record goes on in another page; its last bytes are the time at which it was observed, say.
    offset = data.index(state[:32]) + min(len(state), 32) - 1
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(bytes([data[offset] ^ 1]))
    return offset
