"""An observer, or the whole service, on a log that tells when an append became durable."""

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any, Final

from es_power.domain.events import Event, Position
from es_power.domain.ports import Append
from es_power.ingest.observer import Observing
from es_power.log import SqlLog

HOW: Final = Observing(
    spacing=600.0,
    jitter=0.0,
    policy="nova-2013",
    policy_version=1,
    mode="dry-run",
    holder="bench",
    version="0",
)

Listener = Callable[[Sequence[Event], int], None]


class WatchedLog:
    """A log whose `append` reports the events and the time once they are on disk; all else is the log's."""

    def __init__(self, log: SqlLog, listener: Listener) -> None:
        self._log = log
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, append: Append) -> Position:
        position = await self._log.append(append)
        at = time_ns()
        for write in append.writes:
            self._listener(write.events, at)
        return position
