"""`es-power run`: the service that observes, and with ``--act`` executes what it plans."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import trio
import typer

from es_power import telemetry
from es_power.cli.serving import Acting, libvirt_hypervisor, nova_of, stay, until_stopped
from es_power.domain.events import Recorded
from es_power.ingest.hypervisor import Hypervisor
from es_power.ingest.libvirt import event_loop
from es_power.log import open_log
from es_power.log.database import parse_place
from es_power.log.folders import make_folder
from es_power.service import Answering, Service, serve
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
    mode: Annotated[str | None, typer.Option(help="dry-run, approve or auto; needs --act.")] = None,
    act: Annotated[bool, typer.Option("--act", help="Execute what is planned too, as `es-power act` does.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Observe libvirt hosts into the log until stopped, and plan stop commands; without --act it never acts."""
    if mode is not None and not act:
        raise typer.BadParameter(
            "a mode is for whoever acts; add --act, or give it to `es-power act`", param_hint="--mode"
        )
    overrides = {
        "observe.uri": uri,
        "log.path": log,
        "sweep.spacing": spacing,
        "policy.name": policy,
        "policy.mode": mode,
    }
    settings = load(config, overrides)
    telemetry.configure_logging(verbose=verbose)
    trio.run(_run, settings, act)


async def _run(settings: Settings, act: bool) -> None:
    hosts = [(host.name, libvirt_hypervisor(host.uri, settings)) for host in settings.hosts]
    # Inside: a second signal would end the process before its socket's file is taken away.
    async with until_stopped():
        if (place := parse_place(settings.log.path).path) is not None:
            with suppress(OSError):  # whoever opens the log says what is wrong with it
                make_folder(place.parent)  # sockets stand beside the log, and are opened before it
        with _answering(settings) as answering:
            async with observing(settings, hosts, act=act, answering=answering) as service:
                structlog.get_logger().info("observing", hosts=sorted(service.observers), log=settings.log.path)
                await stay()


@contextmanager
def _answering(settings: Settings) -> Iterator[Answering | None]:
    """What answers over HTTP inside the block, as the settings say; ListenError where a place is taken."""
    if not settings.api.enabled and not settings.metrics.enabled:
        yield None
        return
    # Only who serves needs the web framework, which takes half a second to import.
    from es_power.api import serving  # noqa: PLC0415

    with closing(serving.Sockets.open(settings)) as sockets:
        yield partial(serving.answering, settings, sockets)


@asynccontextmanager
async def observing(
    settings: Settings,
    hosts: Sequence[tuple[str | None, Hypervisor]],
    *,
    listen: Callable[[Sequence[Recorded]], None] = lambda _: None,
    act: bool = False,
    answering: Answering | None = None,
) -> AsyncIterator[Service]:
    """Run a service inside the block, its log, libvirt's event loop and Nova's client with it; see `service.serve`."""
    async with AsyncExitStack() as parts:
        log = await parts.enter_async_context(open_log(settings.log.path, mode="write"))
        await parts.enter_async_context(event_loop())
        nova = await parts.enter_async_context(nova_of(settings))
        acting = Acting(settings, nova)
        makes = partial(acting.acts, log) if act else None
        async with trio.open_nursery() as nursery:
            serving = partial(serve, log, hosts, settings, listen=listen, acting=makes, nova=nova, answering=answering)
            service = await nursery.start(serving)
            if service.acts is not None:
                await nursery.start(acting.hear, service.acts)
            yield service
            nursery.cancel_scope.cancel()
