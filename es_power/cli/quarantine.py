"""`es-power quarantine`: what could not be read or applied, and whom nobody can be sure of because of it."""

from typing import Final

import typer

from es_power.answers.rows import QUARANTINE, doubt_row
from es_power.cli.options import ASK, ConfigOption, LogOption, OutputOption, Printer, UtcOption, ask, place
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.doubts import Doubt, quarantine as ask_quarantine
from es_power.projections.queries import look

_FINDING: Final = 4  # the exit code where there is one


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(quarantine)


def quarantine(
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """List the records that could not be read or applied; exits 4 where there are any.

    All others are counted in. A VM that such a record is about, or may be about, reads UNKNOWN until something newer
    is known of it, and no stop is requested for it, until a version of es_power can apply the record, or a backup
    that is whole is restored.
    """

    async def question(opened: SqlLog) -> list[Doubt]:
        return await ask_quarantine(await look(opened))

    found = ask(place(log, config), question)
    Printer(output, utc).rows([doubt_row(each) for each in found], QUARANTINE)
    if found:
        raise typer.Exit(_FINDING)
