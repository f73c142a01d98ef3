"""The log in two times: what was true at one moment, by what was known at another.

Rules of this file:
1. What is *known at* K is the log up to K; nothing after it bears on the answer.
2. What was true *as of* T is told by the facts among those whose time at the source is not after T: all that were
   recorded by then, and what was recorded later about that time. Of a gap that is the time since when nobody saw.
3. They are folded in the order of the log, as ever: wall time says which facts count, never which comes first.
4. A time is the last position recorded not after it. A clock may have been set back, so no time bounds a position.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

import trio

from es_power import timewords
from es_power.domain.events import START, Position, Recorded
from es_power.domain.streams import command as command_stream
from es_power.domain.time import NEVER, Timestamp
from es_power.errors import SealBrokenError, UnknownEventError
from es_power.log import SqlLog
from es_power.log.chain import Chain
from es_power.log.queries import RawRecord
from es_power.projections import past
from es_power.projections.command_table import CommandTable
from es_power.projections.fleet import Fleet
from es_power.projections.lean import fold_fleet
from es_power.projections.quarantine import failed
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.projections.times import bears, raw_source_time

__all__ = [
    "Moment",
    "Then",
    "bounds",
    "commands_as_of",
    "fold_as_of",
    "moment_at",
    "moment_of",
    "position_before",
    "read_moment",
    "scan",
]

_LARGEST: Final = 2**63 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment that is asked for: what time it was, and where the log stood."""

    position: Position
    at: Timestamp
    #: Whether it was named by a position: as of it is what the log knew there, unless told otherwise.
    by_position: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """Which facts an answer is made of: those up to a time, among those that were known."""

    #: What time it was, by which states are old or not.
    at: Timestamp
    #: Everything up to here counts.
    position: Position
    #: And, up to here, what was recorded later about that time.
    known: Position

    def has(self, position: Position, source: Timestamp) -> bool:
        """Whether a fact at a position counts, by its time at the source."""
        return position <= self.position or (position <= self.known and source <= self.at)


async def moment_at(log: SqlLog, at: Timestamp) -> Moment:
    """A time, and the last position recorded not after it; RecordPrunedError where that is before the log begins."""
    position = await past.position_at(log, Store(log.database), at)
    await log.require_kept(position)
    return Moment(position=position, at=at)


async def position_before(log: SqlLog, moment: Moment) -> Position:
    """The last position before a moment: what is after that is not older."""
    if moment.by_position:
        return Position(max(moment.position - 1, START))
    return (await moment_at(log, Timestamp(moment.at - 1))).position


async def moment_of(log: SqlLog, position: Position) -> Moment:
    """A position, and the time when it was recorded; ValueError where the log ends before it.

    RecordPrunedError where the log begins after it.
    """
    await log.require_kept(position)
    if position == START:
        return Moment(position=START, at=NEVER, by_position=True)
    head = await log.head()
    if position > head:
        raise ValueError(f"the log ends at position {head}")
    at, known = NEVER, position
    while known > START:
        try:
            [record] = await log.read_raw(after=Position(known - 1), until=known)
        except UnknownEventError:
            # Damaged, or of a newer es_power: its time is that of the record before it.
            known = Position(known - 1)
            await log.require_kept(known)
        else:
            at = record[3]
            break
    return Moment(position=position, at=at, by_position=True)


async def read_moment(log: SqlLog, text: str, *, now: Timestamp, zone: tzinfo | None) -> Moment:
    """Read a position, or a time as journalctl takes it; ValueError says what is wrong with it."""
    if text.isascii() and text.isdecimal():
        # More digits than any position has are beyond every head, and Python would not even read thousands of them.
        return await moment_of(log, Position(int(text[:20])))
    at = timewords.parse(text, now=now, zone=zone)
    # Beyond 292 years around 1970 nothing is in any log, and no database takes the number.
    return await moment_at(log, Timestamp(max(-_LARGEST, min(at, _LARGEST))))


async def bounds(log: SqlLog, *, as_of: Moment | None, known_at: Moment | None) -> Then:
    """Say which facts count; without `known_at` all that is known now, or up to a position that `as_of` names.

    Without `as_of` it is the moment of `known_at` itself.
    """
    asked = as_of or known_at
    assert asked is not None
    known_now = asked.position if asked.by_position else await log.head()
    known = known_at.position if known_at is not None else known_now
    return Then(at=asked.at, position=min(asked.position, known), known=known)


# ------------------------------------------------------------------------------------------------------ the fold


async def fold_as_of(log: SqlLog, then: Then, *, progress: Callable[[Position], None] = lambda _: None) -> Fleet:
    """Fold the facts that count into a fleet."""
    fleet = await _fold(log, then.position, progress)
    for recorded in await _late(log, then):
        try:
            fleet.apply(recorded)
        except Exception as error:  # noqa: BLE001 (as in `ReadModels`: the others are folded)
            fleet.set_aside(failed(recorded, error))
    return fleet


async def commands_as_of(log: SqlLog, then: Then, present: CommandTable) -> CommandTable:
    """The stop commands by the facts that count, out of those that are known now."""
    table = CommandTable()
    for command, row in present.rows.items():
        if not then.has(row.position, row.requested.observed_at):
            continue
        if row.last_position <= then.position:
            table.rows[command] = row
            continue
        with suppress(UnknownEventError):
            for recorded in await log.read_stream(command_stream(command)):
                if then.has(recorded.position, recorded.event.observed_at):
                    table.apply(recorded)
    return table


async def _fold(log: SqlLog, until: Position, progress: Callable[[Position], None]) -> Fleet:
    """Fold all up to a position, from the newest snapshot before it."""
    store = Store(log.database)
    start = await trio.to_thread.run_sync(past.snapshot, store, until)
    with suppress(SealBrokenError):
        hashes = await log.hashes(after=start.position, until=until) if start.position else {}
        return await fold_fleet(log, start=start, until=until, chain=Chain(start.position, hashes), progress=progress)
    # The lean fold believes what it reads, so a log whose hashes are not right is not folded by it.
    models, _ = await read_models(log, store, until=until, progress=progress)
    return models.fleet


async def _late(log: SqlLog, then: Then) -> Sequence[Recorded]:
    """What was recorded later about the time that was asked for, in the order of the log."""
    found: list[Position] = []

    def visit(batch: Sequence[RawRecord]) -> None:
        found.extend(
            position
            for position, stream, _, _, kind, raw in batch
            if bears(stream, kind) and raw_source_time(kind, raw) <= then.at
        )

    store = Store(log.database)
    spans = await trio.to_thread.run_sync(
        lambda: past.spans_about(store, then.at, after=then.position, until=then.known)
    )
    for span in spans:
        await scan(log, visit, after=span.after, until=span.until)
    facts = await log.read_at(found)
    return [facts[position] for position in found if position in facts]


async def scan(log: SqlLog, visit: Callable[[Sequence[RawRecord]], None], *, after: Position, until: Position) -> None:
    """Have `visit` called with all bare records in between; what cannot be read is passed over."""
    reached = after

    def seen(batch: Sequence[RawRecord]) -> None:
        nonlocal reached
        if batch:
            reached = batch[-1][0]
            visit(batch)

    while reached < until:
        begin = reached
        try:
            await log.scan(seen, after=begin, until=until)
        except UnknownEventError as error:
            reached = Position(error.position or begin + 1)
        if reached == begin:
            return
