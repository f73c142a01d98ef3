"""`es-power history`: what happened to one VM."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from es_power.answers.rows import FOLLOWED, HISTORY, IMPORTED, line_row
from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    AsOfOption,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    VmArgument,
    ask,
    find_span,
    note,
    place,
    take_view_then,
)
from es_power.domain.events import START
from es_power.log import SqlLog
from es_power.output import Column, Format, Row
from es_power.projections.as_of import position_before
from es_power.projections.narrative import follow, history as ask_history
from es_power.projections.queries import find

_BEFORE_FOLLOWING: Final = 10  # lines, as journalctl and tail show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(history)


def history(
    vm: VmArgument,
    *,
    since: Annotated[
        str | None, typer.Option("--since", "-S", metavar="TIME|POSITION", help=f"From then on. {UNDERSTOOD}")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", "-U", metavar="TIME|POSITION", help="Up to then.")] = None,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the newest so many.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Newest first.")] = False,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    following: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with what comes, each observation by itself (json: one a line)."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show each observation by itself, also those that say nothing new.")
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show what happened to a VM, in the order of the log: events, observations, blind times, records, commands.

    Equal observations with nothing in between are one line, with the first, the last, and their number.
    """
    if following and (reverse or until):
        raise typer.BadParameter("what is to come has no --reverse and no --until", param_hint="'--follow'")
    if following and (as_of or known_at):
        raise typer.BadParameter("what is to come is not of another time", param_hint="'--follow'")
    if following and output is Format.JSON:
        output = Format.JSONL
    if following and lines is None and since is None:
        lines = _BEFORE_FOLLOWING
    printer, columns = Printer(output, utc), FOLLOWED if following else HISTORY

    async def question(opened: SqlLog) -> None:
        begin, last = await find_span(opened, since, until, zone=printer.zone)
        after = await position_before(opened, begin) if begin else START
        view = await take_view_then(opened, as_of, known_at, zone=printer.zone)
        if since is None and (pruned := await opened.pruned_up_to()):
            note(f"es-power: what was observed up to position {pruned} was pruned; of that its archive tells")
        instance = await find(view, vm)
        found = await ask_history(
            view,
            str(instance),
            after=after,
            until=last.position if last else None,
            since_time=begin.at if begin and not begin.by_position else None,
            until_time=last.at if last and not last.by_position else None,
            opened=everything or following,
        )
        if lines is not None:
            found = found[max(len(found) - lines, 0) :]
        rows = [line_row(line, instance) for line in (reversed(found) if reverse else found)]
        printer.rows(rows, _shown(columns, rows) if output is Format.TABLE and not following else columns)
        if following:
            sys.stdout.flush()
            async for line in follow(view, instance):
                printer.rows([line_row(line, instance)], columns, header=False)
                sys.stdout.flush()

    ask(place(log, config), question)


def _shown(columns: Sequence[Column], rows: Sequence[Row]) -> Sequence[Column]:
    """The columns of a table that is whole: whether lines were imported is asked only where some were."""
    return columns if any(row["imported"] for row in rows) else [each for each in columns if each is not IMPORTED]
