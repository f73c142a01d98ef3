"""`es-power act`: the actor, a process of its own beside the observer."""

from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import trio
import typer

from es_power import telemetry
from es_power.acting import serve_acts
from es_power.cli.options import open_existing
from es_power.cli.serving import Acting, libvirt_hypervisor, nova_of, stay, until_stopped
from es_power.ingest.libvirt import event_loop
from es_power.settings import Settings, load


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run")(act)


def act(
    *,
    uri: Annotated[list[str] | None, typer.Option(help="Act on this libvirt URI's host; may be repeated.")] = None,
    log: Annotated[str | None, typer.Option(help="The log: a path, or a postgresql:// URL.")] = None,
    config: Annotated[Path | None, typer.Option(help="Read this settings file instead of the usual ones.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="dry-run (nothing is sent), approve (what a person approved) or auto.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Execute planned stop commands until stopped, each after a last look, and at most once.

    The observer, `es-power run`, plans them into the same log. Under dry-run everything is done but the act.
    """
    settings = load(config, {"observe.uri": uri, "log.path": log, "policy.mode": mode})
    telemetry.configure_logging(verbose=verbose)
    trio.run(_act, settings)


async def _act(settings: Settings) -> None:
    hosts = [(host.name, libvirt_hypervisor(host.uri, settings)) for host in settings.hosts]
    async with (
        until_stopped(),
        open_existing(settings.log.path) as log,
        event_loop(),
        nova_of(settings) as nova,
        trio.open_nursery() as nursery,
    ):
        acting = Acting(settings, nova)
        acts = await nursery.start(partial(serve_acts, log, hosts, settings, stoppers=acting.stoppers, nova=acting.ask))
        await nursery.start(acting.hear, acts)
        structlog.get_logger().info(
            "acting", hosts=sorted(acts.actors), mode=settings.policy.mode, log=settings.log.path
        )
        await stay()
