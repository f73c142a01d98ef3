"""Real guests that end in every way that a host without a second one can bring about: each with its cause and evidence.

A second service observes the same guests and may not read their logs.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import libvirt
import pytest
import trio

from es_power.domain.cause_table import Cause, Confidence
from es_power.domain.causes import signs
from es_power.domain.evidence import Kind, Verdict
from es_power.domain.logged import QemuEnded
from es_power.domain.states import PowerState
from es_power.projections.queries import look
from es_power.projections.why import why
from tests.rigs.actor import actor
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import Libvirtd, stray_kill
from tests.rigs.machines import real_vm
from tests.rigs.recording import Recording, recording

pytestmark = [pytest.mark.libvirt, pytest.mark.qemu]

HIGH, MEDIUM = Confidence.HIGH, Confidence.MEDIUM

# What each guest suffers; the cause, how sure it is with libvirt's log of the VM, and how sure without.
ENDS: Mapping[str, tuple[Cause, Confidence, Confidence]] = {
    "destroyed": (Cause.DESTROYED, HIGH, HIGH),
    "destroyed-gracefully": (Cause.DESTROYED, HIGH, HIGH),
    "killed": (Cause.HOST_KILLED, HIGH, MEDIUM),
    "killed-outright": (Cause.QEMU_FAILED, HIGH, MEDIUM),
    "powered-off": (Cause.GUEST_SHUTDOWN, MEDIUM, MEDIUM),
    "panicked": (Cause.GUEST_CRASHED, HIGH, HIGH),
    "saved": (Cause.SAVED, HIGH, HIGH),
    "paused": (Cause.PAUSED_BY_USER, HIGH, HIGH),
}

# And what each verdict rests on, whatever the order in which the programs wrote it.
SIGNS: Mapping[str, set[str]] = {
    "destroyed": {
        "event SHUTDOWN (HOST)",
        "event STOPPED (DESTROYED)",
        "observed SHUTOFF (DESTROYED)",
        "log: signal by libvirt",
        "log: reason=destroyed",
    },
    "killed": {
        "event SHUTDOWN (HOST)",
        "event STOPPED (SHUTDOWN)",
        "observed SHUTOFF (SHUTDOWN)",
        "log: signal",
        "log: signal by a named process",
        "log: reason=shutdown",
    },
    "killed-outright": {"event STOPPED (FAILED)", "observed SHUTOFF (CRASHED)", "log: reason=crashed"},
    "powered-off": {
        "event SHUTDOWN (GUEST)",
        "event STOPPED (SHUTDOWN)",
        "observed SHUTOFF (SHUTDOWN)",
        "log: signal by libvirt",
        "log: reason=shutdown",
    },
    "panicked": {
        "event CRASHED (PANICKED)",
        "event STOPPED (CRASHED)",
        "observed SHUTOFF (CRASHED)",
        "log: signal by libvirt",
        "log: reason=crashed",
    },
    "saved": {
        "event SUSPENDED (PAUSED)",
        "event STOPPED (SAVED)",
        "observed SHUTOFF (SAVED)",
        "log: signal by libvirt",
        "log: reason=saved",
    },
    "paused": {"event SUSPENDED (PAUSED)", "observed PAUSED (USER)"},
}
SIGNS = {**SIGNS, "destroyed-gracefully": SIGNS["destroyed"]}

#: What a guest goes through on its way, and an event or a look may meet: once in six runs libvirt says first that one
#: that panicked is paused, and a look comes while one is saved or shuts down.
ON_THE_WAY = {
    "event SUSPENDED (PAUSED)",
    "observed PAUSED (SAVE)",
    "observed PAUSED (SHUTTING_DOWN)",
    "observed PAUSED (CRASHED)",
    "observed CRASHED (PANICKED)",
    "observed SHUTDOWN (UNKNOWN)",
    "observed SHUTDOWN (USER)",
}


async def _end(name: str, daemon: Libvirtd, guest: Guest, recorded: Recording, stack: ExitStack) -> None:
    """Boot a guest, and have happen to it what its name says."""
    other = stack.enter_context(actor(daemon.uri("qemu", "/session")))

    async def act(target: str, method: str, *arguments: object) -> None:
        await trio.to_thread.run_sync(other.act, target, method, *arguments)

    inside = {"powered-off": "poweroff", "panicked": "panic"}.get(name, "none")
    console = daemon.directory / "guest" / f"{name}.console"
    await act("-", "defineXML", real_vm(name, guest, act=inside, console=console))
    await act(name, "create")
    instance = await recorded.instance(name)
    match name:
        case "destroyed":
            await act(name, "destroy")
        case "destroyed-gracefully":
            await act(name, "destroyFlags", libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        case "killed":
            stack.enter_context(stray_kill(daemon.guest_pid(name)))
        case "killed-outright":
            os.kill(daemon.guest_pid(name), signal.SIGKILL)
        case "saved":
            await act(name, "managedSave")
        case "paused":
            await recorded.row(instance, PowerState.RUNNING)
            await act(name, "suspend")
    await recorded.row(instance, PowerState.PAUSED if name == "paused" else PowerState.SHUTDOWN)
    if name != "paused":
        await recorded.until(
            lambda records: any(
                isinstance(each.event, QemuEnded) and each.event.instance == instance for each in records
            )
        )


async def _verdicts(recorded: Recording) -> Mapping[str, Verdict]:
    view = await look(recorded.log)
    found = {name: (await why(view, name)).verdict for name in ENDS}
    assert None not in found.values()
    return {name: verdict for name, verdict in found.items() if verdict is not None}


def _said(verdict: Verdict) -> set[str]:
    facts = [each.fact for each in verdict.evidence if each.fact is not None]
    return {sign for fact in facts for sign in signs(fact)}


async def test_each_end_of_a_real_guest_has_its_cause_and_its_evidence(
    loop: None, daemon: Libvirtd, guest: Guest, tmp_path: Path
) -> None:
    uri = daemon.uri("qemu", "/session")
    with ExitStack() as stack:
        async with (
            recording(tmp_path / "log.db", uri, silence=20, qemu_logs=daemon.qemu_logs) as recorded,
            recording(tmp_path / "deaf.db", uri, silence=20) as deaf,
        ):
            async with trio.open_nursery() as nursery:
                for name in ENDS:
                    nursery.start_soon(_end, name, daemon, guest, recorded, stack)
            for name in ENDS:
                await deaf.row(
                    await deaf.instance(name), PowerState.PAUSED if name == "paused" else PowerState.SHUTDOWN
                )
            verdicts, unread = await _verdicts(recorded), await _verdicts(deaf)
            await recorded.act("paused", "destroy")
            for name in ENDS:
                await recorded.act(name, "undefineFlags", libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)

    found = {name: (each.cause, each.confidence, unread[name].confidence) for name, each in verdicts.items()}
    assert found == ENDS
    assert {name: each.cause for name, each in unread.items()} == {name: cause for name, (cause, *_) in ENDS.items()}
    for name, verdict in verdicts.items():
        assert _said(verdict) - ON_THE_WAY == SIGNS[name] - ON_THE_WAY, name
        assert all(each.weight == "+" for each in verdict.evidence if each.kind is Kind.FACT), name
        assert verdict.from_state is PowerState.RUNNING
        assert verdict.out_of_band
    killed = verdicts["killed"]
    assert (killed.process, killed.signal, unread["killed"].pid) == ("bash", 15, None)
    assert Kind.LOG_NOT_READ in {each.kind for each in unread["killed"].evidence}
