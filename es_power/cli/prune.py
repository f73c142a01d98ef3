"""`es-power prune`: what was observed before a time goes out of the log, after an archive of it was found whole."""

from pathlib import Path
from typing import Annotated

import typer

from es_power.cli.declare import login_user
from es_power.cli.options import KEEP, ConfigOption, LogOption, Printer, UtcOption, act, ask, note, place, read_time
from es_power.ingest.clock import now
from es_power.output import Format
from es_power.upkeep.cut import Cut, find_cut
from es_power.upkeep.pruning import prune as take_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=KEEP)(prune)


def prune(
    *,
    before: Annotated[
        str,
        typer.Option(
            "--before", metavar="TIME", help="Prune up to the newest checkpoint that was signed before this time."
        ),
    ],
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive", metavar="DEST", help="Where the archive goes: a new file, or a directory to make one in."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, and not only say what would be done.")] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    utc: UtcOption = False,
) -> None:
    """Take out of the log what was observed before a time, up to a signed checkpoint; first all of it is archived.

    The archive is a log itself, read from its first byte to its last before anything goes. What was said, decided and
    done stays, and every answer about the time since. Without --yes nothing is done, but what would be is said.
    """
    if yes and archive is None:
        raise typer.BadParameter("say where the archive goes", param_hint="'--archive'")
    where = place(log, config)
    printer = Printer(Format.TABLE, utc)
    time = read_time(before, "--before", zone=printer.zone)
    cut = ask(where, lambda opened: find_cut(opened, time))
    if not yes or archive is None:
        typer.echo(f"what was observed up to position {cut.position} would be pruned: {_signed(cut, printer)}")
        note("es-power: nothing was done; with --archive DEST and --yes it will be, for good")
        return
    done = act(where, lambda opened: take_out(opened, cut, archive, by=login_user(), at=now()))
    typer.echo(f"{done.archive.file}: {done.archive.size} bytes, up to position {done.archive.position}")
    typer.echo(
        f"{done.count} observations up to position {cut.position} were pruned, {done.kept} stay that others rest on, "
        f"as position {done.position} says"
    )
    note(
        "es-power: that this was done is vouched for from the next checkpoint on; `es-power audit checkpoint` signs one"
    )


def _signed(cut: Cut, printer: Printer) -> str:
    return f"its checkpoint was signed at {printer.time(cut.signed_at)}"
