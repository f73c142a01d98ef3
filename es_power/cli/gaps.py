"""`es-power gaps`: when nobody saw a host."""

import typer

from es_power.answers.rows import GAPS, gap_row
from es_power.cli.options import ASK, ConfigOption, LogOption, OutputOption, Printer, UtcOption, ask, place, take_view
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.gaps import Gap, gaps as ask_gaps


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(gaps)


def gaps(
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show the blind times of all hosts: when nobody could see their VMs, and why."""

    async def question(opened: SqlLog) -> list[Gap]:
        return await ask_gaps(await take_view(opened))

    Printer(output, utc).rows([gap_row(gap) for gap in ask(place(log, config), question)], GAPS)
