"""Facts in words, one line each, for those who watch the demo."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import trio

from es_power.domain.decisions import StopRequested, Withdrawn
from es_power.domain.events import (
    ControlErrorReported,
    GapClosed,
    GapOpened,
    HostSwept,
    InstanceEvent,
    InstanceId,
    LifecycleEvent,
    RecordDeclared,
    Recorded,
    StateObserved,
)
from es_power.domain.libvirt_numbers import detail_name, event_name, reason_name, state_name
from es_power.domain.time import SECOND, moment


class Teller:
    """Turns records into lines, and counts them."""

    def __init__(self, print_fact: Callable[[str], None], *, keep: int = 10) -> None:
        self._print_fact = print_fact
        self._more = trio.Event()
        #: While so much happens at once that it is only counted.
        self.is_quiet = True
        #: The last lines, for a screen that shows only so many.
        self.lines: deque[str] = deque(maxlen=keep)
        self.names: Mapping[InstanceId, str] = {}
        self.counts: Counter[str] = Counter()

    def hear(self, batch: Sequence[Recorded]) -> None:
        """Take in what was recorded, and folded."""
        for recorded in batch:
            self._count(recorded)
            words = "" if self.is_quiet else self._words(recorded)
            if words:
                at = f"{moment(recorded.event.observed_at).astimezone():%H:%M:%S}"
                line = f"{at}  #{recorded.position:<5} {words}"
                self.lines.append(line)
                self._print_fact(line)
        self._more.set()
        self._more = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, which only a fact can make so."""
        while not condition():
            await self._more.wait()

    def _count(self, recorded: Recorded) -> None:
        match recorded.event:
            case HostSwept(states=states):
                self.counts["sweeps"] += 1
                self.counts["observations"] += len(states) // 2
            case StateObserved():
                self.counts["observations"] += 1
            case LifecycleEvent():
                self.counts["events"] += 1
            case GapOpened():
                self.counts["gaps"] += 1
            case StopRequested():
                self.counts["commands"] += 1
            case Withdrawn():
                self.counts["withdrawn"] += 1
            case _:
                pass

    def _words(self, recorded: Recorded) -> str:
        event = recorded.event
        name = self.names.get(event.instance, "-") if isinstance(event, InstanceEvent) else ""
        match event:
            case LifecycleEvent(event=number, detail=detail):
                return f"event        {name:<10} {event_name(number)}/{detail_name(number, detail)}"
            case StateObserved(state=None):
                return f"observation  {name:<10} not found"
            case StateObserved(state=int(state), reason=int(reason)):
                return f"observation  {name:<10} {state_name(state)}/{reason_name(state, reason)}"
            case HostSwept(states=states):
                return f"sweep        {len(states) // 2} VMs in one record"
            case GapOpened(reason=why):
                return f"gap opened   {why}: the host is blind"
            case GapClosed(since=since):
                return f"gap closed   {(event.observed_at - since) / SECOND:.1f} s that nobody saw"
            case RecordDeclared(vm_state=vm_state):
                return f"declared     {name:<10} is meant to be {vm_state}"
            case StopRequested(verb=verb, rule=rule, policy=policy):
                return f"PLANNED      {name:<10} {verb} by rule {rule} of {policy} (dry-run: nothing is executed)"
            case Withdrawn():
                return f"withdrawn    {name:<10} {event.reason}"
            case ControlErrorReported():
                return f"event        {name:<10} control error"
            case _:
                return ""
