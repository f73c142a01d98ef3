"""The log as the rest of the house sees it: trio on the outside, SQL in worker threads within.

Appends are committed in groups, without a task of their own: whoever finds nobody committing commits for all that
wait, and then hands the turn to the first of those that came meanwhile. One commit runs at a time; while it runs, the
next group gathers. That costs a lone append nothing, makes a storm cheap, and leaves no task to be supervised.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar
from uuid import UUID

import trio

from es_power.domain.events import START, Position, Recorded
from es_power.domain.ports import Append, Clock
from es_power.domain.time import Timestamp
from es_power.log.append import Appender, Outcome, Prepared, prepare
from es_power.log.chain import Chain
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.log.queries import Queries, RawRecord

T = TypeVar("T")

GROUP: Final = 5_000
"""Records after which a group takes in no further append, so that no commit takes long."""

POLL: Final = 0.2
"""Seconds between two looks for what other processes appended."""

_READERS: Final = 4


class _Waiting:
    """One caller's append on its way."""

    __slots__ = ("append", "outcome", "woken")

    def __init__(self, append: Prepared) -> None:
        self.append = append
        #: Set when the outcome is there, and also when there is none yet and it is this caller's turn to commit.
        self.woken = trio.Event()
        self.outcome: Outcome | Exception | None = None


class SqlLog:
    """An EventLog in SQLite or PostgreSQL; `open_log` makes one."""

    def __init__(self, database: Database, *, clock: Clock, poll: float = POLL, codec: Codec | None = None) -> None:
        #: For what shares the log's database: leases, and tables of projections.
        self.database = database
        self.codec = codec or Codec()
        self._queries = Queries(database, self.codec)
        self._appender = Appender(database, clock)
        self._queue: deque[_Waiting] = deque()
        self._committing = False
        self._grown = trio.Event()
        self._poll = poll
        self._write_limiter = trio.CapacityLimiter(1)
        self._read_limiter = trio.CapacityLimiter(_READERS)

    # ------------------------------------------------------------------------------------------------- writing

    async def append(self, append: Append) -> Position:
        """Make it durable and return the position of its first record; see `domain.ports.EventLog`.

        An append without records gives the head. One whose key is in the log already was stored before, and gives the
        position it got then. TypeError or ValueError where it holds what cannot be stored.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting = _Waiting(prepare(append, self.codec))
        self._queue.append(waiting)
        if self._committing:
            await self._turn(waiting)
        if waiting.outcome is None:
            await self._commit()
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(waiting.outcome, Exception):
            raise waiting.outcome
        assert waiting.outcome is not None
        return waiting.outcome

    async def _turn(self, waiting: _Waiting) -> None:
        """Wait until the append is committed, or until it is this caller's turn to commit."""
        try:
            await waiting.woken.wait()
        except trio.Cancelled:
            if waiting in self._queue:  # nobody picked it up, so it is never written
                self._queue.remove(waiting)
                if waiting.woken.is_set():
                    self._hand_over()
            else:
                with trio.CancelScope(shield=True):
                    await waiting.woken.wait()
            raise

    async def _commit(self) -> None:
        """Commit for all that wait, up to GROUP records; shielded, so that a commit that began has an end."""
        self._committing = True
        group: list[_Waiting] = []
        size = 0
        while self._queue and size < GROUP:
            group.append(self._queue.popleft())
            size += group[-1].append.size
        outcomes: Sequence[Outcome | Exception]
        try:
            with trio.CancelScope(shield=True):
                outcomes = await trio.to_thread.run_sync(
                    self._appender.commit, [each.append for each in group], limiter=self._write_limiter
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, each of the callers raises it
            outcomes = [error] * len(group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.outcome = outcome
            waiting.woken.set()
        self._grown.set()
        self._grown = trio.Event()
        self._hand_over()

    def _hand_over(self) -> None:
        self._committing = bool(self._queue)
        if self._queue:
            self._queue[0].woken.set()

    # ------------------------------------------------------------------------------------------------- reading

    async def head(self) -> Position:
        """The position of the last record; 0 in an empty log."""
        return await self._ask(self._queries.head)

    async def read(
        self, *, after: Position, until: Position | None = None, limit: int = 1000, chain: Chain | None = None
    ) -> Sequence[Recorded]:
        """Records with after < position <= until, in order; LogRewoundError where `after` lies ahead of the head.

        A record that cannot be decoded ends the answer before it; where it is the first, UnknownEventError: its reader
        sets it aside and asks on after its position. A `chain` that has followed the log up to `after` checks every
        hash on the way, with SealBrokenError.
        """
        return await self._ask(lambda: self._queries.read(after, until, limit, chain))

    async def read_at(self, positions: Sequence[Position]) -> dict[Position, Recorded]:
        """The records at these positions; one that cannot be decoded, or is not there, is left out."""
        return await self._ask(lambda: self._queries.read_at(positions))

    async def position_at(self, at: Timestamp, *, after: Position = START, until: Position | None = None) -> Position:
        """The last position recorded not after a time, with after < position <= until; 0 where all are later."""
        return await self._ask(lambda: self._queries.position_at(at, after, until))

    async def hashes(self, *, after: Position, until: Position) -> dict[bytes, bytes]:
        """The hash that each stream had at `after`, of those that go on up to `until`: what a `Chain` begins with."""
        return await self._ask(lambda: self._queries.hashes(after, until))

    async def require_kept(self, position: Position) -> None:
        """Raise RecordPrunedError where nobody can say any more what was known at a position."""
        await self._ask(lambda: self._queries.require_kept(position))

    async def require_kept_since(self, at: Timestamp) -> None:
        """Raise RecordPrunedError where nobody can say any more what was the case at a time."""
        await self._ask(lambda: self._queries.require_kept_since(at))

    async def pruned_up_to(self) -> Position:
        """Up to where the log was pruned; 0 where it is whole."""
        return await self._ask(self._queries.pruned_up_to)

    async def read_raw(
        self, *, after: Position, until: Position | None = None, limit: int = 10_000, chain: Chain | None = None
    ) -> Sequence[RawRecord]:
        """The same as bare fields, for folds that read millions.

        A `chain` that has followed the log up to `after` checks every hash on the way, with SealBrokenError.
        """
        return await self._ask(lambda: self._queries.read_raw(after, until, limit, chain))

    async def scan(
        self,
        visit: Callable[[Sequence[RawRecord]], None],
        *,
        after: Position,
        until: Position | None = None,
        limit: int = 50_000,
        chain: Chain | None = None,
    ) -> None:
        """Have `visit` called with bare records in a worker thread, a batch at a time and up to `limit` in all.

        Like `read_raw`, without a change of threads for each batch. UnknownEventError comes after the visit of what
        stands before that record.
        """
        await self._ask(lambda: self._queries.scan(visit, after, until, limit, chain))

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> Sequence[Recorded]:
        """Records of one stream with a version above `after`, in order."""
        return await self._ask(lambda: self._queries.read_stream(stream, after, limit))

    async def version(self, stream: str) -> int:
        """The version of the stream's last record; 0 where it does not exist."""
        return await self._ask(lambda: self._queries.version(stream))

    async def find(self, key: UUID) -> Position | None:
        """The position of the first record of the append with this key; None where it never became durable."""
        return await self._ask(lambda: self._queries.find(key))

    async def tracked(self, name: str) -> Position | None:
        """How far the process manager of that name has read; None before its first time."""
        return await self._ask(lambda: self._queries.tracked(name))

    async def labels(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of labels; a forgotten or unknown one is left out."""
        return await self._ask(lambda: self._queries.labels(ids))

    async def labelled(self, texts: Collection[str]) -> dict[int, str]:
        """The labels that have one of a few texts."""
        return await self._ask(lambda: self._queries.labelled(texts))

    async def labels_that(self, fits: Callable[[str], bool]) -> dict[int, str]:
        """The labels whose text fits, out of all; in a log of millions that takes its time."""
        return await self._ask(lambda: self._queries.labels_that(fits))

    async def ends(self) -> dict[bytes, bytes]:
        """The hash of each stream's last record, by the stream's id: what `Chain.close` compares."""
        return await self._ask(self._queries.ends)

    async def wait_beyond(self, position: Position) -> None:
        """Wait until the log may have grown beyond `position`: at once for own appends, by polling for others'.

        A log that ends before `position` was replaced by an older copy; that is for `read` to say, so it does not wait.
        """
        while True:
            grown = self._grown
            if await self.head() != position:
                return
            with trio.move_on_after(self._poll):
                await grown.wait()
                return

    async def _ask(self, question: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(question, limiter=self._read_limiter)
