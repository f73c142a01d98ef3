"""A real libvirtd: another process acts, the daemon is killed, hung and started again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
import trio

from es_power.domain.events import GapReason, InstanceId
from es_power.errors import HypervisorError, HypervisorUnavailableError
from es_power.ingest.libvirt import LibvirtHypervisor
from tests.libvirt.conftest import Watcher, state_of
from tests.rigs.actor import actor
from tests.rigs.libvirtd import PATIENCE, Libvirtd
from tests.rigs.machines import fake_host, fake_vm

pytestmark = pytest.mark.libvirt

TEST = InstanceId(UUID("6695eb01-f6a4-8304-79aa-97f2502e193f"))

Watch = Callable[..., AbstractAsyncContextManager[Watcher]]
Act = Callable[..., Awaitable[None]]


@pytest.fixture
async def act(daemon: Libvirtd) -> AsyncIterator[Act]:
    """Have another process do something to a VM."""
    with actor(daemon.uri()) as other:

        async def do(*words: object) -> None:
            await trio.to_thread.run_sync(other.act, *words)

        yield do


async def test_what_another_process_does_is_announced(watch: Watch, daemon: Libvirtd, act: Act) -> None:
    async with watch(daemon.uri()) as watcher:
        await act("test", "suspend")
        await act("test", "resume")
        await act("test", "destroy")
        await act("test", "create")
        await watcher.until("SUSPENDED/PAUSED", "RESUMED/UNPAUSED", "STOPPED/DESTROYED", "STARTED/BOOTED")

        assert [announcement.event.number for announcement in watcher.announced] == [1, 2, 3, 4]
        assert state_of(await watcher.connection.get_info(TEST)) == "RUNNING/BOOTED"
        assert watcher.connection.boot_id is not None


async def test_two_connections_number_their_events_apart(watch: Watch, daemon: Libvirtd, act: Act) -> None:
    async with watch(daemon.uri()) as first:
        await act("test", "suspend")
        await first.until("SUSPENDED/PAUSED")
        async with watch(daemon.uri()) as second:
            await act("test", "resume")
            await first.until("RESUMED/UNPAUSED")
            await second.until("RESUMED/UNPAUSED")

            assert first.connection.highest_number == 2
            assert second.connection.highest_number == 1


async def test_a_read_only_connection_may_not_act(watch: Watch, daemon: Libvirtd) -> None:
    async with watch(daemon.uri()) as watcher:
        with pytest.raises(HypervisorError, match=r"read only|forbidden") as caught:
            await watcher.connection._ask("suspend a VM", lambda raw: raw.lookupByName("test").suspend())

    assert type(caught.value) is HypervisorError


@pytest.mark.parametrize("end", [Libvirtd.kill, Libvirtd.terminate])
async def test_a_daemon_that_ends_is_noticed_and_a_new_connection_works(
    watch: Watch, daemon: Libvirtd, act: Act, end: Callable[[Libvirtd], None]
) -> None:
    async with watch(daemon.uri()) as old:
        end(daemon)
        with trio.fail_after(PATIENCE):
            assert await old.connection.wait_closed() is GapReason.CONNECTION_LOST
        with pytest.raises(HypervisorUnavailableError):
            await old.connection.get_info(TEST)
        with pytest.raises(HypervisorUnavailableError, match=r"is libvirtd running there\?"):
            await old.hypervisor.open()

        daemon.start()

        with pytest.raises(HypervisorUnavailableError):
            await old.connection.list_states()
        async with watch(daemon.uri()) as new:
            await act("test", "suspend")
            await new.until("SUSPENDED/PAUSED")
            assert [info.instance for info in await new.connection.list_states()] == [TEST]
        assert old.announced == []


async def test_a_daemon_that_hangs_is_noticed_by_keepalive(watch: Watch, daemon: Libvirtd) -> None:
    async with watch(daemon.uri(), keepalive_interval=1, keepalive_count=1) as watcher:
        daemon.hang()
        with trio.fail_after(PATIENCE):
            assert await watcher.connection.wait_closed() is GapReason.KEEPALIVE
        daemon.wake()


async def test_calls_to_a_daemon_that_hangs_end_by_their_deadline(watch: Watch, daemon: Libvirtd) -> None:
    """Several at once: libvirt 9.0 crashes the process if it sees them run into the keepalive together."""
    ended: list[str] = []

    async def ask(watcher: Watcher) -> None:
        with pytest.raises(HypervisorUnavailableError) as caught:
            await watcher.connection.get_info(TEST)
        ended.append(str(caught.value))

    async with watch(daemon.uri(), deadline=0.3, keepalive_interval=1, keepalive_count=1) as watcher:
        daemon.hang()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask, watcher)
            with pytest.raises(HypervisorUnavailableError, match=r"within 0\.3 s; is its libvirtd hung\?"):
                await watcher.hypervisor.open()
            assert await watcher.connection.wait_closed() is GapReason.KEEPALIVE
        daemon.wake()

        # The open that was given up ends now, and makes room for the next.
        again = LibvirtHypervisor(daemon.uri())
        connection = await again.open()
        assert len(await connection.list_states()) == 1
        await connection.aclose()

    assert len(ended) == 8
    assert all("did not tell a VM's state within 0.3 s" in text for text in ended)


async def test_closing_does_not_wait_for_a_daemon_that_hangs(watch: Watch, daemon: Libvirtd) -> None:
    async with watch(daemon.uri()) as watcher:
        daemon.hang()
        with trio.fail_after(10):
            await watcher.connection.aclose()
        daemon.wake()


async def test_a_host_with_more_vms_than_fit_in_a_reply_is_listed_in_parts(watch: Watch, daemon: Libvirtd) -> None:
    states = [(1, 3, 5)[n % 3] for n in range(17_000)]
    file = daemon.directory / "large.xml"
    file.write_text(fake_host(fake_vm(f"vm-{n}", run_state=state) for n, state in enumerate(states)))

    async with watch(daemon.uri(path=str(file))) as watcher:
        listed = await watcher.connection.list_states()

    assert {info.name: info.state for info in listed} == {f"vm-{n}": state for n, state in enumerate(states)}


@pytest.mark.parametrize(
    ("driver", "path", "hint"),
    [
        ("bogus", "/x", "this libvirt has no driver 'bogus'"),
        ("test", "/nowhere.xml", "is not one it can serve"),
    ],
)
async def test_a_daemon_that_refuses_an_open_says_why(
    loop: None, daemon: Libvirtd, driver: str, path: str, hint: str
) -> None:
    with pytest.raises(HypervisorError) as caught:
        await LibvirtHypervisor(daemon.uri(driver, path)).open()

    assert type(caught.value) is HypervisorError
    assert hint in str(caught.value)


async def test_a_caller_that_gives_up_leaves_the_connection_usable(watch: Watch, daemon: Libvirtd) -> None:
    async with watch(daemon.uri()) as watcher:
        with trio.CancelScope() as scope:
            scope.cancel()
            await watcher.connection.list_states()
        assert len(await watcher.connection.list_states()) == 1
