"""The last look before an act: what the hypervisor and the record say now, and what speaks against the command.

Both answers are facts of the actor's own stream before anything follows from them. What they are held against is the
fold over the whole log, so a gap, a migration, a start or a person's word that came in meanwhile counts too.
"""

from dataclasses import dataclass

import trio

from es_power.dispatch.desk import Desk
from es_power.domain.decisions import Route, StopRequested, StopVerb
from es_power.domain.events import Event, Position, StateObserved, Trigger
from es_power.domain.host import Vouched
from es_power.domain.instance import Instance
from es_power.domain.libvirt_numbers import POWER_STATES, SHUTOFF
from es_power.domain.policy import decide, get_policy
from es_power.domain.states import PowerState, VmState
from es_power.domain.time import Timestamp
from es_power.ingest.hypervisor import Info
from es_power.projections.stop_commands import situation

_NOVA_STOPS = frozenset({VmState.ACTIVE, VmState.ERROR})  # nova/compute/api.py: stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look came to."""

    #: When the earlier of the two answers came, on trio's clock.
    at: float
    #: The facts of the look; where a person vouches, the record is the declaration.
    observation: Position
    record: Position
    #: Why the command is not to be sent; None: it is still called for.
    objection: str | None
    reason: str
    route: Route


async def look_again(desk: Desk, request: StopRequested) -> Look:
    """Ask both, record what they say, and judge.

    HypervisorError and NovaError where one of them does not answer, which says nothing about the command.
    """
    await desk.caught_up()
    facts: list[Event] = []
    said = desk.models.fleet.vouched.get(request.instance)
    at = trio.current_time()
    if said is not None and said.is_novas and desk.nova is not None:
        facts.append(await desk.nova(request.instance, desk.models.fleet.position))
        at = trio.current_time()
    asked_at, connection = desk.clock(), await desk.hypervisor.open()
    try:
        info = await connection.get_info(request.instance)
    finally:
        await connection.aclose()
    at = at if facts else trio.current_time()
    facts.append(_observed(desk, request, info, asked_at=asked_at))
    first = await desk.own.append(facts)
    assert first is not None
    await desk.caught_up()
    observation = Position(first + len(facts) - 1)
    known = _known(info, observation)
    said = desk.models.fleet.vouched.get(request.instance)
    objection, reason = _judge(desk, request, known, said)
    return Look(
        at=at,
        observation=observation,
        record=first if len(facts) > 1 else said.position if said else request.record,
        objection=objection,
        reason=reason,
        route=_route(request, info, said),
    )


def _judge(desk: Desk, request: StopRequested, known: Instance, said: Vouched | None) -> tuple[str | None, str]:
    """Say what speaks against a command, and what the policy says."""
    models = desk.models
    if said is None:
        return "nobody vouches for the instance any more", ""
    policy = get_policy(request.policy)
    decision = decide(policy, situation(known, said, desk.host))
    standing = models.derivation.open.get(request.instance)
    if policy.version != request.policy_version:
        return f"the policy {policy.name} was changed since", ""
    if (decision.rule, decision.verb) != (request.rule, request.verb):
        return decision.reason, ""
    if models.fleet.owner(request.instance).host != desk.observer:
        return "the instance is no longer this host's", ""
    if desk.place.host.booted > request.observation:
        return "the host was booted since, or may have been", ""
    if standing is None or standing.request.command != request.command:
        return "what was seen since then does not call for it any more", ""
    return None, decision.reason


def _route(request: StopRequested, info: Info | None, said: Vouched | None) -> Route:
    """Choose the way: Nova's own API where it allows the command, else libvirt; a guest that is off needs no act."""
    if said is not None and said.is_novas:
        gently = request.verb is StopVerb.STOP and said.vm_state in _NOVA_STOPS
        return Route.NOVA if gently else Route.HYPERVISOR
    is_off = info is None or info.state == SHUTOFF
    return Route.RECORD if is_off else Route.HYPERVISOR


def _observed(desk: Desk, request: StopRequested, info: Info | None, *, asked_at: Timestamp) -> StateObserved:
    return StateObserved(
        observed_at=desk.clock(),
        instance=request.instance,
        asked_at=asked_at,
        state=info.state if info else None,
        reason=info.reason if info else None,
        trigger=Trigger.LOOK,
        # A connection of the actor's own, on which nothing was announced.
        connection=0,
        number=0,
    )


def _known(info: Info | None, position: Position) -> Instance:
    """What the look shows, as a fold would have it."""
    if info is None:
        return Instance(power_state=PowerState.NOSTATE, gone=True, position=position)
    return Instance(power_state=POWER_STATES.get(info.state), state=info.state, reason=info.reason, position=position)
