"""`es-power commands`: the stop commands that were planned, and what justifies them."""

from typing import Annotated

import typer

from es_power.cli.options import ASK, ConfigOption, LogOption, OutputOption, Printer, UtcOption, ask, place, take_view
from es_power.cli.rows import COMMANDS, command_row
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.queries import Explained, command, commands


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Show stop commands, and the facts that justify them.")
    group.command(name="list")(_list)
    group.command(name="show")(_show)
    app.add_typer(group, name="commands", rich_help_panel=ASK)


def _list(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that may still be sent.")] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """List all stop commands in the order in which they were requested."""

    async def question(opened: SqlLog) -> list[Explained]:
        return await commands(await take_view(opened))

    found = [each for each in ask(place(log, config), question) if each.row.state.is_open or not only_open]
    Printer(output, utc).rows([command_row(each) for each in found], COMMANDS)


def _show(
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The command's id, or the beginning of it.")],
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show one stop command with what was observed and what the record said."""

    async def question(opened: SqlLog) -> Explained:
        return await command(await take_view(opened), command_id)

    Printer(output, utc).one(command_row(ask(place(log, config), question)), COMMANDS)
