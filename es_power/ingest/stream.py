"""A stream of one's own, written by nobody else: in order, fenced by its version, each append with a known outcome."""

from collections.abc import Callable, Sequence

import trio

from es_power.domain.decisions import ActingStarted
from es_power.domain.events import Event, Position, ServiceStarted
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.errors import ConcurrentAppendError, LogUnavailableError, TakenOverError
from es_power.log.patience import RETRY_AFTER, append_patiently


class ObserverStream:
    """Appends to one stream and knows its version."""

    def __init__(self, log: EventLog, name: str, version: int) -> None:
        self._log = log
        self._lock = trio.Lock()
        self.name = name
        #: The version of the last record; as a number it also names the connection that is opened at this point.
        self.version = version
        #: An append whose outcome nobody waited for.
        self._given_up: Append | None = None

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
    ) -> Position | None:
        """Append what `build` makes of the stream's present version, and give the first position; None for nothing.

        What stands in other streams may come `beside` it: all of it, or nothing, with ConcurrentAppendError.

        A log that is unavailable is tried until it answers: the caller waits, and what comes meanwhile waits in the
        bridge, whose overflow becomes a gap. A version conflict is never retried: somebody else holds the stream, and
        TakenOverError says who.
        """
        async with self._lock:
            await self._learn()
            events = build(self.version)
            if not events:
                return None
            write = Write(stream=self.name, expected=self.version, events=events)
            append = self._given_up = Append(writes=(write, *beside), labels=tuple(labels))
            try:
                position = await append_patiently(self._log, append)
            except ConcurrentAppendError as conflict:
                if conflict.stream != self.name:
                    self._given_up = None
                    raise
                raise TakenOverError(self.name, await self._holder()) from conflict
            self._given_up = None
            self.version += len(events)
            return position

    async def _learn(self) -> None:
        """Find out what became of an append that was cancelled while the log refused it: it may have been stored."""
        while self._given_up is not None:
            try:
                if await self._log.find(self._given_up.key) is not None:
                    self.version += len(self._given_up.writes[0].events)
                self._given_up = None
            except LogUnavailableError:
                await trio.sleep(RETRY_AFTER[-1])

    async def _holder(self) -> str:
        records = await self._log.read_stream(self.name, after=self.version)
        holders = [
            record.event.holder for record in records if isinstance(record.event, ServiceStarted | ActingStarted)
        ]
        return holders[-1] if holders else "another service"
