"""What every request passes on its way in and every answer on its way out, whatever the route.

Plain ASGI, since an answer may be a stream. In: limits on size, time and rate, and `access`. Out: headers that keep a
browser from taking an answer for anything but data, HEAD without a body, and a problem for each mistake, ours too.
"""

import traceback
from typing import Any, Final
from urllib.parse import unquote
from uuid import uuid4

import structlog
import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from es_power.api.access import Access
from es_power.api.house import House
from es_power.api.problems import INTERNAL, TOO_LARGE, TOO_SLOW, URI_TOO_LONG, ProblemError

LONGEST_BODY: Final = 16 * 1024
LONGEST_URI: Final = 32 * 1024
ANSWER_WITHIN: Final = 30.0
"""Seconds; a stream is an answer that never ends."""

SLASH: Final = "\0"
"""Stands for a slash inside a part of a path; no name that the log keeps has it."""

#: Whoever comes may read these: the page, the description, what problems mean, and where a link is used.
PUBLIC: Final = ("/", "/openapi.json", "/problems", "/session")

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Gate:
    """The API behind its checks."""

    def __init__(self, app: ASGIApp, house: House, access: Access) -> None:
        self._app = app
        self._house = house
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever else is asked for is closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        state = scope.setdefault("state", {})
        state["house"] = self._house
        request_id = state["request_id"] = uuid4().hex
        # An answer that is a stream writes past this gate, so it has to know.
        state["without_body"] = scope["method"] == "HEAD"
        answer = _Answer(send, request_id, without_body=state["without_body"])
        body = _Body(receive, state)
        try:
            self._admit(scope, state)
            await self._pass(scope, body, answer)
        except ProblemError as error:
            if not answer.started:
                response = error.response(instance=scope["path"], request_id=request_id)
                await response(scope, receive, answer)
        await body.drain()

    def _admit(self, scope: Scope, state: dict[str, Any]) -> None:
        headers = Headers(scope=scope)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_URI:
            raise ProblemError(URI_TOO_LONG, f"it is longer than {LONGEST_URI} bytes")
        self._access.check_place(headers)
        principal = self._access.identify(headers, state.get("peer"))
        client = scope.get("client")
        self._access.count(principal.key if principal else f"address {client[0] if client else ''}")
        if not _is_public(scope["path"]) or scope["method"] not in {"GET", "HEAD"}:
            self._access.admit(principal, scope["method"], scope["path"], headers)
        state["principal"] = principal
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            raise ProblemError(TOO_LARGE, f"it is longer than {LONGEST_BODY} bytes")

    async def _pass(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        raw = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            # A slash inside a part is no end of the part: HOST/NAME names one VM.
            parts = raw.partition(b"?")[0].decode("ascii").split("/")
            scope["path"] = "/".join(unquote(part).replace("/", SLASH) for part in parts)
        if scope["method"] == "HEAD" and scope["path"] != "/session":
            scope["method"] = "GET"
        deadline = trio.CancelScope(deadline=trio.current_time() + ANSWER_WITHIN)
        scope["state"]["deadline"] = deadline
        try:
            with deadline:
                await self._app(scope, body.receive, answer)
        except ProblemError:
            raise
        except Exception as error:
            # As text: a renderer of exceptions would print what the frames hold, and with it somebody's secrets.
            trace = "".join(traceback.format_exception(error))
            structlog.get_logger().error(
                "a request could not be answered", request_id=answer.request_id, path=scope["path"], traceback=trace
            )
            raise ProblemError(INTERNAL, "the service's own log says what happened") from error
        if deadline.cancelled_caught:
            raise ProblemError(TOO_SLOW, f"there was no answer within {ANSWER_WITHIN:.0f} s")


def _is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(("/assets/", "/problems/"))


class _Body:
    """What a client sends, up to a limit."""

    def __init__(self, receive: Receive, state: dict[str, Any]) -> None:
        self._receive = receive
        self._state = state
        self._size = 0
        self._ended = False

    async def receive(self) -> Message:
        """Take the next part."""
        message = await self._receive()
        self._note(message)
        if self._size > LONGEST_BODY:
            # Whoever reads a body takes all that goes wrong with it for bad form: this tells what it was.
            self._state["problem"] = ProblemError(TOO_LARGE, f"it is longer than {LONGEST_BODY} bytes")
            raise self._state["problem"]
        return message

    def _note(self, message: Message) -> None:
        self._size += len(message.get("body", b""))
        self._ended = self._ended or message["type"] != "http.request" or not message.get("more_body", False)

    async def drain(self) -> None:
        """Take what nobody wanted, so that the connection can go on; from whoever sends too much it is taken away."""
        while not self._ended:
            self._note(await self._receive())
            if self._size > 4 * LONGEST_BODY and "close" in self._state:
                await self._state["close"]()


class _Answer:
    """What goes out."""

    def __init__(self, send: Send, request_id: str, *, without_body: bool) -> None:
        self._send = send
        self.request_id = request_id
        self._without_body = without_body
        self.started = False

    async def __call__(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-cache")
            headers["X-Request-Id"] = self.request_id
        elif self._without_body:
            message = {**message, "body": b""}
        await self._send(message)
