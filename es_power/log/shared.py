"""Streams that many may write: what people say of VMs, who is let in, what is done to a log."""

from collections.abc import Sequence

from es_power.domain.events import Event, Position
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.errors import ConcurrentAppendError


async def append_shared(
    log: EventLog,
    stream: str,
    events: Sequence[Event],
    *,
    labels: Sequence[LabelText] = (),
    forgets: Sequence[int] = (),
) -> Position:
    """Append to a stream that many write, behind what it has by then; give the first fact's position.

    Raises as the log's `append` does, but for ConcurrentAppendError.
    """
    while True:
        write = Write(stream=stream, expected=await log.version(stream), events=tuple(events))
        try:
            return await log.append(Append(writes=(write,), labels=tuple(labels), forgets=tuple(forgets)))
        except ConcurrentAppendError:
            continue  # somebody else spoke first; the two do not contradict each other
