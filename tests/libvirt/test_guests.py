"""Real qemu guests, in software: what libvirt announces of what they do and suffer, and what it answers then.

The rows are those of a real host; several differ from the test driver's, which is why both are here.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from es_power.domain.events import InstanceId, PowerManagementReported
from es_power.domain.libvirt_numbers import EVENT_IDS
from tests.libvirt.conftest import Watcher, state_of
from tests.rigs.actor import actor
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import PATIENCE, Libvirtd
from tests.rigs.machines import real_vm

pytestmark = [pytest.mark.libvirt, pytest.mark.qemu]

Act = Callable[..., Awaitable[None]]
Watch = Callable[..., AbstractAsyncContextManager[Watcher]]


class Host:
    """The host of one guest, watched and acted on; the guest's name is new in each test."""

    def __init__(self, watcher: Watcher, act: Act, name: str, directory: Path, guest: Guest) -> None:
        self.watcher = watcher
        self._act = act
        self.name = name
        self._guest = guest
        self._console = directory / f"{name}.console"

    async def define(self, *, act: str = "none", on_crash: str = "destroy") -> None:
        """Make a persistent VM and start it."""
        xml = real_vm(self.name, self._guest, act=act, console=self._console, on_crash=on_crash)
        await self._act("-", "defineXML", xml)
        await self.act("create")
        await self.watcher.until("DEFINED/ADDED", "RESUMED/UNPAUSED", "STARTED/BOOTED")

    async def act(self, method: str, *arguments: object) -> None:
        """Do something to it."""
        await self._act(self.name, method, *arguments)

    @property
    def words(self) -> list[str]:
        """The events since it was started."""
        return self.watcher.words()[3:]

    async def state(self) -> str | None:
        """What libvirt answers now."""
        instance = InstanceId(self.watcher.announced[0].event.instance)
        return state_of(await self.watcher.connection.get_info(instance))


@pytest.fixture
async def host(watch: Watch, daemon: Libvirtd, guest: Guest, request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    uri = daemon.uri("qemu", "/session")
    name = f"guest-{abs(hash(request.node.name)):x}"
    async with watch(uri) as watcher:
        with actor(uri) as other:

            async def act(*words: object) -> None:
                await trio.to_thread.run_sync(other.act, *words)

            yield Host(watcher, act, name, daemon.directory / "guest", guest)
            with trio.CancelScope(shield=True):
                for method in ("destroy", "undefine"):
                    try:
                        await act(name, method)
                    except RuntimeError:
                        continue  # it is down, or gone


async def test_a_guest_that_powers_itself_off(host: Host) -> None:
    await host.define(act="poweroff")
    await host.watcher.until("STOPPED/SHUTDOWN")

    assert host.words == ["SHUTDOWN/GUEST", "STOPPED/SHUTDOWN"]
    assert await host.state() == "SHUTOFF/SHUTDOWN"


def _but_for_a_pause(words: list[str]) -> list[str]:
    """qemu stops a guest that panicked; once in six runs libvirt says so first, otherwise never."""
    return words[1:] if words[0] == "SUSPENDED/PAUSED" else words


async def test_a_guest_that_panics_and_is_destroyed_for_it(host: Host) -> None:
    await host.define(act="panic")
    await host.watcher.until("STOPPED/CRASHED")

    assert _but_for_a_pause(host.words) == ["CRASHED/PANICKED", "STOPPED/CRASHED"]
    assert await host.state() == "SHUTOFF/CRASHED"


async def test_a_guest_that_panics_and_is_preserved(host: Host) -> None:
    await host.define(act="panic", on_crash="preserve")
    await host.watcher.until("CRASHED/PANICKED")

    assert _but_for_a_pause(host.words) == ["CRASHED/PANICKED"]
    assert await host.state() == "CRASHED/PANICKED"


async def test_a_guest_that_reboots_stays_running(host: Host) -> None:
    await host.define(act="reboot")
    await host.watcher.until_some("RebootReported")

    assert set(host.words) == {"RebootReported"}
    assert await host.state() == "RUNNING/BOOTED"


async def test_a_guest_that_sleeps_and_is_woken(host: Host) -> None:
    await host.define(act="s3")
    await host.watcher.until_some("PMSUSPENDED/MEMORY")
    asleep = await host.state()
    await host.act("pMWakeup")
    await host.watcher.until_some("STARTED/WAKEUP")

    kinds = [
        announcement.event.event_id
        for announcement in host.watcher.announced
        if isinstance(announcement.event, PowerManagementReported)
    ]
    assert kinds == [EVENT_IDS["PMSUSPEND"], EVENT_IDS["PMWAKEUP"]]
    assert asleep == "PMSUSPENDED/UNKNOWN"
    assert await host.state() == "RUNNING/WAKEUP"


async def test_a_guest_that_is_paused_and_resumed(host: Host) -> None:
    await host.define()
    await host.act("suspend")
    await host.watcher.until("SUSPENDED/PAUSED")
    paused = await host.state()
    await host.act("resume")
    await host.watcher.until("SUSPENDED/PAUSED", "RESUMED/UNPAUSED")

    assert paused == "PAUSED/USER"
    assert await host.state() == "RUNNING/UNPAUSED"


async def test_a_guest_that_is_saved_and_started_from_that(host: Host) -> None:
    await host.define()
    await host.act("managedSave")
    await host.watcher.until("STOPPED/SAVED")
    saved = await host.state()
    await host.act("create")
    await host.watcher.until("RESUMED/FROM_SNAPSHOT")

    assert host.words == ["SUSPENDED/PAUSED", "STOPPED/SAVED", "STARTED/RESTORED", "RESUMED/FROM_SNAPSHOT"]
    assert saved == "SHUTOFF/SAVED"
    assert await host.state() == "RUNNING/RESTORED"


async def test_a_guest_that_is_destroyed(host: Host) -> None:
    await host.define()
    await host.act("destroy")
    await host.watcher.until("STOPPED/DESTROYED")

    assert host.words == ["SHUTDOWN/HOST", "STOPPED/DESTROYED"]
    assert await host.state() == "SHUTOFF/DESTROYED"


async def _kill(pid: int) -> None:
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await trio.lowlevel.wait_readable(process)  # it is gone
    os.close(process)


async def test_a_guest_whose_qemu_is_killed(host: Host, daemon: Libvirtd) -> None:
    await host.define()
    await _kill(daemon.guest_pid(host.name))
    await host.watcher.until("STOPPED/FAILED")

    assert host.words == ["STOPPED/FAILED"]
    assert await host.state() == "SHUTOFF/CRASHED"


async def test_a_guest_killed_while_its_daemon_is_down_is_found_only_by_asking(
    host: Host, daemon: Libvirtd, watch: Watch
) -> None:
    await host.define()
    daemon.kill()
    await _kill(daemon.guest_pid(host.name))
    daemon.start()

    async with watch(daemon.uri("qemu", "/session")) as later:
        instance = host.watcher.announced[0].event.instance
        listed: dict[InstanceId, str | None] = {}
        with trio.fail_after(PATIENCE):
            # On a busy machine it is listed as running for a moment, until libvirt has tried to reach its qemu.
            while listed.get(instance) in {None, "RUNNING/BOOTED"}:
                listed = {info.instance: state_of(info) for info in await later.connection.list_states()}

        assert listed[instance] == "SHUTOFF/CRASHED"
        assert later.announced == []


async def test_a_running_guest_outlives_its_daemon(host: Host, daemon: Libvirtd, watch: Watch) -> None:
    await host.define()
    daemon.kill()
    daemon.start()

    async with watch(daemon.uri("qemu", "/session")) as later:
        instance = host.watcher.announced[0].event.instance

        assert state_of(await later.connection.get_info(instance)) == "RUNNING/BOOTED"
