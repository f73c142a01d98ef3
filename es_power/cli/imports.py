"""`es-power import`: what was written before anybody observed, into the log."""

import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import trio
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from es_power.cli.options import KEEP, ConfigOption, LogOption, OutputOption, Printer, open_existing, place
from es_power.domain.events import InstanceId
from es_power.domain.streams import observed_host
from es_power.errors import LogNotFoundError
from es_power.ingest.importing import BATCH, Importer, JsonlImporter
from es_power.ingest.jsonl import JsonlReader
from es_power.ingest.log_files import (
    STDIN,
    Found,
    MakeReader,
    NovaLogReader,
    QemuLogReader,
    Reader,
    log_name,
    oldest_first,
    pieces,
)
from es_power.ingest.opening import UNREADABLE
from es_power.log import SqlLog, open_log
from es_power.output import Column, Format, Row
from es_power.projections.queries import View, look, texts

_NOT_FOUND: Final = 3
_HOST_NAME: Final = 255  # characters, as of [[host]]

_COLUMNS: Final = (
    Column("file"),
    Column("new"),
    Column("known"),
    Column("unparsed"),
    Column("unknown_vm"),
    Column("ambiguous"),
    Column("note", limit=None),
)

FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="Plain, or compressed by gzip, bzip2 or xz; - is standard input."),
]


def _host(text: str) -> str:
    if text and len(text) <= _HOST_NAME and "/" not in text and text.isprintable():
        return text
    raise typer.BadParameter("a host name has up to 255 printable characters, and no /")


HostOption = Annotated[
    str | None,
    typer.Option(
        parser=_host, metavar="NAME", help="The host they are of. Default: the one that the log knows, or this machine."
    ),
]

CreateOption = Annotated[
    bool, typer.Option("--create", help="Make the log where there is none; else that is taken for a mistyped name.")
]


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{text!r} is no time zone; they are called as Europe/Berlin, or UTC") from None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    told = "Bring in what was written before anybody observed; importing twice adds nothing."
    group = typer.Typer(no_args_is_help=True, help=told)
    group.command(name="qemu-log")(_qemu_log)
    group.command(name="nova-log")(_nova_log)
    group.command(name="jsonl")(_jsonl)
    app.add_typer(group, name="import", rich_help_panel=KEEP)


def _qemu_log(
    files: FilesArgument,
    *,
    host: HostOption = None,
    create: CreateOption = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Import libvirt's logs of its qemu VMs (/var/log/libvirt/qemu/NAME.log): starts, ends, reasons, who killed.

    Their times are in UTC. A log's rotated files may come with it, in any order.
    """

    async def work(opened: SqlLog) -> list["_Result"]:
        view = await look(opened)
        name = host or _default_host(view)
        vms = await _bearers(view, name)
        former: dict[Path, QemuLogReader] = {}

        def reader(path: Path) -> Reader:
            whole = path.with_name(log_name(path))
            former[whole] = QemuLogReader(path.name, former=former.get(whole), vm=vms.get(whole.stem))
            return former[whole]

        importer = Importer(opened, "qemu-log", name)
        await importer.begin()
        return await _import(importer, files, reader)

    _report(place(log, config), work, output, create=create)


def _nova_log(
    files: FilesArgument,
    *,
    zone: Annotated[
        ZoneInfo, typer.Option("--tz", parser=_zone, metavar="ZONE", help="Their times' zone, such as Europe/Berlin.")
    ],
    host: HostOption = None,
    create: CreateOption = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Import nova-compute's log: lifecycle events, what its power sync passed over and counted, who requested what.

    A stop stands there 15 s after it happened, since Nova waits so long; both times are kept.
    """

    async def work(opened: SqlLog) -> list["_Result"]:
        name = host or _default_host(await look(opened))
        importer = Importer(opened, "nova-log", name)
        await importer.begin()
        return await _import(importer, files, lambda path: NovaLogReader(path.name, zone))

    _report(place(log, config), work, output, create=create)


def _jsonl(
    files: FilesArgument,
    *,
    create: CreateOption = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Import what `es-power export -o jsonl` wrote of another log: its facts are told, and never acted on."""

    async def work(opened: SqlLog) -> list["_Result"]:
        return await _import(JsonlImporter(opened), files, lambda _: JsonlReader())

    _report(place(log, config), work, output, create=create)


def _default_host(view: View) -> str:
    """The only host that the log has seen; else this machine's name."""
    hosts = {observed_host(stream) for stream in view.fleet.places}
    [only] = hosts if len(hosts) == 1 else [None]
    return only or socket.gethostname()


async def _bearers(view: View, host: str) -> Mapping[str, InstanceId]:
    """Who bears which name on a host: for a log that does not say whose it is."""
    known = [
        (instance, known.name)
        for instance, stream, known in view.fleet
        if observed_host(stream) == host and not known.gone
    ]
    name_of = await texts(view.log, [label for _, label in known])
    return {name: instance for instance, label in known if (name := name_of(label)) is not None}


@dataclass(slots=True)
class _Result:
    """What became of one file."""

    file: str
    new: int = 0
    known: int = 0
    unparsed: int = 0
    first_unparsed: int = 0
    unknown: int = 0
    ambiguous: int = 0
    #: Facts that are this log's own.
    own: int = 0
    problem: str = ""
    exit_code: int = 0

    def row(self) -> Row:
        notes = [self.problem] if self.problem else []
        if self.own and self.new:
            notes.append(f"{self.own} facts are this log's own, and left out")
        if self.unparsed:
            notes.append(f"line {self.first_unparsed} is the first that cannot be read")
        if self.unknown:
            notes.append("nothing says which VM some lines are of")
        if self.ambiguous:
            notes.append("times in the hour that a change of clocks made twice: the first is taken")
        if not (self.new or self.known or notes):
            notes = ["nothing was found in it"]
        return {
            "file": self.file,
            "new": self.new,
            "known": self.known,
            "unparsed": self.unparsed,
            "unknown_vm": self.unknown,
            "ambiguous": self.ambiguous,
            "note": "; ".join(notes),
        }


async def _import(importer: Importer | JsonlImporter, files: Sequence[Path], make: MakeReader) -> list[_Result]:
    results: list[_Result] = []
    ordered = oldest_first(files)
    with _bar(sum(map(_size, ordered))) as progress:
        before = 0
        for path in ordered:
            result = _Result("standard input" if path == STDIN else str(path))
            results.append(result)
            await _import_file(importer, path, make(path), result, partial(_further, progress, before))
            before += _size(path)
    return results


def _further(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


async def _import_file(
    importer: Importer | JsonlImporter, path: Path, reader: Reader, result: _Result, progress: Callable[[int], None]
) -> None:
    async def add(found: Found) -> Found:
        own = importer.own
        new = await importer.add(found.facts, labels=found.labels, names=found.names)
        result.own += importer.own - own
        result.new += new
        result.known += len(found.facts) - new
        return Found()

    read, gathered = pieces(path), Found()
    try:
        while (piece := await trio.to_thread.run_sync(next, read, None)) is not None:
            text, done = piece
            gathered += await trio.to_thread.run_sync(reader.feed, text)
            if len(gathered.facts) >= BATCH:
                gathered = await add(gathered)
            progress(done)
        gathered += reader.finish()
    except UNREADABLE as error:
        # What was read before it broke off is imported; the next try adds the rest.
        result.problem, result.exit_code = _problem(path, error)
    await add(gathered)
    if result.own and result.own == result.new + result.known and not result.problem:
        result.problem, result.exit_code = "is an export of this very log: nothing of it is another's", 1
    (result.unparsed, result.first_unparsed), result.unknown = reader.unparsed, reader.unknown
    result.ambiguous = reader.ambiguous


def _problem(path: Path, error: Exception) -> tuple[str, int]:
    match error:
        case FileNotFoundError():
            return "there is no such file", _NOT_FOUND
        case PermissionError():
            return "may not be read by this user; libvirt's logs are root's", 1
        case EOFError():
            return "breaks off: what it holds up to there is imported", 1
        case OSError() if path.is_dir():
            return "is a folder; name the files in it", 1
        case OSError() if error.errno:
            return f"cannot be read: {error.strerror}", 1
        case _:
            return f"is damaged, what it holds up to there is imported: {error}", 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _report(where: str, work: Callable[[SqlLog], Awaitable[list[_Result]]], output: Format, *, create: bool) -> None:
    async def working() -> list[_Result]:
        async with open_log(where, mode="write") if create else open_existing(where) as opened:
            return await work(opened)

    try:
        results = trio.run(working)
    except LogNotFoundError as error:
        raise LogNotFoundError(f"{error}, and so does --create here") from error
    Printer(output, utc=True).rows([result.row() for result in results], _COLUMNS)
    raise typer.Exit(next((result.exit_code for result in results if result.exit_code), 0))


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far it is; say nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("import"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("import", total=total or None)
        yield lambda done: bar.update(task, completed=done)
