"""The tokens that let somebody in over HTTP, as a fold over the stream in which they are made and revoked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from es_power.domain.access import Role, TokenIssued, TokenRevoked, digest
from es_power.domain.events import Label, Recorded
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

    def apply(self, batch: Iterable[Recorded]) -> None:
        """Fold what was recorded."""
        for recorded in batch:
            match recorded.event:
                case TokenIssued() as made:
                    self._by_digest[made.digest] = Token(
                        id=made.token, role=made.role, name=made.name, by=made.by, issued_at=made.observed_at
                    )
                case TokenRevoked(token=revoked):
                    self._by_digest = {key: token for key, token in self._by_digest.items() if token.id != revoked}
                case _:
                    pass

    def find(self, secret: str) -> Token | None:
        """The token of this secret; it is looked up by digest, so the time it takes tells nothing of other secrets."""
        return self._by_digest.get(digest(secret))

    def __iter__(self) -> Iterator[Token]:
        """All of them, in the order in which they were made."""
        return iter(self._by_digest.values())
