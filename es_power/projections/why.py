"""Why a VM is no longer in a state: the evidence near one change, gathered by index, and what the causes make of it.

Rules of this file:
1. Nothing beyond the view's position bears on an answer, nor the whole history of the VM: what is near is asked for.
2. What was read in other programs' logs is found by time, whenever it was imported; ours by its place in the log.
3. What another log of es_power told of the VM is asked in the same way (`another`), and what is found in one of the two
   is evidence in the other by its time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from es_power.domain.causes import AROUND, BEFORE, judge
from es_power.domain.decisions import Approved, Refused, Sent, StopRequested
from es_power.domain.events import (
    START,
    InstanceId,
    Label,
    NovaStopObserved,
    Position,
    RecordObserved,
    StateObserved,
)
from es_power.domain.evidence import Case, Fact, Verdict
from es_power.domain.logged import (
    NovaRequestLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuLogOpened,
    QemuStarted,
    QemuTerminated,
)
from es_power.domain.states import PowerState
from es_power.domain.streams import command as command_stream, observed_host, told_host
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.projections.another import another
from es_power.projections.as_of import Moment
from es_power.projections.changes import Change, find_change, overrules, read_facts
from es_power.projections.history import Entry
from es_power.projections.nearby import Few, Wanted, near
from es_power.projections.outages import gaps_near, outages
from es_power.projections.queries import View, find, label_of, texts

__all__ = ["Why", "why"]

_NEAR: Final = 60  # entries of the VM before its change and after, and of what others wrote

_OTHERS: Final = tuple(
    kind.__name__
    for kind in (
        QemuTerminated,
        QemuEnded,
        QemuStarted,
        NovaTransitionLogged,
        NovaRequestLogged,
        NovaStopObserved,
        RecordObserved,
        Sent,
        Refused,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a VM left the state that it was in, as far as the log knows at a position."""

    instance: InstanceId
    name: str | None
    #: Where the change was; None where that is not told.
    host: str | None
    #: None: nothing is known of the VM's state at that moment.
    verdict: Verdict | None
    #: The state that the VM is in at the view's position, by its owner; None where nobody can say, and of another time.
    now: PowerState | None
    #: Up to where the log was known.
    position: Position


async def why(view: View, vm: str, *, at: Timestamp | Moment | None = None) -> Why:
    """Find why a VM stopped or paused last; or, with `at`, why it was in the state that it was in then.

    A moment that was named by a position is what the log knew there. Raises as `find` does, and RecordPrunedError where
    the change lies in what was pruned.
    """
    instance = await find(view, vm)
    until, before = view.position, None
    if isinstance(at, Moment):
        until, before = (min(at.position, until), None) if at.by_position else (until, at.at)
    elif at is not None:
        before = at
    if before is not None:
        await view.log.require_kept_since(before)
    case = await _found(view, instance, until=until, at=before, in_force=at is not None)
    if case is not None:
        # What it was caused by would have to be found among what was observed around it.
        await view.log.require_kept(case.change.position)
    name_of = await texts(view.log, [label := label_of(view.fleet, instance)])
    # Of another time, what its fleet has is not what the VM is in now.
    owner = view.fleet.owner(instance).host if view.then is None else None
    return Why(
        instance=instance,
        name=name_of(label),
        host=case.change.host if case else None,
        verdict=judge(case) if case else None,
        now=view.fleet.get(instance, owner).power_state if owner and until == view.position else None,
        position=until,
    )


async def _found(
    view: View, instance: InstanceId, *, until: Position, at: Timestamp | None, in_force: bool
) -> Case | None:
    """The change that is meant, of those that our log tells and those that an imported one does."""
    ours = await find_change(view, instance, until=until, at=at, in_force=in_force)
    other = await another(view, instance, until=until)
    if other is None:
        return await _case(view, instance, ours, until) if ours else None
    end = other.view.position
    theirs = await find_change(other.view, instance, until=end, at=at, in_force=in_force)
    if theirs is not None and (ours is None or overrules(theirs, ours, in_force=in_force)):
        case = other.real_case(await _case(other.view, instance, theirs, end))
        return _with(case, await _beside(view, instance, case, until))
    if ours is None:
        return None
    case = await _case(view, instance, ours, until)
    return _with(case, [other.real(fact) for fact in await _beside(other.view, instance, case, end)])


# ------------------------------------------------------------------------------------------------------- evidence


async def _case(view: View, instance: InstanceId, change: Change, until: Position) -> Case:
    first, prior = change.beginning, change.beginning.prior
    stream = change.stream or _stream_of(view, instance, change.fact.host)
    opened = Wanted(
        instance=instance, kinds=(QemuLogOpened.__name__,), until=until, before=Timestamp(change.fact.at + AROUND)
    )
    logs, *some = await near(
        view,
        Few(wanted=opened, limit=_NEAR, by_time=True),
        *gaps_near(stream, change, until),
        *(() if change.told else _episode(instance, change, until)),
    )
    episode = [] if change.told else [entry for entries in some[-2:] for entry in entries]
    gaps = [entry for entries in (some if change.told else some[:-2]) for entry in entries]
    before = [entry.last_observed_at for entry in episode if entry.position < first.fact.position]
    last_seen = max([*before, *([prior.seen_until] if prior else [])], default=None)
    facts = list((await read_facts(view, instance, episode)).values())
    times = [change.fact.at, *(fact.at for fact in facts)]
    missed = isinstance(change.fact.event, StateObserved) and last_seen is not None
    others = Wanted(
        instance=instance,
        kinds=_OTHERS,
        until=until,
        since=Timestamp(min([*times, *([last_seen] if missed and last_seen else [])]) - BEFORE),
        before=Timestamp(max(times) + AROUND),
    )
    [theirs] = await near(view, Few(wanted=others, limit=_NEAR, by_time=True))
    facts += [await _with_actor(view, fact, until) for fact in (await read_facts(view, instance, theirs)).values()]
    around = await outages(view, instance, change, gaps, last_seen=last_seen, until=until)
    return Case(
        change=change.fact,
        from_state=first.from_state,
        to_state=change.to_state,
        since=prior.fact.at if prior else None,
        last_seen=last_seen,
        until=change.next_at,
        facts=facts,
        blind=around.blind,
        reboot=around.reboot,
        elsewhere=change.elsewhere,
        log_read=_log_read(stream, change, facts, logs),
        nova=_is_novas(view, instance) or any(isinstance(fact.event, RecordObserved) for fact in facts),
    )


async def _beside(view: View, instance: InstanceId, case: Case, until: Position) -> list[Fact]:
    """What a log that tells of another change than this one has about the time of this one."""
    times = [case.change.at, *(fact.at for fact in case.facts), *([case.last_seen] if case.last_seen else [])]
    wanted = Wanted(
        instance=instance,
        kinds=(*_OTHERS, QemuLogOpened.__name__),
        until=until,
        since=Timestamp(min(times) - BEFORE),
        before=Timestamp(max(times) + AROUND),
    )
    [entries] = await near(view, Few(wanted=wanted, limit=_NEAR, by_time=True))
    return [await _with_actor(view, fact, until) for fact in (await read_facts(view, instance, entries)).values()]


def _with(case: Case, beside: Sequence[Fact]) -> Case:
    """The same, with what another log has of it; a fact that both have counts once."""
    known = {(type(fact.event), fact.at, fact.host) for fact in (case.change, *case.facts)}
    facts = [fact for fact in beside if (type(fact.event), fact.at, fact.host) not in known]
    ends = [fact for fact in facts if isinstance(fact.event, QemuEnded | QemuLogOpened)]
    return replace(
        case,
        facts=[*case.facts, *(fact for fact in facts if not isinstance(fact.event, QemuLogOpened))],
        log_read=case.log_read if not any(fact.host == case.change.host for fact in ends) else True,
        nova=case.nova or any(isinstance(fact.event, RecordObserved) for fact in facts),
    )


def _episode(instance: InstanceId, change: Change, until: Position) -> tuple[Few, Few]:
    """The VM's entries on the host from the change before to the change after, but for the long time that it stays."""
    prior = change.beginning.prior
    before = Wanted(
        instance=instance,
        stream=change.stream,
        after=prior.fact.position if prior else START,
        until=change.fact.position,
    )
    after = replace(
        before,
        after=change.fact.position,
        until=until if change.next_position is None else Position(min(change.next_position - 1, until)),
        before=Timestamp(change.fact.at + BEFORE),
    )
    return Few(wanted=before, limit=_NEAR), Few(wanted=after, limit=_NEAR, oldest=True)


async def _with_actor(view: View, fact: Fact, until: Position) -> Fact:
    """A command of ours with whom it comes from: the rule, and the person who approved it."""
    if not isinstance(fact.event, Sent):
        return fact
    by, rule = None, None
    with suppress(UnknownEventError):
        for recorded in await view.log.read_stream(command_stream(fact.event.command)):
            match recorded.event:
                case StopRequested(policy=policy, rule=name):
                    rule = f"es_power ({policy}, rule {name})"
                case Approved(by=Label() as label) if recorded.position < fact.position <= until:
                    by = (await texts(view.log, [label]))(label)
    actor = f"{rule or 'es_power'}{f', approved by {by}' if by else ''}"
    return replace(fact, texts={**fact.texts, "actor": actor})


def _log_read(stream: str | None, change: Change, facts: Sequence[Fact], opened: Sequence[Entry]) -> bool | None:
    """Whether libvirt's log of the VM was read at that moment; None where its driver writes none."""
    if change.told or any(isinstance(fact.event, QemuEnded) and fact.host == change.fact.host for fact in facts):
        return True
    if stream is None or not stream.rpartition("/")[2].startswith("qemu"):
        return None
    return any(told_host(entry.stream) == change.fact.host for entry in opened)


def _stream_of(view: View, instance: InstanceId, host: str | None) -> str | None:
    """The observer's stream of a host that showed the VM."""
    streams = [stream for stream in view.fleet.seen_on.get(instance, ()) if observed_host(stream) == host]
    return streams[0] if streams else None


def _is_novas(view: View, instance: InstanceId) -> bool:
    said = view.fleet.vouched.get(instance)
    return said is not None and said.is_novas
