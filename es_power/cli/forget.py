"""`es-power forget`: the texts that name a person or a VM are erased, after they were shown."""

import sys
from typing import Annotated, Final

import typer

from es_power.cli.declare import login_user
from es_power.cli.options import (
    KEEP,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    act,
    ask,
    note,
    place,
)
from es_power.errors import TextNotFoundError
from es_power.ingest.clock import now
from es_power.log.database import parse_place
from es_power.log.erasing import copies
from es_power.output import Column, Format, Row
from es_power.upkeep.forgetting import Naming, find_namings, finish, forget as erase

FOUND: Final = (
    Column("text"),
    Column("what"),
    Column("host"),
    Column("vm"),
    Column("position"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=KEEP)(forget)


def forget(
    target: Annotated[
        str,
        typer.Argument(
            metavar="PERSON|VM",
            help="A user, project or other word that names a person; or a VM's whole name or UUID, or HOST/NAME.",
        ),
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Erase what is shown, without asking.")] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show the texts that name a person or a VM, and erase them for good: users, projects, names, reasons, all of them.

    Every record stands, and the log verifies as before; the texts read as (forgotten). Without --yes nothing is erased,
    unless a person at the terminal says so. Copies of the log have the texts still: forget there too, by --log.
    """
    if not target.strip():
        raise typer.BadParameter("say whom or what to forget", param_hint="'PERSON|VM'")
    where = place(log, config)
    try:
        found = ask(where, lambda opened: find_namings(opened, target))
    except TextNotFoundError:
        if yes:
            act(where, finish)  # it may have been erased by somebody who was killed before the files followed
        raise
    Printer(output, utc).rows([naming_row(each) for each in found], FOUND)
    texts = "this text" if len(found) == 1 else f"these {len(found)} texts"
    if not (yes or _confirmed(texts)):
        note(f"es-power: nothing was erased; with --yes {texts} will be, for good")
        return
    done = act(where, lambda opened: erase(opened, found, by=login_user(), at=now()))
    note(f"es-power: {done.count} erased, as position {done.position} of the log says")
    if not done.scrubbed:
        note("es-power: another program kept the log's -wal file, which has them still: run this again when it is done")
    _tell_of_copies(where)


def naming_row(found: Naming) -> Row:
    """What is shown of a text before it is erased."""
    return {
        "text": found.text,
        "what": f"{found.field} of {found.kind}" if found.kind else "of no record that can be read",
        "host": found.host,
        "vm": found.instance,
        "position": found.position or None,
    }


def _confirmed(texts: str) -> bool:
    return sys.stdin.isatty() and typer.confirm(f"Erase {texts} for good?", err=True)


def _tell_of_copies(where: str) -> None:
    """Say what may have the texts still; what stands beside the log by its name."""
    path = parse_place(where).path
    if path is None:
        note("es-power: PostgreSQL's own WAL, its archive, standbys, base backups and dumps may have them still")
        return
    for copy in copies(path):
        note(f"es-power: {copy} is a copy that was made before; forget there too (--log), or delete it")
