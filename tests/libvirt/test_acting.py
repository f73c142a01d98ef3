"""An observer and an actor in mode auto, on real qemu guests: what is stopped, and what is left alone."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt
import pytest
import trio

from es_power.acting import Acts, serve_acts
from es_power.dispatch import hypervisor
from es_power.dispatch.hypervisor import HypervisorStopper
from es_power.domain.decisions import (
    Approved,
    BreakerOpened,
    CommandEvent,
    Confirmed,
    LookedAgain,
    Route,
    Sent,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import GapClosed, InstanceId, LifecycleEvent, Recorded
from es_power.domain.libvirt_numbers import detail_name, event_name
from es_power.domain.states import PowerState, VmState
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.ingest.libvirt import LibvirtHypervisor
from es_power.settings import Act, Host, Log, PolicyChoice, Settings
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import PATIENCE, Libvirtd
from tests.rigs.machines import empty_disk, real_vm
from tests.rigs.recording import Recording, count, recording

pytestmark = [pytest.mark.libvirt, pytest.mark.qemu]

SETTLE = 3.0
"""Seconds that commands wait; in it a guest has to be started again by a busy machine."""

EXECUTED = ["StopRequested", "Approved", "LookedAgain", "Sent", "Confirmed"]

_LEAVE_NOTHING: int = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA


class Scene:
    """A host with guests, what is recorded of it, and who acts on it."""

    def __init__(self, recorded: Recording, acts: Acts, daemon: Libvirtd, guest: Guest) -> None:
        self.recorded = recorded
        self.acts = acts
        self._daemon = daemon
        self._guest = guest
        self.directory = daemon.directory / "guest"
        self.instances: dict[str, InstanceId] = {}

    # ---------------------------------------------------------------------------------------------- what happens

    async def act(self, name: str, method: str, *arguments: object) -> None:
        """Do something to a guest (to the host, where the name is ``-``), as anybody else may."""
        await trio.to_thread.run_sync(self._act, name, method, *arguments)

    def _act(self, name: str, method: str, *arguments: object) -> None:
        raw = libvirt.open(self._daemon.uri("qemu", "/session"))
        try:
            getattr(raw if name == "-" else raw.lookupByName(name), method)(*arguments)
        finally:
            raw.close()

    async def define(self, name: str, *, start: bool = True, **how: Any) -> InstanceId:
        """Make a persistent VM."""
        instance = self.instances[name] = InstanceId(uuid4())
        console = self.directory / f"{name}.console"
        await self.act("-", "defineXML", real_vm(name, self._guest, uuid=instance, console=console, **how))
        if start:
            await self.act(name, "create")
        await self.shows(name, PowerState.RUNNING if start else PowerState.SHUTDOWN)
        return instance

    async def declare(self, vm_state: VmState, *names: str) -> None:
        """Vouch for guests."""
        records = [(self.instances[name], vm_state, None) for name in names]
        await declare(self.recorded.log, records, by="test", why="test", at=now())

    async def clear(self) -> None:
        """Have no guest any more."""
        for name in self.instances:
            for method, *arguments in (("destroy",), ("undefineFlags", _LEAVE_NOTHING)):
                with suppress(libvirt.libvirtError):  # it is down, or gone
                    await self.act(name, method, *arguments)

    # ------------------------------------------------------------------------------------------ what is recorded

    async def shows(self, name: str, state: PowerState | None) -> None:
        """Wait until the table says so, confirmed by an observation (None: gone)."""
        await self.recorded.row(self.instances[name], state)

    async def happened(self, name: str, *wanted: str) -> None:
        """Wait until these were announced of a guest, in whatever order."""
        await self.recorded.until(lambda records: set(wanted) <= set(self._announced(records, name)))

    def _announced(self, records: list[Recorded], name: str) -> list[str]:
        return [word(each) for each in records if getattr(each.event, "instance", None) == self.instances[name]]

    async def comes_to(self, name: str, step: type[CommandEvent]) -> None:
        """Wait until a guest's command has come so far."""
        await self.recorded.until(lambda records: step in map(type, self._steps(records, name)))

    async def steps(self, name: str) -> list[CommandEvent]:
        """What became of a guest's commands."""
        return self._steps(await self.recorded.records(), name)

    def _steps(self, records: list[Recorded], name: str) -> list[CommandEvent]:
        events = (each.event for each in records)
        return [event for event in events if isinstance(event, CommandEvent) and event.instance == self.instances[name]]

    def record(self, name: str) -> VmState | None:
        """What a guest is meant to be."""
        said = self.recorded.service.models.fleet.vouched.get(self.instances[name])
        return said and said.vm_state

    async def a_later_command_is_executed(self) -> None:
        """Wait for a command that is requested now: what waited longer would be executed by then, if it ever were."""
        await self.define("witness", start=False)
        await self.declare(VmState.ACTIVE, "witness")
        await self.comes_to("witness", Confirmed)


def word(recorded: Recorded) -> str:
    """What a record tells, as a person would write it."""
    if isinstance(event := recorded.event, LifecycleEvent):
        return f"{event_name(event.event)}/{detail_name(event.event, event.detail)}"
    return type(event).__name__


def words(steps: list[CommandEvent]) -> list[str]:
    return [type(step).__name__ for step in steps]


@pytest.fixture
async def scene(
    loop: None, daemon: Libvirtd, guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    # A guest that starts up does not listen yet; how often it is told must not set the pace of a test.
    monkeypatch.setattr(hypervisor, "TELL_AGAIN", 1.0)
    async with acting(tmp_path / "log.db", daemon, guest) as scene:
        yield scene


@asynccontextmanager
async def acting(path: Path, daemon: Libvirtd, guest: Guest) -> AsyncIterator[Scene]:
    """Run both, as two processes would; the guests end with them."""
    uri = daemon.uri("qemu", "/session")
    settings = Settings(
        log=Log(path=str(path)),
        hosts=(Host(uri=uri),),
        policy=PolicyChoice(mode="auto"),
        act=Act(settle=SETTLE, after_boot=0.001, confirm=PATIENCE),
    )
    stoppers = {Route.HYPERVISOR: HypervisorStopper(uri, shutdown_timeout=PATIENCE)}
    async with recording(path, uri, silence=5) as recorded, trio.open_nursery() as nursery:
        hosts = [(None, LibvirtHypervisor(uri))]
        acts = await nursery.start(partial(serve_acts, recorded.log, hosts, settings, stoppers=lambda _: stoppers))
        scene = Scene(recorded, acts, daemon, guest)
        try:
            yield scene
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await scene.clear()


async def test_declared_guests_are_stopped_where_a_rule_calls_for_it_and_nowhere_else(scene: Scene) -> None:
    """All at once, since each mostly waits."""

    async def started() -> None:
        await scene.define("started", start=False)
        await scene.declare(VmState.STOPPED, "started")
        await scene.act("started", "create")
        await scene.comes_to("started", Confirmed)

    async def powers_off() -> None:
        await scene.define("powers-off", act="poweroff", delay=1)
        await scene.declare(VmState.ACTIVE, "powers-off")
        await scene.comes_to("powers-off", Confirmed)

    async def restarted() -> None:
        await scene.define("restarted")
        await scene.declare(VmState.ACTIVE, "restarted")
        await scene.act("restarted", "destroy")
        await scene.comes_to("restarted", StopRequested)
        await scene.act("restarted", "create")
        await scene.comes_to("restarted", Withdrawn)

    async def reboots() -> None:
        await scene.define("reboots", act="reboot")
        await scene.declare(VmState.ACTIVE, "reboots")
        await scene.happened("reboots", "RebootReported")

    async with trio.open_nursery() as nursery:
        for story in (started, powers_off, restarted, reboots):
            nursery.start_soon(story)
    await scene.a_later_command_is_executed()
    lives = {name: await scene.steps(name) for name in scene.instances}
    # On a machine that has much else to do, a guest's stop may be approved before it is on again.
    lives["restarted"] = [step for step in lives["restarted"] if not isinstance(step, Approved | LookedAgain)]

    assert {name: words(steps) for name, steps in lives.items()} == {
        "started": EXECUTED,
        "powers-off": EXECUTED,
        "restarted": ["StopRequested", "Withdrawn"],
        "reboots": [],
        "witness": EXECUTED,
    }
    assert {
        name: (step.route, step.verb) for name, steps in lives.items() for step in steps if isinstance(step, Sent)
    } == {
        "started": ("hypervisor", "stop"),
        "powers-off": ("record", "stop"),
        "witness": ("record", "stop"),
    }
    await scene.happened("started", "STOPPED/SHUTDOWN")  # it was asked, and obeyed
    await scene.shows("restarted", PowerState.RUNNING)
    await scene.shows("reboots", PowerState.RUNNING)
    assert {name: scene.record(name) for name in scene.instances} == {
        "started": VmState.STOPPED,
        "powers-off": VmState.STOPPED,
        "restarted": VmState.ACTIVE,
        "reboots": VmState.ACTIVE,
        "witness": VmState.STOPPED,
    }


async def test_undeclared_guests_get_no_command_whatever_happens_to_them(scene: Scene, daemon: Libvirtd) -> None:
    """All at once, and all of them through a restart of the daemon."""

    async def comes_and_goes() -> None:
        await scene.define("comes-and-goes")
        await _shut_down(scene, "comes-and-goes")
        await scene.act("comes-and-goes", "create")
        await scene.shows("comes-and-goes", PowerState.RUNNING)
        await scene.act("comes-and-goes", "managedSave")
        await scene.happened("comes-and-goes", "STOPPED/SAVED")
        await scene.shows("comes-and-goes", PowerState.SHUTDOWN)
        await scene.act("comes-and-goes", "create")
        await scene.happened("comes-and-goes", "STARTED/RESTORED")
        await scene.act("comes-and-goes", "reset")
        await scene.happened("comes-and-goes", "RebootReported")
        await scene.act("comes-and-goes", "undefine")
        await scene.happened("comes-and-goes", "UNDEFINED/REMOVED")
        await scene.shows("comes-and-goes", PowerState.RUNNING)

    async def sleeps() -> None:
        await scene.define("sleeps", act="s3")
        await scene.shows("sleeps", PowerState.SUSPENDED)
        await scene.act("sleeps", "pMWakeup")
        await scene.happened("sleeps", "PMSUSPENDED/MEMORY", "STARTED/WAKEUP")
        await scene.shows("sleeps", PowerState.RUNNING)

    async def reverts() -> None:
        disk = scene.directory / "reverts.qcow2"
        empty_disk(disk)
        daemon.give_away(scene.directory)
        await scene.define("reverts", disk=disk)
        await scene.act("reverts", "snapshotCreateXML", "<domainsnapshot/>")
        await trio.to_thread.run_sync(_revert, daemon.uri("qemu", "/session"), "reverts")
        await scene.happened("reverts", "STOPPED/FROM_SNAPSHOT", "STARTED/FROM_SNAPSHOT")
        await scene.shows("reverts", PowerState.RUNNING)

    async with trio.open_nursery() as nursery:
        for story in (comes_and_goes, sleeps, reverts):
            nursery.start_soon(story)
    daemon.kill()
    daemon.start()
    await scene.recorded.until(lambda records: count(records, GapClosed) == 1)
    try:
        await scene.act("comes-and-goes", "destroy")
    except libvirt.libvirtError as error:  # whom a daemon lists that just started, it may find gone a moment later
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
    await scene.shows("comes-and-goes", None)
    await scene.a_later_command_is_executed()
    records = await scene.recorded.records()

    assert [each.event.instance for each in records if isinstance(each.event, StopRequested)] == [
        scene.instances["witness"]
    ]


async def _shut_down(scene: Scene, name: str) -> None:
    """Shut a guest down as a patient person does: while it starts up, it does not listen."""
    off = trio.Event()

    async def ask() -> None:
        while not off.is_set():
            with suppress(libvirt.libvirtError):  # it is off just now
                await scene.act(name, "shutdown")
            with trio.move_on_after(1):
                await off.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await scene.shows(name, PowerState.SHUTDOWN)
        off.set()


def _revert(uri: str, name: str) -> None:
    raw = libvirt.open(uri)
    vm = raw.lookupByName(name)
    vm.revertToSnapshot(vm.snapshotCurrent())
    raw.close()


async def test_every_guest_killed_at_once_opens_the_breaker_and_a_person_closes_it(
    scene: Scene, daemon: Libvirtd
) -> None:
    names = [f"guest-{number}" for number in range(6)]
    for name in names:
        await scene.define(name)
    await scene.declare(VmState.ACTIVE, *names)
    for name in names:
        os.kill(daemon.guest_pid(name), signal.SIGKILL)

    def all_are(kind: type[CommandEvent]) -> Callable[[list[Recorded]], bool]:
        return lambda records: count(records, kind) == len(names)

    # Under the mode auto a command is approved when it has settled; what keeps it back comes after that.
    records = await scene.recorded.until(all_are(Approved))
    opened = [each.event for each in records if isinstance(each.event, BreakerOpened)]
    assert len(opened) == 1
    assert count(records, Sent) == 0
    [actor] = scene.acts.actors.values()
    await actor.close_breaker(by="ann", why="the rack lost its power; they are off")
    await scene.recorded.until(all_are(Confirmed))

    assert {scene.record(name) for name in names} == {VmState.STOPPED}
