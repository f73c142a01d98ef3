"""The fleet folded from bare fields, for a replay of millions of records: the same fold as `fleet`, held equal to it.

Theory of operation. Nearly all of a log is lifecycle events, answers to `get_info`, and sweeps that say what the sweep
before them said. These three are folded here from the fields as they are stored, without building the facts or the
states in between; every other record is built and given to `Fleet.apply`, which has the meaning. A VM that was folded
here is *ahead* of the fleet until `settle` writes it there, and that comes before anything else reads the fleet. Only a
VM that one host alone has shown may be ahead: a second one's word would bear on who owns it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from es_power.projections.quarantine import failed, unreadable

_SWEPT: Final = HostSwept.__name__

#: The power_state that a lifecycle event leaves, by libvirt's number.
_AFTER: Final = {event: transition.power_state for event, transition in TRANSITIONS.items()}
_ON: Final = frozenset(state for state in PowerState if state.is_on)


async def fold_fleet(
    log: SqlLog,
    *,
    start: Fleet | None = None,
    until: Position | None = None,
    chain: Chain | None = None,
    progress: Callable[[Position], None] = lambda _: None,
) -> Fleet:
    """Fold a whole log up to `until`, or its head; a fleet to `start` with is taken on from there (`beginning`).

    A new `chain`, or one that begins where the fleet is, checks every hash on the way, with SealBrokenError. What
    cannot be read is set aside.
    """
    fold = LeanFold(log.codec, start)
    fleet = fold.fleet
    while True:
        begin = fleet.position
        try:
            await log.scan(fold.apply, after=begin, until=until, chain=chain)
        except UnknownEventError as error:
            fleet.set_aside(unreadable(error, Position(error.position or begin + 1)))
        if fleet.position == begin:
            fold.settle()
            return fleet
        progress(fleet.position)


class LeanFold:
    """Folds bare records into a fleet, which is complete after `settle`."""

    def __init__(self, codec: Codec, start: Fleet | None = None) -> None:
        self.fleet = start or Fleet()
        self._codec = codec
        self._hosts: dict[str, _Host] = {}
        #: Those that have something ahead of the fleet.
        self._unsettled: dict[str, _Host] = {}

    def apply(self, batch: Sequence[RawRecord]) -> None:
        """Fold records in the order of their positions; one that cannot be built is set aside."""
        hosts = self._hosts
        for record in batch:
            position, stream, _, _, kind, raw = record
            host = hosts.get(stream) or self._host(stream)
            learn = _OF_ONE_VM.get(kind)
            if host is None:
                pass
            elif learn is not None:
                vm = host.ahead.get(raw[1]) or self._take(host, raw[1])
                if vm is not None:
                    learn(vm, position, raw)
                    if host.newest is None:
                        self._unsettled[stream] = host
                    host.newest = record
                    continue
            elif kind == _SWEPT and host.has_nothing_new(raw):
                host.swept, host.sweeps = record, host.sweeps + 1
                host.place.asked = raw[3], raw[4]
                self._unsettled[stream] = host
                host.newest = record
                continue
            self._build(record)
        if batch:
            self.fleet.position = batch[-1][0]

    def settle(self) -> None:
        """Write into the fleet what is ahead of it."""
        for host in self._unsettled.values():
            host.settle()
        self._unsettled.clear()

    def _host(self, stream: str) -> "_Host | None":
        place = self.fleet.places.get(stream)
        if place is None:
            return None
        host = self._hosts[stream] = _Host(stream, place)
        return host

    def _take(self, host: "_Host", raw: bytes) -> "_Ahead | None":
        """Let a VM go ahead; None where this is not the one host that has shown it."""
        instance = InstanceId(UUID(bytes=raw))
        return host.take(instance) if self.fleet.seen_on.get(instance) == (host.stream,) else None

    def _build(self, record: RawRecord) -> None:
        position, stream, version, recorded_at, kind, raw = record
        if kind == _SWEPT and self._is_alone(stream):
            if host := self._unsettled.pop(stream, None):
                host.settle()
        else:
            self.settle()
        try:
            event = self._codec.build(kind, raw, position=position)
        except UnknownEventError as error:
            error.stream = stream
            self.fleet.set_aside(unreadable(error, position))
            return
        recorded = Recorded(position=position, stream=stream, version=version, recorded_at=recorded_at, event=event)
        try:
            self.fleet.apply(recorded)
        except Exception as error:  # noqa: BLE001 (as in `ReadModels`: the others are folded)
            self.fleet.set_aside(failed(recorded, error))

    def _is_alone(self, stream: str) -> bool:
        """Whether no other host has shown any of a host's VMs, so that its sweep bears on no other host."""
        place = self.fleet.places.get(stream)
        return place is None or all(self.fleet.seen_on.get(instance) in (None, (stream,)) for instance in place.order)


class _Host:
    """One host's place in the fleet, and what is ahead of it."""

    __slots__ = ("ahead", "newest", "place", "stream", "sweeps", "swept")

    def __init__(self, stream: str, place: Place) -> None:
        self.stream = stream
        self.place = place
        #: The VMs that are ahead, by UUID.
        self.ahead: dict[bytes, _Ahead] = {}
        #: The newest sweep that said nothing new, and how many there were of them.
        self.swept: RawRecord | None = None
        self.sweeps = 0
        #: The newest record of all.
        self.newest: RawRecord | None = None

    def take(self, instance: InstanceId) -> "_Ahead":
        """Let a VM go ahead."""
        self._settle_sweeps()
        vm = self.ahead[instance.bytes] = _Ahead(instance, self.place.get(instance))
        self.place.touched.add(instance)
        self.place.dirty.add(instance)
        return vm

    def has_nothing_new(self, raw: Raw) -> bool:
        """Whether a HostSwept only confirms what is known of every VM."""
        _, _, inventory, connection, number, states, odd, boot_id, *_ = raw
        place = self.place
        return (
            (boot_id is None or UUID(bytes=boot_id) == place.host.boot_id)
            and states == place.states
            and not odd
            and inventory == place.host.inventory
            and (connection, number) >= place.asked
            and place.order.keys().isdisjoint(place.touched)
        )

    def settle(self) -> None:
        """Write all that is ahead into the place."""
        for vm in self.ahead.values():
            self.place.instances[vm.instance] = vm.known()
        self.ahead.clear()
        self._settle_sweeps()
        if self.newest is not None:
            _, _, self.place.version, self.place.recorded_at, _, _ = self.newest
            self.newest = None

    def _settle_sweeps(self) -> None:
        """Tell the host of its sweeps: it has position and time of the newest for all of its VMs."""
        if self.swept is None:
            return
        position, _, _, _, _, raw = self.swept
        host = self.place.host
        self.place.host = replace(
            host,
            swept_at=raw[0],
            sweep_position=position,
            sweeps=host.sweeps + self.sweeps,
            boot_id=UUID(bytes=raw[7]) if raw[7] else host.boot_id,
        )
        self.swept, self.sweeps = None, 0


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
        "position",
        "power_state",
        "provisional",
        "reason",
        "since",
        "state",
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

    def __init__(self, instance: InstanceId, known: Instance) -> None:
        # Field by field: a loop over their names costs three times as much, for each VM of a fleet.
        self.instance = instance
        self.power_state, self.provisional, self.since = known.power_state, known.provisional, known.since
        self.observed_at, self.position, self.index = known.observed_at, known.position, known.index
        self.connection, self.number = known.connection, known.number
        self.last_event, self.last_detail = known.last_event, known.last_detail
        self.state, self.reason, self.gone = known.state, known.reason, known.gone
        self.left_on, self.name = known.left_on, known.name

    def known(self) -> Instance:
        """What is known of the VM, as the fleet keeps it."""
        return Instance(
            power_state=self.power_state,
            provisional=self.provisional,
            since=self.since,
            observed_at=self.observed_at,
            position=self.position,
            index=self.index,
            connection=self.connection,
            number=self.number,
            last_event=self.last_event,
            last_detail=self.last_detail,
            state=self.state,
            reason=self.reason,
            gone=self.gone,
            left_on=self.left_on,
            name=self.name,
        )

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
            if power_state not in _ON and self.power_state in _ON:
                self.left_on = position
            self.power_state, self.since = power_state, observed_at
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
            if power_state not in _ON and self.power_state in _ON:
                self.left_on = position
            self.power_state, self.since = power_state, observed_at
        self.provisional = False
        self.observed_at, self.position, self.index = observed_at, position, None
        self.state, self.reason = state, reason
        self.gone = state is None
        if self.last_event == STOPPED and power_state in _ON:
            self.last_event = self.last_detail = None


_OF_ONE_VM: Final = {LifecycleEvent.__name__: _Ahead.announced, StateObserved.__name__: _Ahead.observed}
