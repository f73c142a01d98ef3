"""Why: each cause from its evidence, with each piece of it and without."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from es_power.domain.cause_table import MEANINGS, OF, TABLE, Cause, Confidence
from es_power.domain.causes import judge, signs
from es_power.domain.decisions import Route
from es_power.domain.evidence import Case, Kind
from es_power.domain.libvirt_numbers import EVENTS, IO_ERROR_ACTIONS, STATES, WATCHDOG_ACTIONS
from es_power.domain.states import PowerState, Transition
from tests.unit.domain.cases import (
    Laid,
    announced,
    answered,
    control_error,
    ended,
    failed,
    gap,
    io_error,
    nova_asked,
    nova_logged,
    nova_says,
    nova_stopped,
    reboot,
    rebooted,
    refused,
    second,
    sent,
    signal,
    started,
    watchdog,
)

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW


def _case(*events: object, **rest: object) -> Laid:
    own = {name: rest.pop(name) for name in ("process", "user", "actor", "change", "log_host") if name in rest}
    return Laid(events=events, rest=rest, **own)  # type: ignore[arg-type]


SHUT_DOWN = announced("SHUTDOWN/GUEST", -2), announced("STOPPED/SHUTDOWN"), answered("SHUTOFF/SHUTDOWN", 1)
KILLED = announced("SHUTDOWN/HOST", -1), announced("STOPPED/SHUTDOWN"), answered("SHUTOFF/SHUTDOWN", 1)
DESTROYED = announced("SHUTDOWN/HOST", -1), announced("STOPPED/DESTROYED"), answered("SHUTOFF/DESTROYED", 1)
FAILED = announced("STOPPED/FAILED"), answered("SHUTOFF/CRASHED", 1)
PANICKED = announced("SUSPENDED/PAUSED", -3), announced("CRASHED/PANICKED", -2), announced("STOPPED/CRASHED")
OURS, NOVAS, TASK = sent(-60), nova_stopped(-60), nova_says("powering-off", -60)

ANNOUNCED: Mapping[str, tuple[Laid, Cause, Confidence]] = {
    "a guest that powers off": (_case(*SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "and libvirt ends its qemu": (
        _case(*SHUT_DOWN, signal(-1), ended("shutdown"), process="libvirtd"),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "which nobody wrote down": (_case(*SHUT_DOWN, log_read=False), Cause.GUEST_SHUTDOWN, MEDIUM),
    "a shutdown that says no side": (_case(announced("STOPPED/SHUTDOWN")), Cause.GUEST_SHUTDOWN, LOW),
    "which is still under way": (
        _case(announced("SHUTDOWN/GUEST", -2), answered("SHUTDOWN/UNKNOWN")),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "a process that kills qemu": (_case(*KILLED, signal(-1), ended("shutdown")), Cause.HOST_KILLED, HIGH),
    "one that was gone before it was named": (_case(*KILLED, signal(-1), process=None), Cause.HOST_KILLED, HIGH),
    "one whose line nobody reads": (_case(*KILLED, log_read=False), Cause.HOST_KILLED, MEDIUM),
    "or no line at all": (_case(*KILLED, ended("shutdown")), Cause.HOST_KILLED, MEDIUM),
    "the line of a kill and no side": (
        _case(announced("STOPPED/SHUTDOWN"), signal(-1)),
        Cause.HOST_KILLED,
        MEDIUM,
    ),
    "a kill whose end was lost": (
        _case(announced("SHUTDOWN/HOST", -1), answered("SHUTOFF/SHUTDOWN")),
        Cause.HOST_KILLED,
        MEDIUM,
    ),
    "a kill under way": (
        _case(announced("SHUTDOWN/HOST", -1), signal(-1), answered("SHUTDOWN/UNKNOWN")),
        Cause.HOST_KILLED,
        MEDIUM,
    ),
    "a kill that qemu did not survive": (_case(*FAILED, signal(-1)), Cause.HOST_KILLED, MEDIUM),
    "a kill although es_power had asked": (_case(OURS, *KILLED, signal(-1)), Cause.HOST_KILLED, HIGH),
    "virsh destroy": (_case(*DESTROYED), Cause.DESTROYED, HIGH),
    "and libvirt's own signal": (
        _case(*DESTROYED, signal(-1), ended("destroyed"), process="/usr/sbin/libvirtd --timeout 120"),
        Cause.DESTROYED,
        HIGH,
    ),
    "virsh destroy whose end was lost": (
        _case(announced("SHUTDOWN/HOST", -1), answered("SHUTOFF/DESTROYED")),
        Cause.DESTROYED,
        MEDIUM,
    ),
    "a core dump that ends it": (
        _case(announced("SUSPENDED/PAUSED", -3), answered("PAUSED/DUMP", -2), announced("STOPPED/CRASHED"), change=2),
        Cause.DESTROYED,
        MEDIUM,
    ),
    "kill -9": (_case(*FAILED, ended("crashed", -1)), Cause.QEMU_FAILED, HIGH),
    "kill -9 that nobody wrote down": (_case(*FAILED, log_read=False), Cause.QEMU_FAILED, MEDIUM),
    "a panic": (_case(*PANICKED, change=2), Cause.GUEST_CRASHED, HIGH),
    "a panic that is preserved": (_case(announced("CRASHED/PANICKED")), Cause.GUEST_CRASHED, HIGH),
    "a crash": (_case(announced("STOPPED/CRASHED")), Cause.GUEST_CRASHED, MEDIUM),
    "a watchdog that powers off": (_case(watchdog(3, -1), announced("STOPPED/SHUTDOWN")), Cause.GUEST_CRASHED, MEDIUM),
    "a save": (
        _case(announced("SUSPENDED/PAUSED", -1), announced("STOPPED/SAVED"), ended("saved"), change=1),
        Cause.SAVED,
        HIGH,
    ),
    "a save under way": (_case(announced("SUSPENDED/PAUSED"), answered("PAUSED/SAVE", 1)), Cause.SAVED, MEDIUM),
    "a migration": (_case(announced("STOPPED/MIGRATED"), ended("migrated")), Cause.MIGRATED, HIGH),
    "one that begins": (_case(announced("SUSPENDED/MIGRATED")), Cause.MIGRATED, HIGH),
    "one that arrives": (_case(announced("STARTED/MIGRATED")), Cause.MIGRATED, HIGH),
    "one that only shows": (
        _case(announced("SUSPENDED/PAUSED"), answered("PAUSED/MIGRATION", 1)),
        Cause.MIGRATED,
        MEDIUM,
    ),
    "one that fails late": (_case(announced("SUSPENDED/POSTCOPY_FAILED")), Cause.MIGRATED, MEDIUM),
    "a full disk": (_case(announced("SUSPENDED/IOERROR"), io_error(1)), Cause.IO_ERROR_PAUSE, HIGH),
    "a full disk, told beside it": (
        _case(io_error(1, -1), announced("SUSPENDED/PAUSED")),
        Cause.IO_ERROR_PAUSE,
        MEDIUM,
    ),
    "a watchdog": (_case(announced("SUSPENDED/WATCHDOG")), Cause.WATCHDOG_PAUSE, HIGH),
    "a watchdog, told beside it": (_case(watchdog(1), announced("SUSPENDED/PAUSED")), Cause.WATCHDOG_PAUSE, MEDIUM),
    "virsh suspend": (
        _case(announced("SUSPENDED/PAUSED"), answered("PAUSED/USER", 1)),
        Cause.PAUSED_BY_USER,
        HIGH,
    ),
    "a pause that nobody looked at": (_case(announced("SUSPENDED/PAUSED")), Cause.PAUSED_BY_USER, MEDIUM),
    "an I/O error of another day": (
        _case(io_error(1, -300), announced("SUSPENDED/PAUSED")),
        Cause.PAUSED_BY_USER,
        MEDIUM,
    ),
    "a guest that sleeps": (_case(announced("PMSUSPENDED/MEMORY")), Cause.SUSPENDED, HIGH),
    "our own stop": (_case(OURS, *SHUT_DOWN), Cause.PLATFORM_REQUESTED_SHUTDOWN, HIGH),
    "our own stop that took a destroy": (_case(OURS, *DESTROYED), Cause.PLATFORM_REQUESTED_SHUTDOWN, HIGH),
    "our own stop that failed at first": (
        _case(OURS, failed(-10), *SHUT_DOWN),
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        HIGH,
    ),
    "our own stop under way": (
        _case(OURS, announced("SHUTDOWN/GUEST", -1), answered("SHUTDOWN/UNKNOWN")),
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        MEDIUM,
    ),
    "our own stop that was refused": (_case(OURS, refused(-59), *SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "a stop that only the record took": (_case(sent(-60, Route.RECORD), *SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "Nova's stop": (_case(NOVAS, *SHUT_DOWN), Cause.PLATFORM_REQUESTED_SHUTDOWN, HIGH),
    "Nova's stop in its log": (
        _case(nova_asked("Terminating instance", -60), *DESTROYED),
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        HIGH,
    ),
    "Nova's task": (_case(TASK, *SHUT_DOWN), Cause.PLATFORM_REQUESTED_SHUTDOWN, MEDIUM),
    "another task": (_case(nova_says("spawning", -60), *SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "no task": (_case(nova_says(None, -60), *SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "a stop of Nova's from before it was started": (
        _case(NOVAS, *SHUT_DOWN, since=second(-40)),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "a stop of Nova's that is too long ago": (_case(nova_stopped(-700), *SHUT_DOWN), Cause.GUEST_SHUTDOWN, MEDIUM),
    "a stop of Nova's that follows": (_case(*SHUT_DOWN, nova_stopped(20)), Cause.GUEST_SHUTDOWN, MEDIUM),
    "something else asked of Nova": (
        _case(nova_asked("Attaching volume", -60), *SHUT_DOWN),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "a host that shuts down": (
        _case(*SHUT_DOWN, reboot=reboot(told=3, others=4)),
        Cause.HOST_SHUTDOWN,
        HIGH,
    ),
    "a host that shuts down, and kills": (
        _case(*KILLED, signal(-1), reboot=reboot(told=1, others=1), process="systemd"),
        Cause.HOST_SHUTDOWN,
        HIGH,
    ),
    "a host on which few others went": (
        _case(*SHUT_DOWN, reboot=reboot(told=1, others=9)),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "a start": (_case(announced("STARTED/BOOTED")), Cause.UNKNOWN, LOW),
    "a snapshot": (_case(announced("STOPPED/FROM_SNAPSHOT")), Cause.UNKNOWN, LOW),
    "an error of libvirt's": (_case(control_error(), rebooted(), announced("RESUMED/UNPAUSED")), Cause.UNKNOWN, LOW),
}

MISSED: Mapping[str, tuple[Laid, Cause, Confidence]] = {
    "off": (_case(answered("SHUTOFF/SHUTDOWN")), Cause.GUEST_SHUTDOWN, LOW),
    "destroyed": (_case(answered("SHUTOFF/DESTROYED")), Cause.DESTROYED, LOW),
    "crashed": (_case(answered("SHUTOFF/CRASHED")), Cause.QEMU_FAILED, LOW),
    "panicked": (_case(answered("CRASHED/PANICKED")), Cause.GUEST_CRASHED, LOW),
    "saved": (_case(answered("SHUTOFF/SAVED")), Cause.SAVED, LOW),
    "migrated": (_case(answered("SHUTOFF/MIGRATED")), Cause.MIGRATED, LOW),
    "paused": (_case(answered("PAUSED/USER")), Cause.PAUSED_BY_USER, LOW),
    "paused by an I/O error": (_case(answered("PAUSED/IOERROR")), Cause.IO_ERROR_PAUSE, LOW),
    "paused by a watchdog": (_case(answered("PAUSED/WATCHDOG")), Cause.WATCHDOG_PAUSE, LOW),
    "asleep": (_case(answered("PMSUSPENDED/UNKNOWN")), Cause.SUSPENDED, LOW),
    "gone": (_case(answered("gone")), Cause.UNKNOWN, LOW),
    "off after a command of ours": (_case(OURS, answered("SHUTOFF/SHUTDOWN")), Cause.PLATFORM_REQUESTED_SHUTDOWN, LOW),
    "off and written down": (
        _case(signal(-20), ended("shutdown", -19), answered("SHUTOFF/SHUTDOWN"), change=2, process="libvirtd"),
        Cause.GUEST_SHUTDOWN,
        MEDIUM,
    ),
    "off, and an end without a signal": (
        _case(ended("shutdown", -19), answered("SHUTOFF/SHUTDOWN"), change=1),
        Cause.GUEST_SHUTDOWN,
        LOW,
    ),
    "off, and the killer written down": (
        _case(signal(-20), ended("shutdown", -19), answered("SHUTOFF/SHUTDOWN"), change=2),
        Cause.HOST_KILLED,
        MEDIUM,
    ),
    "the killer of another host": (
        _case(signal(-20), ended("shutdown", -19), answered("SHUTOFF/SHUTDOWN"), change=2, log_host="b"),
        Cause.GUEST_SHUTDOWN,
        LOW,
    ),
    "off, and a destroy written down": (
        _case(ended("destroyed", -19), answered("SHUTOFF/DESTROYED"), change=1),
        Cause.DESTROYED,
        MEDIUM,
    ),
    "off, and our stop written down": (
        _case(OURS, ended("shutdown", -19), answered("SHUTOFF/SHUTDOWN"), change=2),
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        MEDIUM,
    ),
    "a crash written down": (
        _case(ended("crashed", -19), answered("SHUTOFF/CRASHED"), change=1),
        Cause.QEMU_FAILED,
        MEDIUM,
    ),
    "a panic written down": (
        _case(ended("crashed", -19), signal(-18), answered("SHUTOFF/CRASHED"), change=2, process="libvirtd"),
        Cause.GUEST_CRASHED,
        MEDIUM,
    ),
    "a failure written down": (
        _case(ended("failed", -19), answered("SHUTOFF/FAILED"), change=1),
        Cause.QEMU_FAILED,
        LOW,
    ),
    "a save written down": (_case(ended("saved", -19), answered("SHUTOFF/SAVED"), change=1), Cause.SAVED, MEDIUM),
    "a migration written down": (_case(ended("migrated", -19), answered("gone"), change=1), Cause.MIGRATED, MEDIUM),
    "an end of which an old libvirt wrote no reason": (
        _case(ended("", -19), answered("SHUTOFF/DESTROYED"), change=1),
        Cause.DESTROYED,
        LOW,
    ),
    "a line that says otherwise": (
        _case(ended("saved", -19), answered("SHUTOFF/CRASHED"), change=1),
        Cause.SAVED,
        LOW,
    ),
    "the host booted": (
        _case(answered("SHUTOFF/UNKNOWN"), reboot=reboot(), log_read=None),
        Cause.HOST_DOWN,
        MEDIUM,
    ),
    "the host booted, and nobody wrote an end": (
        _case(answered("SHUTOFF/UNKNOWN"), reboot=reboot()),
        Cause.HOST_DOWN,
        HIGH,
    ),
    "the host booted, and the others had been told": (
        _case(answered("SHUTOFF/UNKNOWN"), reboot=reboot(told=2, others=2)),
        Cause.HOST_SHUTDOWN,
        MEDIUM,
    ),
    "the host booted after a shutdown that was written down": (
        _case(ended("shutdown", -9), answered("SHUTOFF/UNKNOWN"), change=1, reboot=reboot(told=2, others=2)),
        Cause.HOST_SHUTDOWN,
        MEDIUM,
    ),
    "the host booted later": (_case(answered("SHUTOFF/CRASHED"), reboot=reboot(position=50)), Cause.QEMU_FAILED, LOW),
    "only in libvirt's log": (_case(signal(-1), ended("shutdown")), Cause.HOST_KILLED, MEDIUM),
    "only in Nova's log": (_case(nova_logged(Transition.STOPPED)), Cause.UNKNOWN, LOW),
    "only in Nova's log, with a request": (
        _case(nova_asked("Stopping instance", -20), nova_logged(Transition.STOPPED)),
        Cause.PLATFORM_REQUESTED_SHUTDOWN,
        LOW,
    ),
    "a pause in Nova's log": (_case(nova_logged(Transition.PAUSED)), Cause.PAUSED_BY_USER, LOW),
}

ALL = {**ANNOUNCED, **{f"observed: {name}": each for name, each in MISSED.items()}}


@pytest.mark.parametrize("name", ALL)
def test_each_cause_comes_from_its_evidence(name: str) -> None:
    laid, cause, confidence = ALL[name]
    verdict = judge(laid())

    assert (verdict.cause, verdict.confidence) == (cause, confidence)
    assert verdict.evidence, "never a bare verdict"


@pytest.mark.parametrize("name", [name for name, (_, cause, _) in ALL.items() if cause is not Cause.UNKNOWN])
def test_what_is_surer_is_so_by_its_evidence(name: str) -> None:
    """Without a fact that speaks for it, the verdict is another one, or no surer."""
    laid, _, _ = ALL[name]
    case = laid()
    verdict = judge(case)
    order = list(Confidence)
    for evidence in verdict.evidence:
        if evidence.weight == "+" and evidence.fact is not None and evidence.fact != case.change:
            less = judge(replace(case, facts=[fact for fact in case.facts if fact != evidence.fact]))
            assert less.cause is not verdict.cause or order.index(less.confidence) >= order.index(verdict.confidence)


def test_every_cause_is_told_and_every_row_can_be_reached() -> None:
    assert {cause for _, cause, _ in ALL.values()} == set(Cause) == set(MEANINGS)
    for row in TABLE:
        assert next(each for each in TABLE if each.fits({part[0] for part in row.parts})) is row, row


def test_no_row_stands_behind_one_that_takes_less() -> None:
    """A row behind another one that fits whenever it does would never be asked."""
    for place, row in enumerate(TABLE):
        for before in TABLE[:place]:
            hides = all(any(set(part) <= set(wanted) for part in row.parts) for wanted in before.parts)
            assert not hides, (before, row)


def test_every_sign_of_the_table_is_one_that_a_fact_can_bear() -> None:
    names = {f"event {name} ({detail})" for name, details in EVENTS.values() for detail in details.values()}
    names |= {f"observed {name} ({reason})" for name, reasons in STATES.values() for reason in reasons.values()}
    names |= {f"event WATCHDOG ({action})" for action in WATCHDOG_ACTIONS.values()}
    names |= {f"event IO_ERROR ({action})" for action in IO_ERROR_ACTIONS.values()}
    reasons = ("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "daemon")
    names |= {f"log: reason={reason}" for reason in reasons}
    names |= {"log: signal", "log: signal by libvirt", "log: signal by a named process", "log: no end"}
    names |= {f"asked: Nova {verb} it" for verb in ("stops", "moves", "saves", "pauses")}
    names |= {"asked: es_power stops it", "asked: Nova has a task that stops it", "observed gone", "on elsewhere"}
    names |= {"nova log: STOPPED", "nova log: PAUSED", "host booted anew", "other guests told to go"}

    assert frozenset().union(*OF.values()) <= names


# ------------------------------------------------------------------------------------------------- what goes with it


def _kinds(case: Case) -> set[tuple[str, Kind]]:
    return {(each.weight, each.kind) for each in judge(case).evidence}


def test_a_killer_is_named_with_pid_and_process() -> None:
    verdict = judge(ALL["a process that kills qemu"][0]())

    assert (verdict.pid, verdict.process, verdict.signal, verdict.out_of_band) == (4711, "bash", 15, True)


def test_a_sender_that_the_line_does_not_name_is_none() -> None:
    verdict = judge(_case(*KILLED, signal(-1, pid=0), process=None)())

    assert (verdict.pid, verdict.process, verdict.signal) == (None, None, 15)


def test_a_platforms_stop_names_who_asked() -> None:
    ours = judge(_case(OURS, *SHUT_DOWN, actor="es_power (nova-2013, rule e)")())
    without = judge(_case(OURS, *SHUT_DOWN)())
    novas = judge(_case(NOVAS, nova_asked("Stopping instance", -61), *SHUT_DOWN)())
    nameless = judge(_case(NOVAS, *SHUT_DOWN)())
    itself = judge(_case(nova_stopped(-60, itself=True), *SHUT_DOWN)())

    assert (ours.actor, ours.request_id, ours.out_of_band) == ("es_power (nova-2013, rule e)", None, False)
    assert without.actor == "es_power"
    assert (novas.actor, novas.request_id) == ("alice", "req-2")
    assert (nameless.actor, nameless.request_id) == ("Nova", "req-1")
    assert itself.actor == "Nova's own power sync"


@pytest.mark.parametrize(
    ("action", "events", "cause"),
    [
        ("Pausing", (announced("SUSPENDED/PAUSED"), answered("PAUSED/USER", 1)), Cause.PAUSED_BY_USER),
        ("Suspending instance", (announced("STOPPED/SAVED"),), Cause.SAVED),
        ("live-migrating", (announced("STOPPED/MIGRATED"),), Cause.MIGRATED),
    ],
)
def test_what_else_nova_was_asked_for_has_its_actor_too(action: str, events: tuple[object, ...], cause: Cause) -> None:
    verdict = judge(_case(nova_asked(action, -20), *events)())

    assert (verdict.cause, verdict.actor, verdict.out_of_band) == (cause, "alice", False)


def test_what_nobody_asked_for_says_so_and_whether_nova_was_read() -> None:
    beside = judge(_case(*KILLED, signal(-1), nova=True)())
    alone = judge(_case(*KILLED, signal(-1))())

    assert [each.reason for each in beside.evidence if each.kind is Kind.NOT_ASKED] == [None]
    assert [each.reason for each in alone.evidence if each.kind is Kind.NOT_ASKED] == ["Nova is not read"]


def test_a_gap_over_the_moment_is_evidence_and_makes_it_less_sure() -> None:
    seen = judge(_case(*KILLED, signal(-1))())
    blind = judge(_case(*KILLED, signal(-1), blind=[gap(-0.5, 0.5)])())
    before = judge(_case(*KILLED, signal(-1), blind=[gap(-60, -30)])())
    still = judge(_case(*KILLED, signal(-1), blind=[gap(-0.5, None)])())

    assert [each.confidence for each in (seen, blind, before, still)] == [HIGH, MEDIUM, HIGH, MEDIUM]
    assert ("-", Kind.GAP) in {(each.weight, each.kind) for each in blind.evidence}
    assert Kind.GAP not in {each.kind for each in before.evidence}


def test_what_was_found_after_a_gap_is_less_sure_only_once() -> None:
    """What nobody announced rests on no event; one that says no side may have lost the one that does."""
    missed = judge(_case(ended("destroyed", -19), answered("SHUTOFF/DESTROYED"), change=1, blind=[gap(-25, -1)])())
    one_sided = judge(_case(announced("STOPPED/SHUTDOWN"), blind=[gap(-25, -1)])())

    assert (missed.confidence, missed.not_before) == (MEDIUM, second(-30))
    assert {Kind.GAP, Kind.UNANNOUNCED} <= {each.kind for each in missed.evidence}
    assert {Kind.GAP, Kind.ONE_SIDED} <= {each.kind for each in one_sided.evidence}


def test_a_log_that_nobody_reads_is_missed_where_it_could_tell() -> None:
    assert ("-", Kind.LOG_NOT_READ) in _kinds(_case(*KILLED, log_read=False)())
    assert ("-", Kind.LOG_NOT_READ) not in _kinds(_case(*KILLED, log_read=None)())
    assert ("-", Kind.LOG_NOT_READ) not in _kinds(_case(announced("SUSPENDED/PAUSED"), log_read=False)())
    assert ("-", Kind.NO_SIGNAL) in _kinds(_case(*KILLED, log_read=True)())
    assert ("-", Kind.NO_SIGNAL) not in _kinds(_case(*KILLED, signal(-1))())


def test_a_host_that_went_down_is_shown_by_its_boot_and_by_the_gap() -> None:
    kinds = _kinds(_case(answered("SHUTOFF/UNKNOWN"), reboot=reboot(), blind=[gap(-20, 0)])())
    told = _kinds(_case(answered("SHUTOFF/UNKNOWN"), reboot=reboot(told=2, others=2), log_read=None)())

    assert {("+", Kind.REBOOT), ("+", Kind.GAP), ("+", Kind.NO_END)} <= kinds
    assert {("+", Kind.REBOOT), ("+", Kind.OTHERS)} <= told


def test_a_vm_that_another_host_shows_has_migrated() -> None:
    there = Laid(events=[announced("STARTED/MIGRATED", -1)], host="b").facts()[0]
    verdict = judge(_case(answered("gone"), elsewhere=there)())

    assert (verdict.cause, verdict.confidence) == (Cause.MIGRATED, MEDIUM)
    assert there in [each.fact for each in verdict.evidence]


def test_lines_of_another_run_do_not_count() -> None:
    """A VM that is started and stopped again within seconds leaves the lines of both ends near each other."""
    before = _case(signal(-9), ended("shutdown", -8), *DESTROYED, change=3, since=second(-7))
    after = _case(*DESTROYED, signal(4), ended("crashed", 5), until=second(2))
    running = _case(announced("SUSPENDED/PAUSED"), answered("PAUSED/USER", 1), ended("destroyed", 4))

    assert [judge(each()).confidence for each in (before, after, running)] == [HIGH, HIGH, HIGH]
    assert judge(before()).cause is judge(after()).cause is Cause.DESTROYED


def test_the_same_answer_again_is_no_more_evidence() -> None:
    verdict = judge(_case(*DESTROYED, answered("SHUTOFF/DESTROYED", 2))())

    assert sum(each.kind is Kind.FACT for each in verdict.evidence) == 3


def test_defining_a_vm_announces_nothing_of_its_power() -> None:
    verdict = judge(_case(announced("DEFINED/UPDATED", -1), answered("SHUTOFF/SHUTDOWN"))())

    assert verdict.not_before == second(-30)
    assert Kind.UNANNOUNCED in {each.kind for each in verdict.evidence}


def test_what_was_never_seen_before_has_no_earliest_time() -> None:
    verdict = judge(_case(answered("SHUTOFF/SHUTDOWN"), last_seen=None, from_state=None)())

    assert (verdict.cause, verdict.not_before) == (Cause.GUEST_SHUTDOWN, None)


def test_a_fact_without_a_sign_says_nothing() -> None:
    facts = Laid(events=[started(), rebooted()]).facts()

    assert [signs(fact) for fact in facts] == [(), ()]
    assert PowerState.RUNNING is judge(_case(announced("RESUMED/UNPAUSED"))()).to_state
