"""`es-power why`: why a VM stopped or paused, and by what evidence."""

from typing import Annotated

import typer

from es_power.answers.why import EVIDENCE, WHY, why_row
from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    VmArgument,
    ask,
    place,
    take_view_then,
)
from es_power.log import SqlLog
from es_power.output import Format
from es_power.projections.why import Why, why as ask_why


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(why)


def why(
    vm: VmArgument,
    *,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME|POSITION", help=f"Why it was as it was then. {UNDERSTOOD}"),
    ] = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Say why a VM stopped or paused last, how sure that is, and by what evidence.

    Of the evidence, + speaks for it; - was looked for and is not there, or speaks against it.
    """
    printer = Printer(output, utc)

    async def question(opened: SqlLog) -> Why:
        view = await take_view_then(opened, as_of, known_at, zone=printer.zone)
        return await ask_why(view, vm, at=view.then.at if view.then and as_of is not None else None)

    _print(printer, ask(place(log, config), question))


def _print(printer: Printer, found: Why) -> None:
    row = why_row(found)
    if printer.format is not Format.TABLE:
        printer.rows([row], WHY)
        return
    verdict, name = found.verdict, found.name or str(found.instance)
    if verdict is None:
        printer.say(f"{row['sentence']}", of=name)
        return
    change = f"{verdict.from_state or 'first seen'} -> {verdict.to_state or 'unknown'}"
    where = f" on {found.host}" if found.host else ""
    printer.say(f"{verdict.cause}, confidence {verdict.confidence}", of=name)
    printer.say(f"{change} at {printer.time(verdict.at)}{where}. {row['sentence']}")
    printer.say("")
    printer.say("EVIDENCE (+ speaks for it, - is missing or speaks against it)")
    evidence = row["evidence"]
    assert isinstance(evidence, list)
    printer.rows(evidence, EVIDENCE)
    printer.say("")
    for title in ("notes", "next"):
        lines = row[title]
        assert isinstance(lines, list)
        for line in (title.upper(), *(f"  {line}" for line in lines)) if lines else ():
            printer.say(line)
