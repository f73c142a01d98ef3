"""A watcher of real libvirt, and the parts it needs; a test that lacks one is skipped with the reason."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from es_power.domain.events import HypervisorEvent, LifecycleEvent
from es_power.domain.libvirt_numbers import detail_name, event_name, reason_name, state_name
from es_power.ingest.bridge import EventBridge, Overflow
from es_power.ingest.hypervisor import Announcement, Info
from es_power.ingest.libvirt import LibvirtConnection, LibvirtHypervisor, event_loop
from tests.rigs.guest import Guest, GuestUnavailableError, prepare
from tests.rigs.libvirtd import PATIENCE, Libvirtd, libvirtd, missing_parts


class Watcher:
    """A connection that subscribed, and what it was told."""

    def __init__(self, hypervisor: LibvirtHypervisor, connection: LibvirtConnection) -> None:
        self.hypervisor = hypervisor
        self.connection = connection
        self.announced: list[Announcement] = []
        self._grew = trio.Condition()

    async def hear(self, batch: Sequence[Announcement | Overflow[Announcement]]) -> None:
        for item in batch:
            assert isinstance(item, Announcement), "nothing may be lost in a test"
            self.announced.append(item)
        async with self._grew:
            self._grew.notify_all()

    async def until(self, *last: str) -> None:
        """Wait until the latest events are these."""
        with trio.move_on_after(PATIENCE) as scope:
            async with self._grew:
                while self.words()[-len(last) :] != list(last):
                    await self._grew.wait()
        assert not scope.cancelled_caught, f"waited for {last}, got {self.words()}"

    async def until_some(self, wanted: str) -> None:
        """Wait until this event was among them."""
        with trio.move_on_after(PATIENCE) as scope:
            async with self._grew:
                while wanted not in self.words():
                    await self._grew.wait()
        assert not scope.cancelled_caught, f"waited for {wanted}, got {self.words()}"

    def words(self) -> list[str]:
        """The events so far, as a person would write them."""
        return [_word(announcement.event) for announcement in self.announced]


def _word(event: HypervisorEvent) -> str:
    if isinstance(event, LifecycleEvent):
        return f"{event_name(event.event)}/{detail_name(event.event, event.detail)}"
    return type(event).__name__


def state_of(info: Info | None) -> str | None:
    """An answer as a person would write it."""
    return info and f"{state_name(info.state)}/{reason_name(info.state, info.reason)}"


@asynccontextmanager
async def watching(uri: str, **settings: Any) -> AsyncIterator[Watcher]:
    """Watch a URI, from inside the event loop of the test."""
    hypervisor = LibvirtHypervisor(uri, **settings)
    connection = await hypervisor.open()
    watcher = Watcher(hypervisor, connection)
    bridge = EventBridge[Announcement]()
    bridge.register_event_listener(watcher.hear)
    await connection.subscribe(connection=7, announce=bridge.queue_event)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.run)
        try:
            yield watcher
        finally:
            await connection.aclose()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def loop() -> AsyncIterator[None]:
    async with event_loop():
        yield


@pytest.fixture
def watch(loop: None) -> Callable[..., AbstractAsyncContextManager[Watcher]]:
    return watching


@pytest.fixture(scope="module")
def daemon() -> Iterator[Libvirtd]:
    """A real libvirtd for the tests of one module; who ends it starts it again."""
    if reason := missing_parts():
        pytest.skip(reason)
    with libvirtd() as running:
        yield running


@pytest.fixture(scope="module")
def guest(daemon: Libvirtd) -> Guest:
    return guest_for(daemon)


def guest_for(daemon: Libvirtd) -> Guest:
    """The tiny guest, where the daemon's user may read it; a test that cannot have it is skipped with the reason."""
    if reason := missing_parts(guests=True):
        pytest.skip(reason)
    try:
        built = prepare()
    except GuestUnavailableError as error:
        pytest.skip(str(error))
    directory = daemon.directory / "guest"
    directory.mkdir()
    copy = built.copy_to(directory)
    daemon.give_away(directory)
    return copy
