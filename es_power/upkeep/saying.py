"""What is done to a log is said in it, in one stream that many may write."""

from collections.abc import Callable, Sequence

from es_power.domain.events import Event, Label, Position
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.domain.streams import AUDIT
from es_power.errors import ConcurrentAppendError
from es_power.log.labels import make_label


async def say(
    log: EventLog,
    by: str,
    fact: Callable[[Label], Event],
    *,
    texts: Sequence[LabelText] = (),
    forgets: Sequence[int] = (),
    beside: Sequence[Write] = (),
) -> Position:
    """Append a fact about the log with who did it, and what else belongs to that; give the fact's position."""
    who, text = make_label(by)
    while True:
        write = Write(stream=AUDIT, expected=await log.version(AUDIT), events=(fact(who),))
        try:
            return await log.append(Append(writes=(write, *beside), labels=(*texts, text), forgets=tuple(forgets)))
        except ConcurrentAppendError as conflict:
            if conflict.stream != AUDIT:
                raise
            # Somebody else spoke first; the two do not contradict each other.
