"""Why a VM stopped or paused, as a row for machines and as sentences for people."""

import re
from collections.abc import Iterator
from typing import Final

from es_power.answers.rows import POWER_STYLES, details
from es_power.answers.words import fact_words
from es_power.domain.cause_table import MEANINGS, Cause, Confidence
from es_power.domain.evidence import Evidence, Kind, Verdict
from es_power.domain.states import PowerState
from es_power.domain.time import SECOND, Timestamp, moment
from es_power.output import Column, Row
from es_power.projections.why import Why

WHY: Final = (
    Column("name"),
    Column("cause"),
    Column("confidence"),
    Column("host"),
    Column("at", time=True),
    Column("from_state", styles=POWER_STYLES),
    Column("to_state", styles=POWER_STYLES),
    Column("sentence", limit=None),
    Column("actor"),
    Column("request_id"),
    Column("pid"),
    Column("process"),
    Column("signal"),
    Column("out_of_band"),
    Column("not_before", time=True),
    Column("power_state", styles=POWER_STYLES),
    Column("instance"),
    Column("position"),
    Column("evidence"),
    Column("notes"),
    Column("next"),
    # Of what the evidence holds.
    Column("until", time=True),
    Column("logged_at", time=True),
    Column("asked_at", time=True),
)
"""The keys of an answer; what a person is shown is EVIDENCE, with words before and after it."""

EVIDENCE: Final = (
    Column("weight"),
    Column("at", time=True),
    Column("position"),
    Column("host"),
    Column("what", limit=None),
)

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
"""Names that mean themselves wherever they are pasted."""

_MARGIN: Final = 60 * SECOND


def why_row(why: Why) -> Row:
    """One answer; every key is there, whatever the cause."""
    verdict = why.verdict
    return {
        "instance": why.instance,
        "name": why.name,
        "host": why.host,
        "cause": verdict.cause if verdict else Cause.UNKNOWN,
        "confidence": verdict.confidence if verdict else Confidence.LOW,
        "sentence": sentence(why),
        "at": verdict.at if verdict else None,
        "not_before": verdict.not_before if verdict else None,
        "from_state": verdict.from_state if verdict else None,
        "to_state": verdict.to_state if verdict else None,
        "actor": verdict.actor if verdict else None,
        "request_id": verdict.request_id if verdict else None,
        "pid": verdict.pid if verdict else None,
        "process": verdict.process if verdict else None,
        "signal": verdict.signal if verdict else None,
        "out_of_band": verdict.out_of_band if verdict else None,
        "power_state": why.now,
        "position": why.position,
        "evidence": [evidence_row(each, why) for each in verdict.evidence] if verdict else [],
        "notes": list(_notes(why)),
        "next": list(_next(why)),
    }


# -------------------------------------------------------------------------------------------------- in plain words


def sentence(why: Why) -> str:
    """Say what the cause means here."""
    verdict = why.verdict
    if verdict is None:
        return "Nothing is known of its state at that moment."
    match verdict.cause:
        case Cause.HOST_KILLED:
            return f"Not the guest, and not libvirt: {_killer(verdict)} on the host ended qemu{_with_signal(verdict)}."
        case Cause.PLATFORM_REQUESTED_SHUTDOWN:
            request = f" (request {verdict.request_id})" if verdict.request_id else ""
            return f"It was stopped at the request of {verdict.actor}{request}."
        case Cause.MIGRATED | Cause.SAVED | Cause.PAUSED_BY_USER if verdict.actor:
            return f"{MEANINGS[verdict.cause]} {verdict.actor} asked for it."
        case Cause.UNKNOWN if verdict.to_state is PowerState.RUNNING:
            began = "It was first seen then, and ran" if verdict.from_state is None else "It began to run then"
            return f"{began}; only what ends or pauses a VM has a cause."
        case cause:
            return MEANINGS[cause]


def _killer(verdict: Verdict) -> str:
    if verdict.pid is None:
        return "a process"
    return f"process {verdict.pid} ({verdict.process or 'which was gone before it could be named'})"


def _with_signal(verdict: Verdict) -> str:
    return "" if verdict.signal is None else f" with signal {verdict.signal}"


def _notes(why: Why) -> Iterator[str]:
    """What a reader should know before relying on it."""
    verdict = why.verdict
    if verdict is None:
        return
    if why.now is not None and why.now is not verdict.to_state:
        yield f"It is {why.now} now."
    kinds = {each.kind for each in verdict.evidence}
    if Kind.LOG_NOT_READ in kinds:
        yield (
            "libvirt's log of the VM, which names whoever ends its qemu by a signal, was not read then: "
            "`es-power doctor` says how to let the service read it, `es-power import qemu-log` reads it afterwards."
        )


# ---------------------------------------------------------------------------------------------------- the evidence


def evidence_row(evidence: Evidence, why: Why) -> Row:
    """One piece of evidence: what speaks for it (+), and what is not there or speaks against it (-)."""
    fact = evidence.fact
    row = {
        "weight": evidence.weight,
        "kind": evidence.kind,
        "at": evidence.at,
        "until": evidence.until,
        "position": evidence.position,
        "index": evidence.index,
        "host": fact.host if fact else why.host if evidence.position else None,
        "what": _words(evidence),
    }
    if fact is None:
        return row
    said = {name: text for name, text in fact.texts.items() if name not in {"name", "actor"}}
    return {**row, "event": type(fact.event).__name__, "said": {**details(fact.event), **said}}


def _words(evidence: Evidence) -> str:
    match evidence.kind:
        case Kind.FACT:
            return _fact_words(evidence)
        case Kind.REBOOT:
            return "the host was booted anew: it bears another boot id"
        case Kind.OTHERS:
            return f"{evidence.count} of {evidence.of} other guests were told to go within the ten minutes before"
        case Kind.GAP:
            lasted = f", {_seconds(evidence)}" if evidence.until is not None else ", still"
            return f"nobody saw the host ({evidence.reason}){lasted}"
        case Kind.UNANNOUNCED:
            seen = f"; it was last seen otherwise {_seconds(evidence)} before" if evidence.at is not None else ""
            return f"no event announced it{seen}"
        case Kind.ONE_SIDED:
            return "no event said whether it was shut down from inside or from the host"
        case Kind.NOT_ASKED:
            if evidence.reason is not None:
                return "no command of es_power in the ten minutes before; Nova's requests are not read"
            return "no command of es_power and no request in Nova in the ten minutes before"
        case Kind.LOG_NOT_READ:
            return "libvirt's log of the VM was not read"
        case Kind.NO_SIGNAL:
            return "libvirt's log of the VM names no signal: qemu's monitor may have been told to quit"
        case Kind.NO_END:
            return "libvirt's log of the VM has no end of qemu: nobody was left to write it"
        case Kind.ACPI:
            return "libvirt would say the same of an ACPI request that somebody made through it"


def _fact_words(evidence: Evidence) -> str:
    assert evidence.fact is not None
    texts = evidence.fact.texts
    process = f" ({texts['process']})" if texts.get("process") else ""
    who = texts.get("actor") or texts.get("user")
    return f"{fact_words(evidence.fact.event)}{process}{f' by {who}' if who else ''}"


def _seconds(evidence: Evidence) -> str:
    assert evidence.at is not None
    assert evidence.until is not None
    return f"{(evidence.until - evidence.at) / SECOND:.1f} s"


# ----------------------------------------------------------------------------------------------- what to type next


def _next(why: Why) -> Iterator[str]:
    """Commands that are worth typing, with nothing in them that a shell would read otherwise."""
    verdict = why.verdict
    if verdict is None:
        yield f"es-power history {why.instance}"
        return
    begin = verdict.at if verdict.not_before is None else verdict.not_before
    window = f'--since "{_clock(Timestamp(begin - _MARGIN))}" --until "{_clock(Timestamp(verdict.at + _MARGIN))}"'
    match verdict.cause:
        case Cause.HOST_KILLED if verdict.pid is not None:
            yield f"journalctl _PID={verdict.pid} {window}"
            yield f"ausearch --pid {verdict.pid}"
        case Cause.HOST_KILLED:
            yield f"journalctl {window}"
        case Cause.QEMU_FAILED:
            yield f"journalctl --dmesg {window}"
            if why.name and _PLAIN.fullmatch(why.name):
                yield f"tail -n 40 /var/log/libvirt/qemu/{why.name}.log"
        case Cause.DESTROYED | Cause.PAUSED_BY_USER | Cause.SAVED | Cause.GUEST_SHUTDOWN:
            yield f"journalctl --unit libvirtd {window}"
        case Cause.HOST_DOWN | Cause.HOST_SHUTDOWN:
            yield "journalctl --list-boots"
        case Cause.IO_ERROR_PAUSE:
            yield f"virsh domblkerror {why.instance}"
        case Cause.PLATFORM_REQUESTED_SHUTDOWN if verdict.request_id and _PLAIN.fullmatch(verdict.request_id):
            yield f"openstack server event show {why.instance} {verdict.request_id}"
        case Cause.PLATFORM_REQUESTED_SHUTDOWN:
            yield "es-power commands list"
        case _:
            pass
    yield f"es-power history {why.instance} {window}"


def _clock(at: Timestamp) -> str:
    """A time as journalctl and es-power both read it, wherever they run."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S} UTC"
