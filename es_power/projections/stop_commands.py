"""Which stop commands the policies call for: derived here, and only here, live and in replay alike.

`decide` runs on observations only, of the host whose word counts for the instance, and only for an instance that
somebody vouches for. An instance has at most one open command; while the disagreement lasts, later observations add
nothing; when it ends, the command is withdrawn. This module derives: it appends nothing and stops nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from es_power.domain.events import (
    InstanceId,
    PlanningStarted,
    Position,
    RecordCleared,
    Recorded,
    StateObserved,
    StopRequested,
    Withdrawn,
)
from es_power.domain.host import Vouched
from es_power.domain.instance import Instance
from es_power.domain.policy import Decision, DriverAnswer, Policy, Situation, decide, get_policy
from es_power.domain.states import PowerState
from es_power.domain.streams import observed_host, planned_observer
from es_power.projections.fleet import Change, Fleet

_NAMESPACE: Final = UUID("0d3b8c6e-7a51-5f0e-8a57-1f1f6d0d5a11")


@dataclass(frozen=True, slots=True)
class Derived:
    """What a fact leads to, and the observer's stream whose process manager has to append it."""

    stream: str
    event: StopRequested | Withdrawn

    @property
    def because(self) -> Position:
        """The record that led to it."""
        return self.event.observation if isinstance(self.event, StopRequested) else self.event.because


@dataclass(frozen=True, slots=True)
class Standing:
    """An open command, and the observer's stream it belongs to."""

    stream: str
    request: StopRequested


class StopCommands:
    """The open commands, as a fold over facts.

    `whatif` replaces the recorded policies by one of the caller's, from the first fact on. `resume` takes up commands
    that were recorded before this fold began; without it nothing but facts is believed, which is what a replay is for.
    """

    def __init__(self, fleet: Fleet, *, whatif: Policy | None = None, resume: bool = False) -> None:
        self._fleet = fleet
        self._whatif = whatif
        self._resume = resume
        #: The observers' streams for which a process manager derives commands.
        self.planned: set[str] = set()
        self.open: dict[InstanceId, Standing] = {}

    def apply(self, recorded: Recorded, changes: Sequence[Change]) -> list[Derived]:
        """Derive what one record leads to; `changes` is what the fleet made of it."""
        event = recorded.event
        if isinstance(event, PlanningStarted):
            self.planned.add(planned_observer(recorded.stream) or "")
        elif isinstance(event, RecordCleared) and event.instance in self.open:
            return [self._withdraw(event.instance, "nobody vouches for the instance any more", recorded)]
        elif self._resume and isinstance(event, StopRequested):
            self.take_up(event)
        elif self._resume and isinstance(event, Withdrawn):
            standing = self.open.get(event.instance)
            if standing is not None and standing.request.command == event.command:
                del self.open[event.instance]
        derived: list[Derived] = []
        for change in changes:
            if isinstance(change.recorded.event, StateObserved) and not change.stale:
                derived += self._observed(change, change.recorded.event)
        return derived

    def take_up(self, request: StopRequested) -> None:
        """Go on with a command that was recorded before, unless it is open here already."""
        for stream in self._fleet.seen_on.get(request.instance, ()):
            if observed_host(stream) == request.host:
                self.open.setdefault(request.instance, Standing(stream, request))

    def _observed(self, change: Change, answer: StateObserved) -> list[Derived]:
        said = self._fleet.vouched.get(change.instance)
        standing = self.open.get(change.instance)
        if said is None or not (self._whatif or change.stream in self.planned):
            return []
        if self._fleet.owner(change.instance).host != change.stream:
            if standing is None or standing.stream != change.stream:
                return []
            return [self._withdraw(change.instance, "the instance is no longer this host's", change.recorded)]
        host = observed_host(change.stream) or ""
        policy = self._whatif or get_policy(self._fleet.places[change.stream].host.policy)
        decision = decide(policy, _situation(change, said, host))
        if standing is not None and _is_the_same(standing, change.stream, policy, decision):
            return []
        derived: list[Derived] = []
        if standing is not None:
            derived.append(self._withdraw(change.instance, decision.reason, change.recorded))
        if decision.verb is not None:
            request = _request(change.recorded, answer, policy, decision, said=said, host=host)
            derived.append(self._open(change.stream, request))
        return derived

    def _open(self, stream: str, request: StopRequested) -> Derived:
        self.open[request.instance] = Standing(stream, request)
        return Derived(stream, request)

    def _withdraw(self, instance: InstanceId, reason: str, recorded: Recorded) -> Derived:
        standing = self.open.pop(instance)
        return Derived(
            standing.stream,
            Withdrawn(
                observed_at=recorded.event.observed_at,
                instance=instance,
                command=standing.request.command,
                reason=reason,
                because=recorded.position,
            ),
        )


def _is_the_same(standing: Standing, stream: str, policy: Policy, decision: Decision) -> bool:
    """Whether a decision only says again what an open command was requested for."""
    request = standing.request
    return (standing.stream, request.policy, request.policy_version, request.rule, request.verb) == (
        stream,
        policy.name,
        policy.version,
        decision.rule,
        decision.verb,
    )


def _request(
    recorded: Recorded, answer: StateObserved, policy: Policy, decision: Decision, *, said: Vouched, host: str
) -> StopRequested:
    assert decision.verb is not None
    rule = decision.rule or ""
    # The same disagreement, derived again after a crash or in a replay, gives the same command.
    name = (
        f"{answer.instance}/{rule}/{policy.name}:{policy.version}/{recorded.position}.{recorded.index}/{said.position}"
    )
    return StopRequested(
        observed_at=answer.observed_at,
        instance=answer.instance,
        command=uuid5(_NAMESPACE, name),
        host=host,
        policy=policy.name,
        policy_version=policy.version,
        rule=rule,
        verb=decision.verb,
        reason=decision.reason,
        observation=recorded.position,
        observation_index=recorded.index,
        record=said.position,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """One stop command as the log has it."""

    requested: StopRequested
    #: Where it was requested, and the newest record of its stream.
    position: Position
    last_position: Position
    withdrawn: Withdrawn | None = None

    @property
    def state(self) -> str:
        """Planned, or how it ended."""
        return "Withdrawn" if self.withdrawn else "Planned"


class CommandTable:
    """Every stop command that was recorded, by its id."""

    def __init__(self) -> None:
        self.rows: dict[UUID, CommandRow] = {}

    def apply(self, recorded: Recorded) -> CommandRow | None:
        """Fold one record; give the row that it changed."""
        event = recorded.event
        if isinstance(event, StopRequested):
            row = CommandRow(requested=event, position=recorded.position, last_position=recorded.position)
        elif isinstance(event, Withdrawn) and event.command in self.rows:
            row = replace(self.rows[event.command], withdrawn=event, last_position=recorded.position)
        else:
            return None
        self.rows[event.command] = row
        return row


def digest(rows: Iterable[CommandRow]) -> str:
    """SHA-256 over commands, in the order in which they were requested."""
    lines = [str(row) for row in sorted(rows, key=lambda row: row.position)]
    return sha256("\n".join(lines).encode()).hexdigest()


def _situation(change: Change, said: Vouched, host: str) -> Situation:
    return Situation(
        vm_state=said.vm_state,
        task_state=said.task_state,
        db_power_state=change.before.power_state or PowerState.NOSTATE,
        driver=_answer(change.after),
        host_matches=said.host in (None, host),
    )


def _answer(instance: Instance) -> DriverAnswer:
    """What the hypervisor said, in the policies' words; a state number that nobody knows says nothing."""
    if instance.gone:
        return "NOTFOUND"
    return instance.power_state or "ERROR"
