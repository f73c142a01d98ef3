"""`es-power anomalies`: what is out of the ordinary, counted."""

from typing import Final

import typer

from es_power.answers.spans import ANOMALIES, anomaly_row
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
from es_power.projections.anomalies import anomalies as ask_anomalies

_SINCE: Final = "-7d"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(anomalies)


def anomalies(
    *,
    vms: VmsArgument = None,
    since: SinceOption = None,
    until: UntilOption = None,
    known_at: KnownAtOption = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Count what is out of the ordinary; of the last 7 days, unless told otherwise.

    Changes that no event announced, or that happened out of sight; flapping VMs (6 changes in 10 minutes); storms (100
    events of a host in 10 seconds; only where no VMs are named); reports refused as stale; two hosts that show a VM on.
    """
    printer = Printer(output, utc)
    begin = read_time(since or _SINCE, "--since", zone=printer.zone)
    end = None if until is None else read_time(until, "--until", zone=printer.zone)

    async def question(opened: SqlLog) -> list[Row]:
        span = await take_span(opened, begin, end, known_at, zone=printer.zone)
        found = await ask_anomalies(span.view, vms or None, since=span.since, until=span.until, now=span.now)
        return [anomaly_row(each) for each in found]

    printer.rows(ask(place(log, config), question), ANOMALIES)
