"""Browsers' links and sessions, in memory.

A restart ends all sessions. Who made what, and that a link was used, is in the log.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

import trio

from es_power.domain.access import Role, digest
from es_power.ingest.access import make_secret

LINK_LASTS: Final = 300.0
"""Seconds in which a link can be used."""

SESSION_LASTS: Final = 12 * 3600.0
"""Seconds after which a browser needs a new link."""

_MOST: Final = 1000  # links and sessions each; the oldest goes first


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that came by a link."""

    id: UUID
    #: Who asked for the link.
    user: str
    role: Role
    #: What a write has to show beside the cookie.
    csrf: str
    #: On trio's clock.
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that was not used yet."""

    id: UUID
    user: str
    role: Role
    ends: float


@dataclass(slots=True)
class Sessions:
    """Links and sessions, by the digest of their secrets."""

    links: dict[bytes, Link] = field(default_factory=dict)
    sessions: dict[bytes, Session] = field(default_factory=dict)

    def offer(self, user: str, role: Role) -> tuple[UUID, str]:
        """Make a link; give its id and its secret."""
        secret, link = make_secret(), uuid4()
        while len(self.links) >= _MOST:
            del self.links[next(iter(self.links))]
        self.links[digest(secret)] = Link(id=link, user=user, role=role, ends=trio.current_time() + LINK_LASTS)
        return link, secret

    def take(self, secret: str) -> tuple[Link, Session, str] | None:
        """Use a link, once: give it, the session that it opens, and that session's secret."""
        link = self.links.pop(digest(secret), None)
        if link is None or link.ends < trio.current_time():
            return None
        while len(self.sessions) >= _MOST:
            del self.sessions[next(iter(self.sessions))]
        session = Session(
            id=uuid4(),
            user=link.user,
            role=link.role,
            csrf=make_secret(),
            ends=trio.current_time() + SESSION_LASTS,
        )
        opened = make_secret()
        self.sessions[digest(opened)] = session
        return link, session, opened

    def put_back(self, secret: str, link: Link, session: Session) -> None:
        """Have a link as if it had not been used."""
        self.end(session.id)
        self.links[digest(secret)] = link

    def find(self, secret: str) -> Session | None:
        """The session of this secret, while it lasts."""
        session = self.sessions.get(digest(secret))
        return session if session is not None and trio.current_time() < session.ends else None

    def end(self, session: UUID) -> None:
        """End a session."""
        self.sessions = {key: each for key, each in self.sessions.items() if each.id != session}


def is_same(one: str, other: str) -> bool:
    """Compare secrets in a time that does not tell how far they agree."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
