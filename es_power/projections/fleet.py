"""All VMs of all hosts: the fold behind every read model.

Theory of operation. `domain.instance.evolve` is the meaning; this module only arranges that a sweep of thousands of
VMs in which nothing happened costs one comparison of bytes. For that, a VM whose newest fact is its host's newest
sweep is not touched by that sweep: position and time of its newest observation are read from the host when somebody
asks (`get`). A VM is *touched* when anything was learnt of it, or of who vouches for it, since the newest sweep; only
touched VMs and those whose bytes differ are evolved one by one. A property test holds this equal to evolving each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from es_power.domain import host as host_fold, instance as instance_fold
from es_power.domain.decisions import Confirmed, PlanningStarted, Retried, Withdrawn
from es_power.domain.events import (
    START,
    ClockJumped,
    Event,
    GapOpened,
    HostSwept,
    InstanceEvent,
    InstanceId,
    InstanceNamed,
    InventoryRecorded,
    Label,
    Position,
    RecordCleared,
    Recorded,
    RecordNotFound,
    ServiceStarted,
    SettingsRecorded,
    StateObserved,
)
from es_power.domain.host import Host, Vouched
from es_power.domain.instance import Instance, Owner
from es_power.domain.streams import is_imported, observed_host, planned_observer
from es_power.domain.time import NEVER, Timestamp
from es_power.projections import imported
from es_power.projections.quarantine import EVERYBODY, SetAside, failed

_UNSEEN = Instance()


@dataclass(frozen=True, slots=True)
class Change:
    """One fact about one VM on one host, with what was known before and after it."""

    #: The fact; a sweep comes as the StateObserved of this VM, with its index.
    recorded: Recorded
    #: The VM, and the observer's stream that stands for the host.
    instance: InstanceId
    stream: str
    before: Instance
    after: Instance
    #: An observation that lost to an event handed out after it was asked.
    stale: bool = False


@dataclass(slots=True)
class Place:
    """One observer's host and the VMs it has shown."""

    host: Host = field(default_factory=Host)
    instances: dict[InstanceId, Instance] = field(default_factory=dict)
    touched: set[InstanceId] = field(default_factory=set)
    #: Where each VM stands in the inventory in force.
    order: dict[InstanceId, int] = field(default_factory=dict)
    #: The newest sweep's answers, while they hold for every VM that is not touched, and when it was asked: by events.
    states: bytes | None = None
    asked: tuple[int, int] = (0, 0)
    #: The VMs whose row a store has to write again.
    dirty: set[InstanceId] = field(default_factory=set)
    #: The stream's newest record: its version, and when it was recorded.
    version: int = 0
    recorded_at: Timestamp = NEVER

    def copy(self) -> "Place":
        """The same, with nothing that a store would have to write."""
        return replace(self, instances=dict(self.instances), touched=set(self.touched), dirty=set())

    def get(self, instance: InstanceId) -> Instance:
        """What is known of a VM here; an empty Instance where nothing is."""
        known = self.instances.get(instance, _UNSEEN)
        if instance in self.touched or instance not in self.order or known.position >= self.host.sweep_position:
            return known
        return replace(
            known,
            observed_at=self.host.swept_at,
            position=self.host.sweep_position,
            index=self.order[instance],
        )


class Fleet:
    """Every VM on every host, who vouches for it, and up to which position of the log that is true."""

    def __init__(self) -> None:
        self.position = START
        self.places: dict[str, Place] = {}
        #: The streams on which a VM was ever seen.
        self.seen_on: dict[InstanceId, tuple[str, ...]] = {}
        self.vouched: dict[InstanceId, Vouched] = {}
        #: The instances that imported facts tell of, by stream, with the name that they have there; what a store has to
        #: write of it. They bear on nothing else.
        self.told: dict[InstanceId, dict[str, Label | None]] = {}
        self.told_anew: set[tuple[InstanceId, str]] = set()
        #: Records that could not be read or applied; those that a store has to write; and by what is in doubt (a VM, an
        #: observer's stream, or EVERYBODY) the newest of them.
        self.quarantined: dict[Position, SetAside] = {}
        self.quarantined_anew: set[Position] = set()
        self._doubts: dict[InstanceId | str, Position] = {}

    # ------------------------------------------------------------------------------------------------- questions

    def get(self, instance: InstanceId, stream: str) -> Instance:
        """What one host has shown of a VM."""
        place = self.places.get(stream)
        return place.get(instance) if place else _UNSEEN

    def hosts_of(self, instance: InstanceId) -> Mapping[str, Instance]:
        """What each host, by its stream, has shown of a VM."""
        return {stream: self.places[stream].get(instance) for stream in self.seen_on.get(instance, ())}

    def owner(self, instance: InstanceId) -> Owner:
        """Which host's word, by its stream, counts for a VM."""
        streams = self.seen_on.get(instance, ())
        if len(streams) == 1:
            only = self.places[streams[0]].instances[instance]
            return Owner(host=streams[0] if only.is_on or not only.migrated_away else None)
        return instance_fold.owner(self.hosts_of(instance))

    def told_by(self, instance: InstanceId) -> tuple[str, Label | None] | None:
        """The imported log, by its stream, that tells of a VM, and the VM's name there: before all one that names it.

        Of several it is always the same one, in whatever order they were imported, or are read from tables.
        """
        told = self.told.get(instance)
        return max(told.items(), key=lambda told: (told[1] is not None, told[0])) if told else None

    def doubt(self, instance: InstanceId) -> SetAside | None:
        """The newest record that was set aside and may be about a VM."""
        if not self._doubts:
            return None
        names: tuple[InstanceId | str, ...] = (instance, *self.seen_on.get(instance, ()), EVERYBODY)
        newest = max(self._doubts.get(name, START) for name in names)
        return self.quarantined.get(newest)

    def __iter__(self) -> Iterator[tuple[InstanceId, str, Instance]]:
        """Every VM on every host that has shown it."""
        for stream, place in self.places.items():
            for instance in place.instances:
                yield instance, stream, place.get(instance)

    def copy(self) -> "Fleet":
        """The same, to be asked while this one goes on; what is shared is never changed, only replaced."""
        copied = Fleet()
        copied.position = self.position
        copied.places = {stream: place.copy() for stream, place in self.places.items()}
        copied.seen_on = dict(self.seen_on)
        copied.vouched = dict(self.vouched)
        copied.told = {instance: dict(streams) for instance, streams in self.told.items()}
        copied.quarantined = dict(self.quarantined)
        copied._doubts = dict(self._doubts)
        return copied

    # ----------------------------------------------------------------------------------------------------- facts

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        """Fold one record, and tell what it changed or confirmed for which VM.

        A sweep tells only of VMs that were touched or differ: for all others it says what is known already.
        """
        self.position = recorded.position
        event = recorded.event
        if observed_host(recorded.stream) is None:
            self._apply_elsewhere(recorded)
            return ()
        place = self.places.get(recorded.stream)
        if place is None:
            place = self.places[recorded.stream] = Place()
        place.version, place.recorded_at = recorded.version, recorded.recorded_at
        if isinstance(event, InstanceEvent):
            return (self._evolve(place, event.instance, recorded),)
        if isinstance(event, HostSwept):
            return self._sweep(place, event, recorded)
        if isinstance(event, SettingsRecorded) and event.policy != place.host.policy:
            _touch_all(place)
        if isinstance(event, GapOpened | ServiceStarted | ClockJumped):
            # What was blind, or was seen by another clock, is looked at anew, each VM by itself.
            place.states = None
        if isinstance(event, InventoryRecorded):
            _write_down(place, place.order)
            place.states = None
            place.order = {instance: index for index, instance in enumerate(event.instances)}
        place.host = host_fold.evolve(place.host, recorded)
        return ()

    def set_aside(self, aside: SetAside) -> None:
        """Pass over a record that cannot be read or applied, so that it does not hide the others."""
        self.position = aside.position
        self.quarantine(aside)

    def quarantine(self, aside: SetAside) -> None:
        """Remember a record that could not be read or applied, and what is in doubt by it."""
        if self.quarantined.get(aside.position) != aside:
            self.quarantined[aside.position] = aside
            self.quarantined_anew.add(aside.position)
        for doubtful in aside.doubtful:
            self._doubts[doubtful] = max(self._doubts.get(doubtful, aside.position), aside.position)

    def touch(self, instance: InstanceId) -> None:
        """Have the next sweep say of a VM what it says, though it may be nothing new."""
        self._touch(instance)

    def _apply_elsewhere(self, recorded: Recorded) -> None:
        event = recorded.event
        if is_imported(recorded.stream):
            self._tell(recorded.stream, event)
            return
        if isinstance(event, PlanningStarted):
            place = self.places.get(planned_observer(recorded.stream) or "")
            if place:
                _touch_all(place)
            return
        said = host_fold.vouched(recorded)
        if said is not None and isinstance(event, InstanceEvent):
            self.vouched[event.instance] = said.following(self.vouched.get(event.instance))
            self._touch(event.instance)
        elif isinstance(event, RecordCleared | RecordNotFound):
            # Each takes back its own word: a person's, or Nova's.
            said = self.vouched.get(event.instance)
            if said is not None and said.is_novas == isinstance(event, RecordNotFound):
                del self.vouched[event.instance]
            self._touch(event.instance)
        elif isinstance(event, Retried | Withdrawn | Confirmed):
            # The command is out of the way, so what a sweep says of the instance may call for another.
            self._touch(event.instance)

    def _tell(self, stream: str, event: Event) -> None:
        fact = imported.opened(event)
        for instance in imported.instances(event):
            streams = self.told.setdefault(instance, {})
            if isinstance(fact, InstanceNamed) or stream not in streams:
                streams[stream] = fact.name if isinstance(fact, InstanceNamed) else None
                self.told_anew.add((instance, stream))

    def _touch(self, instance: InstanceId) -> None:
        for stream in self.seen_on.get(instance, ()):
            place = self.places[stream]
            _write_down(place, (instance,))
            place.touched.add(instance)

    def _evolve(self, place: Place, instance: InstanceId, recorded: Recorded) -> Change:
        before = place.get(instance)
        after = instance_fold.evolve(before, recorded)
        if instance not in place.instances:
            self.seen_on[instance] = (*self.seen_on.get(instance, ()), recorded.stream)
        place.instances[instance] = after
        place.touched.add(instance)
        place.dirty.add(instance)
        if len(self.seen_on[instance]) > 1 and _bears_on_ownership(before, after):
            # Another host's word may count from now on, so each of them has to be looked at again.
            self._touch(instance)
        event = recorded.event
        stale = isinstance(event, StateObserved) and instance_fold.is_stale(before, event)
        return Change(recorded, instance, recorded.stream, before, after, stale)

    def _sweep(self, place: Place, event: HostSwept, recorded: Recorded) -> Sequence[Change]:
        count = len(place.order)
        if event.inventory != place.host.inventory or 2 * count != len(event.states):
            place.states = None
            reason = f"its inventory, version {event.inventory}, is not the one in force"
            self.quarantine(failed(recorded, LookupError(reason)))
            return ()
        wanted = _to_look_at(place, event, count)
        instances = tuple(place.order) if wanted else ()
        changes: list[Change] = []
        failures: list[SetAside] = []
        for index in wanted:
            part = replace(recorded, event=event.answer(index, instances[index]), index=index)
            try:
                changes.append(self._evolve(place, instances[index], part))
            except Exception as error:  # noqa: BLE001 (whatever is wrong with one VM's part, the others' are folded)
                place.touched.add(instances[index])
                failures.append(failed(part, error))
        if failures:
            of_all = tuple(instance for each in failures for instance in each.instances)
            self.quarantine(replace(failures[0], kind=HostSwept.__name__, instances=of_all))
        place.touched.difference_update(change.instance for change in changes if not change.stale)
        place.states = None if event.odd else event.states
        place.asked = event.connection, event.number
        place.host = host_fold.evolve(place.host, recorded)
        return changes


def _to_look_at(place: Place, event: HostSwept, count: int) -> Sequence[int]:
    """Which parts of a sweep may say something new."""
    old, new = place.states, event.states
    if old is None or event.odd or (event.connection, event.number) < place.asked:
        return range(count)
    wanted = {place.order[instance] for instance in place.touched if instance in place.order}
    if old != new:
        wanted.update(i for i in range(count) if new[2 * i : 2 * i + 2] != old[2 * i : 2 * i + 2])
    return sorted(wanted)


def _bears_on_ownership(before: Instance, after: Instance) -> bool:
    return (before.power_state, before.gone, before.migrated_away) != (
        after.power_state,
        after.gone,
        after.migrated_away,
    )


def _touch_all(place: Place) -> None:
    _write_down(place, place.instances)
    place.touched.update(place.instances)


def _write_down(place: Place, instances: Iterable[InstanceId]) -> None:
    """Store what `get` says, before what it refers to changes."""
    for instance in instances:
        if instance in place.instances:
            place.instances[instance] = place.get(instance)
            place.dirty.add(instance)
