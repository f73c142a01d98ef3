"""Who is let in over HTTP, said by people: tokens made and revoked, links for a browser, in one stream for all.

A token is 256 random bits. Only its SHA-256 is recorded, so the log lets nobody in who can read it; a slow hash would
add nothing, since there is nothing to guess.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from es_power.domain.access import LinkIssued, Role, SessionEnded, SessionOpened, TokenIssued, TokenRevoked, digest
from es_power.domain.events import Event, Label
from es_power.domain.ports import EventLog, LabelText
from es_power.domain.streams import ACCESS
from es_power.domain.time import Timestamp
from es_power.log.labels import make_label
from es_power.log.shared import append_shared

PREFIX: Final = "esp_"
"""What a token begins with, so that whoever finds one somewhere knows what it is."""

_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token as it was made: the one time at which its secret is known."""

    token: UUID
    secret: str


def make_secret() -> str:
    """Make 256 random bits, as text."""
    return secrets.token_urlsafe(_BYTES)


async def issue_token(log: EventLog, *, name: str, role: Role, by: str, at: Timestamp) -> Issued:
    """Record a new token, and give it."""
    made = Issued(token=uuid4(), secret=PREFIX + make_secret())
    called, text = make_label(name)

    def fact(who: Label) -> Event:
        return TokenIssued(observed_at=at, token=made.token, role=role, name=called, by=who, digest=digest(made.secret))

    await _say(log, by, fact, [text])
    return made


async def revoke_token(log: EventLog, token: UUID, *, by: str, at: Timestamp) -> None:
    """Record that a token lets nobody in any more."""
    await _say(log, by, lambda who: TokenRevoked(observed_at=at, token=token, by=who))


async def issue_link(log: EventLog, link: UUID, *, role: Role, by: str, at: Timestamp) -> Event:
    """Record that somebody asked for a link into the page, and give that fact."""
    return await _say(log, by, lambda who: LinkIssued(observed_at=at, link=link, role=role, by=who))


async def open_session(log: EventLog, link: UUID, secret: str, *, at: Timestamp) -> Event:
    """Record that a link was used, and opened the session of this secret; give that fact."""
    return await _append(log, SessionOpened(observed_at=at, link=link, session=uuid4(), digest=digest(secret)))


async def end_session(log: EventLog, session: UUID, *, at: Timestamp) -> None:
    """Record that whoever had a session ended it."""
    await _append(log, SessionEnded(observed_at=at, session=session))


async def _say(log: EventLog, by: str, fact: Callable[[Label], Event], texts: Sequence[LabelText] = ()) -> Event:
    who, text = make_label(by)
    return await _append(log, fact(who), [*texts, text])


async def _append(log: EventLog, event: Event, texts: Sequence[LabelText] = ()) -> Event:
    await append_shared(log, ACCESS, (event,), labels=texts)
    return event
