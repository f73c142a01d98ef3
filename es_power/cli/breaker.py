"""`es-power breaker` and `alarms`: what a person has to look at."""

from dataclasses import asdict
from typing import Annotated, Final

import typer

from es_power.cli.options import (
    ASK,
    STEER,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    WhyOption,
    ask,
    place,
    take_view,
)
from es_power.cli.wishes import wish
from es_power.dispatch.door import CloseBreaker
from es_power.log import SqlLog
from es_power.output import Column, Format
from es_power.projections.steering import Raised, Tripped, alarms, breakers

BREAKERS: Final = (
    Column("opened_at", time=True),
    Column("host"),
    Column("reason", limit=None),
    Column("waiting"),
    Column("commands", in_table=False),
    Column("position"),
)

ALARMS: Final = (
    Column("raised_at", time=True),
    Column("alarm"),
    Column("host"),
    Column("name"),
    Column("reason", limit=None),
    Column("instance", in_table=False),
    Column("position"),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="List the breakers that are open, and close one.")
    group.command(name="list")(_list)
    group.command(name="close")(_close)
    app.add_typer(group, name="breaker", rich_help_panel=STEER)
    app.command(name="alarms", rich_help_panel=ASK)(_alarms)


def _list(
    *, log: LogOption = None, config: ConfigOption = None, output: OutputOption = Format.TABLE, utc: UtcOption = False
) -> None:
    """List the hosts whose commands wait because much of the host would be stopped at once."""

    async def question(opened: SqlLog) -> list[Tripped]:
        return breakers(await take_view(opened))

    Printer(output, utc).rows(
        [{**asdict(each), "waiting": len(each.commands)} for each in ask(place(log, config), question)], BREAKERS
    )


def _close(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host whose commands may go on.")],
    *,
    why: WhyOption,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a host's commands go on; each is looked at again before it is sent."""
    wish(CloseBreaker(why=why, host=host), log, config)


def _alarms(
    *, log: LogOption = None, config: ConfigOption = None, output: OutputOption = Format.TABLE, utc: UtcOption = False
) -> None:
    """List what no rule mends and a person should look at, the oldest first."""

    async def question(opened: SqlLog) -> list[Raised]:
        return await alarms(await take_view(opened))

    Printer(output, utc).rows([asdict(each) for each in ask(place(log, config), question)], ALARMS)
