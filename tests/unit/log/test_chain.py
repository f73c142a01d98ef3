from copy import copy
from hashlib import sha256

import pytest

from es_power.errors import SealBrokenError
from es_power.log.chain import GENESIS, Chain, link

A, B = bytes(15) + b"a", bytes(15) + b"b"


def stored():
    """Five records of two streams, as rows with the ids of their streams."""
    ends, rows = {}, []
    for position, (stream, version) in enumerate([(A, 1), (B, 1), (A, 2), (A, 3), (B, 2)], 1):
        topic, state = "LifecycleEvent:1", b"state %d" % position
        ends[stream] = link(ends.get(stream, GENESIS), stream, version, position, -7, topic, state)
        rows.append(((position, 1 if stream == A else 2, version, -7, topic, state, ends[stream]), stream))
    return rows, ends


def follow(rows):
    chain = Chain()
    for row, stream in rows:
        chain.check(row, stream)
    return chain


def test_the_hash_is_that_of_the_bytes_which_the_page_promises():
    promised = (
        bytes([1])
        + bytes(range(32))
        + A
        + (3).to_bytes(8)
        + (9).to_bytes(8)
        + (-7).to_bytes(8, signed=True)
        + (5).to_bytes(4)
        + "Tö:1".encode()
        + b"state"
    )

    assert link(bytes(range(32)), A, 3, 9, -7, "Tö:1", b"state") == sha256(promised).digest()


def test_records_as_they_were_written_pass():
    rows, ends = stored()
    follow(rows).close(5, ends)
    Chain().close(0, {})


@pytest.mark.parametrize("column", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("index", range(5))
def test_a_changed_column_is_found_where_it_is(index, column):
    rows, _ = stored()
    row, stream = rows[index]
    changed = list(row)
    value = changed[column]
    changed[column] = value + 1 if isinstance(value, int) else value[:-1]
    rows[index] = (tuple(changed), stream)
    with pytest.raises(SealBrokenError) as caught:
        follow(rows)

    assert caught.value.position == index + 1


def test_bytes_that_move_from_the_topic_to_the_state_are_found():
    rows, _ = stored()
    (position, no, version, at, topic, state, digest), stream = rows[0]
    rows[0] = ((position, no, version, at, topic[:-1], b"1" + state, digest), stream)
    with pytest.raises(SealBrokenError):
        follow(rows)


def test_a_missing_record_is_named():
    rows, _ = stored()
    with pytest.raises(SealBrokenError, match=r"record 2 .* missing"):
        follow([rows[0], *rows[2:]])


def test_a_record_moved_to_another_stream_is_found():
    rows, _ = stored()
    rows[1] = (rows[1][0], A)
    with pytest.raises(SealBrokenError) as caught:
        follow(rows)

    assert caught.value.position == 2


def test_columns_of_another_type_are_found():
    rows, _ = stored()
    row, stream = rows[3]
    for position, wrong in ((2, "3"), (2, -1), (4, None), (4, "\ud800"), (5, "text")):
        changed = list(row)
        changed[position] = wrong
        with pytest.raises(SealBrokenError, match=r"record 4 .* columns"):
            follow([*rows[:3], (tuple(changed), stream)])


def test_records_missing_at_the_end_are_found():
    rows, ends = stored()
    with pytest.raises(SealBrokenError, match=r"record 5 .* should end at 5"):
        follow(rows[:4]).close(5, ends)
    with pytest.raises(SealBrokenError, match=r"record 5 .* should end at 4"):
        follow(rows).close(4, ends)
    with pytest.raises(SealBrokenError, match="table of streams"):
        follow(rows).close(5, {**ends, A: GENESIS})


def test_a_record_of_a_stream_that_the_table_has_not_is_found():
    rows, _ = stored()
    with pytest.raises(SealBrokenError, match=r"record 1 .* no stream of number 1"):
        Chain().check_all([rows[0][0]], {2: (B, "b")})


def test_a_copy_goes_on_by_itself_and_says_what_would_fit():
    rows, ends = stored()
    chain = follow(rows[:3])
    copied = copy(chain)
    copied.check(*rows[3])

    assert chain.position == 3
    assert copied.end_of(A) == ends[A] != chain.end_of(A)
    assert chain.fits(*rows[3], 4)
    assert not chain.fits(*rows[3], 5)
    assert not chain.fits((4, 1, None, -7, "x", b"", b""), A, 4)
