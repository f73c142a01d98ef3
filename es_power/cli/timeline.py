"""`es-power timeline`: what was known of each VM over time, drawn, or as segments for machines."""

import sys
from contextlib import aclosing
from typing import Annotated, Final

import typer

from es_power.answers.spans import SEGMENTS, segment_row
from es_power.cli.drawing import Drawing
from es_power.cli.options import (
    ASK,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    ask,
    place,
    read_time,
)
from es_power.cli.spans import SinceOption, UntilOption, VmsArgument, take_span
from es_power.log import SqlLog
from es_power.output import Format, Row
from es_power.projections.timeline import timelines

_SINCE: Final = "-24h"
_AT_ONCE: Final = 1000  # rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(timeline)


def timeline(
    *,
    vms: VmsArgument = None,
    since: SinceOption = None,
    until: UntilOption = None,
    buckets: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most so many segments of each VM; what differs in one is MIXED."),
    ] = None,
    last_report_wins: Annotated[
        bool,
        typer.Option(
            "--last-report-wins",
            help="Show instead what a sync would have had for true that takes whatever report came last.",
        ),
    ] = False,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Draw when each VM ran and when it did not, a line for each; the last 24 hours, unless told otherwise.

    Time of which nobody knows is drawn as unknown, never as the last state. A character that stands for more than one
    state shows the one that matters most: crashed, off, unknown, suspended, paused, running. Other outputs have all
    segments.
    """
    printer = Printer(output, utc)
    begin = read_time(since or _SINCE, "--since", zone=printer.zone)
    end = None if until is None else read_time(until, "--until", zone=printer.zone)

    async def question(opened: SqlLog) -> None:
        span = await take_span(opened, begin, end, known_at, zone=printer.zone)
        drawing = Drawing(since=span.since, until=min(span.until, span.now), zone=printer.zone)
        waiting: list[Row] = []
        first = True
        found = timelines(
            span.view,
            vms or None,
            since=span.since,
            until=span.until,
            now=span.now,
            buckets=buckets,
            last_report_wins=last_report_wins,
        )
        async with aclosing(found) as each:
            async for line in each:
                if output is Format.TABLE:
                    drawing.add(line)
                    continue
                waiting += [segment_row(line, segment) for segment in line.segments]
                # Of an array all rows are written at once; of the others as they come.
                if output is not Format.JSON and len(waiting) >= _AT_ONCE:
                    printer.rows(waiting, SEGMENTS, header=first)
                    waiting, first = [], False
        if output is Format.TABLE:
            drawing.write(sys.stdout)
        elif waiting or first:
            printer.rows(waiting, SEGMENTS, header=first)

    ask(place(log, config), question)
