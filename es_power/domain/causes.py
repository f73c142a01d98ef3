"""Why a VM is no longer in the state that it was in: evidence in; a cause, a confidence and the evidence out.

Rules of this file:
1. It only reads signs and looks them up: which cause they mean stands in `cause_table`.
2. No verdict without its evidence, and what is missing is evidence too: an event that did not come, a log that nobody
   reads, a request that nobody made.
3. Nothing here reads a log or a clock. A `Case` holds what is laid before; what is not in it was not found.

Theory of operation. Each fact of a case says something to the table, its *sign*. The first row that fits gives the
cause and a confidence. Facts that bear a sign of that cause speak for it. A fact that says how the VM ended, and says
something else, speaks against it and lowers the confidence by a step. So does a gap over the moment, where the row
rests on events: one that would have said something else may be lost.

libvirt's log of a VM and the records of other programs have no order among our events but by time, which is compared
here for want of anything better: their lines are taken from `AROUND` the moment, and requests from `BEFORE` it, but
none from before the VM came into the state that it left.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from es_power.domain.cause_table import OF, TABLE, Cause, Confidence
from es_power.domain.decisions import Refused, Route, Sent
from es_power.domain.events import (
    ControlErrorReported,
    Event,
    IOErrorReported,
    LifecycleEvent,
    NovaStopObserved,
    RecordObserved,
    StateObserved,
    WatchdogReported,
)
from es_power.domain.evidence import Blind, Case, Evidence, Fact, Kind, Verdict
from es_power.domain.libvirt_numbers import (
    IO_ERROR_ACTIONS,
    POWER_STATES,
    SHUTDOWN,
    WATCHDOG_ACTIONS,
    detail_name,
    event_name,
    reason_name,
    state_name,
)
from es_power.domain.logged import NovaRequestLogged, NovaTransitionLogged, QemuEnded, QemuTerminated
from es_power.domain.states import PowerState, Transition
from es_power.domain.time import SECOND

BEFORE: Final = 600 * SECOND
"""How long before the moment a request may have been made that led to it; Nova gives a guest a minute, some longer."""

AROUND: Final = 15 * SECOND
"""How far another program's line may be from what libvirt announced of the same: its clock, or its patience."""

_SKEW: Final = 3 * SECOND
"""How much later than its effect a request may seem, by a clock on another machine."""

_ENDS: Final = ("event STOPPED", "observed SHUTOFF", "log: reason=", "log: signal by a named process")
"""Beginnings of signs that say how a VM ended: one that is not the cause's speaks against it."""

_LIBVIRT: Final = frozenset({"libvirtd", "virtqemud", "lt-libvirtd", "lt-virtqemud"})
"""Programs whose signal is libvirt's own way of ending a qemu, after a guest's shutdown as well."""

_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "asked: Nova moves it": ("migrat", "evacuat"),
    "asked: Nova saves it": ("suspend",),
    "asked: Nova pauses it": ("paus",),
    "asked: Nova stops it": (
        "stop",
        "terminat",
        "destroy",
        "power",
        "shut",
        "delet",
        "resiz",
        "rebuil",
        "shelv",
        "rescu",
    ),
}
"""Beginnings of words that say what Nova was asked for; the first that is found counts."""

_STOPPING_TASKS: Final = ("powering-off", "deleting", "soft-deleting", "shelving", "resize", "rebuild", "rescu")

_LOG_TELLS: Final = frozenset(
    {
        Cause.GUEST_SHUTDOWN,
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        Cause.HOST_SHUTDOWN,
        Cause.HOST_KILLED,
        Cause.GUEST_CRASHED,
        Cause.QEMU_FAILED,
        Cause.HOST_DOWN,
        Cause.DESTROYED,
        Cause.UNKNOWN,
    }
)
"""Causes that libvirt's log of the VM could bear out, or refute."""

_BY_SOMEBODY: Final = frozenset(
    {Cause.GUEST_SHUTDOWN, Cause.DESTROYED, Cause.HOST_KILLED, Cause.SAVED, Cause.MIGRATED, Cause.PAUSED_BY_USER}
)
"""Causes of which es_power or Nova could have been asked."""

_ENDING: Final = frozenset({Transition.STOPPED, Transition.PAUSED, Transition.SUSPENDED, Transition.CRASHED})

_STAYING: Final = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED})
"""States in which qemu goes on, so that lines about its end belong to something later."""


def judge(case: Case) -> Verdict:
    """Find the cause of one change. Whatever is laid before, it does not raise."""
    found = sorted(_relevant(case), key=lambda fact: fact.order)
    said = {sign for fact in found for sign in signs(fact)} | set(_circumstances(case, found))
    row = next((row for row in TABLE if row.fits(said)), None)
    cause = row.cause if row else Cause.UNKNOWN
    evidence = (*_present(case, found, cause), *_missing(case, found, cause))
    steps = sum(each.weight == "-" and each.kind is Kind.FACT for each in evidence)
    if row is not None and row.is_announced:
        steps += any(each.kind is Kind.GAP for each in evidence)
    request = _request(found, cause)
    ended = next((fact for fact in found if cause is Cause.HOST_KILLED and "log: signal" in signs(fact)), None)
    killed = ended.event if ended and isinstance(ended.event, QemuTerminated) else None
    return Verdict(
        cause=cause,
        confidence=(row.confidence if row else Confidence.LOW).lowered(steps),
        from_state=case.from_state,
        to_state=case.to_state,
        at=case.change.at,
        not_before=case.last_seen if _was_missed(case, found) else None,
        actor=_actor(request),
        request_id=getattr(request.event, "request_id", None) if request else None,
        pid=(killed.pid or None) if killed else None,
        process=ended.texts.get("process") if ended else None,
        signal=killed.signal if killed else None,
        out_of_band=None if cause is Cause.UNKNOWN else request is None,
        evidence=evidence,
    )


# ------------------------------------------------------------------------------------------------------------- signs


def signs(fact: Fact) -> tuple[str, ...]:
    """What a fact says to the table."""
    match fact.event:
        case QemuTerminated():
            return _signal(fact.texts.get("process"))
        case QemuEnded(reason="" | "unknown"):
            return ("log: end",)
        case QemuEnded(reason=reason):
            return (f"log: reason={reason}",)
        case NovaTransitionLogged(transition=transition):
            return (f"nova log: {transition}",)
        case Sent(route=Route.NOVA | Route.HYPERVISOR):
            return ("asked: es_power stops it",)
        case NovaStopObserved():
            return ("asked: Nova stops it",)
        case NovaRequestLogged(action=action):
            return tuple(sign for sign, beginnings in _ASKED.items() if _says(action, beginnings))[:1]
        case RecordObserved(task_state=str(task)) if task.startswith(_STOPPING_TASKS):
            return ("asked: Nova has a task that stops it",)
        case event:
            return _hypervisors(event)


def _hypervisors(event: Event) -> tuple[str, ...]:
    match event:
        case LifecycleEvent(event=number, detail=detail):
            return (f"event {event_name(number)} ({detail_name(number, detail)})",)
        case StateObserved(state=int(state), reason=int(reason)):
            return (f"observed {state_name(state)} ({reason_name(state, reason)})",)
        case StateObserved():
            return ("observed gone",)
        case WatchdogReported(action=action):
            return (f"event WATCHDOG ({WATCHDOG_ACTIONS.get(action, action)})",)
        case IOErrorReported(action=action):
            return (f"event IO_ERROR ({IO_ERROR_ACTIONS.get(action, action)})",)
        case ControlErrorReported():
            return ("event CONTROL_ERROR",)
        case _:
            return ()


def _signal(process: str | None) -> tuple[str, ...]:
    if not process:
        return ("log: signal",)
    # qemu writes what the process calls itself, which may be a path with arguments.
    program = process.partition(" ")[0].rpartition("/")[2]
    return ("log: signal by libvirt",) if program in _LIBVIRT else ("log: signal", "log: signal by a named process")


def _says(action: str, beginnings: Iterable[str]) -> bool:
    words = action.lower().replace("-", " ").split()
    return any(word.startswith(beginning) for word in words for beginning in beginnings)


def _circumstances(case: Case, found: Iterable[Fact]) -> Iterator[str]:
    """The signs that no single fact bears."""
    # What was off before the host went did not go with it.
    if case.reboot is not None and (not _was_missed(case, found) or case.reboot.position <= case.change.position):
        yield "host booted anew"
        if 2 * case.reboot.told > case.reboot.others:
            yield "other guests told to go"
    if case.elsewhere is not None:
        yield "on elsewhere"
    if case.log_read and not any(isinstance(fact.event, QemuEnded) for fact in found):
        yield "log: no end"


# --------------------------------------------------------------------------------------------------- what is relevant


def _relevant(case: Case) -> Iterator[Fact]:
    """The facts of a case that lie near enough to bear on it, each once."""
    facts = {(fact.position, fact.index): fact for fact in (*case.facts, case.change)}
    hypervisors = [fact for fact in facts.values() if _is_hypervisors(fact.event) or fact is case.change]
    first, last = min(fact.at for fact in hypervisors), max(fact.at for fact in hypervisors)
    # Of what nobody announced it is only known that it came after the former state was last seen.
    began = case.last_seen if case.last_seen is not None and _was_missed(case, hypervisors) else first
    earliest = 0 if case.since is None else case.since
    latest = last + AROUND if case.until is None else min(case.until, last + AROUND)
    refused = {fact.event.command for fact in facts.values() if isinstance(fact.event, Refused)}
    for fact in facts.values():
        event = fact.event
        if fact is case.change or isinstance(event, LifecycleEvent | StateObserved):
            near = fact is case.change or (_is_hypervisors(event) and case.to_state is not PowerState.RUNNING)
        elif _is_hypervisors(event):
            near = abs(fact.at - case.change.at) <= AROUND
        elif isinstance(event, QemuTerminated | QemuEnded | NovaTransitionLogged):
            near = max(began - AROUND, earliest) <= fact.at <= latest and _is_of(case, fact)
        else:
            near = max(began - BEFORE, earliest) <= fact.at <= first + _SKEW
        if near and not (isinstance(event, Sent) and event.command in refused):
            yield fact


def _is_of(case: Case, fact: Fact) -> bool:
    """Whether a line is about the same host, and about what became of the VM there."""
    same_host = fact.host is None or case.change.host is None or fact.host == case.change.host
    return same_host and (case.to_state not in _STAYING or isinstance(fact.event, NovaTransitionLogged))


def _is_hypervisors(event: Event) -> bool:
    """Whether it is about an end of the VM's running; that it was defined, started or seen running before, is not."""
    match event:
        case LifecycleEvent():
            return event.event == SHUTDOWN or event.transition in _ENDING
        case StateObserved(state=state):
            return state is None or POWER_STATES.get(state) is not PowerState.RUNNING
        case _:
            return isinstance(event, WatchdogReported | IOErrorReported | ControlErrorReported)


def _was_missed(case: Case, found: Iterable[Fact]) -> bool:
    """Whether no event announced what was observed."""
    announced = any(isinstance(fact.event, LifecycleEvent) and _is_hypervisors(fact.event) for fact in found)
    return isinstance(case.change.event, StateObserved) and not announced


# ------------------------------------------------------------------------------------------------------- the evidence


def _present(case: Case, found: Sequence[Fact], cause: Cause) -> Iterator[Evidence]:
    """What was found, in the order of time."""
    answers: set[str] = set()
    for fact in found:
        said = signs(fact)
        if isinstance(fact.event, StateObserved) and answers.issuperset(said):
            continue  # libvirt answered the same again
        answers.update(said)
        against = cause is not Cause.UNKNOWN and any(sign.startswith(_ENDS) for sign in said)
        if OF[cause].intersection(said):
            yield _fact(fact, "+")
        elif against or fact is case.change:
            yield _fact(fact, "-" if against else "+")
    if case.elsewhere is not None and cause is Cause.MIGRATED:
        yield _fact(case.elsewhere, "+")
    reboot = case.reboot
    if reboot is not None and cause in {Cause.HOST_SHUTDOWN, Cause.HOST_DOWN}:
        yield Evidence(kind=Kind.REBOOT, weight="+", position=reboot.position, at=reboot.at)
        if reboot.told:
            yield Evidence(kind=Kind.OTHERS, weight="+", count=reboot.told, of=reboot.others)


def _fact(fact: Fact, weight: str) -> Evidence:
    return Evidence(kind=Kind.FACT, weight=weight, position=fact.position, index=fact.index, at=fact.at, fact=fact)


def _missing(case: Case, found: Sequence[Fact], cause: Cause) -> Iterator[Evidence]:
    """What was not found, and what hid it."""
    said = {sign for fact in found for sign in signs(fact)}
    if _was_missed(case, found) and case.to_state is not PowerState.RUNNING:
        yield Evidence(kind=Kind.UNANNOUNCED, weight="-", at=case.last_seen, until=case.change.at)
    if _is_one_sided(said):
        yield Evidence(kind=Kind.ONE_SIDED, weight="-")
    if cause is Cause.GUEST_SHUTDOWN and "event SHUTDOWN (GUEST)" in said:
        yield Evidence(kind=Kind.ACPI, weight="-")
    gone = cause in {Cause.HOST_DOWN, Cause.HOST_SHUTDOWN}
    for blind in _over_the_moment(case, found, said):
        yield Evidence(
            kind=Kind.GAP,
            weight="+" if gone else "-",
            position=blind.position,
            at=blind.since,
            until=blind.until,
            reason=blind.reason,
        )
    if case.log_read is False and cause in _LOG_TELLS and case.to_state not in _STAYING:
        yield Evidence(kind=Kind.LOG_NOT_READ, weight="-")
    if case.log_read and cause is Cause.HOST_KILLED and "log: signal" not in said:
        yield Evidence(kind=Kind.NO_SIGNAL, weight="-")
    if cause is Cause.HOST_DOWN and case.log_read and not any(sign.startswith("log: reason") for sign in said):
        yield Evidence(kind=Kind.NO_END, weight="+")
    if cause in _BY_SOMEBODY and _request(found, cause) is None:
        yield Evidence(kind=Kind.NOT_ASKED, weight="-", reason=None if case.nova else "Nova is not read")


def _is_one_sided(said: Collection[str]) -> bool:
    """Whether libvirt said that it was shut down, and not from which side."""
    return "event STOPPED (SHUTDOWN)" in said and not any(sign.startswith("event SHUTDOWN") for sign in said)


def _over_the_moment(case: Case, found: Iterable[Fact], said: Collection[str]) -> Iterator[Blind]:
    """The gaps in which an event of this change may be lost."""
    times = [fact.at for fact in found if _is_hypervisors(fact.event)] or [case.change.at]
    first, last = min(times), max(times)
    if case.last_seen is not None and (_was_missed(case, found) or _is_one_sided(said)):
        first = min(first, case.last_seen)
    for blind in case.blind:
        if blind.since <= last and (blind.until is None or blind.until >= first):
            yield blind


# -------------------------------------------------------------------------------------------------------- who asked


def _request(found: Iterable[Fact], cause: Cause) -> Fact | None:
    """The request that led to it: es_power's own, else the one that names somebody, else the newest."""
    asked = [fact for fact in found if any(sign.startswith("asked:") for sign in OF[cause].intersection(signs(fact)))]
    return max(asked, key=lambda fact: (isinstance(fact.event, Sent), _actor(fact) != "Nova", fact.order), default=None)


def _actor(request: Fact | None) -> str | None:
    match request:
        case None:
            return None
        case Fact(event=Sent()):
            return request.texts.get("actor") or "es_power"
        case Fact(event=NovaStopObserved(by_nova_itself=True)):
            return "Nova's own power sync"
        case _:
            return request.texts.get("user") or "Nova"
