"""What the routes have of the service: its log and its read models, as they are now."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from es_power.api.access import Principal
from es_power.api.idempotency import Done
from es_power.api.links import Links
from es_power.api.metrics import Counts
from es_power.api.newest import Newest
from es_power.api.problems import POSITION, ProblemError
from es_power.api.stream import Broadcast, told
from es_power.audit.checkpoints import KeptCheckpoints
from es_power.audit.sealing import Sealer
from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import START, Position, Recorded
from es_power.domain.streams import ACCESS
from es_power.domain.time import Timestamp
from es_power.ingest.recording import Recording
from es_power.log import SqlLog
from es_power.projections.access import Sessions, Tokens
from es_power.projections.as_of import Moment, bounds
from es_power.projections.follower import Follower
from es_power.projections.queries import View, look
from es_power.projections.store import Store
from es_power.settings import Settings

_PASTS: Final = 8
"""Views of other times that are kept."""

WAIT: Final = 2.0
"""Seconds for which an answer waits until what was asked for is folded."""


@dataclass(slots=True, kw_only=True)
class House:
    """One service."""

    log: SqlLog
    store: Store
    follower: Follower
    settings: Settings
    clock: Callable[[], Timestamp]
    #: Where an actor hears wishes.
    door: Path
    #: Where a browser of this machine reaches it; empty where nothing is listened at.
    url: str = ""
    #: Whether all hosts that answer have been swept since the start.
    is_ready: bool = False
    #: What signs the log; None where nothing does.
    sealer: Sealer | None = None
    #: The checkpoints that are facts of the log.
    checkpoints: KeptCheckpoints = field(init=False)
    #: How it goes with recording, as the service says.
    recording: Callable[[], Recording] = field(default=Recording)
    tokens: Tokens = field(default_factory=Tokens)
    sessions: Sessions = field(default_factory=Sessions)
    links: Links = field(default_factory=Links)
    broadcast: Broadcast = field(default_factory=Broadcast)
    #: Up to where those who follow were told.
    told: Position = START
    counts: Counts = field(default_factory=Counts)
    done: Done = field(default_factory=Done)
    newest: Newest = field(default_factory=Newest)
    _view: View | None = None
    #: To verify the log, or to prove a part of it, takes a processor for as long as it takes: one at a time.
    examining: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(1, max_value=1))
    #: So does a replay.
    replaying: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(1, max_value=1))
    #: Folding a past takes a worker and a second: two at a time, and what was asked for last is kept.
    _folding: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(2))
    _pasts: OrderedDict[object, View] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        """Know where the log is."""
        self.checkpoints = KeptCheckpoints(self.log.database)

    @property
    def position(self) -> Position:
        """Up to where everything is folded."""
        return self.follower.models.fleet.position

    def view(self) -> View:
        """Take a view as of now; it is made once for each position that somebody asks at."""
        if self._view is None or self._view.position != self.position:
            models, rest = self.follower.snapshot()
            self._view = View(log=self.log, store=self.store, models=models, rest=rest)
        return self._view

    async def view_at_least(self, position: int | None) -> View:
        """Take a view that has everything up to a position; a problem where that is not folded within moments."""
        if position is None or position <= self.position:
            return self.view()
        head = await self.log.head()
        with trio.move_on_after(WAIT):
            if position <= head:
                await self.follower.reached(Position(position))
                return self.view()
        raise ProblemError(POSITION, f"the log ends at {head}, and {self.position} is folded", position=self.position)

    async def past_view(self, *, as_of: Moment | None, known_at: Moment | None) -> View:
        """Take a view of what was true then, by what was known then; see `queries.look`."""
        key = await bounds(self.log, as_of=as_of, known_at=known_at)

        async def fold() -> View:
            present = await self.view_at_least(key.known)
            return await look(self.log, as_of=as_of, known_at=known_at, present=present)

        return await self._past(key, fold)

    async def view_until(self, position: Position) -> View:
        """Take a view as anybody had it when the log ended at a position."""
        return await self._past(position, lambda: look(self.log, until=position))

    async def _past(self, key: object, fold: Callable[[], Awaitable[View]]) -> View:
        async with self._folding:
            if key not in self._pasts:
                self._pasts[key] = await fold()
                while len(self._pasts) > _PASTS:
                    self._pasts.popitem(last=False)
            self._pasts.move_to_end(key)
            return self._pasts[key]

    async def begin(self) -> None:
        """Take up what was recorded before the service began: until then it knows no token and no session."""
        self.newest.begin = self.told = self.position
        said = await self.log.read_stream(ACCESS)
        self.tokens.apply(said)
        self.sessions.apply(said)

    def report(self, recording: Callable[[], Recording]) -> None:
        """Say from now on how it goes with recording."""
        self.recording = recording

    def lets_in(self, who: Principal) -> bool:
        """Whether somebody who was let in still is: whose token was not revoked, and whose session goes on."""
        if who.token in self.tokens.revoked or who.session in self.sessions.ended:
            return False
        return who.ends is None or self.clock() < who.ends

    async def folded(self, batch: Sequence[Recorded]) -> None:
        """Hear what was folded."""
        self.tokens.apply(batch)
        self.sessions.apply(batch)
        self.newest.apply(batch)
        self.counts.apply(batch)
        since, self.told = self.told, batch[-1].position
        if any(isinstance(recorded.event, LabelsForgotten) for recorded in batch):
            # Both may have the texts.
            self.broadcast.ring.clear()
            self.done.forget()
        if self.broadcast.followers:
            self.broadcast.tell(await told(self.log, batch, since=since))
        else:
            # Whoever comes is read the log.
            self.broadcast.ring.clear()
