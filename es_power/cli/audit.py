"""`es-power audit`: sign the log, verify it, and prove what is in it."""

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import trio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from es_power.answers.dossier import make_dossier
from es_power.answers.seals import PROOF, SEALED, VERDICT, sealed_row, verdict_row
from es_power.audit.checkpoints import find_checkpoints
from es_power.audit.keys import Signer, VerifierKey, write_key
from es_power.audit.notes import Note
from es_power.audit.pages import stands_for_damage
from es_power.audit.proving import newest_size, prove
from es_power.audit.sealing import Sealed, sealer_of
from es_power.audit.verdict import Compared, Damage, Verdict
from es_power.audit.verifying import Progress, examine, verify as verify_log
from es_power.cli.options import (
    KEEP,
    UNDERSTOOD,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    act,
    ask,
    find_moment,
    note,
    place,
)
from es_power.domain.events import START, Position
from es_power.errors import KeyFileError, LogError
from es_power.ingest.clock import clock_read, now
from es_power.log import SqlLog
from es_power.log.database import Database, parse_place
from es_power.output import Format, Row
from es_power.projections.as_of import position_before
from es_power.projections.queries import find, look
from es_power.settings import load

_FINDING: Final = 4


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Sign the log, verify that nobody changed it since, and prove what is in it."
    )
    group.command(name="keygen")(_keygen)
    group.command(name="checkpoint")(_checkpoint)
    group.command(name="verify")(_verify)
    group.command(name="proof")(_proof)
    group.command(name="export")(_export)
    app.add_typer(group, name="audit", rich_help_panel=KEEP)


def _keygen(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where the key will be, outside of the log's folder.")
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option(help="What the key and its checkpoints are called; default: HOST/es-power.")
    ] = None,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Make the key that signs checkpoints, and print the verifier key, which is to be given to whoever checks them."""
    settings = load(config, {"log.path": log})
    path = file or (Path(settings.audit.key) if settings.audit.key else None)
    if path is None:
        raise typer.BadParameter("say where the key will be, here or as [audit] key", param_hint="FILE")
    signer = Signer.generate(name or f"{socket.gethostname()}/es-power")
    write_key(path, signer, log=parse_place(settings.log.path).path)
    note(f"es-power: the key is in {path}; name it as [audit] key. Its verifier key, to be kept elsewhere:")
    typer.echo(str(signer.verifier))


def _checkpoint(
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Sign the log as it is now, and send that to the places that the settings name; also while the service runs."""
    settings = load(config, {"log.path": log})

    async def work(opened: SqlLog) -> Sealed:
        sealer = sealer_of(opened, settings.audit, clock=now, beside=lambda: [clock_read()])
        if sealer is None:
            raise KeyFileError("no key is set: `es-power audit keygen FILE` makes one, and [audit] key names it")
        return await sealer.seal()

    sealed = act(settings.log.path, work)
    printer = Printer(output, utc)
    if output is Format.TABLE:
        typer.echo(str(sealed.note), nl=False)
    else:
        printer.one(sealed_row(sealed), SEALED)
    for where, said in sealed.failed.items():
        note(f"es-power: {where} did not take it: {said}")
    if sealed.failed:
        raise typer.Exit(1)


def _verify(
    *,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="Checkpoints kept outside of the log; may be repeated."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY", help="The verifier key that has to have signed them; may be repeated."),
    ] = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Verify the whole log, also a copy, also while the service runs; 4 where something is not as it was written.

    Without a checkpoint that was kept elsewhere, nobody can tell a log from one that was written anew, hashes and all.
    """
    notes = [each for path in checkpoint or () for each in _kept(path)]
    keys = [VerifierKey.read(text) for text in key or ()]

    async def question(opened: SqlLog) -> Verdict:
        with _bar(await opened.head()) as progress:
            return await verify_log(opened, notes, keys=keys, progress=progress)

    verdict = _found(place(log, config), question)
    Printer(output, utc).one(_shown(verdict) if output is Format.TABLE else verdict_row(verdict), VERDICT)
    for line in _words(verdict):
        note(f"es-power: {line}")
    raise typer.Exit(0 if verdict.is_intact else _FINDING)


def _found(where: str, question: Callable[[SqlLog], Awaitable[Verdict]]) -> Verdict:
    try:
        return ask(where, question)
    except LogError as error:
        if not stands_for_damage(error):
            raise
    # What is too damaged to be opened as a log is examined as the file that it is.
    with closing(Database(where, mode="read")) as database:
        return examine(database)


def _kept(path: Path) -> Sequence[Note]:
    """Read the checkpoints of a file; what is none is said, since a damaged one may be the one that contradicts."""
    notes, broken = find_checkpoints(path)
    if broken:
        parts = "1 part" if broken == 1 else f"{broken} parts"
        note(f"es-power: {parts} of {path} could not be read as a checkpoint; {len(notes)} could")
    return notes


def _proof(
    position: Annotated[
        int, typer.Argument(metavar="POSITION", min=1, max=2**63 - 1, help="The record's position in the log.")
    ],
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.JSON,
    utc: UtcOption = False,
) -> None:
    """Prove that a record is in the log that was signed; es_power/audit/offline.py checks it, without es_power."""

    async def question(opened: SqlLog) -> Row:
        [proof] = await trio.to_thread.run_sync(lambda: prove(opened.database, [Position(position)]))
        return proof.as_row()

    Printer(output, utc).one(ask(place(log, config), question), PROOF)


def _export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that is new or empty.")],
    *,
    since: Annotated[
        str | None, typer.Option("--since", "-S", metavar="TIME|POSITION", help=f"Recorded from then on. {UNDERSTOOD}")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", "-U", metavar="TIME|POSITION", help="Recorded up to then; default: what was signed."),
    ] = None,
    vm: Annotated[
        list[str] | None, typer.Option("--vm", metavar="VM", help="Only facts about this one; may be repeated.")
    ] = None,
    log: LogOption = None,
    config: ConfigOption = None,
    utc: UtcOption = False,
) -> None:
    """Write a part of the log for an auditor: facts, the proof of each, gaps, the clock, and how to check it."""
    zone = Printer(Format.TABLE, utc).zone

    async def question(opened: SqlLog) -> int:
        begin = await find_moment(opened, since, "--since", zone=zone) if since else None
        after = await position_before(opened, begin) if begin else START
        signed = await trio.to_thread.run_sync(newest_size, opened.database)
        last = (await find_moment(opened, until, "--until", zone=zone)).position if until else signed
        if until and after >= last:
            raise typer.BadParameter("the time ends before it begins, or no record lies in it", param_hint="'--until'")
        view = await look(opened)
        instances = [await find(view, each) for each in vm or ()]
        dossier = await make_dossier(view, after=after, until=last, signed=signed, instances=instances)
        await trio.to_thread.run_sync(dossier.write, folder)
        return dossier.facts

    typer.echo(f"{ask(place(log, config), question)} facts are in {folder}; README.md there says how to check them")


# ------------------------------------------------------------------------------------------------------ words


def _shown(verdict: Verdict) -> Row:
    """A verdict for a person: each checkpoint, and each damage, is a line of its own."""
    lines = {"checkpoints": map(_compared, verdict.checkpoints), "damage": map(_damaged, verdict.damage)}
    told = {key: {str(number): line for number, line in enumerate(each, 1)} or None for key, each in lines.items()}
    return {**verdict_row(verdict), **told}


def _compared(checkpoint: Compared) -> str:
    holds = {True: "holds", False: "does not hold", None: "cannot be compared"}[checkpoint.holds]
    kept = "kept outside" if checkpoint.outside else "a fact of the log"
    signed = "its signature is true" if checkpoint.signed else "its signature was not checked"
    return f"{checkpoint.size} records of {checkpoint.origin}: {holds}; {kept}; {signed}"


def _damaged(damage: Damage) -> str:
    until = f" to {damage.until}" if damage.until and damage.until != damage.position else ""
    place = f"record {damage.position}{until}: " if damage.position is not None else ""
    page = f"page {damage.page}: " if damage.page is not None else ""
    return f"{place}{page}{damage.kind}: {damage.detail}"


def _words(verdict: Verdict) -> Iterator[str]:
    yield from map(_damaged, verdict.damage)
    if verdict.pruned:
        signed = next((each for each in verdict.checkpoints if each.size == verdict.pruned and each.holds), None)
        by = f"the checkpoint of {signed.origin} there stands for them" if signed else "no checkpoint stands for them"
        yield f"records 1 to {verdict.pruned} were pruned; {by}; what was kept of them was checked"
        if verdict.vouched and not verdict.remains_vouched:
            said = f"record {verdict.pruned_said}" if verdict.pruned_said else "no record"
            yield (
                f"that no more of them was taken out is said by {said}, and no checkpoint from outside covers that: "
                "whoever could write the database since could have taken out more"
            )
    if verdict.is_intact and not verdict.vouched:
        yield "no checkpoint from outside vouches for it: whoever could write the database could have written it anew"


@contextmanager
def _bar(total: int) -> Iterator[Progress]:
    """Show on a terminal how far it is; say nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("verify"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        # Of a log whose head is damaged, that may be anything.
        task = bar.add_task("verify", total=total if isinstance(total, int) else None)
        yield lambda position: bar.update(task, completed=position)
