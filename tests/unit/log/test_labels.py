from dataclasses import replace
from hashlib import sha256

import pytest

from es_power.log.labels import SHOWN, is_cut, is_explained, label_digest, make_label, stands_in, without


def test_a_label_holds_the_texts_hash_and_nothing_of_the_text():
    label, row = make_label("kvm-guest")

    assert row.text == "kvm-guest"
    assert label.id == row.id < 2**63
    assert label.digest == label_digest(row.salt, "kvm-guest")


def test_equal_texts_have_unlike_labels():
    assert make_label("same")[0] != make_label("same")[0]


def test_a_long_text_is_cut_in_the_row_and_hashed_whole():
    long = "x" * 100_000
    label, row = make_label(long)

    assert row.text == "x" * SHOWN + "…"
    assert row.whole == sha256(long.encode()).digest()
    assert label.digest == sha256(row.salt + row.whole + row.text.encode()).digest()
    assert make_label("x" * SHOWN)[1].text == "x" * SHOWN


@pytest.mark.parametrize("text", ["kvm-guest", "x" * 1000, "a\ud800b", ""])
def test_a_label_is_explained_by_its_own_row_only(text):
    label, row = make_label(text)

    assert is_explained(label, row)
    for altered in (
        replace(row, text=row.text + "?"),
        replace(row, salt=bytes(16)),
        replace(row, whole=bytes(32)),
    ):
        assert is_explained(label, altered) is False
    # Of what an es_power of schema 1 cut, nobody can say; it cut no short text.
    assert is_explained(label, replace(row, whole=b"")) is (None if is_cut(row.text) else False)


def test_no_part_of_a_text_is_taken_for_salt_or_for_the_hash_of_a_longer_one():
    """Found in a review: the bytes that are hashed are the same, so whoever writes the table could cut a text short."""
    label, row = make_label("the customer asked for it, and that twice")
    salt, text = row.salt, row.text.encode()

    for altered in (
        replace(row, salt=salt + text[:4], text=text[4:].decode()),
        replace(row, salt=salt[:-1], text="?"),
        replace(row, whole=text[:32], text=text[32:].decode()),
    ):
        assert is_explained(label, altered) is False


@pytest.mark.parametrize(
    ("hostile", "kept"),
    [("a\0b", "a�b"), ("a\ud800b", "a�b"), ("<img src=x>", "<img src=x>"), ("\u202e😀", "\u202e😀"), ("", "")],
)
def test_what_no_database_stores_is_replaced_in_the_row(hostile, kept):
    assert make_label(hostile)[1].text == kept


@pytest.mark.parametrize(
    ("name", "text", "rest"),
    [
        ("web-1", "no domain 'web-1' (WEB-1)", "no domain '-' (-)"),
        ("web-1", "web-1-old, my-web-1, web-10", "web-1-old, my-web-1, web-10"),
        ("a.b", "a.b, axb", "-, axb"),
        ("\\1", "a \\1", "a -"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_name_is_found_and_taken_out_where_it_stands_as_a_word(name, text, rest):
    assert without(name, text, "-") == rest
    assert stands_in(name, text) == (rest != text)
