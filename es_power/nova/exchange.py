"""A request to Nova and its answer, and who may still send the one that was given up."""

import io
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from es_power.errors import NovaUnavailableError


class Passage:
    """The way out for one request: taken by the thread that sends it, or closed by the task that gives it up.

    A thread that hangs cannot be ended, so it must not send anymore what nobody waits for. Whoever comes first decides,
    and whoever closes knows whether anything went out.
    """

    def __init__(self, *, until: float = inf) -> None:
        self._lock = threading.Lock()
        self._until = until
        self._is_open = True
        self._is_under_way = False

    def check(self) -> None:
        """Raise NovaUnavailableError where going out is no longer wanted, or `until` (time.monotonic) has passed."""
        with self._lock:
            self._check()

    def take(self) -> None:
        """Go out, if `check` allows it."""
        with self._lock:
            self._check()
            self._is_under_way = True

    def _check(self) -> None:
        if not self._is_open or time.monotonic() > self._until:
            raise NovaUnavailableError("the request did not go out in time, and does not any more")

    @property
    def is_under_way(self) -> bool:
        """Whether something went out whose outcome is not known."""
        with self._lock:
            return self._is_under_way

    def come_back(self) -> None:
        """Note that what went out was turned away undone (401), so that the outcome is known again."""
        with self._lock:
            self._is_under_way = False

    def close(self) -> bool:
        """Let nothing go out from now on; False where something has, and nobody knows what became of it."""
        with self._lock:
            self._is_open = False
            return not self._is_under_way


class Body(io.BytesIO):
    """What a command says, sent only where its passage is still open at the moment when it is sent.

    The HTTP library reads it after it has connected and sent the headers. To take the passage before that call would
    be too early: a connection can take seconds to come about, and the command would go out then. Headers without the
    body that they promise order nothing.
    """

    def __init__(self, content: Mapping[str, object], passage: Passage) -> None:
        super().__init__(json.dumps(content).encode())
        self._passage = passage

    def read(self, size: int | None = -1, /) -> bytes:
        """Give what is to be sent next."""
        if self.tell() == 0:
            self._passage.take()
        return super().read(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask of Nova."""

    method: str
    #: Below the endpoint, with its query.
    path: str
    json: Mapping[str, object] | None = None
    microversion: str = "2.1"
    #: Bytes of the answer, unpacked, that are read at most.
    limit: int
    #: Until when, by time.monotonic, an answer is of use.
    deadline: float
    passage: Passage = field(default_factory=Passage)

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing, so that it may be sent again whatever became of it."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Nova said, whatever that is."""

    status: int
    body: bytes
    request_id: str | None = None
    #: Seconds for which Nova wants to be left alone.
    retry_after: float | None = None
