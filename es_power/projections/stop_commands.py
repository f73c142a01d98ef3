"""Which stop commands the policies call for: derived here, and only here, live and in replay alike.

`decide` runs on observations only, of the host whose word counts for the instance, and only for an instance that
somebody vouches for. Where Nova does, an observation that calls for a stop is first a question to Nova (`asks`): only a
record that said the same before the observation, and again when it was asked for after it, justifies a command.

An instance has at most one command that stands; while the disagreement lasts, later observations add nothing. When it
ends, a command that was not sent is withdrawn, and one that had ended otherwise is resolved. What an actor or a person
makes of a command are facts here, like any other. This module derives: it appends nothing and stops nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from es_power.domain.decisions import (
    CommandEvent,
    Confirmed,
    Expired,
    Failed,
    PlanningStarted,
    Refused,
    Resolved,
    Retried,
    Sent,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import (
    Event,
    InstanceId,
    LifecycleEvent,
    Position,
    RecordCleared,
    Recorded,
    RecordNotFound,
    RecordObserved,
    StateObserved,
)
from es_power.domain.host import Vouched
from es_power.domain.instance import Instance
from es_power.domain.policy import Decision, DriverAnswer, Policy, Situation, decide, get_policy
from es_power.domain.states import Transition
from es_power.domain.streams import observed_host, planned_observer
from es_power.projections.fleet import Change, Fleet

_NAMESPACE: Final = UUID("0d3b8c6e-7a51-5f0e-8a57-1f1f6d0d5a11")

RULE_OF_THE_GUEST_THAT_IS_OFF: Final = "e"
"""Its command is about one end of the guest: once the guest is started again, that end is over."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What a fact leads to, and the observer's stream whose process manager has to append it."""

    stream: str
    event: StopRequested | Withdrawn | Resolved

    @property
    def because(self) -> Position:
        """The record that led to it: of an observation and a record that were joined, the later one."""
        event = self.event
        return max(event.observation, event.record) if isinstance(event, StopRequested) else event.because


def is_derived(event: Event) -> bool:
    """Whether an event is one that follows from facts, so that a replay has to come to it too."""
    return isinstance(event, StopRequested | Resolved) or (isinstance(event, Withdrawn) and not event.actor)


@dataclass(slots=True)
class Standing:
    """A command whose disagreement lasts, and the observer's stream it belongs to."""

    stream: str
    request: StopRequested
    #: Its request is in the log; else it was derived here, and its process manager has yet to append it.
    recorded: bool = False
    #: It was sent, so how it ends is for its actor to say.
    sent: bool = False
    #: It ended, but not by the end of the disagreement.
    ended: bool = False
    #: Why the disagreement is over, where that was seen before the end of what was sent.
    over: str | None = None


class StopCommands:
    """The commands that stand, as a fold over facts.

    `whatif` replaces the recorded policies by one of the caller's, from the first fact on, and takes Nova's records as
    they were. `resume` takes up commands that were recorded before this fold began; without it no request and no
    withdrawal is believed that the facts do not derive, which is what a replay is for.
    """

    def __init__(self, fleet: Fleet, *, whatif: Policy | None = None, resume: bool = False) -> None:
        self._fleet = fleet
        self._whatif = whatif
        self._resume = resume
        #: The observers' streams for which a process manager derives commands.
        self.planned: set[str] = set()
        self.open: dict[InstanceId, Standing] = {}
        #: Instances that Nova has to be asked about, and the stream of the host that showed why.
        self.asks: dict[InstanceId, str] = {}
        #: Commands whose end was derived here before their request was in the log: it is no beginning when it comes.
        self.over_already: set[UUID] = set()

    def apply(self, recorded: Recorded, changes: Sequence[Change]) -> list[Derived]:
        """Derive what one record leads to; `changes` is what the fleet made of it."""
        return list(self._derive(recorded, changes))

    def _derive(self, recorded: Recorded, changes: Sequence[Change]) -> Iterator[Derived]:
        match recorded.event:
            case PlanningStarted():
                self.planned.add(planned_observer(recorded.stream) or "")
            case CommandEvent() as event:
                yield from self._lived(event, recorded)
            case RecordCleared(instance=instance) | RecordNotFound(instance=instance):
                if instance not in self._fleet.vouched:
                    yield from self._over(instance, "nobody vouches for the instance any more", recorded)
            case RecordObserved() as event:
                yield from self._joined(event, recorded)
            case _:
                pass
        for change in changes:
            seen = change.recorded.event
            if isinstance(seen, StateObserved) and not change.stale:
                yield from self._observed(change.instance, change.stream, change.after, change.recorded)
            elif isinstance(seen, LifecycleEvent) and seen.transition is Transition.STARTED:
                standing = self.open.get(change.instance)
                if standing is not None and standing.request.rule == RULE_OF_THE_GUEST_THAT_IS_OFF:
                    yield from self._over(change.instance, "the guest was started again", change.recorded)

    # -------------------------------------------------------------------------------------- the lives of commands

    def take_up(self, request: StopRequested, *, sent: bool = False, ended: bool = False) -> None:
        """Go on with a command that was recorded before, unless it stands here already."""
        for stream in self._fleet.seen_on.get(request.instance, ()):
            if observed_host(stream) == request.host:
                self.open.setdefault(request.instance, Standing(stream, request, recorded=True, sent=sent, ended=ended))

    def drop(self, instance: InstanceId, command: UUID) -> None:
        """Forget a command that nobody will append: what calls for it may call for another."""
        standing = self.open.get(instance)
        if standing is not None and standing.request.command == command:
            del self.open[instance]
            self._fleet.touch(instance)

    def _lived(self, event: CommandEvent, recorded: Recorded) -> Iterator[Derived]:
        if event.command in self.over_already:
            self.over_already.discard(event.command)
            return
        if self._resume and isinstance(event, StopRequested):
            self.take_up(event)
        standing = self.open.get(event.instance)
        if standing is None or standing.request.command != event.command:
            return
        match event:
            case StopRequested():
                standing.recorded = True
            case Sent():
                standing.sent = True
            case Retried() | Confirmed():
                del self.open[event.instance]
            case Withdrawn(actor="") | Resolved():
                if self._resume:
                    del self.open[event.instance]
            case Withdrawn(by=None):
                # By a look that the facts so far do not explain: the next observation begins anew.
                del self.open[event.instance]
            case Refused() | Failed() | Expired() | Withdrawn():
                standing.ended = True
                if standing.over is not None:
                    yield from self._over(event.instance, standing.over, recorded)
            case _:
                pass

    def _over(self, instance: InstanceId, reason: str, recorded: Recorded) -> Iterator[Derived]:
        """Derive what becomes of a command whose disagreement is over."""
        self.asks.pop(instance, None)
        standing = self.open.get(instance)
        if standing is None:
            return
        if standing.sent and not standing.ended:
            standing.over = reason
            return
        del self.open[instance]
        if not standing.recorded:
            self.over_already.add(standing.request.command)
        kind = Resolved if standing.ended else Withdrawn
        event = kind(
            observed_at=recorded.event.observed_at,
            instance=instance,
            command=standing.request.command,
            reason=reason,
            because=recorded.position,
        )
        yield Derived(standing.stream, event)

    # ------------------------------------------------------------------------------------------------- decisions

    def _observed(self, instance: InstanceId, stream: str, known: Instance, recorded: Recorded) -> Iterator[Derived]:
        """Decide on what a host shows of an instance, joined with what somebody says it is meant to be."""
        said = self._fleet.vouched.get(instance)
        if said is None or not (self._whatif or stream in self.planned):
            return
        if self._fleet.doubt(instance) is not None:
            # What could not be applied may be what speaks against a stop, or for one that stands.
            self.asks.pop(instance, None)
            return
        owner = self._fleet.owner(instance)
        standing = self.open.get(instance)
        if standing is not None and owner.conflict:
            yield from self._over(instance, "more than one host shows it on", recorded)
        elif standing is not None and owner.host != stream == standing.stream:
            yield from self._over(instance, "the instance is no longer this host's", recorded)
        if owner.host != stream:
            return
        host = observed_host(stream) or ""
        policy = self._whatif or get_policy(self._fleet.places[stream].host.policy)
        decision = decide(policy, situation(known, said, host))
        if standing is not None:
            if _is_the_same(standing, stream, policy, decision):
                return
            yield from self._over(instance, decision.reason, recorded)
        if decision.verb is None:
            self.asks.pop(instance, None)
        elif instance in self.open:
            pass  # what was sent has to end first
        elif self._whatif or said.justifies(known.position):
            self.asks.pop(instance, None)
            request = _request(recorded, instance, known, policy, decision, said=said, host=host)
            self.open[instance] = Standing(stream, request)
            yield Derived(stream, request)
        else:
            self.asks[instance] = stream

    def _joined(self, event: RecordObserved, recorded: Recorded) -> Iterator[Derived]:
        """Decide on Nova's newest word, where it was asked for after the owner's newest observation."""
        owner = self._fleet.owner(event.instance).host
        if owner is None:
            return
        known = self._fleet.get(event.instance, owner)
        newer = event.after >= known.position
        if newer and not known.provisional and known.power_state is not None:
            yield from self._observed(event.instance, owner, known, recorded)


def _is_the_same(standing: Standing, stream: str, policy: Policy, decision: Decision) -> bool:
    """Whether a decision only says again what a command was requested for."""
    request = standing.request
    return (standing.stream, request.policy, request.policy_version, request.rule, request.verb) == (
        stream,
        policy.name,
        policy.version,
        decision.rule,
        decision.verb,
    )


def _request(
    recorded: Recorded,
    instance: InstanceId,
    known: Instance,
    policy: Policy,
    decision: Decision,
    *,
    said: Vouched,
    host: str,
) -> StopRequested:
    assert decision.verb is not None
    rule = decision.rule or ""
    # The same disagreement, derived again after a crash or in a replay, gives the same command.
    name = f"{instance}/{rule}/{policy.name}:{policy.version}/{known.position}.{known.index}/{said.position}"
    return StopRequested(
        observed_at=recorded.event.observed_at,
        instance=instance,
        command=uuid5(_NAMESPACE, name),
        host=host,
        policy=policy.name,
        policy_version=policy.version,
        rule=rule,
        verb=decision.verb,
        reason=decision.reason,
        observation=known.position,
        observation_index=known.index,
        record=said.position,
    )


def situation(known: Instance, said: Vouched, host: str) -> Situation:
    """What a policy looks at, of an instance that a host showed and somebody vouches for."""
    return Situation(
        vm_state=said.vm_state,
        task_state=said.task_state,
        db_power_state=known.power_state,
        driver=_answer(known),
        host_matches=said.is_of(host),
    )


def _answer(instance: Instance) -> DriverAnswer:
    """What the hypervisor said, in the policies' words; a state number that nobody knows says nothing."""
    if instance.gone:
        return "NOTFOUND"
    return instance.power_state or "ERROR"
