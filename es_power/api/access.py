"""Who asks, and whether that may be: checked on every request, before any route sees it.

Rules of this file:
1. Over the unix socket the kernel says who it is (SO_PEERCRED, read at accept). Over TCP a token does, or the session
   of a browser.
2. The Host is one of ours on every request, else a name that somebody points at this address would be let in by a
   browser (DNS rebinding). An Origin, where a browser sends one, is that of the same host and port.
3. Reading takes the role `read`, every other method `operate`; a route may ask for more. A session writes only with
   its CSRF header, which pages of other sites cannot know. To end itself it needs no role.
"""

import hmac
import math
import pwd
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import trio
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from es_power.api.problems import CSRF, FORBIDDEN, FOREIGN_HOST, FOREIGN_ORIGIN, TOO_MANY, UNAUTHENTICATED, ProblemError
from es_power.dispatch.door import may_act
from es_power.domain.access import Role
from es_power.domain.events import Label
from es_power.domain.time import Timestamp
from es_power.projections.access import Sessions, Tokens

COOKIE: Final = "es_power_session"
CSRF_HEADER: Final = "x-csrf-token"

#: Where a session says who asks, and ends.
SESSION: Final = "/v1/session"

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CLIENTS: Final = 10_000  # whose requests are counted
_AT_ONCE: Final = 10  # seconds' worth of requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks."""

    role: Role
    #: How they are counted, and what is told of them.
    key: str
    #: A user's name; of a token its label, of a session that of who asked for its link: their texts are in the log.
    user: str | Label
    token: UUID | None = None
    session: UUID | None = None
    #: When the session is over.
    ends: Timestamp | None = None


def name_of(uid: int) -> str:
    """The name of a local user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class Access:
    """Lets requests in, or says by a problem why not."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        sessions: Sessions,
        clock: Callable[[], Timestamp],
        hosts: Iterable[str],
        operators: Iterable[str],
        rate: float,
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._hosts = _LOOPBACK | {host.casefold() for host in hosts}
        self._operators = tuple(operators)
        self._rates = Rates(rate)

    def check_place(self, headers: Headers) -> None:
        """Refuse what was meant for another host, or comes from a page of one."""
        host = headers.get("host", "")
        with suppress(ValueError):
            if (urlsplit(f"//{host}").hostname or "").casefold() in self._hosts and "@" not in host:
                origin = headers.get("origin")
                if origin is None or origin.casefold() in {f"{way}://{host.casefold()}" for way in ("http", "https")}:
                    return
                raise ProblemError(FOREIGN_ORIGIN, f"the Origin is {origin}, the Host {host}")
        raise ProblemError(FOREIGN_HOST, f"the Host is {host!r}; known are {', '.join(sorted(self._hosts))}")

    def identify(self, headers: Headers, peer: int | None) -> Principal | None:
        """Say who asks; None where nobody knows. `peer` is the uid at the other end of a unix socket."""
        if peer is not None:
            return self._local(peer)
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme:
            token = self._tokens.find(secret.strip()) if scheme.casefold() == "bearer" else None
            if token is None:
                return None
            return Principal(role=token.role, key=f"token {token.id}", user=token.name, token=token.id)
        session = self._sessions.find(cookie_of(headers), now=self._clock())
        if session is None:
            return None
        key = f"session {session.id}"
        return Principal(role=session.role, key=key, user=session.user, session=session.id, ends=session.ends)

    def admit(self, principal: Principal | None, method: str, path: str, headers: Headers) -> None:
        """Refuse whoever may not do that."""
        if principal is None:
            given = "that token is not known, or was revoked" if "authorization" in headers else "no token was sent"
            raise ProblemError(UNAUTHENTICATED, given, headers={"WWW-Authenticate": 'Bearer realm="es-power"'})
        if method in SAFE:
            return
        if principal.session is None or path != SESSION:
            require(principal, Role.OPERATE)
        if principal.session is not None and not _shows_csrf(headers):
            raise ProblemError(CSRF, f"the header {CSRF_HEADER} is missing, or is not this session's")

    def count(self, key: str) -> None:
        """Refuse whoever asks too often."""
        wait = self._rates.take(key)
        if wait > 0:
            raise ProblemError(TOO_MANY, f"ask again in {wait:.1f} s", headers={"Retry-After": str(math.ceil(wait))})

    def _local(self, uid: int) -> Principal:
        user = name_of(uid)
        if may_act(uid, ()):
            return Principal(role=Role.ADMIN, key=f"uid {uid}", user=user)
        if may_act(uid, self._operators):
            return Principal(role=Role.OPERATE, key=f"uid {uid}", user=user)
        raise ProblemError(FORBIDDEN, f"{user} may not ask here: name the user, or @ a group, in [act] operators")


def require(principal: Principal, role: Role) -> None:
    """Refuse whoever has a lesser role."""
    if not principal.role.includes(role):
        raise ProblemError(FORBIDDEN, f"that takes the role {role}, and this is {principal.role}")


def csrf_of(secret: str) -> str:
    """What a write has to show beside the cookie with this secret: whoever knows it knows the cookie."""
    made = hmac.digest(_bytes(secret), b"es_power csrf", "sha256")
    return urlsafe_b64encode(made).rstrip(b"=").decode()


def _shows_csrf(headers: Headers) -> bool:
    given, wanted = headers.get(CSRF_HEADER, ""), csrf_of(cookie_of(headers))
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def cookie_of(headers: Headers) -> str:
    """The secret of a browser's session; empty where it sends none."""
    # Not by http.cookies: that stops at a cookie of another program that it finds malformed.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


class Rates:
    """How often each client may ask: so many a second over time, and ten seconds' worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        #: What each client has left, and when that was so; the one that asked last is at the end.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Count a request; the seconds to wait where it is one too many."""
        now, most = trio.current_time(), self._rate * _AT_ONCE
        left, since = self._left.pop(key, (most, now))
        left = min(most, left + (now - since) * self._rate)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate
