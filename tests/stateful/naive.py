"""An actor that believes the last event: no last look, no settling, no order of its own. It shows what is drawn."""

from collections.abc import Mapping

import trio

from es_power.dispatch.stopper import Stopper
from es_power.domain.decisions import Route, StopVerb
from es_power.domain.events import InstanceId, LifecycleEvent, Position, Recorded, StateObserved
from es_power.domain.host import Vouched, vouched
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.policy import Situation, decide, get_policy
from es_power.domain.ports import EventReader
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observed_host
from tests.stateful.acting_world import ActingWorld


async def act_on_the_last_event(log: EventReader, stoppers: Mapping[str, Mapping[Route, Stopper]]) -> None:
    """Act until cancelled."""
    said: dict[InstanceId, Vouched] = {}
    position = await log.head()
    for recorded in await log.read(after=Position(0), until=position, limit=1_000_000):
        if (word := vouched(recorded)) is not None:
            said[recorded.event.instance] = word
    while True:
        await log.wait_beyond(position)
        for recorded in await log.read(after=position):
            position = recorded.position
            if (word := vouched(recorded)) is not None:
                said[recorded.event.instance] = word
            elif (shown := _shown(recorded)) is not None and recorded.event.instance in said:
                await _act(stoppers, recorded, shown, said[recorded.event.instance])


def _shown(recorded: Recorded) -> PowerState | None:
    match recorded.event:
        case LifecycleEvent() as event if event.transition is not None:
            return event.transition.power_state
        case StateObserved(state=state) if state is not None:
            return POWER_STATES.get(state)
        case _:
            return None


async def _act(
    stoppers: Mapping[str, Mapping[Route, Stopper]], recorded: Recorded, shown: PowerState, said: Vouched
) -> None:
    host = observed_host(recorded.stream)
    situation = Situation(
        vm_state=said.vm_state,
        task_state=said.task_state,
        db_power_state=None,
        driver=shown,
        host_matches=said.is_of(host or ""),
    )
    verb = decide(get_policy("nova-2013"), situation).verb
    if verb is None or host is None:
        return

    async def still_wanted() -> float:
        return 1.0

    by_nova = said.is_novas and verb is StopVerb.STOP and said.vm_state is VmState.ACTIVE
    way = stoppers[f"test:///{host}"][Route.NOVA if by_nova else Route.HYPERVISOR]
    await way.stop(recorded.event.instance, verb, within=1.0, still_wanted=still_wanted)


class NaiveWorld(ActingWorld):
    """A world with that actor, and with one invariant: what it cannot keep."""

    async def serve_acts(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await act_on_the_last_event(self.log, self.stoppers)

    async def check(self) -> None:
        await self.act_stop()
        assert not any(done.was_wrong for done in self.done), "a guest that ran and was meant to was stopped"
