"""A stream of one's own, written by nobody else: in order, fenced by its version, each append with a known outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from es_power.domain.decisions import ActingStarted
from es_power.domain.events import Event, Position, ServiceStarted
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.errors import ConcurrentAppendError, LogRewoundError, TakenOverError


@dataclass(slots=True)
class _Pending:
    """An append on its way, and who has to hear that it is stored."""

    append: Append
    stored: Callable[[], None]


class OwnStream:
    """Appends to one stream and knows its version; the log that it is given waits where a database refuses."""

    def __init__(self, log: EventLog, name: str, version: int) -> None:
        self._log = log
        self._lock = trio.Lock()
        self.name = name
        #: The version of the last record; as a number it also names the connection that is opened at this point.
        self.version = version
        #: An append whose outcome nobody waited for.
        self._given_up: _Pending | None = None

    async def append(
        self, events: Sequence[Event], *, labels: Sequence[LabelText] = (), beside: Sequence[Write] = ()
    ) -> Position | None:
        """Append these events; see `append_at`."""
        return await self.append_at(lambda _: events, labels=labels, beside=beside)

    async def append_at(
        self,
        build: Callable[[int], Sequence[Event]],
        *,
        labels: Sequence[LabelText] = (),
        beside: Sequence[Write] = (),
        stored: Callable[[], None] = lambda: None,
    ) -> Position | None:
        """Append what `build` makes of the stream's present version, and give the first position; None for nothing.

        What stands in other streams may come `beside` it: all of it, or nothing, with ConcurrentAppendError.

        `stored` is called once all of it is known to be in the log, before anybody else appends here: at the end, or
        later where the caller was cancelled while nobody could know.

        While the log takes nothing the caller waits; what a host announces meanwhile waits in the bridge, whose
        overflow becomes a gap. A version conflict is never retried: somebody else holds the stream, and TakenOverError
        says who; or it ends before what is known to be in it, with LogRewoundError.
        """
        async with self._lock:
            await self._learn()
            events = build(self.version)
            if not events:
                stored()
                return None
            write = Write(stream=self.name, expected=self.version, events=events)
            append = Append(writes=(write, *beside), labels=tuple(labels))
            self._given_up = _Pending(append, stored)
            try:
                position = await self._log.append(append)
            except ConcurrentAppendError as conflict:
                self._given_up = None
                if conflict.stream != self.name:
                    raise
                if conflict.actual < conflict.expected:
                    raise LogRewoundError(
                        checkpoint=conflict.expected, head=conflict.actual, stream=self.name
                    ) from conflict
                raise TakenOverError(self.name, await self._holder()) from conflict
            self._take_in(self._given_up)
            return position

    async def settle(self) -> None:
        """Have what is known of the stream up to date, after whatever is on its way."""
        if self._given_up is not None:
            async with self._lock:
                await self._learn()

    async def _learn(self) -> None:
        """Find out what became of an append that was cancelled while the log refused it: it may have been stored."""
        if self._given_up is not None:
            if await self._log.find(self._given_up.append.key) is None:
                self._given_up = None
            else:
                self._take_in(self._given_up)

    def _take_in(self, pending: _Pending) -> None:
        self._given_up = None
        self.version += len(pending.append.writes[0].events)
        pending.stored()

    async def _holder(self) -> str:
        records = await self._log.read_stream(self.name, after=self.version)
        holders = [
            record.event.holder for record in records if isinstance(record.event, ServiceStarted | ActingStarted)
        ]
        return holders[-1] if holders else "another service"
