"""Links for a browser, in memory: each opens one session, once, within minutes.

That one was made, and by whom it was used, is in the log; a restart ends those that were not used yet.
"""

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

import trio

from es_power.domain.access import digest
from es_power.ingest.access import make_secret

LINK_LASTS: Final = 300.0
"""Seconds in which a link can be used."""

_MOST: Final = 1000  # the oldest goes first


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that was not used yet."""

    id: UUID
    #: On trio's clock.
    ends: float


@dataclass(slots=True)
class Links:
    """Those that were not used yet, by the digest of their secrets."""

    _unused: dict[bytes, Link] = field(default_factory=dict)

    def offer(self) -> tuple[UUID, str]:
        """Make a link; give its id and its secret."""
        secret, link = make_secret(), uuid4()
        while len(self._unused) >= _MOST:
            del self._unused[next(iter(self._unused))]
        self._unused[digest(secret)] = Link(id=link, ends=trio.current_time() + LINK_LASTS)
        return link, secret

    def take(self, secret: str) -> Link | None:
        """Use a link, once; None where there is none."""
        link = self._unused.pop(digest(secret), None)
        return None if link is None or link.ends < trio.current_time() else link

    def put_back(self, secret: str, link: Link) -> None:
        """Have a link as if it had not been used."""
        self._unused[digest(secret)] = link
