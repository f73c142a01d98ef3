"""`es-power as-of`: what was true at a time; short for `status --as-of`."""

from typing import Annotated

import typer

from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    UtcOption,
)
from es_power.cli.status import status
from es_power.output import Format


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="as-of", rich_help_panel=ASK)(as_of)


def as_of(
    time: Annotated[str, typer.Argument(metavar="TIME|POSITION", help=UNDERSTOOD)],
    vm: Annotated[
        str | None,
        typer.Argument(metavar="VM", help="Only this one: a UUID, a name, HOST/NAME, or the beginning of either."),
    ] = None,
    *,
    known_at: KnownAtOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also VMs that are gone, and each VM on every host that showed it.")
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show what was true at a TIME, by what is known now, or by what was known at another time.

    The same as `status --as-of TIME`. A time that begins with a dash goes behind `--`: `as-of -- -1h`.
    """
    status(vm=vm, as_of=time, known_at=known_at, everything=everything, log=log, config=config, output=output, utc=utc)
