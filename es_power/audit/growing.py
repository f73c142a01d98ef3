"""The tree over records that are read one after the other, hashed by a process beside while the next are read."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from es_power.audit.hashing import WORTH, hashed_beside
from es_power.audit.tree import Edge, Grown, Roots, block_roots

_AT_ONCE: Final = WORTH  # records that are handed over


class Growing:
    """Takes in the hashes of records; `growing` makes one."""

    def __init__(self, edge: Edge, sizes: Iterable[int], begin: Callable[[], Roots]) -> None:
        #: The tree's root at each of the sizes that it came to.
        self.roots: dict[int, bytes] = {}
        #: The subtrees of stored levels that became whole.
        self.grown: list[Grown] = []
        self._edge = edge
        self._size = edge.size
        self._sizes = deque(sorted(size for size in set(sizes) if size >= edge.size))
        self._begin = begin
        self._hashed_by: Roots | None = None
        self._waiting: list[bytes] = []
        #: Ends the addition that is under way.
        self._end: Callable[[], Sequence[Grown]] = tuple

    def add(self, hashes: Sequence[bytes]) -> None:
        """Take in the hashes of the next records."""
        while self._sizes and self._sizes[0] <= self._size + len(hashes):
            size = self._sizes.popleft()
            some = size - self._size
            self._add(hashes[:some])
            hashes = hashes[some:]
            self.settle()
            self.roots[size] = self._edge.root()
        self._add(hashes)

    def settle(self) -> None:
        """Wait until the edge is that of all records that were taken in."""
        self._hand_over()
        self._ended()

    def _add(self, hashes: Sequence[bytes]) -> None:
        self._size += len(hashes)
        self._waiting += hashes
        if len(self._waiting) >= _AT_ONCE:
            self._hashed_by = self._hashed_by or self._begin()
            self._hand_over()

    def _hand_over(self) -> None:
        if not self._waiting:
            return
        self._ended()
        hashes, self._waiting = b"".join(self._waiting), []
        self._end = self._edge.begin(hashes, self._hashed_by or block_roots)

    def _ended(self) -> None:
        end, self._end = self._end, tuple
        self.grown += end()


@contextmanager
def growing(edge: Edge, sizes: Iterable[int]) -> Iterator[Growing]:
    """Give what lets an edge grow, and knows its roots at these sizes; at the end of the block it has taken in all."""
    with ExitStack() as beside:
        tree = Growing(edge, sizes, lambda: beside.enter_context(hashed_beside(_AT_ONCE)))
        try:
            yield tree
        finally:
            tree.settle()
