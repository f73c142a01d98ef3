"""What the programs that run for long have in common: how they begin, tell that they are ready, and end."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from es_power import telemetry
from es_power.acting import Acts
from es_power.dispatch.door import door_path, keep_door
from es_power.dispatch.hypervisor import HypervisorStopper
from es_power.dispatch.nova import NovaStopper
from es_power.dispatch.stopper import Stopper
from es_power.domain.decisions import Route
from es_power.ingest.libvirt import LibvirtHypervisor
from es_power.ingest.records import ask
from es_power.log import SqlLog
from es_power.nova import NovaApi, Patience
from es_power.projections.watcher import Watcher
from es_power.settings import Settings


@asynccontextmanager
async def until_stopped() -> AsyncIterator[None]:
    """Run the block, and end it in good order where somebody stops this process."""
    # From the first moment on: a signal that came before anybody listened would end it without a last word.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()


async def stay() -> None:
    """Tell the service manager that this is ready and lives, until cancelled."""
    telemetry.tell_service_manager("READY=1")
    await telemetry.keep_watchdog()
    await trio.sleep_forever()


async def _stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        structlog.get_logger().info("stopping", signal=signal.Signals(number).name)
        telemetry.tell_service_manager("STOPPING=1")
        scope.cancel()


def libvirt_hypervisor(uri: str, settings: Settings) -> LibvirtHypervisor:
    """Name a libvirt to observe, with the connection's settings."""
    how = settings.connection
    return LibvirtHypervisor(
        uri,
        deadline=how.call_timeout,
        keepalive_interval=how.keepalive_interval,
        keepalive_count=how.keepalive_count,
    )


@asynccontextmanager
async def nova_of(settings: Settings) -> AsyncIterator[NovaApi | None]:
    """Nova's API inside the block, as the settings reach it; None where they want no Nova to be asked.

    SettingsError says what is missing in clouds.yaml or among the OS_* variables. Nobody is asked anything yet.
    """
    if not settings.nova.enabled:
        yield None
        return
    api = await NovaApi.connect(cloud=settings.nova.cloud or None, patience=Patience(timeout=settings.nova.timeout))
    try:
        yield api
    finally:
        api.close()


class Acting:
    """How this machine's settings let commands be executed: by which ways, and at whose word."""

    def __init__(self, settings: Settings, nova: NovaApi | None) -> None:
        self._settings = settings
        self._nova = nova
        #: Asks Nova for one instance; None where Nova is not asked.
        self.ask = partial(ask, nova) if nova else None
        self.door = door_path(settings.act.socket, settings.log.path, os.environ)

    def acts(self, log: SqlLog, watcher: Watcher) -> Acts:
        """Make the actors of a log, on a watcher's fold."""
        return Acts(log, watcher, self._settings, stoppers=self.stoppers, nova=self.ask)

    def stoppers(self, uri: str) -> Mapping[Route, Stopper]:
        """The ways to act on a host."""
        settings = self._settings
        by_libvirt = HypervisorStopper(
            uri, shutdown_timeout=settings.act.shutdown_timeout, deadline=settings.connection.call_timeout
        )
        by_nova = {Route.NOVA: NovaStopper(self._nova)} if self._nova else {}
        return {Route.HYPERVISOR: by_libvirt, **by_nova}

    async def hear(self, acts: Acts, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the door open for what people wish."""
        await keep_door(self.door, acts.hear, operators=self._settings.act.operators, task_status=task_status)
