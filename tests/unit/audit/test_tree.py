"""The Merkle tree, against RFC 6962's own definitions written down once more, and its published values."""

from hashlib import sha256

import pytest

from es_power.audit.offline import BadProofError, root_of
from es_power.audit.tree import (
    EMPTY,
    Edge,
    edge_at,
    fold,
    inclusion,
    leaf_hash,
    node_hash,
)

RECORDS = [sha256(b"%d" % number).digest() for number in range(520)]
SIZES = [*range(40), 255, 256, 257, 511, 512, 520]


def by_definition(records):
    """MTH of RFC 6962, 2.1."""
    if not records:
        return sha256().digest()
    if len(records) == 1:
        return sha256(b"\0" + records[0]).digest()
    half = 1
    while half * 2 < len(records):
        half *= 2
    return sha256(b"\1" + by_definition(records[:half]) + by_definition(records[half:])).digest()


def node(level, number):
    return fold([leaf_hash(each) for each in RECORDS[number << level : number + 1 << level]])


def test_the_published_values_of_certificate_transparency():
    """The leaves and roots that implementations of RFC 6962 test with, from its authors' own reference."""
    leaves = [bytes.fromhex(each) for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    leaves.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
    edge = Edge()
    edge.extend(leaves)

    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert edge.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", SIZES)
def test_an_edge_has_the_root_of_the_definition_however_the_records_came(size):
    for at_once in (1, 7, 256, 300, size or 1):
        edge = Edge()
        for start in range(0, size, at_once):
            edge.extend(RECORDS[start : min(start + at_once, size)])
        joined = Edge()
        for start in range(0, size, at_once):
            joined.extend_by(b"".join(RECORDS[start : min(start + at_once, size)]))

        assert edge.root() == joined.root() == by_definition(RECORDS[:size])
        assert edge.nodes == edge_at(size, node).nodes
        assert [known for *_, known in edge.subtrees()] == [node(level, no) for level, no, _ in edge.subtrees()]


def test_subtrees_of_stored_levels_are_given_once_each_as_they_become_whole():
    for at_once in (1, 100, 520):
        edge = Edge()
        grown = [each for start in range(0, 520, at_once) for each in edge.extend(RECORDS[start : start + at_once])]
        again, joined = Edge(), b"".join(RECORDS)
        by = [
            each for start in range(0, 520, at_once) for each in again.extend_by(joined[start * 32 :][: at_once * 32])
        ]

        assert grown == by == [(8, 0, node(8, 0)), (8, 1, node(8, 1))]


def test_two_levels_up_a_subtree_is_given_too():
    blocks = 256
    edge = Edge((blocks - 1) << 8, [bytes([level]) * 32 for level in range(8)])

    grown = edge.extend(RECORDS[:256])

    assert [(level, number) for level, number, _ in grown] == [(8, 255), (16, 0)]


def test_an_edge_of_a_wrong_number_of_nodes_is_refused():
    with pytest.raises(ValueError, match="a tree of 3 leaves has 2 whole subtrees, not 1"):
        Edge(3, [EMPTY])


@pytest.mark.parametrize("size", SIZES)
def test_each_record_is_proved_to_be_in_the_tree_and_no_other_in_its_place(size):
    root = by_definition(RECORDS[:size])
    for index in range(0, size, max(1, size // 20)):
        path = inclusion(index, size, node)

        assert root_of(index, size, RECORDS[index], path) == root
        assert root_of(index, size, RECORDS[index - 1], path) != root or size == 1
        for wrong in (path[1:], [*path, EMPTY], path[:-1]):
            assert wrong == path or is_none(index, size, wrong, root)
    assert is_none(size, size, [], root)
    assert is_none(-1, size, [], root)


def is_none(index, size, path, root):
    """Whether this proves nothing about a record."""
    try:
        return root_of(index, size, RECORDS[index - 1], path) != root
    except BadProofError:
        return True


def test_a_node_is_hashed_apart_from_a_leaf():
    assert node_hash(EMPTY, EMPTY) == sha256(b"\1" + EMPTY + EMPTY).digest()
    assert leaf_hash(EMPTY + EMPTY) == sha256(b"\0" + EMPTY + EMPTY).digest()
