"""What is drawn by chance: ids, keys, salts, and by how much waits are spread.

It comes from the operating system, and in a simulation from one seed, so that the same seed takes the same course to
the same bytes. Who is simulated is a matter of the context, so nothing is shared with whoever is not. Secrets (tokens)
are not drawn here: they come from nowhere else than the operating system.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol
from uuid import UUID


class Source(Protocol):
    """What `random.Random(seed)` is, too."""

    def getrandbits(self, k: int, /) -> int:
        """A number of so many bits."""

    def uniform(self, a: float, b: float) -> float:
        """A number between two."""


_SOURCE: Final[ContextVar[Source]] = ContextVar("source", default=secrets.SystemRandom())  # noqa: B039 (it has no state)


@contextmanager
def drawn_from(source: Source) -> Iterator[None]:
    """Let everything in the block, and the tasks that begin there, draw from another source."""
    token = _SOURCE.set(source)
    try:
        yield
    finally:
        _SOURCE.reset(token)


def new_uuid() -> UUID:
    """An id that nobody has."""
    return UUID(int=bits(128), version=4)


def bits(count: int) -> int:
    """A number of so many bits."""
    return _SOURCE.get().getrandbits(count)


def some_bytes(count: int) -> bytes:
    """So many bytes."""
    return bits(8 * count).to_bytes(count, "big")


def uniform(least: float, most: float) -> float:
    """A number between two."""
    return _SOURCE.get().uniform(least, most)
