"""`es-power demo`: what es_power makes of VMs when things go wrong, on libvirt's test driver."""

from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import trio
import typer

from es_power.errors import LogNotFoundError
from es_power.log.database import Database
from es_power.log.upgrade import check_schema


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run")(demo)


def demo(
    *,
    duration: Annotated[float, typer.Option(min=1, help="Seconds that it takes, about.")] = 50,
    vms: Annotated[int, typer.Option(min=1, max=5000, help="How many VMs.")] = 200,
    keep: Annotated[bool, typer.Option("--keep", help="Go on afterwards until Ctrl-C, to play with.")] = False,
    log: Annotated[
        str | None, typer.Option(help="The log: a path, or a postgresql:// URL. Default: a new one.")
    ] = None,
) -> None:
    """Watch real libvirt events become a log, and what is made of it when things go wrong; needs no hypervisor.

    VMs boot and are mistreated; the wire to libvirt is cut while some stop; a report comes late; the tables are folded
    anew; a copy of the log is tampered with. The terminal tells it, and a browser by the link that is printed.
    """
    if log is not None:
        _require_new(log)
    # Only who serves needs the web framework, which takes half a second to import.
    from es_power.cli.staging import stage  # noqa: PLC0415

    place = log or str(Path(mkdtemp(prefix="es-power-demo-")) / "log.db")
    trio.run(stage, place, duration, vms, keep)


def _require_new(place: str) -> None:
    """Refuse a log that is there: the demo's VMs would stand in it for ever."""
    with closing(Database(place, mode="read")) as database:
        try:
            check_schema(database)
        except LogNotFoundError:
            return
    raise typer.BadParameter(f"{place} is a log already; name a new one, or leave it out", param_hint="'--log'")
