"""The fleet folded from bare fields, for a replay of millions of records: the same fold as `fleet`, held equal to it.

Theory of operation. Nearly all of a log is lifecycle events, answers to `get_info`, and sweeps that say what the sweep
before them said. These three are folded here from the fields as they are stored, without building the facts or the
states in between; every other record is built and given to `Fleet.apply`, which has the meaning. A VM that was folded
here is *ahead* of the fleet until `settle` writes it there, and that comes before anything else reads the fleet. Only a
VM that one host alone has shown may be ahead: a second one's word would bear on who owns it.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Final
from uuid import UUID

from es_power.domain.events import (
    HostSwept,
    InstanceId,
    Label,
    LifecycleEvent,
    Position,
    Recorded,
    StateObserved,
)
from es_power.domain.instance import Instance
from es_power.domain.libvirt_numbers import POWER_STATES, STOPPED, TRANSITIONS
from es_power.domain.states import PowerState
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.log.chain import Chain
from es_power.log.codec import Codec, Raw
from es_power.log.queries import RawRecord
from es_power.projections.fleet import Fleet, Place

_SWEPT: Final = HostSwept.__name__

#: The power_state that a lifecycle event leaves, by libvirt's number.
_AFTER: Final = {event: transition.power_state for event, transition in TRANSITIONS.items()}
_ON: Final = frozenset(state for state in PowerState if state.is_on)
_FIELDS: Final = tuple(field.name for field in fields(Instance))


async def fold_fleet(
    log: SqlLog,
    *,
    until: Position | None = None,
    chain: Chain | None = None,
    progress: Callable[[Position], None] = lambda _: None,
) -> Fleet:
    """Fold the log from its first record up to `until`, or its head.

    A new `chain` checks every hash on the way, with SealBrokenError. What cannot be read is set aside.
    """
    fold = LeanFold(log.codec)
    fleet = fold.fleet
    while True:
        begin = fleet.position
        try:
            await log.scan(fold.apply, after=begin, until=until, chain=chain)
        except UnknownEventError as error:
            fleet.set_aside(Position(error.position or begin + 1), str(error))
        if fleet.position == begin:
            fold.settle()
            return fleet
        progress(fleet.position)


class LeanFold:
    """Folds bare records into a fleet, which is complete after `settle`."""

    def __init__(self, codec: Codec) -> None:
        self.fleet = Fleet()
        self._codec = codec
        #: The VMs that are ahead, by UUID.
        self._ahead: dict[bytes, _Ahead] = {}

    def apply(self, batch: Sequence[RawRecord]) -> None:
        """Fold records in the order of their positions; one that cannot be built is set aside."""
        fleet, ahead = self.fleet, self._ahead
        for record in batch:
            position, stream, version, recorded_at, kind, raw = record
            learn = _OF_ONE_VM.get(kind)
            if learn is not None:
                vm = ahead.get(raw[1])
                if vm is None or vm.stream != stream:
                    vm = self._take(raw[1], stream)
                if vm is not None:
                    learn(vm, position, raw)
                    vm.place.version, vm.place.recorded_at = version, recorded_at
                    continue
            elif kind == _SWEPT:
                place = fleet.places.get(stream)
                if place is not None and _says_nothing_new(place, raw):
                    _swept(place, record)
                    continue
            self.settle()
            self._build(record)
        if batch:
            fleet.position = batch[-1][0]

    def settle(self) -> None:
        """Write into the fleet what is ahead of it."""
        for vm in self._ahead.values():
            vm.place.instances[vm.instance] = vm.known()
        self._ahead.clear()

    def _take(self, raw: bytes, stream: str) -> "_Ahead | None":
        """Let a VM go ahead; None where this is not the one host that has shown it."""
        instance = InstanceId(UUID(bytes=raw))
        if self.fleet.seen_on.get(instance) != (stream,):
            return None
        place = self.fleet.places[stream]
        vm = self._ahead[raw] = _Ahead(instance, stream, place)
        place.touched.add(instance)
        place.dirty.add(instance)
        return vm

    def _build(self, record: RawRecord) -> None:
        position, stream, version, recorded_at, kind, raw = record
        try:
            event = self._codec.build(kind, raw, position=position)
        except UnknownEventError as error:
            self.fleet.set_aside(position, str(error))
            return
        self.fleet.apply(
            Recorded(position=position, stream=stream, version=version, recorded_at=recorded_at, event=event)
        )


class _Ahead:
    """One VM that is folded in place; its fields are those of `Instance`, and mean the same."""

    __slots__ = (
        "connection",
        "gone",
        "index",
        "instance",
        "last_detail",
        "last_event",
        "left_on",
        "name",
        "number",
        "observed_at",
        "place",
        "position",
        "power_state",
        "provisional",
        "reason",
        "since",
        "state",
        "stream",
    )

    power_state: PowerState | None
    provisional: bool
    since: Timestamp
    observed_at: Timestamp
    position: Position
    index: int | None
    connection: int
    number: int
    last_event: int | None
    last_detail: int | None
    state: int | None
    reason: int | None
    gone: bool
    left_on: Position
    name: Label | None

    def __init__(self, instance: InstanceId, stream: str, place: Place) -> None:
        self.instance = instance
        self.stream = stream
        self.place = place
        known = place.get(instance)
        for name in _FIELDS:
            setattr(self, name, getattr(known, name))

    def known(self) -> Instance:
        """What is known of the VM, as the fleet keeps it."""
        return Instance(**{name: getattr(self, name) for name in _FIELDS})

    def announced(self, position: Position, raw: Raw) -> None:
        """Apply a LifecycleEvent."""
        observed_at, _, connection, number, event, detail = raw
        if (number <= self.number and connection == self.connection) or connection < self.connection:
            return
        self.connection, self.number = connection, number
        power_state = _AFTER.get(event)
        if power_state is None:
            return
        if power_state is not self.power_state or not self.since:
            self._becomes(power_state, observed_at, position)
        self.provisional = True
        self.observed_at, self.position, self.index = observed_at, position, None
        self.last_event, self.last_detail = event, detail
        self.gone = False

    def observed(self, position: Position, raw: Raw) -> None:
        """Apply a StateObserved."""
        observed_at, _, _, state, reason, _, connection, number = raw
        if (number < self.number and connection == self.connection) or connection < self.connection:
            return
        power_state = PowerState.NOSTATE if state is None else POWER_STATES.get(state)
        if power_state is not self.power_state or not self.since:
            self._becomes(power_state, observed_at, position)
        self.provisional = False
        self.observed_at, self.position, self.index = observed_at, position, None
        self.state, self.reason = state, reason
        self.gone = state is None
        if self.last_event == STOPPED and power_state in _ON:
            self.last_event = self.last_detail = None

    def _becomes(self, power_state: PowerState | None, at: Timestamp, position: Position) -> None:
        if self.power_state in _ON and power_state not in _ON:
            self.left_on = position
        self.power_state, self.since = power_state, at


_OF_ONE_VM: Final = {LifecycleEvent.__name__: _Ahead.announced, StateObserved.__name__: _Ahead.observed}


def _says_nothing_new(place: Place, raw: Raw) -> bool:
    """Whether a HostSwept confirms what is known of every VM, and nothing was learnt of any since the one before."""
    _, _, inventory, _, _, states, odd, _, _ = raw
    return (
        states == place.states
        and not odd
        and inventory == place.host.inventory
        and place.touched.isdisjoint(place.order)
    )


def _swept(place: Place, record: RawRecord) -> None:
    """Apply such a sweep: its host has the position and the time for all of its VMs."""
    position, _, place.version, place.recorded_at, _, raw = record
    host, boot_id = place.host, raw[7]
    place.host = replace(
        host,
        swept_at=raw[0],
        sweep_position=position,
        sweeps=host.sweeps + 1,
        boot_id=UUID(bytes=boot_id) if boot_id else host.boot_id,
    )
