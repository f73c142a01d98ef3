"""`es-power run`: the service."""

import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import trio
import typer

from es_power import telemetry
from es_power.domain.events import Recorded
from es_power.ingest.hypervisor import Hypervisor
from es_power.ingest.libvirt import LibvirtHypervisor, event_loop
from es_power.log import open_log
from es_power.service import Service, serve
from es_power.settings import Settings, load


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run")(run)


def run(
    *,
    uri: Annotated[list[str] | None, typer.Option(help="Observe this libvirt URI; may be repeated.")] = None,
    log: Annotated[str | None, typer.Option(help="The log: a path, or a postgresql:// URL.")] = None,
    config: Annotated[Path | None, typer.Option(help="Read this settings file instead of the usual ones.")] = None,
    spacing: Annotated[str | None, typer.Option(help='Time between two sweeps, for example "10m".')] = None,
    policy: Annotated[str | None, typer.Option(help="The policy of instances that somebody vouches for.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Observe libvirt hosts into the log until stopped; plans stop commands, and never acts."""
    overrides = {"observe.uri": uri, "log.path": log, "sweep.spacing": spacing, "policy.name": policy}
    settings = load(config, overrides)
    telemetry.configure_logging(verbose=verbose)
    trio.run(_run, settings)


async def _run(settings: Settings) -> None:
    hosts = [(host.name, libvirt_hypervisor(host.uri, settings)) for host in settings.hosts]
    # From the first moment on: a signal that came before anybody listened would end it without a last word.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, nursery.cancel_scope)
            async with observing(settings, hosts) as service:
                telemetry.tell_service_manager("READY=1")
                structlog.get_logger().info("observing", hosts=sorted(service.observers), log=settings.log.path)
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
async def observing(
    settings: Settings,
    hosts: Sequence[tuple[str | None, Hypervisor]],
    *,
    listen: Callable[[Sequence[Recorded]], None] = lambda _: None,
) -> AsyncIterator[Service]:
    """Run a service inside the block, its log and libvirt's event loop with it; see `service.serve`."""
    async with AsyncExitStack() as parts:
        log = await parts.enter_async_context(open_log(settings.log.path, mode="write"))
        await parts.enter_async_context(event_loop())
        async with trio.open_nursery() as nursery:
            yield await nursery.start(partial(serve, log, hosts, settings, listen=listen))
            nursery.cancel_scope.cancel()
