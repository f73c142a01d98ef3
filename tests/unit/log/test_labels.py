import pytest

from es_power.log.labels import SHOWN, label_digest, make_label


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
    assert label.digest == label_digest(row.salt, long)
    assert make_label("x" * SHOWN)[1].text == "x" * SHOWN


@pytest.mark.parametrize(
    ("hostile", "kept"),
    [("a\0b", "a�b"), ("a\ud800b", "a�b"), ("<img src=x>", "<img src=x>"), ("\u202e😀", "\u202e😀"), ("", "")],
)
def test_what_no_database_stores_is_replaced_in_the_row(hostile, kept):
    assert make_label(hostile)[1].text == kept
