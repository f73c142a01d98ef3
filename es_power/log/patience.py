"""A log for those who cannot go on without it: what its database refuses is tried until it is taken.

The service's own parts see the log through this, so that none of them has to know that a disk can be full or a server
away, at whatever question that shows. Who asks on behalf of a person sees the log itself, and is told.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from time import time_ns
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeVar
from uuid import UUID

import structlog
import trio

from es_power.domain.events import Position, Recorded
from es_power.domain.ports import Append, Clock, EventLog
from es_power.domain.time import Timestamp, rfc3339
from es_power.errors import ConcurrentAppendError, LogFullError, LogUnavailableError

T = TypeVar("T")

RETRY_AFTER: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds to wait before the log is tried again; the last one repeats."""

SLOW: Final = 10.0
"""Seconds after which an append that has no answer counts as refused: a disk or a server that hangs says nothing."""

REMIND: Final = 60.0
"""Seconds after which it is said again that the log refuses."""

Doing = Literal["written", "read"]
DOINGS: Final[tuple[Doing, ...]] = ("written", "read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which the log takes nothing, or answers nothing."""

    since: Timestamp
    #: In words for a person, the newest.
    reason: str


class PatientLog:
    """An EventLog that waits where the one that it is made of raises LogUnavailableError; all else is raised at once.

    An append whose outcome is unknown is given to the log again as it is: it knows its key, under its lock.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        clock: Clock = lambda: Timestamp(time_ns()),
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._log = log
        self._clock = clock
        #: How many events wait for this log; it is said with each reminder.
        self.waiting = waiting
        #: Whether an append may be tried now; one that may not is as one that the log refuses.
        self.admits: Callable[[Append], bool] = lambda _: True
        #: Told of each refusal of an append.
        self.refused: Callable[[LogUnavailableError], None] = lambda _: None
        #: What cannot be done now, since when, and why.
        self.outages: dict[Doing, Outage] = {}
        #: When that was said last, on trio's clock: a small append may be taken between two refusals of a large one.
        self._said: dict[Doing, float] = {}
        #: Of what it was said, so that its end is said too.
        self._told: set[Doing] = set()
        self._under_way = 0
        self._moved = trio.Event()

    async def append(self, append: Append) -> Position:
        """Append, however long it takes.

        Cancelled while it waits, nobody knows whether it was stored; `find(append.key)` tells.
        """
        tried = False

        async def attempt() -> Position:
            nonlocal tried
            self._move(+1)
            try:
                if not self.admits(append):
                    raise LogFullError("there is no room left but for the record of a gap; free some space there")
                return await self._log.append(append)
            except ConcurrentAppendError as conflict:
                # Without a record there is no key by which the log could know it.
                if tried and append.tracking and not append.writes and conflict.actual == append.tracking.position:
                    return await self._log.head()
                raise
            finally:
                self._move(-1)
                tried = True

        return await self._patiently("written", attempt)

    async def head(self) -> Position:
        """The position of the last record; 0 in an empty log."""
        return await self._patiently("read", self._log.head)

    async def read(self, *, after: Position, until: Position | None = None, limit: int = 1000) -> Sequence[Recorded]:
        """Records with after < position <= until, in order; see `domain.ports.EventReader`."""
        return await self._patiently("read", lambda: self._log.read(after=after, until=until, limit=limit))

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> Sequence[Recorded]:
        """Records of one stream with a version above `after`, in order."""
        return await self._patiently("read", lambda: self._log.read_stream(stream, after=after, limit=limit))

    async def version(self, stream: str) -> int:
        """The version of the stream's last record; 0 where it does not exist."""
        return await self._patiently("read", lambda: self._log.version(stream))

    async def find(self, key: UUID) -> Position | None:
        """The position of the first record of the append with this key; None where it never became durable."""
        return await self._patiently("read", lambda: self._log.find(key))

    async def tracked(self, name: str) -> Position | None:
        """How far the process manager of that name has read; None before its first time."""
        return await self._patiently("read", lambda: self._log.tracked(name))

    async def labels(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of labels; a forgotten or unknown one is left out."""
        return await self._patiently("read", lambda: self._log.labels(ids))

    async def wait_beyond(self, position: Position) -> None:
        """Wait until the log may have grown beyond `position`: a hint, never a promise."""
        await self._patiently("read", lambda: self._log.wait_beyond(position), shielded=False)

    async def watch(self) -> NoReturn:
        """Notice an append that has no answer for long, until cancelled."""
        while True:
            self._moved = trio.Event()
            with trio.move_on_after(SLOW if self._under_way else inf) as patience:
                await self._moved.wait()
            if patience.cancelled_caught:
                self._note("written", f"it has not answered for {SLOW:g} s")

    async def _patiently(
        self,
        doing: Doing,
        attempt: Callable[[], Awaitable[T]],
        *,
        shielded: bool = True,
    ) -> T:
        waits = iter(RETRY_AFTER)
        while True:
            try:
                # Not cancelled in between, so that an outcome stays known; an answer takes milliseconds.
                with trio.CancelScope(shield=shielded):
                    answer = await attempt()
            except LogUnavailableError as error:
                self._note(doing, str(error))
                if doing == "written":
                    self.refused(error)
                await trio.sleep(next(waits, RETRY_AFTER[-1]))
            else:
                self._is_over(doing)
                return answer

    def _move(self, by: int) -> None:
        self._under_way += by
        self._moved.set()

    def _note(self, doing: Doing, reason: str) -> None:
        known = self.outages.get(doing)
        outage = self.outages[doing] = Outage(since=known.since if known else self._clock(), reason=reason)
        if trio.current_time() - self._said.get(doing, -inf) >= REMIND:
            self._said[doing] = trio.current_time()
            self._told.add(doing)
            structlog.get_logger().error(
                f"the log cannot be {doing}; trying on",
                because=reason,
                since=rfc3339(outage.since),
                events_waiting=self.waiting(),
            )

    def _is_over(self, doing: Doing) -> None:
        outage = self.outages.pop(doing, None)
        if outage and doing in self._told:
            self._told.remove(doing)
            structlog.get_logger().info(f"the log is {doing} again", refused_since=rfc3339(outage.since))


if TYPE_CHECKING:
    _promised: type[EventLog] = PatientLog
