"""Two real libvirtd with a host name each, guests that migrate between them, and one service that observes both.

`make test-migration` runs these tests; they take root, for the host names.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import libvirt
import pytest
import trio

from es_power.domain.events import InstanceId, LifecycleEvent, Recorded
from es_power.domain.states import VmState
from es_power.domain.streams import observer
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.ingest.libvirt import event_loop
from tests.libvirt.conftest import guest_for
from tests.rigs.actor import Actor, actor
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import PATIENCE, Libvirtd, libvirtd, missing_parts, no_named_hosts
from tests.rigs.machines import real_vm
from tests.rigs.recording import Recording, recording

_LIVE: int = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
#: The source connects to this address of the destination, which listens on loopback and nowhere else.
_THERE: Mapping[str, object] = {"migrate_uri": "tcp://127.0.0.1", "listen_address": "127.0.0.1"}
#: So slow, in MiB/s, that it takes more than a minute: something can happen meanwhile.
_SLOW: Mapping[str, object] = {**_THERE, "bandwidth": 1}
#: Seconds in which four guests boot beside each other, in software; 40 were too few on a busy machine.
_BOOT = 120.0
STARTED_MIGRATED, STOPPED_FAILED = (2, 1), (5, 5)

_numbers = count(1)


def _stream(host: str) -> str:
    return observer(host, "qemu-session")


@dataclass
class MigratingGuest:
    """A guest, and a second process on each host that acts on it."""

    name: str
    #: Whether the destination keeps its definition, and so does the host that it leaves: it then shows it as off.
    persistent: bool
    #: Whether somebody vouches that it is meant to be ACTIVE.
    declared: bool
    actors: Mapping[str, Actor]
    instance: InstanceId | None = None

    async def act(self, host: str, method: str, *arguments: object) -> None:
        """Do something to it on a host."""
        await trio.to_thread.run_sync(self.actors[host].act, self.name, method, *arguments)


@dataclass
class TwoHosts:
    """Two hosts and what is recorded of them."""

    daemons: Mapping[str, Libvirtd]
    recorded: Recording
    guests: list[MigratingGuest] = field(default_factory=list)

    # ---------------------------------------------------------------------------------------------- what happens

    async def migrate(
        self, guest: MigratingGuest, source: str, target: str, how: Mapping[str, object] = _THERE
    ) -> None:
        """Migrate it live; RuntimeError where libvirt could not."""
        flags = _LIVE | (libvirt.VIR_MIGRATE_PERSIST_DEST if guest.persistent else 0)
        await guest.act(source, "migrateToURI3", self.daemons[target].uri("qemu", "/session"), dict(how), flags)

    async def fail(self, guest: MigratingGuest, source: str, target: str, why: str) -> None:
        """Have a migration begin and fail, and wait until the log has the end that libvirt announced of it."""
        # Counted before it begins: what its own events are waited for by.
        begun = 1 + len(await self.announced(guest, target, STARTED_MIGRATED))
        ended = 1 + len(await self.announced(guest, target, STOPPED_FAILED))
        out_of_reach = why == "the destination is out of reach"
        how = {**_THERE, "migrate_uri": "tcp://127.0.0.2"} if out_of_reach else _SLOW
        async with trio.open_nursery() as nursery:
            if not out_of_reach:
                disturb = self._abort if why == "it is aborted" else self._kill
                await nursery.start(disturb, guest, source, target, begun)
            with pytest.raises(RuntimeError):
                await self.migrate(guest, source, target, how)
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            await self._until_announced(guest, target, STOPPED_FAILED, ended)

    async def _kill(
        self, guest: MigratingGuest, _: str, target: str, begun: int, *, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        await self._until_announced(guest, target, STARTED_MIGRATED, begun)
        os.kill(self.daemons[target].guest_pid(guest.name), signal.SIGKILL)

    async def _abort(
        self, guest: MigratingGuest, source: str, target: str, begun: int, *, task_status: trio.TaskStatus[None]
    ) -> None:
        # The guest's own actor waits for the migration. This one is at work before it begins: one that starts takes
        # seconds on a busy machine.
        with actor(self.daemons[source].uri("qemu", "/session")) as other:
            await trio.to_thread.run_sync(other.act, "-", "isAlive")
            task_status.started()
            await self._until_announced(guest, target, STARTED_MIGRATED, begun)
            while True:
                with suppress(RuntimeError):  # it cannot be aborted before it transfers
                    await trio.to_thread.run_sync(other.act, guest.name, "abortJob")
                await trio.sleep(0.02)

    # ----------------------------------------------------------------------------------------- what is recorded

    async def announced(self, guest: MigratingGuest, host: str, kind: tuple[int, int]) -> list[Recorded]:
        """The lifecycle events of one kind that a host announced of a guest."""
        return [
            recorded
            for recorded in await self.recorded.log.read_stream(_stream(host))
            if isinstance(recorded.event, LifecycleEvent)
            and recorded.event.instance == guest.instance
            and (recorded.event.event, recorded.event.detail) == kind
        ]

    async def _until_announced(self, guest: MigratingGuest, host: str, kind: tuple[int, int], times: int) -> None:
        while True:
            head = await self.recorded.log.head()
            if len(await self.announced(guest, host, kind)) >= times:
                return
            await self.recorded.log.wait_beyond(head)

    def owner(self, guest: MigratingGuest) -> str | None:
        """The host whose word counts, as the service has it now."""
        assert guest.instance is not None
        stream = self.recorded.service.models.fleet.owner(guest.instance).host
        return next((host for host in self.daemons if _stream(host) == stream), None)

    async def settled(self, guest: MigratingGuest, owner: str, *, on: bool = True) -> None:
        """Wait until observations show it on at its owner, or off there, and on nowhere else."""
        assert guest.instance is not None
        fleet = self.recorded.service.models.fleet
        with trio.move_on_after(PATIENCE):
            while True:
                shown = fleet.hosts_of(guest.instance)
                found = [stream for stream, known in shown.items() if known.is_on]
                confirmed = not any(known.provisional for known in shown.values())
                if confirmed and found == [_stream(owner)] * on and self.owner(guest) == owner:
                    return
                await trio.sleep(0.02)
        raise AssertionError((guest.name, owner, dict(fleet.hosts_of(guest.instance))))


@pytest.fixture(scope="module")
def daemons() -> Iterator[Mapping[str, Libvirtd]]:
    """Two real libvirtd, by host name."""
    if reason := missing_parts(guests=True) or no_named_hosts():
        pytest.skip(reason)
    with ExitStack() as stack:
        yield {host: stack.enter_context(libvirtd(host)) for host in ("host-a", "host-b")}


@pytest.fixture(scope="module")
def image(daemons: Mapping[str, Libvirtd]) -> Guest:
    """The tiny guest, in a place that both hosts read."""
    return guest_for(daemons["host-a"])


@pytest.fixture
async def hosts(daemons: Mapping[str, Libvirtd], image: Guest, tmp_path: Path) -> AsyncIterator[TwoHosts]:
    """A service that observes both hosts, and on host-a every kind of guest: declared or not, persistent or not."""
    uris = {host: daemon.uri("qemu", "/session") for host, daemon in daemons.items()}
    with ExitStack() as stack:
        # Both hosts answer, though it takes long: a connection that was given up would lose events that are waited for.
        observed = recording(tmp_path / "log.db", *uris.values(), silence=int(PATIENCE), spacing=1.0)
        async with event_loop(), observed as recorded:
            hosts = TwoHosts(daemons, recorded)
            for declared in (True, False):
                for persistent in (True, False):
                    actors = {host: stack.enter_context(actor(uri)) for host, uri in uris.items()}
                    hosts.guests.append(MigratingGuest(f"guest-{next(_numbers)}", persistent, declared, actors))
            try:
                async with trio.open_nursery() as nursery:
                    for guest in hosts.guests:
                        nursery.start_soon(_boot, hosts, guest, image)
                yield hosts
            finally:
                async with trio.open_nursery() as nursery:
                    for guest in hosts.guests:
                        nursery.start_soon(_remove, guest)


async def _boot(hosts: TwoHosts, guest: MigratingGuest, image: Guest) -> None:
    console = image.kernel.parent / f"{guest.name}.console"
    xml = real_vm(guest.name, image, console=console)
    other = guest.actors["host-a"]
    await trio.to_thread.run_sync(other.act, "-", *(("defineXML", xml) if guest.persistent else ("createXML", xml, 0)))
    if guest.persistent:
        await guest.act("host-a", "create")
    with trio.fail_after(_BOOT):
        # A guest that still boots changes its memory faster than it migrates.
        while not console.exists() or "GUEST up" not in console.read_text(errors="replace"):
            await trio.sleep(0.05)
    guest.instance = await hosts.recorded.instance(guest.name)
    await hosts.settled(guest, "host-a")
    if guest.declared:
        await declare(hosts.recorded.log, [(guest.instance, VmState.ACTIVE, None)], by="test", why="test", at=now())


async def _remove(guest: MigratingGuest) -> None:
    for host in guest.actors:
        for method in ("destroy", "undefine"):
            with suppress(RuntimeError):
                await guest.act(host, method)
