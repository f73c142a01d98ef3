"""Cases for `judge` in a few words: what happened at which second, and what else is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from es_power.domain.decisions import Failed, Refused, Route, Sent, StopVerb
from es_power.domain.events import (
    ControlErrorReported,
    Event,
    IOErrorReported,
    LifecycleEvent,
    NovaStopObserved,
    Position,
    RebootReported,
    RecordObserved,
    StateObserved,
    Trigger,
    WatchdogReported,
)
from es_power.domain.evidence import Blind, Case, Fact, Reboot
from es_power.domain.libvirt_numbers import EVENTS, POWER_STATES, STATES
from es_power.domain.logged import (
    NovaRequestLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuStarted,
    QemuTerminated,
)
from es_power.domain.states import PowerState, Transition, VmState
from es_power.domain.time import SECOND, Timestamp
from es_power.testing.facts import SOMEBODY, T0, vm

WEB = vm(1)
COMMAND = UUID(int=7)
BOOTS = UUID(int=1), UUID(int=2)


def second(at: float) -> Timestamp:
    return Timestamp(T0 + int(at * SECOND))


def announced(words: str, at: float = 0) -> Event:
    """``STOPPED/SHUTDOWN``, as libvirt announces it."""
    name, _, detail = words.partition("/")
    [(number, details)] = [(number, details) for number, (each, details) in EVENTS.items() if each == name]
    [found] = [number for number, each in details.items() if each == detail]
    return LifecycleEvent(observed_at=second(at), instance=WEB, connection=1, number=1, event=number, detail=found)


def answered(words: str, at: float = 0) -> Event:
    """``SHUTOFF/CRASHED``, as libvirt answers; ``gone`` where it knows of no such VM."""
    state = reason = None
    if words != "gone":
        name, _, why = words.partition("/")
        [(state, reasons)] = [(number, reasons) for number, (each, reasons) in STATES.items() if each == name]
        [reason] = [number for number, each in reasons.items() if each == why]
    return StateObserved(
        observed_at=second(at),
        instance=WEB,
        asked_at=second(at),
        state=state,
        reason=reason,
        trigger=Trigger.EVENT,
        connection=1,
        number=1,
    )


def signal(at: float = 0, *, pid: int = 4711) -> Event:
    return QemuTerminated(
        observed_at=second(at), instance=WEB, file=SOMEBODY, offset=1, signal=15, pid=pid, process=SOMEBODY
    )


def ended(reason: str, at: float = 0) -> Event:
    return QemuEnded(observed_at=second(at), instance=WEB, file=SOMEBODY, offset=2, reason=reason)


def started(at: float = 0) -> Event:
    return QemuStarted(observed_at=second(at), instance=WEB, file=SOMEBODY, offset=0)


def nova_logged(transition: Transition, at: float = 0) -> Event:
    return NovaTransitionLogged(
        observed_at=second(at), logged_at=second(at + 15), instance=WEB, file=SOMEBODY, offset=3, transition=transition
    )


def sent(at: float, route: Route = Route.HYPERVISOR) -> Event:
    return Sent(
        observed_at=second(at),
        instance=WEB,
        command=COMMAND,
        actor="actor/a/qemu",
        epoch=1,
        route=route,
        verb=StopVerb.STOP,
    )


def refused(at: float) -> Event:
    return Refused(observed_at=second(at), instance=WEB, command=COMMAND, reason="not allowed")


def failed(at: float) -> Event:
    return Failed(observed_at=second(at), instance=WEB, command=COMMAND, reason="it did not go")


def nova_stopped(at: float, *, itself: bool = False) -> Event:
    return NovaStopObserved(observed_at=second(at), instance=WEB, request_id="req-1", by_nova_itself=itself)


def nova_asked(action: str, at: float) -> Event:
    return NovaRequestLogged(
        observed_at=second(at),
        instance=WEB,
        file=SOMEBODY,
        offset=4,
        request_id="req-2",
        user=SOMEBODY,
        project=None,
        action=action,
    )


def nova_says(task: str | None, at: float) -> Event:
    return RecordObserved(
        observed_at=second(at),
        instance=WEB,
        asked_at=second(at),
        vm_state=VmState.ACTIVE,
        task_state=task,
        power_state=PowerState.RUNNING,
        host="a",
    )


def watchdog(action: int, at: float = 0) -> Event:
    return WatchdogReported(observed_at=second(at), instance=WEB, connection=1, number=1, action=action)


def io_error(action: int, at: float = 0) -> Event:
    return IOErrorReported(observed_at=second(at), instance=WEB, connection=1, number=1, action=action, reason="enospc")


def control_error(at: float = 0) -> Event:
    return ControlErrorReported(observed_at=second(at), instance=WEB, connection=1, number=1)


def rebooted(at: float = 0) -> Event:
    return RebootReported(observed_at=second(at), instance=WEB, connection=1, number=1)


def gap(since: float, until: float | None) -> Blind:
    return Blind(
        position=Position(900),
        since=second(since),
        until=None if until is None else second(until),
        reason="connection lost",
    )


def reboot(*, told: int = 0, others: int = 0, position: int = 1) -> Reboot:
    return Reboot(position=Position(position), at=second(0), before=BOOTS[0], after=BOOTS[1], others=others, told=told)


@dataclass(frozen=True, kw_only=True)
class Laid:
    """What is laid before: the events in the order of the log, the change among them, and the rest of the case."""

    events: Sequence[Event]
    #: Which of them made the change; the last one of ours unless told otherwise.
    change: int | None = None
    #: The name of the process of each signal; None where it was gone.
    process: str | None = "bash"
    user: str | None = "alice"
    actor: str | None = None
    host: str = "a"
    log_host: str = "a"
    rest: dict[str, object] = field(default_factory=dict)

    def facts(self) -> list[Fact]:
        told = QemuTerminated | QemuEnded | NovaTransitionLogged
        return [
            Fact(
                position=Position(place),
                host=self.log_host if isinstance(event, told) else self.host,
                event=event,
                texts=self._texts(event),
            )
            for place, event in enumerate(self.events, start=1)
        ]

    def _texts(self, event: Event) -> dict[str, str | None]:
        match event:
            case QemuTerminated():
                return {"process": self.process}
            case NovaRequestLogged():
                return {"user": self.user}
            case Sent():
                return {"actor": self.actor}
            case _:
                return {}

    def __call__(self) -> Case:
        """Make the case."""
        facts = self.facts()
        change = facts[self._changed()]
        made = Case(
            change=change,
            from_state=PowerState.RUNNING,
            to_state=_after(change.event),
            last_seen=second(-30),
            facts=facts,
            log_read=True,
        )
        return replace(made, **self.rest)  # type: ignore[arg-type]

    def _changed(self) -> int:
        if self.change is not None:
            return self.change
        ours = [place for place, event in enumerate(self.events) if _after(event) is not None]
        return ours[0]


def _after(event: Event) -> PowerState | None:
    match event:
        case LifecycleEvent(transition=Transition() as transition):
            return transition.power_state
        case StateObserved(state=None):
            return PowerState.NOSTATE
        case StateObserved(state=int(state)):
            return POWER_STATES.get(state)
        case QemuEnded():
            return PowerState.SHUTDOWN
        case NovaTransitionLogged(transition=transition):
            return transition.power_state
        case _:
            return None
