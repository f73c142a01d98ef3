"""The whole service on a real libvirtd: what happens to VMs, and to the daemon, is in the log afterwards."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest

from es_power.domain.decisions import StopRequested
from es_power.domain.events import (
    ControlErrorReported,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    LifecycleEvent,
    Recorded,
    StateObserved,
)
from es_power.domain.libvirt_numbers import detail_name, event_name, reason_name, state_name
from es_power.domain.logged import LoggedEvent, QemuEnded, QemuStarted, QemuTerminated
from es_power.domain.states import PowerState, VmState
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.projections.power_state import power_rows
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import Libvirtd, stray_kill
from tests.rigs.machines import real_vm
from tests.rigs.recording import Recording, count, recording

pytestmark = pytest.mark.libvirt

T = TypeVar("T", bound=LoggedEvent)


@pytest.fixture
async def recorded(loop: None, daemon: Libvirtd, tmp_path: Path) -> AsyncIterator[Recording]:
    async with recording(tmp_path / "log.db", daemon.uri()) as recording_:
        yield recording_


def story(records: list[Recorded], instance: InstanceId) -> list[str]:
    """What the log has of one VM, as a person would write it; sweeps are left out."""
    words = []
    for recorded in records:
        match recorded.event:
            case LifecycleEvent(instance=found, event=event, detail=detail) if found == instance:
                words.append(f"{event_name(event)}/{detail_name(event, detail)}")
            case StateObserved(instance=found, state=None) if found == instance:
                words.append("? not found")
            case StateObserved(instance=found, state=int(state), reason=int(reason)) if found == instance:
                words.append(f"? {state_name(state)}/{reason_name(state, reason)}")
            case ControlErrorReported(instance=found) if found == instance:
                words.append("control error")
            case _:
                pass
    return words


def logged(records: list[Recorded], instance: InstanceId, kind: type[T]) -> list[T]:
    """What the qemu log of one VM told, of one kind."""
    return [each.event for each in records if isinstance(each.event, kind) and each.event.instance == instance]


async def test_what_another_process_does_is_recorded_and_asked_after(recorded: Recording) -> None:
    test = await recorded.instance("test")
    await recorded.act("test", "suspend")
    await recorded.row(test, PowerState.PAUSED)
    await recorded.act("test", "destroy")
    await recorded.row(test, PowerState.SHUTDOWN)
    await recorded.act("test", "create")
    await recorded.row(test, PowerState.RUNNING)

    assert story(await recorded.records(), test) == [
        "SUSPENDED/PAUSED",
        "? PAUSED/USER",
        "STOPPED/DESTROYED",
        "? SHUTOFF/DESTROYED",
        "STARTED/BOOTED",
        "? RUNNING/BOOTED",
    ]


async def test_a_vm_vouched_active_that_is_destroyed_gets_one_planned_stop(recorded: Recording) -> None:
    test = await recorded.instance("test")
    await declare(recorded.log, [(test, VmState.ACTIVE, None)], by="test", why="test", at=now())
    await recorded.act("test", "destroy")

    records = await recorded.until(lambda records: count(records, StopRequested) == 1)
    [command] = [each.event for each in records if isinstance(each.event, StopRequested)]
    await recorded.act("test", "create")
    await recorded.row(test, PowerState.RUNNING)

    assert (command.instance, command.rule, command.verb) == (test, "e", "stop")


async def test_a_vm_that_is_undefined_is_gone_and_not_off(recorded: Recording) -> None:
    await recorded.act(
        "-", "defineXML", "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>"
    )
    await recorded.until(lambda records: count(records, StateObserved) >= 1)
    x = await recorded.instance("x")
    await recorded.row(x, PowerState.SHUTDOWN)
    await recorded.act("x", "undefine")
    row = await recorded.row(x, None)

    assert row.gone
    assert x not in {row.instance for row in power_rows(recorded.service.models.fleet, now=now())}


@pytest.mark.parametrize(("end", "reason"), [("kill", GapReason.CONNECTION_LOST), ("hang", GapReason.KEEPALIVE)])
async def test_a_daemon_that_is_killed_or_hangs_leaves_a_gap_that_a_sweep_closes(
    loop: None, daemon: Libvirtd, tmp_path: Path, end: str, reason: GapReason
) -> None:
    async with recording(tmp_path / "log.db", daemon.uri()) as recorded:
        getattr(daemon, end)()
        records = await recorded.until(lambda records: count(records, GapOpened) == 1)
        assert isinstance(records[-1].event, GapOpened)
        [blind] = power_rows(recorded.service.models.fleet, now=now())
        daemon.start() if end == "kill" else daemon.wake()
        records = await recorded.until(lambda records: count(records, GapClosed) == 1)

    assert records[-1].recorded_at == next(each for each in records if isinstance(each.event, GapClosed)).recorded_at
    assert isinstance(records[-1].event, HostSwept)
    assert next(each.event for each in records if isinstance(each.event, GapOpened)).reason is reason
    assert blind.power_state == "UNKNOWN"


@pytest.mark.qemu
async def test_what_real_guests_do_and_suffer_is_recorded(
    loop: None, daemon: Libvirtd, guest: Guest, tmp_path: Path
) -> None:
    uri, folder = daemon.uri("qemu", "/session"), daemon.directory / "guest"
    acts = {"off": "poweroff", "panics": "panic", "pauses": "none", "saves": "none", "dies": "none", "termed": "none"}
    async with recording(tmp_path / "log.db", uri, qemu_logs=daemon.qemu_logs) as recorded:
        for name, act in acts.items():
            xml = real_vm(name, guest, act=act, console=folder / f"{name}.console")
            await recorded.act("-", "defineXML", xml)
            await recorded.act(name, "create")
        await recorded.until(lambda records: count(records, StateObserved) >= len(acts))
        ids = {name: await recorded.instance(name) for name in acts}
        await recorded.row(ids["dies"], PowerState.RUNNING)
        await recorded.act("pauses", "suspend")
        await recorded.act("saves", "managedSave")
        os.kill(daemon.guest_pid("dies"), signal.SIGKILL)
        with stray_kill(daemon.guest_pid("termed")) as pid:
            for name in ("off", "panics", "saves", "dies", "termed"):
                await recorded.row(ids[name], PowerState.SHUTDOWN)
            records = await recorded.until(lambda records: any(logged(records, ids["termed"], QemuEnded)))
        [started] = logged(records, ids["termed"], QemuStarted)
        [terminated] = logged(records, ids["termed"], QemuTerminated)
        [ended] = logged(records, ids["termed"], QemuEnded)
        process = await recorded.log.labels([terminated.process.id] if terminated.process else [])
        await recorded.row(ids["pauses"], PowerState.PAUSED)
        stories = {name: story(await recorded.records(), instance) for name, instance in ids.items()}
        for name in acts:
            if name == "pauses":
                await recorded.act(name, "destroy")
            await recorded.act(name, "undefineFlags", 1)
        for instance in ids.values():
            await recorded.row(instance, None)

    events = {name: [word for word in words if word[0] != "?"] for name, words in stories.items()}
    # qemu stops the CPUs of a guest that panics, and libvirt announces that as a pause only sometimes.
    events["panics"] = [word for word in events["panics"] if word != "SUSPENDED/PAUSED"]
    booted = ["DEFINED/ADDED", "RESUMED/UNPAUSED", "STARTED/BOOTED"]
    assert events == {
        "off": [*booted, "SHUTDOWN/GUEST", "STOPPED/SHUTDOWN"],
        "panics": [*booted, "CRASHED/PANICKED", "STOPPED/CRASHED"],
        "pauses": [*booted, "SUSPENDED/PAUSED"],
        "saves": [*booted, "SUSPENDED/PAUSED", "STOPPED/SAVED"],
        "dies": [*booted, "STOPPED/FAILED"],
        "termed": [*booted, "SHUTDOWN/HOST", "STOPPED/SHUTDOWN"],
    }
    assert {name: words[-1] for name, words in stories.items()} == {
        "off": "? SHUTOFF/SHUTDOWN",
        "panics": "? SHUTOFF/CRASHED",
        "pauses": "? PAUSED/USER",
        "saves": "? SHUTOFF/SAVED",
        "dies": "? SHUTOFF/CRASHED",
        "termed": "? SHUTOFF/SHUTDOWN",
    }
    assert (terminated.signal, terminated.pid, ended.reason) == (15, pid, "shutdown")
    assert list(process.values()) == ["bash"]
    assert started.observed_at < terminated.observed_at < ended.observed_at
