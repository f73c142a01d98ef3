"""The Merkle tree over a log, as RFC 6962 (section 2.1) has it, and what is proved by it.

Rules of this file:
1. The leaf of a position is the hash of its record, 32 bytes (`es_power.log.chain` says over which bytes). So a seal
   reads one column, and whoever has a record's bytes can go all the way to the root.
2. Positions begin at 1, leaves at 0: the leaf of position 1 is number 0.
3. A subtree is named by its level (it stands over 2^level leaves) and its number from the left. Every function here
   asks for whole ones only, so where they come from (a table, a column, a proof) is the caller's matter.
4. It needs nothing but Python, so that it can be a program of its own: `hashing` says what for.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

EMPTY: Final = sha256().digest()
"""The root over no records."""

STEP: Final = 8
"""Levels from one that is stored to the next: 8, 16, 24 ..."""

SIZE: Final = 32
"""Bytes of a hash."""

_BLOCK: Final = 1 << STEP
_LEAF: Final = sha256(b"\0")
_NODE: Final = sha256(b"\1")

Node = Callable[[int, int], bytes]
"""Gives the root of the whole subtree of this level and number."""

Roots = Callable[[bytes], Iterable[bytes]]
"""What does the same as `block_roots`, or begins it: what it gives may wait where it is gone through."""

Grown = tuple[int, int, bytes]
"""A whole subtree of a stored level, as it came to be: level, number, root."""


def leaf_hash(record: bytes) -> bytes:
    """Hash a leaf, which is a record's hash."""
    return sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one above them."""
    return sha256(b"\1" + left + right).digest()


def leaf_hashes(records: Iterable[bytes]) -> list[bytes]:
    """Hash leaves; to go on from a copy costs less than to begin a hash, and these are as short as hashes get."""
    found: list[bytes] = []
    begin, add = _LEAF.copy, found.append
    for record in records:
        hashing = begin()
        hashing.update(record)
        add(hashing.digest())
    return found


def fold(nodes: Sequence[bytes]) -> bytes:
    """The root of a whole subtree, from the roots of 2^n equal ones."""
    begin = _NODE.copy
    while len(nodes) > 1:
        above: list[bytes] = []
        add, pairs = above.append, iter(nodes)
        for left, right in zip(pairs, pairs, strict=True):
            hashing = begin()
            hashing.update(left)
            hashing.update(right)
            add(hashing.digest())
        nodes = above
    return nodes[0]


def block_roots(hashes: bytes) -> list[bytes]:
    """The roots of subtrees of the first stored level, over the hashes of their records, one behind the other."""
    return [fold(leaf_hashes(split_up(hashes[at : at + _BLOCK * SIZE]))) for at in range(0, len(hashes), _BLOCK * SIZE)]


def split_up(hashes: bytes) -> list[bytes]:
    """Take hashes apart that stand one behind the other."""
    return [hashes[at : at + SIZE] for at in range(0, len(hashes), SIZE)]


class Edge:
    """The right edge of a tree that grows: all that must be kept to add leaves and to give the root."""

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count():
            msg = f"a tree of {size} leaves has {size.bit_count()} whole subtrees, not {len(nodes)}"
            raise ValueError(msg)
        #: How many leaves it has.
        self.size = size
        #: Roots of the whole subtrees that the leaves fall into, the largest first: one for each bit of the size.
        self.nodes = list(nodes)

    def extend(self, records: Sequence[bytes]) -> list[Grown]:
        """Add leaves, and give the subtrees of stored levels that became whole."""
        grown: list[Grown] = []
        start = min(-self.size % _BLOCK, len(records))
        for record in records[:start]:
            self._add(leaf_hash(record), 0, grown)
        whole = start + (len(records) - start) // _BLOCK * _BLOCK
        for at in range(start, whole, _BLOCK):
            # All at once: one by one, a leaf costs half as much again.
            self._add(fold(leaf_hashes(records[at : at + _BLOCK])), STEP, grown)
        for record in records[whole:]:
            self._add(leaf_hash(record), 0, grown)
        return grown

    def extend_by(self, hashes: bytes, roots: Roots = block_roots) -> Sequence[Grown]:
        """Do the same with the records' hashes one behind the other; `roots` hashes most of them."""
        return self.begin(hashes, roots)()

    def begin(self, hashes: bytes, roots: Roots) -> Callable[[], Sequence[Grown]]:
        """Have `roots` begin with that, and give what ends it; nothing else may be added before."""
        block = _BLOCK * SIZE
        start = min(-self.size % _BLOCK * SIZE, len(hashes))
        whole = start + (len(hashes) - start) // block * block
        nodes = roots(hashes[start:whole])

        def end() -> Sequence[Grown]:
            grown = self.extend(split_up(hashes[:start]))
            for node in nodes:
                self._add(node, STEP, grown)
            return grown + self.extend(split_up(hashes[whole:]))

        return end

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return join(self.nodes)

    def subtrees(self) -> Iterator[tuple[int, int, bytes]]:
        """Level, number and root of each whole subtree, the largest first."""
        begin = 0
        for level, node in zip(_levels(self.size), self.nodes, strict=True):
            yield level, begin >> level, node
            begin += 1 << level

    def _add(self, node: bytes, level: int, grown: list[Grown]) -> None:
        """Add a whole subtree; the size is a multiple of its leaves."""
        number = self.size >> level
        self.size += 1 << level
        if level:
            grown.append((level, number, node))
        while number & 1:
            node = node_hash(self.nodes.pop(), node)
            number >>= 1
            level += 1
            if level % STEP == 0:
                grown.append((level, number, node))
        self.nodes.append(node)


def join(nodes: Sequence[bytes]) -> bytes:
    """The root over the whole subtrees that the leaves fall into, the largest first."""
    if not nodes:
        return EMPTY
    root = nodes[-1]
    for left in islice(reversed(nodes), 1, None):
        root = node_hash(left, root)
    return root


def edge_at(size: int, node: Node) -> Edge:
    """The right edge of a tree as it was at a size."""
    return Edge(size, list(_parts(0, size, node)))


# ---------------------------------------------------------------------------------------------------- proofs


def inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """Prove that a leaf is in the tree of this size: the audit path of RFC 6962, 2.1.1; the lowest first."""
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(join(list(_parts(middle, end, node))))
            end = middle
        else:
            path.append(join(list(_parts(begin, middle, node))))
            begin = middle
    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def _levels(size: int) -> Iterator[int]:
    """The levels of the whole subtrees of a size, the largest first."""
    return (level for level in reversed(range(size.bit_length())) if size >> level & 1)


def _parts(begin: int, end: int, node: Node) -> Iterator[bytes]:
    """The roots of the whole subtrees over a range that begins where the largest of them may."""
    for level in _levels(end - begin):
        yield node(level, begin >> level)
        begin += 1 << level


def main() -> None:
    """Answer questions until there is none: four bytes that say how long it is, then what `block_roots` takes."""
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    while length := asked.read(4):
        told.write(b"".join(block_roots(asked.read(int.from_bytes(length, "big")))))
        told.flush()


if __name__ == "__main__":
    main()
