"""What the asking commands have in common: which log, how to print, and what a time means."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Final, TypeVar

import trio
import typer

from es_power import timewords
from es_power.domain.events import START, Position
from es_power.domain.time import Timestamp, moment
from es_power.ingest.clock import now
from es_power.log import SqlLog, open_log
from es_power.output import NAME_LIMIT, Column, Format, Row, printable, write
from es_power.projections.as_of import Moment, moment_of, read_moment
from es_power.projections.queries import View, look
from es_power.settings import load

T = TypeVar("T")

ASK: Final = "Ask the log"
KEEP: Final = "Keep records and the log"
STEER: Final = "Steer the actor"
_PANEL: Final = "Common options"

LogOption = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="PATH|URL",
        help="The log: a file, or a postgresql:// URL. Default: ES_POWER_LOG, the settings, or the service's.",
        rich_help_panel=_PANEL,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read these settings, not the usual.", rich_help_panel=_PANEL),
]
OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="How to print; json is one array.", rich_help_panel=_PANEL)
]
UtcOption = Annotated[
    bool, typer.Option("--utc", help="Show times in UTC, and read them so; else local.", rich_help_panel=_PANEL)
]
VmArgument = Annotated[str, typer.Argument(metavar="VM", help="A UUID, a name, HOST/NAME, or the beginning of either.")]


def _why(text: str) -> str:
    if text.strip():
        return text
    raise typer.BadParameter("say why, for whoever reads this later")


WhyOption = Annotated[str, typer.Option("--why", parser=_why, metavar="TEXT", help="The reason, for later readers.")]
UNDERSTOOD: Final = "TIME is as journalctl takes it (-1h, yesterday, 2026-11-22 03:12:05); POSITION is a number."

AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME|POSITION",
        help=f"What was true at that TIME, by what is known now; at a POSITION, what the log knew there. {UNDERSTOOD}",
    ),
]
_SAID: Final = 1000  # characters of a line of words: what somebody wrote may be told in it, at whatever length

KnownAtOption = Annotated[
    str | None, typer.Option("--known-at", metavar="TIME|POSITION", help="Only by what the log knew then.")
]


def place(log: str | None, config: Path | None) -> str:
    """Say where the log is: as the flag says, or the settings."""
    return load(config, {"log.path": log}).log.path


def ask(where: str, question: Callable[[SqlLog], Awaitable[T]]) -> T:
    """Open the log at a place to read, and ask it."""

    async def asking() -> T:
        async with open_log(where) as log:
            return await question(log)

    return trio.run(asking)


def act(where: str, work: Callable[[SqlLog], Awaitable[T]]) -> T:
    """Open a log to write that exists: a mistyped path should not create one (LogNotFoundError)."""

    async def working() -> T:
        async with open_existing(where) as log:
            return await work(log)

    return trio.run(working)


@asynccontextmanager
async def open_existing(where: str) -> AsyncIterator[SqlLog]:
    """Open a log to write that exists; LogNotFoundError where there is none, and none is created."""
    async with open_log(where):
        pass
    async with open_log(where, mode="write") as log:
        yield log


_TOLD: Final = 3  # records that are left out, before they are counted


async def take_view(
    log: SqlLog,
    *,
    until: Position | None = None,
    table_only: bool = False,
    as_of: Moment | None = None,
    known_at: Moment | None = None,
) -> View:
    """Take a view of the log, and tell of records that could not be read: what they said is missing in the answer."""
    taken = await look(log, until=until, table_only=table_only, as_of=as_of, known_at=known_at)
    asides = [aside for _, aside in sorted(taken.fleet.quarantined.items())]
    for aside in asides[:_TOLD]:
        note(f"es-power: {aside.reason}; it is left out")
    if len(asides) > _TOLD:
        note(f"es-power: {len(asides)} records are left out; `es-power quarantine` lists them")
    return taken


# ------------------------------------------------------------------------------------------------- printing


@dataclass(frozen=True, slots=True)
class Printer:
    """How the answer is printed."""

    format: Format
    utc: bool

    @property
    def zone(self) -> tzinfo | None:
        """Of times shown to people, and of times they write; None is this machine's."""
        return UTC if self.utc else None

    def rows(self, rows: Sequence[Row], columns: Sequence[Column], *, header: bool = True) -> None:
        """Print rows, each a line of the table."""
        write(rows, columns, self.format, sys.stdout, zone=self.zone, header=header)

    def say(self, line: str, *, of: str = "") -> None:
        """Print one line of words, of whatever bears that name, without anything that a terminal would obey."""
        sys.stdout.write(f"{printable(of, NAME_LIMIT)}{of and ': '}{printable(line)}\n")

    def time(self, at: Timestamp) -> str:
        """A time inside a sentence, with its zone."""
        local = moment(at).astimezone(self.zone)
        return f"{local.replace(tzinfo=None).isoformat(' ', 'milliseconds')} {local.tzname()}"

    def one(self, row: Row, columns: Sequence[Column]) -> None:
        """Print one row; as a table, each key is a line."""
        if self.format is not Format.TABLE:
            self.rows([row], columns)
            return
        times = {column.name for column in columns if column.time}
        lines = [{"what": name.replace("_", " "), "value": value} for name, value in self._flat(row, times)]
        write(lines, [Column("what"), Column("value", limit=None)], Format.TABLE, sys.stdout)

    def _flat(self, row: Row, times: set[str], above: str = "") -> Iterator[tuple[str, object]]:
        for key, value in row.items():
            if isinstance(value, Mapping):
                yield from self._flat(value, times, f"{above}{key} ")
            elif key in times and isinstance(value, int):
                yield above + key, self.time(Timestamp(value))
            else:
                yield above + key, value


def note(line: str) -> None:
    """Tell the person at the terminal something that is not part of the answer."""
    typer.echo(one_line(line), err=True)


def one_line(text: str) -> str:
    """Cut words for a person where they are too long, without anything in them that a terminal would obey.

    A backslash stays one, since words often hold what was escaped before.
    """
    cut = text if len(text) <= _SAID else f"{text[: _SAID - 1]}…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)


# ---------------------------------------------------------------------------------------------------- times


def read_time(text: str, flag: str, *, zone: tzinfo | None) -> Timestamp:
    """Read TIME."""
    try:
        return timewords.parse(text, now=now(), zone=zone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{flag}'") from error


async def find_moment(log: SqlLog, text: str, flag: str, *, zone: tzinfo | None) -> Moment:
    """Read POSITION or TIME; a time is the last position recorded not after it."""
    try:
        return await read_moment(log, text, now=now(), zone=zone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{flag}'") from error


async def find_span(
    log: SqlLog, since: str | None, until: str | None, *, zone: tzinfo | None
) -> tuple[Moment | None, Moment | None]:
    """Read --since and --until; BadParameter where it ends before it begins, and a note where that is still to come."""
    begin = await find_moment(log, since, "--since", zone=zone) if since is not None else None
    end = await find_moment(log, until, "--until", zone=zone) if until is not None else None
    if begin and end:
        by_position = begin.by_position or end.by_position
        if end.position < begin.position if by_position else end.at < begin.at:
            raise typer.BadParameter("it ends before it begins: --since is the earlier one", param_hint="'--until'")
    if begin and not begin.by_position and begin.at > now():
        note(f"es-power: --since lies in the future: it is {moment(now()).astimezone(zone).isoformat(' ', 'seconds')}")
    return begin, end


async def take_view_then(
    log: SqlLog, as_of: str | None, known_at: str | None, *, zone: tzinfo | None, table_only: bool = False
) -> View:
    """Take a view of now, or of the times that --as-of and --known-at name; tell where the log had not begun then."""
    asked = await find_moment(log, as_of, "--as-of", zone=zone) if as_of is not None else None
    known = await find_moment(log, known_at, "--known-at", zone=zone) if known_at is not None else None
    view = await take_view(log, as_of=asked, known_at=known, table_only=table_only)
    await tell_of_the_beginning(view, zone=zone)
    return view


async def tell_of_the_beginning(view: View, *, zone: tzinfo | None) -> None:
    """Say so where nothing was seen yet at the time of a view, or nothing was known: what is missing is not "off"."""
    if view.then is None or view.then.position != START:
        return
    if await view.log.head() == START:
        note("es-power: the log is empty")
        return
    begins = moment((await moment_of(view.log, Position(1))).at).astimezone(zone).isoformat(" ", "seconds")
    if view.then.known == START:
        note(f"es-power: nothing was known then: the log begins at {begins}")
    else:
        note(f"es-power: nobody looked then: the log begins at {begins}; of the time before, only imported lines tell")
