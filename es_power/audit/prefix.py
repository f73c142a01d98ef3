"""The stored nodes of the tree before the cut of a pruned log, and what they prove of the records that stay there.

Rules of this file:
1. The edge at the cut leads to the root that was signed. Nothing else that is stored there is believed by itself.
2. A node counts where it leads to the edge with all that stand beside it; whoever changes one breaks that.
3. A record counts where its hash leads to such a node. So none can be changed, or put there, without being found.
"""

from collections.abc import Iterable, Iterator, Mapping

from es_power.audit.tree import STEP, Edge, fold, leaf_hash, node_hash
from es_power.audit.verdict import Damage, Kind
from es_power.domain.events import Position


class Prefix:
    """What is known of the tree before the cut; of a log that is whole, nothing."""

    def __init__(
        self,
        edge: Edge | None = None,
        stored: Iterable[tuple[int, int, bytes]] = (),
        beside: Mapping[tuple[int, int], bytes] | None = None,
    ) -> None:
        """`stored` is the table of nodes, `beside` what was kept by the prune of the subtrees that are not in it."""
        #: Roots that lead to the edge, by level and number.
        self.known: dict[tuple[int, int], bytes] = {}
        #: Level and number of the edge's subtrees under which nothing can be proved.
        self.lost: list[tuple[int, int]] = []
        self._beside = beside or {}
        blocks = {number: node for level, number, node in stored if level == STEP and isinstance(node, bytes)}
        for level, number, root in edge.subtrees() if edge else ():
            self.known[level, number] = root
            if level > STEP and not self._take(level, number, root, blocks):
                self.lost.append((level, number))

    def damage(self) -> Iterator[Damage]:
        """Find where the stored nodes do not lead to the edge."""
        for level, number in self.lost:
            until = Position(number + 1 << level)
            yield Damage(
                kind=Kind.TREE,
                position=Position((number << level) + 1),
                until=until,
                detail=f"the nodes over the records up to {until} do not lead to what was signed, or are missing, "
                "so that none of the records there can be proved",
            )

    def is_lost(self, level: int, number: int) -> bool:
        """Whether a subtree is under one of those under which nothing can be proved."""
        return any(level <= top and number >> top - level == place for top, place in self.lost)

    def proves(self, position: int, record: bytes) -> bool:
        """Whether a record with this hash is the one that was signed there."""
        number, node = position - 1, leaf_hash(record)
        for level in range(STEP + 1):
            if (known := self.known.get((level, number))) is not None:
                return node == known
            other = self._beside.get((level, number ^ 1))
            if other is None:
                return False
            node = node_hash(other, node) if number & 1 else node_hash(node, other)
            number >>= 1
        return False

    def _take(self, level: int, number: int, root: bytes, blocks: Mapping[int, bytes]) -> bool:
        """Take in the nodes under one of the edge's subtrees; whether they lead to it."""
        width = 1 << level - STEP
        if width > len(blocks):
            return False  # and a width that somebody made up does not cost its time
        first = number * width
        nodes = [blocks.get(each, b"") for each in range(first, first + width)]
        if fold(nodes) != root:
            return False
        for stored in range(STEP, level, STEP):
            self.known.update(((stored, first + at), node) for at, node in enumerate(nodes))
            some = 1 << STEP
            nodes = [fold(nodes[at : at + some]) for at in range(0, len(nodes), some)] if len(nodes) > some else []
            first >>= STEP
        return True
