"""A fleet as bytes and back: what a question about the past begins with, so that it need not fold the log from 1.

A snapshot is no truth of its own: it is the fold up to its position, and can be dropped and made again at any time.
"""

import zlib
from typing import Final
from uuid import UUID

import msgspec

from es_power.domain.events import InstanceId, Label, Position
from es_power.domain.host import Host, Vouched
from es_power.domain.instance import Instance
from es_power.domain.time import Timestamp
from es_power.projections.fleet import Fleet, Place
from es_power.projections.quarantine import SetAside

EVERY: Final = 25_000
"""Positions between two of them: of so many records, the fold takes a tenth of a second or two."""

_PACK: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class _Place(msgspec.Struct, array_like=True, frozen=True):
    host: Host
    version: int
    recorded_at: int
    #: The VMs, and what is known of each.
    instances: list[UUID]
    known: list[Instance]
    #: Which of them, by their place, the host's newest sweep does not confirm.
    touched: list[int]
    #: The inventory in force, by the same places; a VM that it alone lists is behind the others.
    order: list[int]
    unseen: list[UUID]
    states: bytes | None
    asked: tuple[int, int]


class _Fleet(msgspec.Struct, array_like=True, frozen=True):
    position: int
    places: dict[str, _Place]
    #: On which streams VMs were seen that were seen on several, in the order of their first word there.
    several: dict[UUID, list[str]]
    vouched: dict[UUID, Vouched]
    quarantined: list[SetAside]
    told: dict[UUID, dict[str, Label | None]]


_READ: Final = msgspec.msgpack.Decoder(_Fleet).decode


def pack(fleet: Fleet) -> bytes:
    """Write a fleet."""
    snapshot = _Fleet(
        position=fleet.position,
        places={stream: _packed(place) for stream, place in fleet.places.items()},
        several={instance: list(streams) for instance, streams in fleet.seen_on.items() if len(streams) > 1},
        vouched=dict(fleet.vouched.items()),
        quarantined=list(fleet.quarantined.values()),
        told={instance: dict(streams) for instance, streams in fleet.told.items()},
    )
    return zlib.compress(_PACK(snapshot), level=1)


def unpack(data: bytes) -> Fleet:
    """Read it back; ValueError, LookupError, zlib.error or msgspec's errors where it is none."""
    snapshot = _READ(zlib.decompress(data))
    fleet = Fleet()
    fleet.position = Position(snapshot.position)
    for stream, packed in snapshot.places.items():
        fleet.places[stream] = _unpacked(packed)
        fleet.seen_on.update(dict.fromkeys(fleet.places[stream].instances, (stream,)))
    for instance, streams in snapshot.several.items():
        fleet.seen_on[InstanceId(instance)] = tuple(streams)
    fleet.vouched = {InstanceId(instance): said for instance, said in snapshot.vouched.items()}
    for aside in snapshot.quarantined:
        fleet.quarantine(aside)
    fleet.quarantined_anew.clear()
    fleet.told = {InstanceId(instance): streams for instance, streams in snapshot.told.items()}
    return fleet


def _packed(place: Place) -> _Place:
    places = {instance: index for index, instance in enumerate(place.instances)}
    unseen: list[UUID] = [instance for instance in place.order if instance not in places]
    for instance in unseen:
        places[InstanceId(instance)] = len(places)
    return _Place(
        host=place.host,
        version=place.version,
        recorded_at=place.recorded_at,
        instances=list(place.instances),
        known=list(place.instances.values()),
        touched=[places[instance] for instance in place.touched],
        order=[places[instance] for instance in place.order],
        unseen=unseen,
        states=place.states,
        asked=place.asked,
    )


def _unpacked(packed: _Place) -> Place:
    instances = [InstanceId(instance) for instance in (*packed.instances, *packed.unseen)]
    return Place(
        host=packed.host,
        version=packed.version,
        recorded_at=Timestamp(packed.recorded_at),
        instances=dict(zip(instances, packed.known, strict=False)),
        touched={instances[index] for index in packed.touched},
        order={instances[index]: index_in_order for index_in_order, index in enumerate(packed.order)},
        states=packed.states,
        asked=packed.asked,
    )
