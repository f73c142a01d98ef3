"""`es-power gaps`: when nobody saw a host."""

import typer

from es_power.answers.rows import GAPS, gap_row
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
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.gaps import Gap, gaps as ask_gaps


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(gaps)


def gaps(
    *,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show the blind times of all hosts: when nobody could see their VMs, and why."""
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> list[Gap]:
        return await ask_gaps(await take_view_then(opened, as_of, known_at, zone=printer.zone))

    printer.rows([gap_row(gap) for gap in ask(place(log, config), question)], GAPS)
