"""`es-power backup` and `restore`: a log as one file, and back."""

import os
from pathlib import Path
from typing import Annotated

import trio
import typer

from es_power.cli.declare import login_user
from es_power.cli.options import KEEP, ConfigOption, LogOption, ask, note, place
from es_power.errors import BackupError
from es_power.ingest.clock import now
from es_power.settings import load
from es_power.upkeep.backup import back_up
from es_power.upkeep.restoring import restore as put_back
from es_power.upkeep.rewinding import Begun, accept_rewind


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=KEEP)(backup)
    app.command(rich_help_panel=KEEP)(restore)


def backup(
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="A file that is not there yet, or a directory to make one in.")
    ],
    *,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy the log into one file, whatever database it is in and while services run on it.

    The file is a log itself, for --log and for `restore`; it is read from its first byte to its last before it gets its
    name.
    """
    if destination.endswith(os.sep) and not Path(destination).is_dir():  # a Path would forget what it was called
        raise BackupError(f"there is no directory {destination}; make it first")
    done = ask(place(log, config), lambda opened: back_up(opened, Path(destination), at=now()))
    typer.echo(f"{done.file}: {done.size} bytes, up to position {done.position}, whose hash is {done.hash.hex()}")


def restore(
    source: Annotated[
        Path | None, typer.Argument(metavar="BACKUP", help="What `backup` wrote, or another copy of a log in a file.")
    ] = None,
    *,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-rewind",
            help="No backup: the log was put back by other means, and services refuse it; say that it is meant.",
        ),
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Put a backup in the place of the log, once it was read and found whole; what it replaces is kept beside it.

    No service may run meanwhile. The log says so from then on: its open stop commands end as withdrawn, and the
    commands of each host are held until somebody releases them, since what was said after the backup is lost.
    """
    if (source is None) != accept:
        raise typer.BadParameter("give either a backup or --accept-rewind", param_hint="'BACKUP'")
    where = place(log, config)
    if source is None:
        places = load(config, {"log.path": log}).audit.places
        begun = trio.run(lambda: accept_rewind(where, by=login_user(), at=now(), places=places))
    else:
        done = trio.run(lambda: put_back(where, source, by=login_user(), at=now()))
        begun = done.begun
        if done.aside is not None:
            note(f"es-power: what was replaced is {done.aside}")
    _tell(begun)


def _tell(begun: Begun) -> None:
    before = f" (it had gone up to {begun.replaced})" if begun.replaced is not None else ""
    typer.echo(f"the log goes on after position {begun.until}{before}, as position {begun.position} says")
    if begun.withdrawn:
        typer.echo(f"{begun.withdrawn} open stop commands are withdrawn")
    if begun.held:
        hosts = ", ".join(begun.held)
        typer.echo(f"commands are held on {hosts}: `es-power release HOST --why ...` lets them go on")
