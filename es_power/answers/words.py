"""The lines of a history in a person's words."""

from typing import Final

from es_power.domain.access import LinkIssued, SessionEnded, SessionOpened, TokenIssued, TokenRevoked
from es_power.domain.custody import LabelsForgotten, LogPruned, LogRestored
from es_power.domain.decisions import (
    Approved,
    CommandEvent,
    Confirmed,
    Expired,
    Failed,
    LookedAgain,
    Refused,
    Resolved,
    Retried,
    Sent,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import (
    ClockJumped,
    ControlErrorReported,
    Event,
    GapClosed,
    GapOpened,
    IOErrorReported,
    LifecycleEvent,
    MemoryFailureReported,
    NovaStopObserved,
    PowerManagementReported,
    RebootReported,
    RecordCleared,
    RecordDeclared,
    RecordNotFound,
    RecordObserved,
    ServiceStarted,
    ServiceStopped,
    StateObserved,
    WatchdogReported,
)
from es_power.domain.libvirt_numbers import (
    EVENT_IDS,
    IO_ERROR_ACTIONS,
    WATCHDOG_ACTIONS,
    detail_name,
    event_name,
    reason_name,
    state_name,
)
from es_power.domain.logged import (
    LoggedEvent,
    NovaRequestLogged,
    NovaSkipLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuLogOpened,
    QemuStarted,
    QemuTerminated,
)
from es_power.domain.time import SECOND, rfc3339
from es_power.projections.narrative import Line

_EVENT_NAMES: Final = {number: name for name, number in EVENT_IDS.items()}


def words(line: Line) -> str:
    """Say what one line is about."""
    if line.is_run:
        said = _observed(line.entry.state, line.entry.reason)
    else:
        said = fact_words(line.event) if line.event else f"{line.entry.kind} that cannot be read"
    if line.entry.stale:
        said += "; asked before a newer event, so it changes nothing"
    if process := line.texts.get("process"):
        said += f" ({process})"
    who = line.by or line.texts.get("user")
    by = f" by {who}" if who else ""
    why = f": {line.why}" if line.why else ""
    return f"{said}{by}{why}"


def fact_words(event: Event) -> str:
    """Say what one fact is about."""
    match event:
        case LifecycleEvent(event=number, detail=detail):
            return f"event {event_name(number)} ({detail_name(number, detail)})"
        case StateObserved(state=state, reason=reason):
            return _observed(state, reason)
        case GapOpened(reason=reason):
            return f"not seen from here on: {reason}"
        case GapClosed(reason=reason, lost=lost):
            return f"seen again after: {reason}" + (f" ({lost} events lost)" if lost else "")
        case ClockJumped(by=by, expected=expected):
            way = "forward" if by > 0 else "back"
            return f"the clock was set {way} by {_duration(abs(by))}: it should have read {rfc3339(expected)}"
        case ServiceStarted(holder=holder):
            return f"service started: {holder}"
        case ServiceStopped():
            return "service stopped"
        case RecordDeclared(vm_state=vm_state, task_state=task):
            return f"declared {vm_state}{_under_way(task)}"
        case RecordObserved(vm_state=vm_state, task_state=task, power_state=power_state, host=host):
            return f"Nova says {vm_state}{_under_way(task)} ({power_state}, {f'on {host}' if host else 'on no host'})"
        case RecordNotFound():
            return "Nova does not know it"
        case LoggedEvent():
            return _logged(event)
        case QemuLogOpened():
            return "its qemu log is read from here on"
        case NovaStopObserved(by_nova_itself=itself):
            return f"Nova stopped it{', by its own power sync' if itself else ''}"
        case RecordCleared():
            return "declared no longer"
        case StopRequested(verb=verb, policy=policy, rule=rule, reason=reason):
            return f"{verb} planned ({policy}, rule {rule}): {reason}"
        case CommandEvent():
            return _step(event)
        case _:
            return _reported(event)


def _logged(event: LoggedEvent) -> str:
    """What another program wrote; the texts of its labels are `words`' to add."""
    match event:
        case QemuStarted():
            return "qemu log: starting up"
        case QemuTerminated(signal=signal, pid=pid):
            return f"qemu log: terminating on signal {signal}" + (f" from pid {pid}" if pid else "")
        case QemuEnded(reason=reason):
            return "qemu log: shutting down" + (f", reason={reason}" if reason else "")
        case NovaTransitionLogged(transition=transition):
            return f"nova log: VM {transition.capitalize()}"
        case NovaSkipLogged(task_state=task):
            return f"nova log: skipped, {task} was pending"
        case NovaRequestLogged(action=action, request_id=request):
            return f"nova log: {action} ({request})"
        case _:
            return type(event).__name__


def _step(event: CommandEvent) -> str:
    """A step in the life of a command; what is in the words is what nobody else told."""
    match event:
        case Approved(by=None):
            return "stop approved by the mode"
        case Approved():
            return "stop approved"
        case LookedAgain(reason=reason):
            return f"looked at again: {reason}"
        case Sent(verb=verb, route=route):
            return f"{verb} sent by way of {route}"
        case Confirmed(because=because, window=window):
            after = "" if window is None else f", {window / SECOND:.3f} s between the look and the act"
            return f"stop confirmed by position {because}{after}"
        case Withdrawn(reason=reason):
            return f"stop withdrawn: {reason}"
        case Refused(reason=reason) | Failed(reason=reason) | Expired(reason=reason):
            return f"stop {type(event).__name__.lower()}: {reason}"
        case Retried():
            return "to be tried again"
        case Resolved(reason=reason):
            return f"the disagreement is over: {reason}"
        case _:
            return type(event).__name__


def _reported(event: Event) -> str:
    match event:
        case RebootReported():
            return "event REBOOT"
        case ControlErrorReported():
            return "event CONTROL_ERROR"
        case WatchdogReported(action=action):
            return f"event WATCHDOG {WATCHDOG_ACTIONS.get(action, action)}"
        case IOErrorReported(action=action, reason=reason):
            return f"event IO_ERROR {IO_ERROR_ACTIONS.get(action, action)} {reason}".rstrip()
        case PowerManagementReported(event_id=event_id):
            return f"event {_EVENT_NAMES.get(event_id, event_id)}"
        case MemoryFailureReported():
            return "event MEMORY_FAILURE"
        case TokenIssued(token=token, role=role):
            return f"token {token} made, for {role}"
        case TokenRevoked(token=token):
            return f"token {token} revoked"
        case LinkIssued(role=role):
            return f"link made for a browser, for {role}"
        case SessionOpened():
            return "link used by a browser"
        case SessionEnded():
            return "a browser's session ended"
        case LabelsForgotten(labels=labels):
            return f"{len(labels)} texts forgotten"
        case LogPruned(position=position, count=count):
            return f"{count} observations up to position {position} pruned"
        case LogRestored(position=position, replaced=replaced):
            before = "" if replaced is None else f"; it had gone up to {replaced}"
            return f"the log was put back to position {position}{before}"
        case _:
            return type(event).__name__


def _observed(state: int | None, reason: int | None) -> str:
    if state is None:
        return "observed: libvirt does not know it"
    # libvirt calls the reason 0 of every state unknown: nothing to tell.
    why = f" ({reason_name(state, reason)})" if reason else ""
    return f"observed {state_name(state)}{why}"


def _duration(nanoseconds: int) -> str:
    """Say how long that is: ``1 d 2:00:03``."""
    minutes, seconds = divmod(nanoseconds // SECOND, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hours}:{minutes:02}:{seconds:02}"


def _under_way(task_state: str | None) -> str:
    return f", {task_state} under way" if task_state else ""
