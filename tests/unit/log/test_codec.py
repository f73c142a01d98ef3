from dataclasses import dataclass
from uuid import UUID

import msgspec
import pytest

from es_power.domain.events import (
    Event,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceEvent,
    InstanceId,
    InstanceNamed,
    Label,
    LifecycleEvent,
    StateObserved,
    Trigger,
)
from es_power.domain.logged import FactImported
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.log.codec import Codec, recordable
from tests.unit.log.facts import lifecycle

AT = Timestamp(5)
VM = InstanceId(UUID(int=7))


def pack(*fields):
    return msgspec.msgpack.encode(fields)


def test_a_record_is_the_array_of_the_fields_in_their_order():
    codec = Codec()
    topic, state = codec.encode(lifecycle(3))

    assert topic == codec.topic(LifecycleEvent) == "LifecycleEvent:1"
    assert msgspec.msgpack.decode(state) == [1_790_000_000_123_456_789, VM.bytes, 1, 3, 2, 0]


def test_enums_are_stored_by_value_and_labels_as_arrays():
    codec = Codec()
    named = InstanceNamed(observed_at=AT, instance=VM, name=Label(id=2**63 - 1, digest=b"d"))
    gap = GapOpened(observed_at=AT, since=AT, reason=GapReason.CRASH)

    assert msgspec.msgpack.decode(codec.encode(named)[1]) == [5, VM.bytes, [2**63 - 1, b"d"]]
    assert msgspec.msgpack.decode(codec.encode(gap)[1]) == [5, 5, "crash"]
    assert codec.decode(*codec.encode(named)) == named
    assert codec.decode(*codec.encode(gap)) == gap


def test_the_roots_that_facts_share_are_no_records():
    assert LifecycleEvent in recordable()
    assert not {Event, InstanceEvent} & set(recordable())
    with pytest.raises(TypeError, match="InstanceEvent cannot be recorded"):
        Codec().encode(InstanceEvent(observed_at=AT, instance=VM))


def test_what_could_not_be_read_back_is_not_written():
    for wrong in ("one", 2**64, None):
        with pytest.raises(TypeError, match="LifecycleEvent cannot be recorded"):
            Codec().encode(lifecycle(wrong))


def test_an_array_shorter_than_the_fields_takes_the_defaults():
    codec = Codec()
    shortest = (5, 5, 3, 1, 0, b"\1\1")
    swept = codec.decode("HostSwept:1", pack(*shortest))

    assert swept == HostSwept(observed_at=AT, asked_at=AT, inventory=3, connection=1, number=0, states=b"\1\1")
    assert codec.raw("HostSwept:1", pack(*shortest)) == ("HostSwept", (*shortest, (), None, None, None, None))
    assert codec.raw("HostSwept:1", pack(*shortest, [[0, 300, 1]])) == (
        "HostSwept",
        (*shortest, [[0, 300, 1]], None, None, None, None),
    )


def test_values_that_a_later_writer_added_are_passed_over():
    codec = Codec()
    longer = pack(5, VM.bytes, 1, 3, 2, 0, "new")

    assert codec.decode("LifecycleEvent:1", longer).number == 3
    assert codec.raw("LifecycleEvent:1", longer) == ("LifecycleEvent", (5, VM.bytes, 1, 3, 2, 0))


@pytest.mark.parametrize(
    ("topic", "state", "reason"),
    [
        ("NeverHeardOf:1", pack(5), "unknown topic"),
        ("", b"", "unknown topic"),
        ("LifecycleEvent:2", pack(5), "newer es_power"),
        ("LifecycleEvent:1", b"", "truncated"),
        ("LifecycleEvent:1", pack(5, VM.bytes), "at least length 6"),
        ("LifecycleEvent:1", pack("now", VM.bytes, 1, 3, 2, 0), "Expected `int`"),
        ("GapOpened:1", pack(5, 5, "boredom"), "Invalid enum"),
        ("LifecycleEvent:1", b"\xff" * 9, "Expected `array`"),
    ],
)
def test_what_does_not_decode_is_named_with_its_position_and_reason(topic, state, reason):
    with pytest.raises(UnknownEventError, match=reason) as caught:
        Codec().decode(topic, state, position=41)

    assert (caught.value.topic, caught.value.position) == (topic, 41)
    assert "record 41" in str(caught.value)


@pytest.mark.parametrize("state", [b"", b"\xff", pack(5, VM.bytes), b"\x91" * 100_000 + b"\xc0"])
def test_what_is_no_array_of_enough_fields_does_not_decode_raw_either(state):
    with pytest.raises(UnknownEventError):
        Codec().raw("LifecycleEvent:1", state, position=41)


def test_upcasters_turn_older_records_into_todays_one_step_at_a_time():
    codec = Codec(
        upcasters={
            ("StateObserved", 1): lambda fields: (*fields[:5], "sweep", *fields[5:]),
            ("StateObserved", 2): lambda fields: (*fields, 0),
        }
    )
    today = StateObserved(
        observed_at=AT, instance=VM, asked_at=AT, state=1, reason=2, trigger=Trigger.SWEEP, connection=4, number=0
    )

    assert codec.encode(today)[0] == "StateObserved:3"
    assert codec.decode(*codec.encode(today)) == today
    assert codec.decode("StateObserved:1", pack(5, VM.bytes, 5, 1, 2, 4)) == today
    assert codec.decode("StateObserved:2", pack(5, VM.bytes, 5, 1, 2, "sweep", 4)) == today
    assert codec.raw("StateObserved:1", pack(5, VM.bytes, 5, 1, 2, 4)) == (
        "StateObserved",
        (5, VM.bytes, 5, 1, 2, "sweep", 4, 0),
    )
    with pytest.raises(UnknownEventError, match="newer es_power"):
        codec.decode("StateObserved:4", b"")


def test_an_upcaster_that_meets_a_damaged_record_does_not_stop_the_reader():
    codec = Codec(upcasters={("ServiceStopped", 1): lambda fields: (fields[7],)})
    with pytest.raises(UnknownEventError, match="out of range"):
        codec.decode("ServiceStopped:1", pack(5))


def test_bare_fields_make_the_event_again():
    codec = Codec()
    event = InstanceNamed(observed_at=AT, instance=VM, name=Label(id=1, digest=b"d"))
    name, fields = codec.raw(*codec.encode(event))

    assert codec.build(name, fields) == event
    with pytest.raises(UnknownEventError, match="record 41"):
        codec.build(name, fields[:1], position=41)


def test_a_field_added_at_the_end_with_a_default_needs_no_new_version():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Grown(Event):
        a: int
        b: str = "default"

    codec = Codec(recorded=[Grown])

    assert codec.decode("Grown:1", pack(5, 1)) == Grown(observed_at=AT, a=1)
    assert codec.raw("Grown:1", pack(5, 1)) == ("Grown", (5, 1, "default"))
    assert codec.decode(*codec.encode(Grown(observed_at=AT, a=1, b="given"))).b == "given"


def test_a_records_labels_are_its_own_and_those_of_a_fact_inside_it():
    codec = Codec()
    named = InstanceNamed(observed_at=AT, instance=VM, name=Label(id=7, digest=b"d"))
    topic, state = codec.encode(named)
    imported = FactImported(
        observed_at=AT, stream="s", version=1, position=1, recorded_then=AT, topic=topic, state=state
    )

    assert codec.labels(topic, state) == [Label(id=7, digest=b"d")]
    assert codec.labels(*codec.encode(imported)) == [Label(id=7, digest=b"d")]
    assert codec.bears_labels(topic)
    assert codec.bears_labels("FactImported:1")
    assert codec.bears_labels("Unheard:1")
    assert not codec.bears_labels("ServiceStopped:1")


def test_which_vm_a_damaged_record_is_about_is_read_where_it_can_be():
    codec = Codec()
    whole = codec.encode(lifecycle(3))[1]

    assert codec.instance("LifecycleEvent:1", whole) == lifecycle(3).instance
    assert codec.instance("LifecycleEvent:1", pack("now", VM.bytes)) == VM
    assert codec.instance("LifecycleEvent:9", pack(5, VM.bytes)) == VM
    assert codec.instance("LifecycleEvent:1", pack(5, b"short")) is None
    assert codec.instance("LifecycleEvent:1", b"\xc1") is None
    assert codec.instance("GapOpened:1", pack(5, 5, "crash")) is None
    assert codec.instance("NeverHeardOf:1", pack(5, VM.bytes)) is None
