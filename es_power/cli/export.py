"""`es-power export`: the log itself, oldest first, for other programs and for `import jsonl`."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from es_power.answers.export import CLOUD, FACTS, Exporter, cloud_event, fact_row, fact_rows, flat_row
from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    ConfigOption,
    LogOption,
    Printer,
    UtcOption,
    ask,
    find_span,
    note,
    place,
)
from es_power.domain.events import START
from es_power.log import SqlLog
from es_power.output import Format, write
from es_power.projections.as_of import position_before
from es_power.projections.queries import find, look

_INCOMPLETE = 4


class ExportFormat(StrEnum):
    """What an export is written as."""

    #: Complete, one fact a line; `es-power import jsonl` reads it back.
    JSONL = "jsonl"
    CSV = "csv"
    #: CloudEvents 1.0, one a line.
    CLOUDEVENTS = "cloudevents"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(export)


def export(
    vms: Annotated[
        list[str] | None,
        typer.Argument(metavar="VM", help="Only facts about these; of a sweep, what it says of them."),
    ] = None,
    *,
    since: Annotated[
        str | None, typer.Option("--since", "-S", metavar="TIME|POSITION", help=f"Recorded from then on. {UNDERSTOOD}")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", "-U", metavar="TIME|POSITION", help="Recorded up to then.")
    ] = None,
    output: Annotated[
        ExportFormat, typer.Option("--output", "-o", help="jsonl is complete, and can be imported.")
    ] = ExportFormat.JSONL,
    log: LogOption = None,
    config: ConfigOption = None,
    utc: UtcOption = False,
) -> None:
    """Write the facts of the log, oldest first, with texts in the place of labels; times are in UTC."""
    row, columns, fmt = {
        ExportFormat.JSONL: (fact_row, FACTS, Format.JSONL),
        ExportFormat.CSV: (flat_row, FACTS, Format.CSV),
        ExportFormat.CLOUDEVENTS: (cloud_event, CLOUD, Format.JSONL),
    }[output]
    zone = Printer(Format.JSONL, utc).zone

    async def question(opened: SqlLog) -> int:
        begin, end = await find_span(opened, since, until, zone=zone)
        after = await position_before(opened, begin) if begin else START
        view = await look(opened)
        last = end.position if end else view.position
        exporter = Exporter(view, [await find(view, vm) for vm in vms or ()])
        header = True
        async for batch in exporter.facts(after=after, until=last):
            rows = await fact_rows(opened, batch, row)
            write(rows, columns, fmt, sys.stdout, header=header)
            header = False
        if header:
            write([], columns, fmt, sys.stdout)
        for position, reason in exporter.unreadable.items():
            note(f"es-power: record {position} cannot be read, and is left out: {reason}")
        return _INCOMPLETE if exporter.unreadable else 0

    raise typer.Exit(ask(place(log, config), question))
