"""What is done to a log is said in it, in one stream that many may write, and read there."""

from collections.abc import Callable, Sequence

from es_power.domain.events import Event, Label, Position
from es_power.domain.ports import EventLog, EventReader
from es_power.domain.streams import AUDIT
from es_power.errors import UnknownEventError
from es_power.log.labels import make_label
from es_power.log.shared import append_shared


async def say(log: EventLog, by: str, fact: Callable[[Label], Event], *, forgets: Sequence[int] = ()) -> Position:
    """Append a fact about the log with who did it, and forget labels with that; give the fact's position."""
    who, text = make_label(by)
    return await append_shared(log, AUDIT, (fact(who),), labels=(text,), forgets=forgets)


async def said(log: EventReader) -> list[Event]:
    """Read what was done to a log, oldest first; a fact that this version cannot read is passed over."""
    found: list[Event] = []
    version, last = 0, await log.version(AUDIT)
    while version < last:
        try:
            records = await log.read_stream(AUDIT, after=version)
        except UnknownEventError:
            version += 1
            continue
        found += [recorded.event for recorded in records]
        version = records[-1].version
    return found
