"""Whatever a fact holds comes back as it was; whatever bytes a record holds, reading ends in an event or an error."""

from typing import get_type_hints
from uuid import UUID

from hypothesis import given, strategies as st

from es_power.domain.events import Event, InstanceId, Label, Position
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.log.codec import Codec, recordable

CODEC = Codec()

INT64 = st.integers(-(2**63), 2**63 - 1)
# Registered by type, so that it holds wherever a field has such a value: alone, or None, or within a tuple.
st.register_type_strategy(int, INT64)
st.register_type_strategy(float, st.floats(allow_nan=False))  # which is not equal to itself
st.register_type_strategy(Timestamp, INT64.map(Timestamp))
st.register_type_strategy(Position, st.integers(0, 2**63 - 1).map(Position))
st.register_type_strategy(InstanceId, st.uuids().map(InstanceId))
st.register_type_strategy(Label, st.builds(Label, id=st.integers(0, 2**63 - 1), digest=st.binary(max_size=40)))


def events_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name != "times"}
    return st.builds(kind, **{name: st.from_type(hint) for name, hint in hints.items()})


EVENTS = st.one_of([events_of(kind) for kind in recordable()])


@given(EVENTS)
def test_every_event_comes_back_as_it_was(event):
    assert CODEC.decode(*CODEC.encode(event)) == event


@given(EVENTS)
def test_bare_fields_are_the_event_in_the_order_of_its_fields(event):
    topic, state = CODEC.encode(event)
    name, fields = CODEC.raw(topic, state)

    assert name == type(event).__name__
    assert [bare(getattr(event, field)) for field in type(event).__dataclass_fields__ if field != "times"] == list(
        fields
    )
    assert CODEC.build(name, fields) == event


def bare(value):
    match value:
        case UUID():
            return value.bytes
        case Label():
            return [value.id, value.digest]
        case tuple():
            return [bare(each) for each in value]
        case _:
            return value


@given(EVENTS, st.data())
def test_a_damaged_record_is_an_event_or_an_error_that_names_it(event, data):
    topic, state = CODEC.encode(event)
    index = data.draw(st.integers(0, len(state) - 1))
    flipped = bytearray(state)
    flipped[index] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(flipped), state[:index], state + state[:index]):
        for read in (CODEC.decode, CODEC.raw):
            error = refusal(read, topic, damaged)

            assert error is None or (error.topic, error.position) == (topic, 41)


@given(st.text(max_size=30), st.binary(max_size=60))
def test_any_topic_and_any_bytes_end_in_an_error_that_names_them(topic, state):
    error = refusal(CODEC.decode, topic, state)

    assert error is None or error.topic == topic


def refusal(read, topic, state):
    try:
        read(topic, state, position=41)
    except UnknownEventError as error:
        return error
    return None
