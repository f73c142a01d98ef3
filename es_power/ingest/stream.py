"""One observer's stream, written by nobody else: in order, fenced by its version, each append with a known outcome."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from es_power.domain.events import Event, ServiceStarted
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.errors import ConcurrentAppendError, LogUnavailableError, TakenOverError

RETRY_AFTER: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds to wait before the log is tried again; the last one repeats."""


class ObserverStream:
    """Appends to one stream and knows its version."""

    def __init__(self, log: EventLog, name: str, version: int) -> None:
        self._log = log
        self._lock = trio.Lock()
        self.name = name
        #: The version of the last record; as a number it also names the connection that is opened at this point.
        self.version = version
        #: Since when the log refuses appends; None while it takes them.
        self.refused: LogUnavailableError | None = None

    async def append(self, events: Sequence[Event], *, labels: Sequence[LabelText] = ()) -> None:
        """Append these events; see `append_at`."""
        await self.append_at(lambda _: events, labels=labels)

    async def append_at(self, build: Callable[[int], Sequence[Event]], *, labels: Sequence[LabelText] = ()) -> None:
        """Append what `build` makes of the stream's present version; nothing where it makes nothing.

        A log that is unavailable is tried until it answers: the caller waits, and what comes meanwhile waits in the
        bridge, whose overflow becomes a gap. A version conflict is never retried: somebody else holds the stream, and
        TakenOverError says who.
        """
        async with self._lock:
            events = build(self.version)
            if not events:
                return
            append = Append(
                writes=(Write(stream=self.name, expected=self.version, events=events),), labels=tuple(labels)
            )
            waits = iter(RETRY_AFTER)
            while True:
                try:
                    # Not cancelled in between, so that the version stays known; a commit takes milliseconds.
                    with trio.CancelScope(shield=True):
                        if self.refused is None or await self._log.find(append.key) is None:
                            await self._log.append(append)
                except ConcurrentAppendError as conflict:
                    raise TakenOverError(self.name, await self._holder()) from conflict
                except LogUnavailableError as error:
                    self.refused = error
                    await trio.sleep(next(waits, RETRY_AFTER[-1]))
                else:
                    self.refused = None
                    self.version += len(events)
                    return

    async def _holder(self) -> str:
        records = await self._log.read_stream(self.name, after=self.version)
        holders = [record.event.holder for record in records if isinstance(record.event, ServiceStarted)]
        return holders[-1] if holders else "another service"
