"""`es-power log`: the log itself."""

from typing import Final

import trio
import typer

from es_power.cli.options import KEEP, ConfigOption, LogOption, OutputOption, Printer, UtcOption, ask, place
from es_power.log import SqlLog
from es_power.log.description import Description, describe
from es_power.log.upgrade import upgrade
from es_power.output import Column, Format, Row
from es_power.projections.store import Store

INFO: Final = (
    Column("place"),
    Column("database"),
    Column("schema"),
    Column("written_by"),
    Column("head"),
    Column("first_recorded_at", time=True),
    Column("last_recorded_at", time=True),
    Column("tables_at"),
    Column("labels"),
    Column("commands"),
    Column("streams"),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Look at the log itself, and bring its schema up to date.")
    group.command(name="info")(_info)
    group.command(name="upgrade")(_upgrade)
    app.add_typer(group, name="log", rich_help_panel=KEEP)


def _info(
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show where the log is, its schema, its streams, and how far the tables beside it are."""

    async def question(opened: SqlLog) -> tuple[Description, int]:
        described = await trio.to_thread.run_sync(lambda: describe(opened.database))
        return described, await trio.to_thread.run_sync(Store(opened.database).checkpoint)

    described, tables = ask(place(log, config), question)
    Printer(output, utc).one(info_row(described, tables), INFO)


def _upgrade(*, log: LogOption = None, config: ConfigOption = None) -> None:
    """Create the log, or bring an older one's schema up to date; SQLite's is copied first, PostgreSQL's is not."""
    where = place(log, config)
    upgrade(where)
    described = ask(where, lambda opened: trio.to_thread.run_sync(lambda: describe(opened.database)))
    typer.echo(f"{described.place} has schema {described.schema}, and {described.head} records")


def info_row(described: Description, tables_at: int) -> Row:
    """What a log is; of the streams of commands only the number."""
    streams = {name: version for name, version in described.streams.items() if not name.startswith("command/")}
    return {
        "place": described.place,
        "database": described.database,
        "schema": described.schema,
        "written_by": described.written_by,
        "head": described.head,
        "first_recorded_at": described.first_recorded_at,
        "last_recorded_at": described.last_recorded_at,
        "tables_at": tables_at,
        "labels": described.labels,
        "commands": len(described.streams) - len(streams),
        "streams": streams,
    }
