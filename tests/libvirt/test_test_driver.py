"""libvirt's test driver inside this process: which events it announces, and what it answers then."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest
import trio

from es_power.domain.events import InstanceId
from es_power.errors import HypervisorError, HypervisorUnavailableError
from es_power.ingest.libvirt import LibvirtHypervisor, event_loop
from tests.libvirt.conftest import Watcher, state_of, watching
from tests.rigs.machines import fake_host, fake_vm

URI = "test:///default"
TEST = InstanceId(UUID("6695eb01-f6a4-8304-79aa-97f2502e193f"))

Watch = Callable[..., AbstractAsyncContextManager[Watcher]]


@pytest.fixture
def host() -> Iterator[Any]:
    """A connection that may act; the driver's VMs are those of all connections of this process."""
    connection = libvirt.open(URI)
    yield connection
    connection.close()


def _save(host: Any, path: Path) -> None:
    host.lookupByName("test").save(str(path / "saved"))


def _restore(host: Any, path: Path) -> None:
    _save(host, path)
    host.restore(str(path / "saved"))


def _revert(host: Any, _: Path) -> None:
    vm = host.lookupByName("test")
    snapshot = vm.snapshotCreateXML("<domainsnapshot/>")
    vm.destroy()
    vm.revertToSnapshot(snapshot)


def _define(host: Any, _: Path) -> None:
    xml = fake_vm("new", uuid=uuid4())
    host.defineXML(xml)
    host.defineXML(xml)
    host.lookupByName("new").undefine()


def _rename(host: Any, _: Path) -> None:
    vm = host.lookupByName("test")
    vm.destroy()
    vm.rename("other")


def _on(*methods: str) -> Callable[[Any, Path], None]:
    def act(host: Any, path: Path) -> None:
        vm = host.lookupByName("test")
        for method in methods:
            getattr(vm, method)()

    return act


@pytest.mark.parametrize(
    ("act", "events", "state"),
    [
        (_on("suspend"), ["SUSPENDED/PAUSED"], "PAUSED/USER"),
        (_on("suspend", "resume"), ["SUSPENDED/PAUSED", "RESUMED/UNPAUSED"], "RUNNING/UNPAUSED"),
        (_on("shutdown"), ["STOPPED/SHUTDOWN"], "SHUTOFF/SHUTDOWN"),
        (_on("destroy"), ["STOPPED/DESTROYED"], "SHUTOFF/DESTROYED"),
        (_on("destroy", "create"), ["STOPPED/DESTROYED", "STARTED/BOOTED"], "RUNNING/BOOTED"),
        (_on("reboot", "suspend"), ["SUSPENDED/PAUSED"], "PAUSED/USER"),
        (_on("destroy", "undefine"), ["STOPPED/DESTROYED", "UNDEFINED/REMOVED"], None),
        (_save, ["STOPPED/SAVED"], "SHUTOFF/SAVED"),
        (_restore, ["STOPPED/SAVED", "STARTED/RESTORED"], "RUNNING/RESTORED"),
        (_revert, ["STOPPED/DESTROYED", "STARTED/FROM_SNAPSHOT"], "RUNNING/FROM_SNAPSHOT"),
        (_define, ["DEFINED/ADDED", "DEFINED/UPDATED", "UNDEFINED/REMOVED"], "RUNNING/UNKNOWN"),
        (_rename, ["STOPPED/DESTROYED", "UNDEFINED/RENAMED", "DEFINED/RENAMED"], "SHUTOFF/DESTROYED"),
    ],
)
async def test_an_act_is_announced_and_then_answered(  # noqa: PLR0917  # fixtures and the row
    watch: Watch, host: Any, tmp_path: Path, act: Any, events: list[str], state: str | None
) -> None:
    async with watch(URI) as watcher:
        await trio.to_thread.run_sync(act, host, tmp_path)
        await watcher.until(events[-1])

        assert watcher.words() == events
        assert state_of(await watcher.connection.get_info(TEST)) == state


async def test_a_crash_is_announced(watch: Watch, host: Any, tmp_path: Path) -> None:
    async with watch(URI) as watcher:
        host.lookupByName("test").coreDump(str(tmp_path / "core"), libvirt.VIR_DUMP_CRASH)
        await watcher.until("STOPPED/CRASHED")

        assert state_of(await watcher.connection.get_info(TEST)) == "SHUTOFF/CRASHED"


async def test_events_are_numbered_in_order_and_carry_the_vms_name(watch: Watch, host: Any) -> None:
    async with watch(URI, clock=lambda: 17) as watcher:
        assert watcher.connection.highest_number == 0
        for _ in range(50):
            host.lookupByName("test").suspend()
            host.lookupByName("test").resume()
        while len(watcher.announced) < 100:
            await watcher.until("RESUMED/UNPAUSED")
            await trio.lowlevel.checkpoint()

        events = [announcement.event for announcement in watcher.announced]
        assert [event.number for event in events] == list(range(1, 101))
        assert {(event.connection, event.instance, event.observed_at) for event in events} == {(7, TEST, 17)}
        assert {announcement.name for announcement in watcher.announced} == {"test"}
        assert watcher.connection.highest_number == 100


async def test_after_a_rename_the_event_carries_the_new_name(watch: Watch, host: Any, tmp_path: Path) -> None:
    async with watch(URI) as watcher:
        _rename(host, tmp_path)
        await watcher.until("DEFINED/RENAMED")

        assert watcher.announced[-1].name == "other"


async def test_an_unknown_vm_is_an_answer_and_not_an_error(watch: Watch) -> None:
    async with watch(URI) as watcher:
        assert await watcher.connection.get_info(InstanceId(uuid4())) is None


async def test_all_vms_are_listed_the_inactive_ones_too(watch: Watch, tmp_path: Path) -> None:
    uuids = {name: uuid4() for name in ("on", "paused", "off", "<b>=1+1 \u202e")}
    states = {"on": 1, "paused": 3, "off": 5, "<b>=1+1 \u202e": 1}
    file = tmp_path / "host.xml"
    file.write_text(fake_host(fake_vm(name, uuid=uuids[name], run_state=states[name]) for name in uuids))

    async with watch(f"test://{file}") as watcher:
        listed = await watcher.connection.list_states()

        assert {info.name: (info.instance, info.state) for info in listed} == {
            name: (uuids[name], states[name]) for name in uuids
        }


async def test_active_vms_can_be_listed_by_number(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "host.xml"
    file.write_text(fake_host(fake_vm(f"vm-{n}", run_state=5 if n % 3 == 0 else 1) for n in range(30)))

    async with watch(f"test://{file}") as watcher:
        active = {info for info in await watcher.connection.list_states() if info.state == 1}

        assert set(await watcher.connection._list_active(step=7)) == active


async def test_a_host_knows_its_name_its_boot_and_its_driver(watch: Watch) -> None:
    boot_id = UUID((await trio.Path("/proc/sys/kernel/random/boot_id").read_text()).strip())

    async with watch(URI) as watcher:
        assert watcher.hypervisor.driver == "test"
        assert watcher.connection.boot_id == boot_id
        assert watcher.connection.hostname == libvirt.open(URI).getHostname()


async def test_a_closed_connection_answers_nothing(watch: Watch) -> None:
    async with watch(URI) as watcher:
        await watcher.connection.aclose()
        await watcher.connection.aclose()

        with pytest.raises(HypervisorUnavailableError, match="was closed"):
            await watcher.connection.get_info(TEST)


async def test_nothing_of_a_closed_connection_is_left(watch: Watch) -> None:
    async with watch(URI) as watcher:
        raw = watcher.connection._handle._raw
        references: list[int] = []
        close = raw.close
        raw.close = lambda: references.append(close())

    assert references == [0]


@pytest.mark.parametrize(
    ("uri", "error", "hint"),
    [
        ("qemu+unix:///system?socket=/nowhere/sock", HypervisorUnavailableError, "is libvirtd running there?"),
        ("::bad", HypervisorError, "write a URI such as qemu:///system"),
        ("qemu+bogus:///system", HypervisorError, "write a URI such as qemu:///system"),
        ("test:///etc/hostname", HypervisorError, "is not one it can serve"),
    ],
)
async def test_a_failed_open_says_what_to_do(
    loop: None, capfd: Any, uri: str, error: type[HypervisorError], hint: str
) -> None:
    with pytest.raises(HypervisorError) as caught:
        await LibvirtHypervisor(uri).open()

    assert type(caught.value) is error
    assert hint in str(caught.value)
    assert isinstance(caught.value.__cause__, libvirt.libvirtError)
    assert capfd.readouterr().err == ""


def test_services_in_one_process_run_one_after_another_and_leave_no_thread() -> None:
    async def serve() -> None:
        async with event_loop(), watching(URI) as watcher:
            vm = libvirt.open(URI).lookupByName("test")
            await trio.to_thread.run_sync(vm.suspend)
            await watcher.until("SUSPENDED/PAUSED")
            assert "libvirt events" in _threads()

    for _ in range(3):
        trio.run(serve)
        assert "libvirt events" not in _threads()


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_a_second_event_loop_is_refused(loop: None) -> None:
    with pytest.raises(RuntimeError, match="runs already"):
        async with event_loop():
            pass


def test_the_event_loop_ends_with_the_service_that_fails() -> None:
    async def fail() -> None:
        async with event_loop():
            raise KeyError

    with pytest.raises(ExceptionGroup):
        trio.run(fail)
    assert "libvirt events" not in _threads()
