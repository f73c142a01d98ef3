"""A tree that grows while its records are read is the one that grows by itself."""

from contextlib import suppress
from hashlib import sha256

import pytest

from es_power.audit import growing as module, hashing
from es_power.audit.growing import growing
from es_power.audit.tree import Edge

HASHES = [sha256(b"%d" % number).digest() for number in range(3_000)]


@pytest.mark.parametrize("at_once", [512, 1 << 14], ids=["beside", "here"])
@pytest.mark.parametrize("batch", [1, 256, 1000])
@pytest.mark.parametrize("begin", [0, 700])
def test_it_has_the_same_root_at_every_size(monkeypatch, at_once, batch, begin):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    monkeypatch.setattr(hashing, "WORTH", 512)
    sizes = [begin, begin + 1, 1023, 1024, 1024, 2999]
    edge, alone, expected = Edge(), Edge(), {}
    edge.extend(HASHES[:begin])
    alone.extend(HASHES[:begin])
    grown = []
    for size in [*sizes, len(HASHES)]:
        grown += alone.extend(HASHES[alone.size : size])
        expected[size] = alone.root()

    with growing(edge, [*sizes, 4_000]) as tree:
        for at in range(begin, len(HASHES), batch):
            tree.add(HASHES[at : at + batch])

    assert tree.roots == {size: expected[size] for size in sizes}
    assert edge.root() == alone.root()
    assert tree.grown == grown


def test_where_reading_breaks_off_it_has_all_that_was_read(monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 256)
    edge, alone = Edge(), Edge()
    alone.extend(HASHES[:600])

    with suppress(ValueError), growing(edge, ()) as tree:
        tree.add(HASHES[:600])
        raise ValueError

    assert edge.root() == alone.root()
