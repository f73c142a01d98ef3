"""Answers as rows to print: one mapping for each, with the keys that machines rely on.

A number of libvirt's comes with its name: `state` is the name, `state_number` what libvirt said.
"""

from collections.abc import Mapping
from typing import Final

from es_power.answers.words import words
from es_power.domain.decisions import CommandEvent, Confirmed, LookedAgain, Sent, StopRequested, Withdrawn
from es_power.domain.events import (
    Event,
    GapClosed,
    GapOpened,
    InstanceId,
    LifecycleEvent,
    NovaStopObserved,
    RecordDeclared,
    RecordNotFound,
    RecordObserved,
    ServiceStarted,
    StateObserved,
)
from es_power.domain.libvirt_numbers import detail_name, event_name, reason_name, state_name
from es_power.domain.logged import (
    LoggedEvent,
    NovaRequestLogged,
    NovaSkipLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuTerminated,
)
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.streams import import_source
from es_power.output import Column, Row
from es_power.projections.doubts import Doubt
from es_power.projections.gaps import Gap
from es_power.projections.narrative import Line
from es_power.projections.queries import Observed, Status

POWER_STYLES: Final[Mapping[str, str]] = {
    PowerState.RUNNING: "green",
    PowerState.PAUSED: "yellow",
    PowerState.SHUTDOWN: "dim",
    PowerState.CRASHED: "red",
    PowerState.SUSPENDED: "yellow",
    UNKNOWN: "magenta",
}
"""Colours of power_states, which are always written out too."""

# ---------------------------------------------------------------------------------------------------- status

STATUS: Final = (
    Column("name"),
    Column("host"),
    Column("power_state", styles=POWER_STYLES),
    Column("since", time=True),
    Column("vm_state"),
    Column("task_state"),
    Column("policy"),
    Column("note", limit=None),
    Column("instance", in_table=False),
    Column("observed_at", time=True, in_table=False),
    Column("position", in_table=False),
    Column("provisional", in_table=False),
    Column("gone", in_table=False),
    Column("drift", in_table=False),
    Column("state", in_table=False),
    Column("state_number", in_table=False),
    Column("reason", in_table=False),
    Column("reason_number", in_table=False),
)


def status_row(status: Status) -> Row:
    """One VM of `es-power status`."""
    row = status.row
    return {
        "instance": row.instance,
        "name": status.name,
        "host": row.host,
        "power_state": row.power_state,
        "vm_state": row.vm_state,
        "task_state": row.task_state,
        "policy": row.policy,
        "since": row.since or None,
        "observed_at": row.observed_at or None,
        "position": row.position,
        "provisional": row.provisional,
        "gone": row.gone,
        "drift": row.drift,
        **_state(row.state, row.reason),
        "note": row.note or ("gone" if row.gone else "not confirmed yet" if row.provisional else ""),
    }


def _state(state: int | None, reason: int | None) -> Row:
    return {
        "state": None if state is None else state_name(state),
        "state_number": state,
        "reason": None if state is None or reason is None else reason_name(state, reason),
        "reason_number": reason,
    }


# --------------------------------------------------------------------------------------------------- history

IMPORTED: Final = Column("imported")
"""What a line was imported from; of a history that has none such, a table leaves it out."""

HISTORY: Final = (
    Column("observed_at", time=True),
    Column("last", time=True),
    Column("count"),
    Column("power_state", styles=POWER_STYLES, width=11),
    Column("host", width=8),
    Column("position", width=8),
    IMPORTED,
    Column("what", limit=None),
    Column("index", in_table=False),
    Column("kind", in_table=False),
    Column("instance", in_table=False),
    Column("recorded_at", time=True, in_table=False),
    Column("changed", in_table=False),
    Column("stale", in_table=False),
    Column("event", in_table=False),
    Column("event_number", in_table=False),
    Column("detail", in_table=False),
    Column("detail_number", in_table=False),
    Column("state", in_table=False),
    Column("state_number", in_table=False),
    Column("reason", in_table=False),
    Column("reason_number", in_table=False),
    Column("first", time=True, in_table=False),
    Column("last_position", in_table=False),
    Column("trigger", in_table=False),
    Column("asked_at", time=True, in_table=False),
    Column("since", time=True, in_table=False),
    Column("lost", in_table=False),
    Column("vm_state", in_table=False),
    Column("task_state", in_table=False),
    Column("record_power_state", in_table=False),
    Column("record_host", in_table=False),
    Column("after", in_table=False),
    Column("request_id", in_table=False),
    Column("by_nova_itself", in_table=False),
    Column("action", in_table=False),
    Column("user", in_table=False),
    Column("project", in_table=False),
    Column("transition", in_table=False),
    Column("logged_at", time=True, in_table=False),
    Column("signal", in_table=False),
    Column("pid", in_table=False),
    Column("process", in_table=False),
    Column("file", in_table=False),
    Column("offset", in_table=False),
    Column("by", in_table=False),
    Column("why", in_table=False),
    Column("command_id", in_table=False),
    Column("command", in_table=False),
    Column("policy", in_table=False),
    Column("rule", in_table=False),
    Column("because", in_table=False),
    Column("holder", in_table=False),
)

FOLLOWED: Final = tuple(column for column in HISTORY if column.name not in {"first", "last", "last_position", "count"})
"""Where each observation is a line of its own, as `-f` shows them."""


def line_row(line: Line, instance: InstanceId) -> Row:
    """One line of `es-power history`; a fact of a host stands in the history of each of its VMs."""
    entry = line.entry
    row = {
        "position": entry.position,
        "index": entry.index,
        "kind": type(line.event).__name__ if line.event and not line.is_run else entry.kind,
        "instance": instance,
        "host": line.host,
        "observed_at": entry.observed_at,
        "recorded_at": entry.recorded_at,
        "power_state": entry.power_state,
        "changed": entry.changed,
        "stale": entry.stale,
        "imported": import_source(entry.stream),
        "what": words(line),
    }
    if line.is_run:
        run = {
            "first": entry.observed_at,
            "last": entry.last_observed_at,
            "last_position": entry.last_position,
            "count": entry.count,
        }
        return {**row, **_state(entry.state, entry.reason), **run}
    said = {name: text for name, text in line.texts.items() if name != "name"}
    return {**row, **details(line.event), **said}


def details(event: Event | None) -> Row:
    """What a kind of fact has beside what all have."""
    match event:
        case LifecycleEvent(event=number, detail=detail):
            return {
                "event": event_name(number),
                "event_number": number,
                "detail": detail_name(number, detail),
                "detail_number": detail,
            }
        case StateObserved(state=state, reason=reason, trigger=trigger, asked_at=asked_at):
            return {**_state(state, reason), "trigger": trigger, "asked_at": asked_at}
        case GapOpened(since=since, reason=why):
            return {"since": since, "reason": why}
        case GapClosed(since=since, reason=why, lost=lost):
            return {"since": since, "reason": why, "lost": lost}
        case RecordDeclared(vm_state=vm_state, task_state=task):
            return {"vm_state": vm_state, "task_state": task}
        case RecordObserved(vm_state=vm_state, task_state=task, asked_at=asked_at, after=after):
            said = {"vm_state": vm_state, "task_state": task, "asked_at": asked_at, "after": after}
            return {**said, "record_power_state": event.power_state, "record_host": event.host}
        case RecordNotFound(asked_at=asked_at, after=after):
            return {"asked_at": asked_at, "after": after}
        case NovaStopObserved(request_id=request_id, by_nova_itself=itself):
            return {"request_id": request_id, "by_nova_itself": itself}
        case StopRequested(command=id_, verb=verb, policy=policy, rule=rule, reason=why):
            return {"command_id": id_, "command": verb, "policy": policy, "rule": rule, "reason": why}
        case Withdrawn(command=id_, reason=why, because=because):
            return {"command_id": id_, "reason": why, "because": because}
        case LookedAgain(command=id_, reason=why, observation=observation, record=record):
            return {"command_id": id_, "reason": why, "observation": observation, "record": record}
        case Sent(command=id_, verb=verb, route=route):
            return {"command_id": id_, "command": verb, "route": route}
        case Confirmed(command=id_, because=because, window=window):
            return {"command_id": id_, "because": because, "window": window}
        case CommandEvent(command=id_):
            return {"command_id": id_, "reason": getattr(event, "reason", None)}
        case ServiceStarted(holder=holder):
            return {"holder": holder}
        case LoggedEvent():
            return _logged(event)
        case _:
            return {}


def _logged(event: LoggedEvent) -> Row:
    """What another program wrote; the texts of its labels are added where a line is made."""
    row: Row
    match event:
        case QemuTerminated(signal=signal, pid=pid):
            row = {"signal": signal, "pid": pid}
        case QemuEnded(reason=reason):
            row = {"reason": reason}
        case NovaTransitionLogged(transition=transition, logged_at=logged_at):
            row = {"transition": transition, "logged_at": logged_at}
        case NovaSkipLogged(task_state=task):
            row = {"task_state": task}
        case NovaRequestLogged(request_id=request_id, action=action):
            row = {"request_id": request_id, "action": action}
        case _:
            row = {}
    return {**row, "offset": event.offset}


# ----------------------------------------------------------------------------------------------------- hosts

HOSTS: Final = (
    Column("host"),
    Column("uri"),
    Column("running"),
    Column("vms"),
    Column("swept_at", time=True),
    Column("blind_since", time=True),
    Column("blind_reason"),
    Column("policy"),
    Column("mode"),
    Column("stream", in_table=False),
    Column("holder", in_table=False),
    Column("position", in_table=False),
    Column("spacing", in_table=False),
    Column("policy_version", in_table=False),
)


def host_row(observed: Observed) -> Row:
    """One observed host."""
    host = observed.known
    return {
        "host": observed.host,
        "stream": observed.stream,
        "uri": host.uri,
        "holder": host.holder,
        "running": host.running,
        "blind_since": host.blind_since,
        "blind_reason": host.blind_reason,
        "vms": observed.vms,
        "swept_at": host.swept_at or None,
        "position": host.sweep_position,
        "spacing": host.spacing,
        "policy": host.policy,
        "policy_version": host.policy_version,
        "mode": host.mode,
    }


# ------------------------------------------------------------------------------------------------------ gaps

GAPS: Final = (
    Column("host"),
    Column("since", time=True),
    Column("until", time=True),
    Column("reason"),
    Column("lost"),
    Column("position"),
)


def gap_row(gap: Gap) -> Row:
    """One blind time."""
    return {
        "host": gap.host,
        "since": gap.since,
        "until": gap.until,
        "reason": gap.reason,
        "lost": gap.lost,
        "position": gap.position,
    }


# ------------------------------------------------------------------------------------------------ quarantine

QUARANTINE: Final = (
    Column("position"),
    Column("host"),
    Column("kind"),
    Column("vms"),
    Column("reason", limit=None),
    Column("stream", in_table=False),
    Column("instances", in_table=False),
)


def doubt_row(doubt: Doubt) -> Row:
    """One record that was set aside."""
    aside = doubt.record
    return {
        "position": aside.position,
        "host": doubt.host,
        "kind": aside.kind,
        "vms": ", ".join(doubt.names),
        "reason": aside.reason,
        "stream": aside.stream,
        "instances": " ".join(map(str, aside.instances)),
    }
