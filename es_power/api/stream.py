"""The log as it grows, sent to whoever follows it: server-sent events, each with its position as id.

Theory of operation. The service's fold tells of each batch once; it is written out once, into a ring of what was told
last. A client is a place in the log and no more: it is sent what the ring has beyond its place, however many clients
there are. Whoever comes with an older place is read the log up to where the ring begins. So nothing is buffered for
anybody. A client that falls behind the ring, because it reads slower than the log grows, is told to begin again
(`event: reset`) and closed; a browser does that by itself, from its last id, and is read the log. Nothing is lost.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from es_power.answers.facts import FACTS, fact_row, labels_of, texts_of, unreadable_row
from es_power.domain.events import Label, Position, Recorded
from es_power.errors import LogError, UnknownEventError
from es_power.log import SqlLog
from es_power.output import as_json, plain
from es_power.projections.queries import texts

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that whatever is in between keeps the connection."""

RING: Final = 4096
"""Facts that are kept at hand."""

_AT_ONCE: Final = 500  # facts read from the log, and sent together
_RETRY: Final = 2000  # milliseconds after which a browser comes back


@dataclass(slots=True)
class Broadcast:
    """What was told last, for all who follow."""

    #: Each position with its event, in the order of the log, without a gap.
    ring: deque[tuple[Position, bytes]] = field(default_factory=lambda: deque(maxlen=RING))
    #: How many follow now.
    followers: int = 0
    #: How many were reset since the start.
    resets: int = 0
    _grown: trio.Event = field(default_factory=trio.Event)
    _ended: bool = False

    def tell(self, told: Sequence[tuple[Position, bytes]]) -> None:
        """Add what the log gained."""
        self.ring.extend(told)
        self._wake()

    def end(self) -> None:
        """Let all who follow go: the service stops."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = trio.Event()

    @property
    def begin(self) -> Position | None:
        """The first position at hand."""
        return self.ring[0][0] if self.ring else None

    @property
    def end_position(self) -> Position | None:
        """The last one."""
        return self.ring[-1][0] if self.ring else None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be told."""
        return self._ended

    async def grown(self) -> bool:
        """Wait for more, up to a heartbeat; False where none came."""
        with trio.move_on_after(HEARTBEAT):
            await self._grown.wait()
            return True
        return False

    def beyond(self, position: Position) -> list[tuple[Position, bytes]]:
        """What was told after a position that is not before the ring."""
        assert self.ring
        skipped = max(0, position + 1 - self.ring[0][0])
        return [self.ring[index] for index in range(skipped, min(len(self.ring), skipped + _AT_ONCE))]


def event(position: int, data: str, *, kind: str = "fact") -> bytes:
    """Write one event; its data is one line, since JSON's line ends are escaped."""
    return f"id: {position}\nevent: {kind}\ndata: {data}\n\n".encode()


async def told(log: SqlLog, batch: Sequence[Recorded], *, since: Position) -> list[tuple[Position, bytes]]:
    """Write out a batch that follows on `since`; a position that it lacks is a record that cannot be read."""
    try:
        text_of = await texts(log, texts_of(batch))
    except LogError:
        # Facts are told whether or not their texts can be read now; nobody who folds waits for that.
        text_of = _no_text
    written: list[tuple[Position, bytes]] = []
    for recorded in batch:
        missing = range((written[-1][0] if written else since) + 1, recorded.position)
        written += [(Position(each), _unreadable(each, "it is damaged, or of a newer es_power")) for each in missing]
        row = fact_row(recorded, {name: text_of(label) for name, label in labels_of(recorded).items()})
        written.append((recorded.position, event(recorded.position, as_json(plain(row, FACTS)))))
    return written


def _no_text(_: Label | None) -> str | None:
    return None


def _unreadable(position: int, reason: str) -> bytes:
    return event(position, as_json(plain(unreadable_row(position, reason), FACTS)))


async def read_on(log: SqlLog, after: Position, *, until: Position | None = None) -> list[tuple[Position, bytes]]:
    """Read and write out some of what follows a position; empty at the end of the log."""
    try:
        batch = await log.read(after=after, until=until, limit=_AT_ONCE)
    except UnknownEventError as error:
        position = Position(error.position or after + 1)
        return [(position, _unreadable(position, error.reason))]
    return await told(log, batch, since=after)


class Following(Response):
    """The answer to one who follows, from after a position on."""

    def __init__(
        self,
        log: SqlLog,
        broadcast: Broadcast,
        after: Position,
        *,
        folded: Callable[[], Position],
        is_let_in: Callable[[], bool],
    ) -> None:
        headers = {"X-ES-Position": str(folded()), "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._log = log
        self._broadcast = broadcast
        self._place = after
        self._folded = folded
        self._is_let_in = is_let_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, is too slow or let in no longer, or the service stops; of a HEAD, the headers."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope["state"]["without_body"]:
            await send(start)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        # The gate's limit is for answers that have an end.
        scope["state"]["deadline"].deadline = float("inf")
        self._broadcast.followers += 1
        try:
            await send(start)
            await self._send_all(scope, receive, send)
        finally:
            self._broadcast.followers -= 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
                write = _writer(scope, send)
                async with aclosing(self._parts()) as parts:
                    async for part in parts:
                        await write(part)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went, or was let go

    @staticmethod
    async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
        message: Any = {}
        while message.get("type") != "http.disconnect":
            message = await receive()
        scope.cancel()

    async def _parts(self) -> AsyncGenerator[bytes]:
        yield f"retry: {_RETRY}\n".encode() + event(self._place, f'{{"position": {self._place}}}', kind="ready")
        ring = self._broadcast
        # What the ring does not have is read; the ring is not followed while that goes on, so it may have moved on.
        while (ring.begin is None or self._place + 1 < ring.begin) and self._place < self._folded():
            some = await read_on(self._log, self._place, until=self._folded())
            if not some or not self._is_let_in():
                break
            yield self._advance(some)
        while not ring.has_ended and self._is_let_in():
            if ring.end_position is not None and self._place < ring.end_position:
                if ring.begin is not None and self._place + 1 < ring.begin:
                    ring.resets += 1
                    yield event(self._place, '{"reason": "too slow"}', kind="reset")
                    return
                yield self._advance(ring.beyond(self._place))
            elif not await ring.grown():
                yield b": alive\n\n"

    def _advance(self, some: Sequence[tuple[Position, bytes]]) -> bytes:
        self._place = some[-1][0]
        return b"".join(written for _, written in some)


def _writer(scope: Scope, send: Send) -> Callable[[bytes], Awaitable[None]]:
    """How a part goes out: as a chunk of HTTP/1.1 straight to the connection, where it is ours.

    The way through the server costs each of hundreds of clients five times as much, for every fact.
    """
    direct: Callable[[bytes], Awaitable[None]] | None = scope["state"].get("write")

    async def chunk(part: bytes) -> None:
        assert direct is not None
        await direct(b"%x\r\n%b\r\n" % (len(part), part))

    async def through(part: bytes) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": True})

    return chunk if direct is not None and scope["http_version"] == "1.1" else through
