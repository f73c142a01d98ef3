"""`es-power commands`: the stop commands that were planned, what justifies them, and what becomes of them."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from es_power.answers.commands import COMMANDS, LIFE, command_row, life_row
from es_power.cli.options import (
    ASK,
    AsOfOption,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    WhyOption,
    ask,
    place,
    take_view,
    take_view_then,
)
from es_power.cli.wishes import wish
from es_power.dispatch.door import Approve, Reject, Retry
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.explain import Explained, command, commands

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The command's id, or the beginning of it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Show stop commands and what justifies them; approve or reject one.")
    group.command(name="list")(_list)
    group.command(name="show")(_show)
    group.command(name="approve")(_approve)
    group.command(name="reject")(_reject)
    group.command(name="retry")(_retry)
    app.add_typer(group, name="commands", rich_help_panel=ASK)


def _list(
    *,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that may still be sent.")] = False,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Only those of one host.")] = None,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """List all stop commands in the order in which they were requested, as they are now or were at another time."""
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> list[Explained]:
        return await commands(await take_view_then(opened, as_of, known_at, zone=printer.zone))

    found = [
        each
        for each in ask(place(log, config), question)
        if (each.row.state.is_open or not only_open) and host in (None, each.row.requested.host)
    ]
    printer.rows([command_row(each) for each in found], COMMANDS)


def _show(
    command_id: IdArgument,
    *,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Explain one stop command: the table's cell, its inputs with their positions, what was done, and by whom."""
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> Explained:
        return await command(await take_view_then(opened, as_of, known_at, zone=printer.zone), command_id)

    explained = ask(place(log, config), question)
    life = [life_row(step) for step in explained.life]
    if output is Format.TABLE:
        printer.one(command_row(explained), COMMANDS)
        typer.echo()
        printer.rows(life, LIFE)
    else:
        printer.one({**command_row(explained), "life": life}, COMMANDS)


def _approve(command_id: IdArgument, *, why: WhyOption, log: LogOption = None, config: ConfigOption = None) -> None:
    """Let a command be sent: it is looked at once more, and withdrawn if it is not called for any more."""
    wish(Approve(why=why, command=_id(command_id, log, config)), log, config)


def _reject(command_id: IdArgument, *, why: WhyOption, log: LogOption = None, config: ConfigOption = None) -> None:
    """Withdraw a command; no other is planned while the same disagreement lasts."""
    wish(Reject(why=why, command=_id(command_id, log, config)), log, config)


def _retry(command_id: IdArgument, *, why: WhyOption, log: LogOption = None, config: ConfigOption = None) -> None:
    """Have one that was refused, failed, expired or rejected planned anew, if it is still called for."""
    wish(Retry(why=why, command=_id(command_id, log, config)), log, config)


def _id(text: str, log: str | None, config: Path | None) -> UUID:
    async def question(opened: SqlLog) -> UUID:
        return (await command(await take_view(opened), text)).row.requested.command

    return ask(place(log, config), question)
