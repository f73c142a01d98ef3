"""`es-power status`: the power_state table."""

from typing import Annotated

import typer

from es_power.answers.rows import STATUS, status_row
from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    ask,
    find_moment,
    place,
    take_view,
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
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME|POSITION", help=f"As the log knew it then. {UNDERSTOOD}")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also VMs that are gone, and each VM on every host that showed it.")
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show the power_state of each VM now, or as the log knew it at another time.

    UNKNOWN is shown while nobody can say: the host is not seen, or was not for two sweeps.
    """
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> list[Status]:
        if as_of is None:
            return await ask_status(await take_view(opened), vm, now=now(), everything=everything)
        then = await find_moment(opened, as_of, "--as-of", zone=printer.zone)
        view = await take_view(opened, until=then.position, table_only=True)
        return await ask_status(view, vm, now=then.at, everything=everything)

    printer.rows([status_row(each) for each in ask(place(log, config), question)], STATUS)
