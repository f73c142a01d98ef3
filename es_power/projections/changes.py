"""The changes of one VM's state on the hosts that showed it, newest first, and which of them somebody asks about."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from es_power.domain.causes import AROUND, BEFORE, signs
from es_power.domain.events import HostSwept, InstanceId, Label, LifecycleEvent, Position, Recorded, StateObserved
from es_power.domain.evidence import Fact
from es_power.domain.libvirt_numbers import STOPPED_MIGRATED
from es_power.domain.logged import NovaTransitionLogged, QemuEnded, QemuStarted
from es_power.domain.states import PowerState
from es_power.domain.streams import told_host
from es_power.domain.time import Timestamp
from es_power.projections.history import Entry
from es_power.projections.nearby import Few, Wanted, near
from es_power.projections.queries import View, part, texts

_CHANGES: Final = 24  # that are looked at first, back from the moment; a VM that flaps has many
_MOST: Final = 16 * _CHANGES  # that are looked at where the newest ones are of no account

_TOLD: Final = (QemuStarted.__name__, QemuEnded.__name__, NovaTransitionLogged.__name__)
"""What tells of a change that nobody here saw."""

_SEPARATE: Final = 60 * 1_000_000_000
"""So much later a line tells of another change than the one that was seen."""

_SUSPENDED_MIGRATED: Final = (3, 1)
_LEAVING: Final = frozenset({STOPPED_MIGRATED, _SUSPENDED_MIGRATED})
_UNDER_WAY: Final = frozenset(
    {
        "event STOPPED (CRASHED)",
        "event STOPPED (MIGRATED)",
        "event STOPPED (SAVED)",
        "event CRASHED (PANICKED)",
        "event CRASHED (CRASHLOADED)",
        "observed SHUTOFF (MIGRATED)",
        "observed SHUTOFF (SAVED)",
        "observed CRASHED (PANICKED)",
    }
)
"""Signs of what begins with a pause: a crash or core dump, a migration, a save, a panic. SHUTOFF (CRASHED) is not among
them, which a qemu that was killed leaves too.
"""
_LEADS_ON: Final = frozenset(
    {
        "observed PAUSED (MIGRATION)",
        "observed PAUSED (SAVE)",
        "observed PAUSED (SHUTTING_DOWN)",
        "observed PAUSED (CRASHED)",
    }
)
"""Signs of a pause that is itself on the way to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: the fact that made it known, and the state before it."""

    stream: str
    fact: Fact
    from_state: PowerState | None
    to_state: PowerState | None
    #: When the new state was seen last, as far as the same entry goes.
    seen_until: Timestamp
    #: The change before it, on the same host.
    prior: "Change | None" = None
    #: The one after it there.
    next_at: Timestamp | None = None
    next_position: Position | None = None
    #: Whether the VM had only begun to arrive there, and went on where it came from.
    undone: bool = False
    #: Whether it had only begun to leave, and went on there.
    stayed: bool = False
    #: Whether it was read in another program's log, and seen by nobody.
    told: bool = False
    #: A fact by which another host showed the VM on at that moment.
    elsewhere: Fact | None = None
    #: Whether another host had shown it on, without a break, since before it came here.
    visiting: bool = False

    @property
    def is_end(self) -> bool:
        """Whether the VM was on, and then did not run any more; that what was off is gone is no end."""
        if self.to_state is PowerState.RUNNING or self.to_state is None:
            return False
        if self.from_state is None or self.from_state is PowerState.SHUTDOWN:
            return self.from_state is None and self.to_state is not PowerState.NOSTATE
        return self.from_state is not PowerState.NOSTATE

    @property
    def beginning(self) -> "Change":
        """The change by which it began: a save, a migration and a panic go through a pause."""
        steps = [self]
        while steps[-1].prior is not None and _leads_to(steps[-1].prior, steps):
            steps.append(steps[-1].prior)
        return steps[-1]


def _leads_to(before: Change, steps: Sequence[Change]) -> bool:
    """Whether it was a step on the way to what these, the last one first, are steps to."""
    if steps[0].fact.at - before.fact.at > BEFORE:
        return False
    if before.to_state is PowerState.PAUSED:
        ends = any(not _UNDER_WAY.isdisjoint(signs(each.fact)) for each in steps)
        return ends or not _LEADS_ON.isdisjoint(signs(before.fact))
    return before.to_state is PowerState.CRASHED or _is_announced_late(steps[-1], before)


def _is_announced_late(step: Change, off: Change) -> bool:
    """Whether an answer showed the end before its steps were announced: what is off does not pause or panic."""
    is_off = off.to_state is PowerState.SHUTDOWN and isinstance(off.fact.event, StateObserved)
    goes_on = step.to_state in {PowerState.PAUSED, PowerState.CRASHED} and isinstance(step.fact.event, LifecycleEvent)
    return is_off and goes_on


async def find_change(
    view: View, instance: InstanceId, *, until: Position, at: Timestamp | None, in_force: bool
) -> Change | None:
    """The change that was in force at a moment; else the newest end of the VM's running, or the newest change.

    None where nothing is known of the VM's state then.
    """
    wanted = Wanted(instance=instance, until=until, before=at)
    hosts, limit = set(view.fleet.hosts_of(instance)), _CHANGES
    while True:
        entries, told = await near(
            view,
            Few(wanted=replace(wanted, changed=True), limit=limit),
            Few(wanted=replace(wanted, kinds=_TOLD), limit=_CHANGES, by_time=True),
        )
        facts = await read_facts(view, instance, [*entries, *told])
        read = _read([facts[_place(entry)] for entry in told if _place(entry) in facts], in_force=in_force)
        whole = len(entries) < limit
        seen = _seen(entries, facts, whole=whole)
        found = _choose(seen, read, in_force=in_force)
        if whole or limit >= _MOST or (found and _is_sure(found, seen, hosts, in_force=in_force)):
            return found
        limit *= 4


def _choose(seen: Sequence[Change], read: Change | None, *, in_force: bool) -> Change | None:
    counts = [each for each in seen if not _is_of_no_account(each)]
    newest = next(iter(counts), None)
    chosen = newest if in_force else next((each for each in counts if each.is_end), None)
    if read is not None and (chosen is None or _is_another(read, chosen)):
        return read
    return chosen or newest


def _is_sure(found: Change, seen: Sequence[Change], hosts: Collection[str], *, in_force: bool) -> bool:
    """Whether still older changes say nothing of it: of what each host showed before it, the newest was looked at."""
    first = found.beginning.prior or found.beginning
    before = {each.stream for each in seen if each.fact.position < first.fact.position}
    return found.told or ((in_force or found.is_end) and before.issuperset(hosts))


def _is_of_no_account(change: Change) -> bool:
    off = change.from_state in {PowerState.SHUTDOWN, PowerState.CRASHED}
    gone = off and change.to_state is PowerState.NOSTATE
    failed = change.undone or change.stayed or _is_a_failed_arrival(change)
    return gone or failed or _is_a_failed_departure(change.prior, change)


def _is_a_failed_arrival(change: Change) -> bool:
    """Whether it ended where it had only begun to arrive: the VM went on running where it came from."""
    event = change.fact.event
    if not isinstance(event, LifecycleEvent):
        # An answer may know of the end before libvirt announces it, and does not say of what kind it was.
        return change.visiting and not _is_on(change.to_state)
    leaves = (event.event, event.detail) in _LEAVING
    return change.elsewhere is not None and not leaves and change.to_state is not PowerState.RUNNING


def _is_a_failed_departure(pause: Change | None, after: Change) -> bool:
    """Whether it was paused to leave for another host, and then went on where it was; neither is a change."""
    event = pause.fact.event if pause else None
    leaves = isinstance(event, LifecycleEvent) and (event.event, event.detail) == _SUSPENDED_MIGRATED
    return leaves and after.to_state is PowerState.RUNNING


def _is_another(read: Change, seen: Change) -> bool:
    """Whether a line tells of something later than what was seen, or of how it came to what was seen first."""
    if seen.from_state is None and seen.prior is None:
        return read.fact.at <= seen.fact.at or read.fact.at > seen.fact.at + _SEPARATE
    return read.fact.at > seen.fact.at + _SEPARATE


def overrules(theirs: Change, ours: Change, *, in_force: bool) -> bool:
    """Whether what another log tells is meant, and not what ours does: it is later, or heard what ours found later."""
    if not in_force and theirs.is_end is not ours.is_end:
        return theirs.is_end
    if theirs.told is not ours.told:
        read, seen = (theirs, ours) if theirs.told else (ours, theirs)
        return _is_another(read, seen) is theirs.told
    if theirs.fact.at > ours.fact.at:
        return True
    same = ours.fact.host == theirs.fact.host and ours.to_state is theirs.to_state
    heard = isinstance(ours.fact.event, StateObserved) and isinstance(theirs.fact.event, LifecycleEvent)
    return same and heard and (ours.prior is None or theirs.fact.at >= ours.prior.seen_until)


def _seen(entries: Sequence[Entry], facts: Mapping[tuple[Position, int | None], Fact], *, whole: bool) -> list[Change]:
    """The changes that our own facts tell, the newest first; `whole` where none is older."""
    newest_of: dict[str, Change] = {}
    found: list[Change] = []
    for entry in reversed(entries):
        fact = facts.get(_place(entry))
        if fact is None:
            continue  # it cannot be read
        prior = newest_of.get(entry.stream)
        change = Change(
            stream=entry.stream,
            fact=fact,
            from_state=prior.to_state if prior else None,
            to_state=entry.power_state,
            seen_until=entry.last_observed_at,
            prior=prior,
            elsewhere=_elsewhere(entry.stream, newest_of),
            visiting=_is_visiting(entry.stream, newest_of, whole=whole),
        )
        newest_of[entry.stream] = change
        found.append(change)
    later: dict[str, Change] = {}
    for place in range(len(found) - 1, -1, -1):
        change = found[place]
        after = later.get(change.stream)
        taken = (each.fact for each in found[place:] if _takes_over(each, change, after))
        elsewhere = change.elsewhere or next(taken, None)
        next_at, next_position = _end(change, after)
        found[place] = replace(
            change,
            next_at=next_at,
            next_position=next_position,
            undone=after is not None and _is_on(change.to_state) and (after.undone or _is_a_failed_arrival(after)),
            stayed=after is not None and _is_a_failed_departure(change, after),
            elsewhere=elsewhere,
        )
        later[change.stream] = found[place]
    return found[::-1]


def _end(change: Change, after: Change | None) -> tuple[Timestamp | None, Position | None]:
    """When and where the next change follows; an end that libvirt announces after an answer knew of it is the same."""
    if after is None:
        return None, None
    answered = isinstance(change.fact.event, StateObserved) and change.to_state is PowerState.NOSTATE
    if answered and isinstance(after.fact.event, LifecycleEvent) and after.to_state is PowerState.SHUTDOWN:
        return after.next_at, after.next_position
    return after.fact.at, after.fact.position


def _elsewhere(stream: str, newest_of: Mapping[str, Change]) -> Fact | None:
    on = [each for name, each in newest_of.items() if name != stream and _is_on(each.to_state)]
    return max(on, key=lambda each: each.fact.position).fact if on else None


def _is_visiting(stream: str, newest_of: Mapping[str, Change], *, whole: bool) -> bool:
    on_since = {name: _on_since(each) for name, each in newest_of.items() if _is_on(each.to_state)}
    came = on_since.get(stream)
    if came is None or (came.prior is None and not whole):
        return False  # it may have been on long before
    return any(each.fact.position < came.fact.position for each in on_since.values())


def _on_since(change: Change) -> Change:
    """The change by which a VM that is on came to be so on its host."""
    first = change
    while first.prior is not None and _is_on(first.prior.to_state):
        first = first.prior
    return first


def _takes_over(other: Change, left: Change, after: Change | None) -> bool:
    """Whether another host showed it on within the moment, and before it ran again where it was."""
    ran_again = after is not None and after.to_state is PowerState.RUNNING and after.fact.position < other.fact.position
    soon = other.fact.at <= left.fact.at + AROUND
    return other.stream != left.stream and _is_on(other.to_state) and soon and not ran_again


def _is_on(state: PowerState | None) -> bool:
    return state is not None and state.is_on


def _read(facts: Sequence[Fact], *, in_force: bool) -> Change | None:
    """The newest change that another program's log tells."""
    for fact in sorted(facts, key=lambda fact: fact.order, reverse=True):
        event = fact.event
        state = event.transition.power_state if isinstance(event, NovaTransitionLogged) else PowerState.SHUTDOWN
        state = PowerState.RUNNING if isinstance(event, QemuStarted) else state
        if state is PowerState.RUNNING and not in_force:
            continue
        before = None if state is PowerState.RUNNING else PowerState.RUNNING
        return Change(stream="", fact=fact, from_state=before, to_state=state, seen_until=fact.at, told=True)
    return None


# ---------------------------------------------------------------------------------------------------------- facts


async def read_facts(
    view: View, instance: InstanceId, entries: Collection[Entry]
) -> dict[tuple[Position, int | None], Fact]:
    """Read what entries say, with the texts of their labels; what cannot be read is left out."""
    records = await view.log.read_at(sorted({entry.position for entry in entries}))
    found: dict[tuple[Position, int | None], Recorded] = {}
    for entry in entries:
        recorded = records.get(entry.position)
        if recorded and isinstance(recorded.event, HostSwept) and entry.index is not None:
            recorded = part(recorded, recorded.event, entry.index, instance)
        if recorded:
            found[_place(entry)] = recorded
    labels = {place: _labels(recorded) for place, recorded in found.items()}
    text_of = await texts(view.log, [label for borne in labels.values() for label in borne.values()])
    return {
        place: Fact(
            position=recorded.position,
            index=place[1],
            host=told_host(recorded.stream),
            event=recorded.event,
            texts={name: text_of(label) for name, label in labels[place].items()},
        )
        for place, recorded in found.items()
    }


def _labels(recorded: Recorded) -> dict[str, Label]:
    named = {each.name: getattr(recorded.event, each.name) for each in fields(recorded.event)}
    return {name: value for name, value in named.items() if isinstance(value, Label)}


def _place(entry: Entry) -> tuple[Position, int | None]:
    return entry.position, entry.index
