"""Stop commands as rows to print: what was decided, on what, and what became of it."""

from collections.abc import Mapping
from typing import Final

from es_power.answers.rows import details
from es_power.answers.words import fact_words
from es_power.domain.command import CommandState
from es_power.domain.events import StateObserved
from es_power.domain.host import vouched
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.policy import POLICIES
from es_power.domain.states import PowerState
from es_power.output import Column, Row
from es_power.projections.explain import Explained, LifeStep

STATES: Final[Mapping[str, str]] = {
    CommandState.PLANNED: "yellow",
    CommandState.APPROVED: "yellow",
    CommandState.LOOKED_AGAIN: "yellow",
    CommandState.SENT: "magenta",
    CommandState.REFUSED: "red",
    CommandState.FAILED: "red",
    CommandState.WITHDRAWN: "dim",
    CommandState.EXPIRED: "dim",
}
"""Colours of a command's states, which are always written out too."""

COMMANDS: Final = (
    Column("requested_at", time=True),
    Column("name"),
    Column("host"),
    Column("policy"),
    Column("rule"),
    Column("command"),
    Column("state", styles=STATES),
    Column("reason", limit=None),
    Column("id"),
    Column("instance", in_table=False),
    Column("policy_version", in_table=False),
    Column("position", in_table=False),
    Column("justification", in_table=False),
    Column("cell", in_table=False),
    Column("ended", in_table=False),
    Column("at", time=True, in_table=False),
    Column("observed_at", time=True, in_table=False),
    Column("asked_at", time=True, in_table=False),
)


def command_row(command: Explained) -> Row:
    """One stop command, with what justifies it."""
    request, life = command.row.requested, command.row
    return {
        "id": request.command,
        "instance": request.instance,
        "name": command.name,
        "host": request.host,
        "policy": request.policy,
        "policy_version": request.policy_version,
        "rule": request.rule,
        "command": request.verb,
        "state": life.state,
        "requested_at": request.observed_at,
        "position": life.position,
        "reason": request.reason,
        "justification": {"observation": _observation(command), "record": _record(command)},
        "cell": _cell(command),
        "ended": None if life.state.is_open else {"reason": life.reason, "position": life.last_position},
    }


def _observation(command: Explained) -> Row:
    request = command.row.requested
    place = {"position": request.observation, "index": request.observation_index}
    event = command.observation.event if command.observation else None
    if not isinstance(event, StateObserved):
        return place
    power_state = _power_state(event)
    return {**place, "observed_at": event.observed_at, "power_state": power_state, **details(event)}


def _record(command: Explained) -> Row:
    place = {"position": command.row.requested.record}
    event = command.record.event if command.record else None
    if event is None:
        return place
    return {**place, "observed_at": event.observed_at, **details(event), "by": command.by, "why": command.why}


def _cell(command: Explained) -> Row | None:
    """The cell of the policy's table that called for it; None where its facts or that version are not known here."""
    request = command.row.requested
    seen = command.observation.event if command.observation else None
    said = vouched(command.record) if command.record else None
    if not isinstance(seen, StateObserved) or said is None:
        return None
    power_state, policy = _power_state(seen), POLICIES.get(request.policy)
    if power_state is None or policy is None or policy.version != request.policy_version:
        return None
    verdict = policy.verdict(said.vm_state, power_state)
    return {"vm_state": said.vm_state, "power_state": power_state, "verdict": str(verdict)}


def _power_state(event: StateObserved) -> PowerState | None:
    return PowerState.NOSTATE if event.state is None else POWER_STATES.get(event.state)


# ------------------------------------------------------------------------------------------------------ the life

LIFE: Final = (
    Column("at", time=True),
    Column("step"),
    Column("what", limit=None),
    Column("by"),
    Column("why", limit=None),
    Column("position"),
)


def life_row(step: LifeStep) -> Row:
    """One step of a command's life."""
    event = step.recorded.event
    return {
        "at": event.observed_at,
        "step": type(event).__name__,
        "what": fact_words(event),
        "by": step.by,
        "why": step.why,
        "position": step.recorded.position,
        **details(event),
    }
