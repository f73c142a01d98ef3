"""The facts of letting people in over HTTP: tokens, links for a browser, and the sessions that come of them.

A secret itself is in no fact: a token is recorded as the SHA-256 of 256 random bits, which nobody can turn back.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

from es_power.domain.events import Event, Label
from es_power.domain.time import SECOND

# --------------------------------------------------------------------------------------------- who may ask


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    #: Ask.
    READ = "read"
    #: Also approve and reject stop commands.
    OPERATE = "operate"
    #: Also let others in.
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether whoever has this role may do what the other one may."""
        return _ORDER[self] >= _ORDER[other]


_ORDER: Final = {role: number for number, role in enumerate(Role)}


SESSION_LASTS: Final = 12 * 3600 * SECOND
"""Nanoseconds after which a browser needs a new link."""


def digest(secret: str) -> bytes:
    """What is recorded of a secret: its SHA-256."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued(Event):
    """Somebody made a token: whoever shows it is let in, until it is revoked."""

    token: UUID
    role: Role
    #: What the token is called, and who made it.
    name: Label
    by: Label
    #: SHA-256 of the token.
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(Event):
    """A token lets nobody in any more."""

    token: UUID
    by: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIssued(Event):
    """Somebody asked for a link that opens one session in a browser, once."""

    link: UUID
    role: Role
    by: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Event):
    """A link was used; it opens nothing any more. Its session lasts for `SESSION_LASTS`."""

    link: UUID
    session: UUID
    #: SHA-256 of what the browser's cookie says; empty where a session was to end with its service.
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """Whoever had a session ended it."""

    session: UUID
