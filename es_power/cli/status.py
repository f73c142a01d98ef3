"""`es-power status`: the power_state table."""

from typing import Annotated

import typer

from es_power.answers.rows import STATUS, status_row
from es_power.cli.options import (
    ASK,
    AsOfOption,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    ask,
    place,
    take_view_then,
)
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.queries import Status, status as ask_status


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(status)


def status(
    *,
    vm: Annotated[
        str | None,
        typer.Argument(metavar="VM", help="Only this one: a UUID, a name, HOST/NAME, or the beginning of either."),
    ] = None,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also VMs that are gone, and each VM on every host that showed it.")
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show the power_state of each VM now, or what was true at another time, by what is known now or was known then.

    UNKNOWN is shown while nobody can say: the host is not seen, or was not for two sweeps.
    """
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> list[Status]:
        view = await take_view_then(opened, as_of, known_at, zone=printer.zone, table_only=True)
        return await ask_status(view, vm, now=now(), everything=everything)

    printer.rows([status_row(each) for each in ask(place(log, config), question)], STATUS)
