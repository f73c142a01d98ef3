"""What is known of one VM on one host, as a left fold over its facts; and which host owns it.

Rules of this file:
1. `evolve` reads no clock and no settings; what it is given is all it knows.
2. A lifecycle event sets the power_state at once, provisionally. An observation confirms or corrects it, and loses
   only to an event of the same VM that libvirt handed out after the question was asked.
3. Not found is *gone*, which is not *off*; a state number that we do not know leaves the power_state unknown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from es_power.domain.events import (
    START,
    HypervisorEvent,
    InstanceNamed,
    Label,
    LifecycleEvent,
    Position,
    Recorded,
    StateObserved,
)
from es_power.domain.libvirt_numbers import POWER_STATES, SHUTOFF_MIGRATED, STOPPED, STOPPED_MIGRATED
from es_power.domain.states import PowerState
from es_power.domain.time import NEVER, Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One VM as one host has shown it."""

    #: None: nothing seen yet, or a state whose number we do not know.
    power_state: PowerState | None = None
    #: Set by an event that no observation has confirmed yet.
    provisional: bool = False
    #: When the power_state became this, as far as the sources tell.
    since: Timestamp = NEVER
    #: The newest fact about the state: when, and where in the log (and at which place of a sweep).
    observed_at: Timestamp = NEVER
    position: Position = START
    index: int | None = None
    #: The newest event that was applied: its connection and number.
    connection: int = 0
    number: int = 0
    #: The newest event that announced a change of power, in libvirt's numbers.
    last_event: int | None = None
    last_detail: int | None = None
    #: The newest observation, in libvirt's numbers; None where the VM was not found.
    state: int | None = None
    reason: int | None = None
    #: Whether libvirt said that it does not know this VM (any more).
    gone: bool = False
    #: Where in the log it was last seen to stop being on.
    left_on: Position = START
    name: Label | None = None

    @property
    def is_on(self) -> bool:
        """Whether the host holds its memory."""
        return self.power_state is not None and self.power_state.is_on

    @property
    def migrated_away(self) -> bool:
        """Whether the host's last word is that the VM went to another host."""
        return (self.last_event, self.last_detail) == STOPPED_MIGRATED or (self.state, self.reason) == SHUTOFF_MIGRATED


def evolve(instance: Instance, recorded: Recorded) -> Instance:
    """Apply one fact about this VM on this host; facts of other kinds change nothing here."""
    match recorded.event:
        case LifecycleEvent() as event:
            return _announced(instance, event, recorded.position)
        case HypervisorEvent() as event if (event.connection, event.number) > (instance.connection, instance.number):
            return replace(instance, connection=event.connection, number=event.number)
        case StateObserved() as event:
            return _observed(instance, event, recorded)
        case InstanceNamed(name=name):
            return replace(instance, name=name)
        case _:
            return instance


def fold(facts: Iterable[Recorded], start: Instance = Instance()) -> Instance:
    """Replay the history of one VM on one host."""
    return reduce(evolve, facts, start)


def is_stale(instance: Instance, event: StateObserved) -> bool:
    """Whether the VM had an event after this question was asked, so that the answer may be older than the event."""
    return (instance.connection, instance.number) > (event.connection, event.number)


def _announced(instance: Instance, event: LifecycleEvent, position: Position) -> Instance:
    if (event.connection, event.number) <= (instance.connection, instance.number):
        return instance  # delivered before one that is applied already
    transition = event.transition
    if transition is None:
        return replace(instance, connection=event.connection, number=event.number)
    power_state = transition.power_state
    return replace(
        instance,
        power_state=power_state,
        provisional=True,
        since=_since(instance, power_state, event.observed_at),
        observed_at=event.observed_at,
        position=position,
        index=None,
        connection=event.connection,
        number=event.number,
        last_event=event.event,
        last_detail=event.detail,
        gone=False,
        left_on=_left_on(instance, power_state, position),
    )


def _observed(instance: Instance, event: StateObserved, recorded: Recorded) -> Instance:
    if is_stale(instance, event):
        return instance
    power_state = POWER_STATES.get(event.state) if event.state is not None else PowerState.NOSTATE
    came_back = instance.last_event == STOPPED and power_state is not None and power_state.is_on
    return replace(
        instance,
        power_state=power_state,
        provisional=False,
        since=_since(instance, power_state, event.observed_at),
        observed_at=event.observed_at,
        position=recorded.position,
        index=recorded.index,
        state=event.state,
        reason=event.reason,
        # A VM that is on again came back unannounced: what the last event said of its end is over.
        last_event=None if came_back else instance.last_event,
        last_detail=None if came_back else instance.last_detail,
        gone=event.state is None,
        left_on=_left_on(instance, power_state, recorded.position),
    )


def _since(instance: Instance, power_state: PowerState | None, at: Timestamp) -> Timestamp:
    return instance.since if power_state == instance.power_state and instance.since else at


def _left_on(instance: Instance, power_state: PowerState | None, position: Position) -> Position:
    leaves = instance.is_on and not (power_state is not None and power_state.is_on)
    return position if leaves else instance.left_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Which host's word counts for an instance."""

    #: None: nobody's, for the reason given.
    host: str | None
    #: The hosts that all show it on, where there is more than one: an alarm, and no command.
    conflict: tuple[str, ...] = ()


def owner(hosts: Mapping[str, Instance]) -> Owner:
    """Find the owner from what each host shows, whatever the order in which the hosts' facts came in.

    The one host where it is on; with none, the host where it was on last, unless that host's last word is that the VM
    migrated away (then it is somewhere we cannot see); with two, nobody.
    """
    on = sorted(host for host, instance in hosts.items() if instance.is_on)
    if len(on) == 1:
        return Owner(host=on[0])
    if on:
        return Owner(host=None, conflict=tuple(on))
    if not hosts:
        return Owner(host=None)
    last = max(hosts, key=lambda host: (hosts[host].left_on, not hosts[host].gone, hosts[host].position, host))
    return Owner(host=None if hosts[last].migrated_away else last)
