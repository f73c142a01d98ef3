"""`es-power uptime`: how long each VM was up."""

from contextlib import aclosing
from typing import Annotated

import typer

from es_power import timewords
from es_power.answers.spans import UPTIMES, uptime_row
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
from es_power.domain.time import Timestamp
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.output import Format, Row
from es_power.projections.uptime import uptimes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(uptime)


def uptime(
    *,
    vms: VmsArgument = None,
    month: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="That month; else this one so far.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Sum up how long each VM was known to be up and down, and of how much time nobody knows.

    Availability is a range: as if it was down all of the unknown time, and as if it was up. Paused and suspended VMs
    count as down, and are told apart too. Time in which a VM did not exist is left out.
    """
    printer = Printer(output, utc)
    begin, end = _span(printer, month, since, until)

    async def question(opened: SqlLog) -> list[Row]:
        span = await take_span(opened, begin, end, known_at, zone=printer.zone)
        found = uptimes(span.view, vms or None, since=span.since, until=span.until, now=span.now)
        async with aclosing(found) as each:
            return [uptime_row(one) async for one in each]

    printer.rows(ask(place(log, config), question), UPTIMES)


def _span(
    printer: Printer, month: str | None, since: str | None, until: str | None
) -> tuple[Timestamp, Timestamp | None]:
    zone = printer.zone
    if since is not None:
        if month is not None:
            raise typer.BadParameter("say a month or --since, not both", param_hint="'--month'")
        return read_time(since, "--since", zone=zone), read_time(until, "--until", zone=zone) if until else None
    if until is not None:
        raise typer.BadParameter("say --since too: from when on", param_hint="'--until'")
    try:
        return timewords.month(month, now=now(), zone=zone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--month'") from error
