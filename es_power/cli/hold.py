"""`es-power hold`, `release` and `holds`: keeping stop commands back."""

from dataclasses import asdict
from typing import Annotated, Final
from uuid import UUID

import typer

from es_power import timewords
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
from es_power.dispatch.door import Hold, Release
from es_power.errors import HoldNotFoundError
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.output import Column, Format
from es_power.projections.queries import find
from es_power.projections.steering import KeptBack, holds

HOLDS: Final = (
    Column("placed_at", time=True),
    Column("host"),
    Column("name"),
    Column("until", time=True),
    Column("by"),
    Column("why", limit=None),
    Column("hold"),
    Column("instance", in_table=False),
    Column("position", in_table=False),
)

TargetArgument = Annotated[str, typer.Argument(metavar="HOST|VM", help="A host of the log, or a VM as elsewhere.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="hold", rich_help_panel=STEER)(_hold)
    app.command(name="release", rich_help_panel=STEER)(_release)
    app.command(name="holds", rich_help_panel=ASK)(_holds)


def _span(text: str) -> int:
    try:
        length = timewords.span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if length <= 0:
        raise typer.BadParameter("it must be longer than nothing")
    return length


def _hold(
    target: TargetArgument,
    *,
    why: WhyOption,
    length: Annotated[
        int | None,
        typer.Option("--for", parser=_span, metavar="TIME", help="How long, such as 2h; else until released."),
    ] = None,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Keep back all stop commands of a host or of a VM: none is sent until the hold is over."""
    host, instance = ask(place(log, config), lambda opened: _target(opened, target))
    until = None if length is None else now() + length
    wish(Hold(why=why, host=host, instance=instance, until=until), log, config)


def _release(
    target: Annotated[str, typer.Argument(metavar="HOLD|HOST|VM", help="A hold's id, or whose hold.")],
    *,
    why: WhyOption,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """End a hold, or all holds of a host or of a VM; what was kept back is looked at again before it is sent."""

    async def question(opened: SqlLog) -> list[UUID]:
        standing = await holds(await take_view(opened))
        by_id = [each.hold for each in standing if str(each.hold).startswith(target.lower())]
        if by_id:
            return by_id if len(by_id) == 1 else _many(target, by_id)
        host, instance = await _target(opened, target)
        return [each.hold for each in standing if (each.host, each.instance) == (host, instance)]

    found = ask(place(log, config), question)
    if not found:
        raise HoldNotFoundError(f"no hold stands on {target!r}; `es-power holds` lists those that do")
    for hold in found:
        wish(Release(why=why, hold=hold), log, config)


def _many(target: str, found: list[UUID]) -> list[UUID]:
    raise typer.BadParameter(f"{len(found)} holds begin with {target!r}; write more", param_hint="'HOLD'")


def _holds(
    *, log: LogOption = None, config: ConfigOption = None, output: OutputOption = Format.TABLE, utc: UtcOption = False
) -> None:
    """List the holds that stand."""

    async def question(opened: SqlLog) -> list[KeptBack]:
        return await holds(await take_view(opened))

    Printer(output, utc).rows([asdict(each) for each in ask(place(log, config), question)], HOLDS)


async def _target(opened: SqlLog, text: str) -> tuple[str | None, UUID | None]:
    """Read HOST|VM: a host by its whole name comes first, since a VM can be written as HOST/NAME."""
    view = await take_view(opened)
    if text in view.hosts:
        return text, None
    return None, await find(view, text)
