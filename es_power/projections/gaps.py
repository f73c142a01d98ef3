"""Blind times: when nobody saw a host, since when, until when and why."""

from dataclasses import dataclass, replace

import trio

from es_power.domain.events import ClockJumped, GapClosed, GapOpened, GapReason, Position
from es_power.domain.streams import observed_host
from es_power.domain.time import Timestamp
from es_power.projections.queries import View
from es_power.projections.times import source_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Blind time: nobody saw a host."""

    host: str
    stream: str
    since: Timestamp
    #: None: still blind.
    until: Timestamp | None
    reason: GapReason
    #: How many events were lost, where that is known.
    lost: int | None
    #: Where the log says that it began.
    position: Position


async def gaps(view: View) -> list[Gap]:
    """All blind times of all hosts, in the order in which they were noticed.

    Where the clock was set meanwhile, they began when they did by the clock that says when they ended, or what time it
    is: none ends before it begins.
    """
    kinds = {GapOpened.__name__, GapClosed.__name__, ClockJumped.__name__}
    entries = [entry for entry in view.rest.entries.values() if entry.kind in kinds]
    if view.rest.since:
        entries += await trio.to_thread.run_sync(lambda: view.store.of_hosts(kinds, until=view.rest.since))
    facts = await view.log.read_at([entry.position for entry in entries])
    found: list[Gap] = []
    open_since: dict[str, int] = {}
    for _, recorded in sorted(facts.items()):
        event, stream = recorded.event, recorded.stream
        if view.then is not None and not view.then.has(recorded.position, source_time(event)):
            continue
        if isinstance(event, GapOpened) and stream not in open_since:
            open_since[stream] = len(found)
            found.append(
                Gap(
                    host=observed_host(stream) or stream,
                    stream=stream,
                    since=event.since,
                    until=None,
                    reason=event.reason,
                    lost=None,
                    position=recorded.position,
                )
            )
        elif isinstance(event, GapClosed) and stream in open_since:
            index, since = open_since.pop(stream), min(event.since, event.observed_at)
            found[index] = replace(found[index], since=since, until=event.observed_at, lost=event.lost)
        elif isinstance(event, ClockJumped) and stream in open_since:
            index = open_since[stream]
            found[index] = replace(found[index], since=Timestamp(found[index].since + event.by))
    return found
