"""The tokens and sessions that let somebody in over HTTP, as folds over the stream in which they begin and end.

What ended stays ended, though its beginning is folded once more: a service reads the whole stream as it starts, and
folds what its tables had not seen after that; between two batches nobody may come in by what was revoked.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from es_power.domain.access import (
    SESSION_LASTS,
    LinkIssued,
    Role,
    SessionEnded,
    SessionOpened,
    TokenIssued,
    TokenRevoked,
    digest,
)
from es_power.domain.events import Event, Label, Recorded
from es_power.domain.time import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that lets somebody in."""

    id: UUID
    role: Role
    name: Label
    by: Label
    issued_at: Timestamp


class Tokens:
    """All tokens that were made and not revoked, by the digest of their secrets."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Token] = {}
        self.revoked: set[UUID] = set()

    def apply(self, batch: Iterable[Recorded]) -> None:
        """Fold what was recorded."""
        for recorded in batch:
            match recorded.event:
                case TokenIssued() as made if made.token not in self.revoked:
                    self._by_digest[made.digest] = Token(
                        id=made.token, role=made.role, name=made.name, by=made.by, issued_at=made.observed_at
                    )
                case TokenRevoked(token=revoked):
                    self.revoked.add(revoked)
                    self._by_digest = {key: token for key, token in self._by_digest.items() if token.id != revoked}
                case _:
                    pass

    def find(self, secret: str) -> Token | None:
        """The token of this secret; it is looked up by digest, so the time it takes tells nothing of other secrets."""
        return self._by_digest.get(digest(secret))

    def __iter__(self) -> Iterator[Token]:
        """All of them, in the order in which they were made."""
        return iter(self._by_digest.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that came by a link."""

    id: UUID
    role: Role
    #: Who asked for the link.
    user: Label
    ends: Timestamp


class Sessions:
    """All sessions that were opened and not ended, by the digest of what their cookies say."""

    def __init__(self) -> None:
        self._unused: dict[UUID, LinkIssued] = {}
        self._by_digest: dict[bytes, Session] = {}
        self.ended: set[UUID] = set()

    def apply(self, batch: Iterable[Recorded]) -> None:
        """Fold what was recorded."""
        for recorded in batch:
            self.take(recorded.event)

    def take(self, event: Event) -> None:
        """Take in one fact; whoever recorded it need not wait until it is folded, which does nothing more then."""
        match event:
            case LinkIssued() as link:
                self._unused[link.link] = link
            case SessionOpened() as opened:
                self._open(opened)
            case SessionEnded(session=ended):
                self.end(ended)
            case _:
                pass

    def find(self, secret: str, *, now: Timestamp) -> Session | None:
        """The session of this secret, while it lasts."""
        session = self._by_digest.get(digest(secret))
        return session if session is not None and now < session.ends else None

    def end(self, session: UUID) -> None:
        """End a session."""
        self.ended.add(session)
        self._by_digest = {key: each for key, each in self._by_digest.items() if each.id != session}

    def _open(self, opened: SessionOpened) -> None:
        link = self._unused.pop(opened.link, None)
        if link is None or not opened.digest or opened.session in self.ended:
            return
        self._by_digest = {key: each for key, each in self._by_digest.items() if each.ends > opened.observed_at}
        self._by_digest[opened.digest] = Session(
            id=opened.session,
            role=link.role,
            user=link.by,
            ends=Timestamp(opened.observed_at + SESSION_LASTS),
        )
