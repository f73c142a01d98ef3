"""Rows to print: a table for people; JSON, JSON lines, YAML and CSV for machines.

Rules of this file:
1. What a machine reads is complete: every key of a row (CSV: every column), times in RFC 3339 UTC, no colour, no cut.
2. What a person reads is short: local time with its zone in the header, long names cut, a dash where there is nothing.
3. A VM's name is whatever its owner chose. What is not printable in it (control characters, marks that turn the
   direction of text, line ends) is escaped. CSV knows no escapes: a file or a pipe gets the name as it is, since
   programs compare it, a terminal gets what a table shows, and none gets a formula. Rich's markup in a name means
   nothing.
4. On a narrow terminal columns fold between words, and where even that does not fit, each row is a block of lines.

A row is a mapping, nested where the thing is. Times are Timestamps, and a column says which: a key that a time column
bears is a time at any depth.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from itertools import repeat
from typing import Final, TextIO
from uuid import UUID

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from es_power.domain.time import Timestamp, moment, rfc3339

__all__ = ["NAME_LIMIT", "Column", "Format", "Plain", "Row", "as_json", "plain", "printable", "write"]

NAME_LIMIT: Final = 64
"""Characters of a text that a table shows, the ellipsis among them."""

Row = Mapping[str, object]
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


class Format(StrEnum):
    """What ``-o`` takes."""

    TABLE = "table"
    #: One array.
    JSON = "json"
    #: One sequence of mappings.
    YAML = "yaml"
    #: With a header line.
    CSV = "csv"
    #: One object a line.
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Column:
    """One key of the rows: whether it holds times, and how a table shows it."""

    name: str
    #: Whether its numbers are Timestamps.
    time: bool = False
    #: False: only CSV has it; a table would grow too wide.
    in_table: bool = True
    #: Characters that a table shows; None for sentences, which are never cut.
    limit: int | None = NAME_LIMIT
    #: Characters that a table leaves for it at least, so that rows which come later stand below.
    width: int | None = None
    #: Colours of values, by value (rich's style names).
    styles: Mapping[str, str] = field(default_factory=dict)


def write(
    rows: Iterable[Row],
    columns: Sequence[Column],
    fmt: Format,
    out: TextIO,
    *,
    zone: tzinfo | None = None,
    header: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Write rows to a stream.

    `zone` is that of the table's times; None is this machine's. Without `header`, tables and CSV go on where an earlier
    call ended. Raises TypeError for a value that has no plain form.
    """
    if fmt is Format.TABLE:
        shown = [column for column in columns if column.in_table]
        _write_table(list(rows), shown, out, zone, environ, header=header)
        return
    if isinstance(out, io.TextIOWrapper) and out.encoding.lower() != "utf-8":
        out.reconfigure(encoding="utf-8")  # what programs read is not for the terminal
    times = {column.name for column in columns if column.time}
    plain = ({key: _plain(value, times, key) for key, value in row.items()} for row in rows)
    match fmt:
        case Format.JSON:
            out.write(_json(list(plain), indent=2) + "\n")
        case Format.JSONL:
            out.writelines(_json(row) + "\n" for row in plain)
        case Format.YAML:
            out.write("".join(map(_yaml, plain)) or "[]\n")
        case Format.CSV:
            # Quotes around every text: without them a carriage return in one would end the line (before Python 3.13).
            lines = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            names = [column.name for column in columns]
            lines.writerows([names] if header else [])
            cell = _csv_shown if out.isatty() else _csv
            lines.writerows([cell(row.get(name)) for name in names] for row in plain)


# ------------------------------------------------------------------------------------------------- for machines


def plain(row: Row, columns: Iterable[Column]) -> dict[str, Plain]:
    """Bring a row into JSON's kinds, as `-o json` prints it."""
    times = {column.name for column in columns if column.time}
    return {key: _plain(value, times, key) for key, value in row.items()}


def as_json(value: Plain) -> str:
    """Write JSON on one line, as `-o jsonl` prints it."""
    return _json(value)


def _plain(value: object, times: Collection[str], key: str) -> Plain:
    """Bring a value into JSON's kinds."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return rfc3339(Timestamp(value)) if key in times else value
        case str() | UUID():
            return str(value)
        case Mapping():
            return {str(name): _plain(inner, times, str(name)) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, times, key) for inner in value]
        case _:
            raise TypeError(f"{key} holds a {type(value).__name__}, which has no plain form")


def _json(value: Plain, *, indent: int | None = None) -> str:
    """Write JSON that people of any script can read, and that does nothing to their terminal."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _BEYOND_ASCII.sub(lambda found: _printable(found[0], _json_escape), text)


def _yaml(row: dict[str, Plain]) -> str:
    """Write one item of a block sequence; YAML contains JSON, so each value is that, on one line."""
    lines = [f"{key if _YAML_KEY.fullmatch(key) else _yaml_value(key)}: {_yaml_value(row[key])}" for key in row]
    return "- " + "\n  ".join(lines or ["{}"]) + "\n"


def _yaml_value(value: Plain) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _BEYOND_ASCII.sub(lambda found: _printable(found[0], _yaml_escape), text)


def _csv(value: Plain) -> str | float:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case bool() | list() | dict():
            return _json(value)
        case _:
            return value


def _csv_shown(value: Plain) -> str | float:
    cell = _csv(value)
    return _printable(cell, _python_escape) if isinstance(cell, str) else cell


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With these a text becomes a formula in a spreadsheet (OWASP, CSV injection)."""

_YAML_KEY: Final = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_]*")
"""Keys that no version of YAML takes for anything but a text."""


# ---------------------------------------------------------------------------------------- what is not printable

_BEYOND_ASCII: Final = re.compile("[\x7f-\U0010ffff]+")


def _printable(text: str, escape: Callable[[str], str]) -> str:
    """Escape what is not printable: all of Unicode's "other" and "separator" but the blank (str.isprintable)."""
    return text if text.isprintable() else "".join(char if char.isprintable() else escape(char) for char in text)


def printable(text: str, limit: int | None = None) -> str:
    """Cut a text for people where it is too long, and escape what is not printable in it, as tables do."""
    return _shown(text, limit)


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1]


def _yaml_escape(char: str) -> str:
    """Escape beyond the first plane too, where JSON writes two halves that YAML takes for two characters."""
    return f"\\U{ord(char):08x}"


def _python_escape(char: str) -> str:
    return repr(char)[1:-1]


# --------------------------------------------------------------------------------------------------- for people


def _write_table(
    rows: Sequence[Row],
    columns: Sequence[Column],
    out: TextIO,
    zone: tzinfo | None,
    environ: Mapping[str, str],
    *,
    header: bool,
) -> None:
    terminal = out.isatty()
    colour = terminal and not environ.get("NO_COLOR")
    console = Console(
        file=out,
        force_terminal=colour,
        color_system="auto" if colour else None,
        width=None if terminal else _UNBOUNDED,
        _environ=environ,
    )
    times = {column.name for column in columns if column.time}
    heads: list[Text] = []
    texts: list[list[Text]] = []
    numeric: list[bool] = []
    for column in columns:
        title = column.name.replace("_", " ").upper()
        values = [row.get(column.name) for row in rows]
        if column.time:
            zones, values = _local(values, zone)
            title = f"{title} ({zones})" if zones else title
        heads.append(Text(title, style="bold"))
        numeric.append({type(value) for value in values if value is not None} in ({int}, {float}, {int, float}))
        texts.append([_text(_plain(value, times, column.name), column) for value in values])
    widths = _widths(columns, heads, texts, console.width)
    with console.capture() as captured:
        if widths or not rows:
            table = Table(box=None, pad_edge=False, show_header=header)
            for head, right, width in zip(heads, numeric, widths or repeat(None, len(heads)), strict=True):
                table.add_column(head, justify="right" if right else "left", overflow="fold", width=width)
            for cells in zip(*texts, strict=True):
                table.add_row(*cells)
            console.print(table)
        else:
            # Rich leaves out what has no room at all; such a line is left to the terminal to break.
            console.width = max(console.width, max(head.cell_len for head in heads) + _GAP + _LEAST)
            for cells in zip(*texts, strict=True):
                console.print(_block(heads, cells))
    out.writelines(line.rstrip(" ") + "\n" for line in captured.get().splitlines())


def _widths(
    columns: Sequence[Column], heads: Sequence[Text], texts: Sequence[Sequence[Text]], screen: int
) -> list[int] | None:
    """Share the screen among columns, none narrower than its longest word; None where there is too little of it."""
    cells = [[head, *values] for head, values in zip(heads, texts, strict=True)]
    widths = [max(cell_len(word) for text in column for word in text.plain.split(" ")) for column in cells]
    wanted = [
        max(column.width or 0, width, *(text.cell_len for text in all_of_it))
        for column, width, all_of_it in zip(columns, widths, cells, strict=True)
    ]
    sentences = [index for index, column in enumerate(columns) if column.limit is None]
    others = sorted(set(range(len(columns))) - set(sentences), key=lambda index: wanted[index] - widths[index])
    spare = screen - _GAP * (len(columns) - 1) - sum(widths)
    if spare < 0:
        return None
    # A sentence is not to stand on end; a column that folds anyhow gains nothing by a part of what it wants.
    first = [(index, min(wanted[index], _SENTENCE)) for index in sentences]
    for index, width in [*first, *((index, wanted[index]) for index in [*others, *sentences])]:
        more = max(0, width - widths[index])
        if more <= spare or index in sentences:
            widths[index] += min(more, spare)
            spare -= min(more, spare)
    return widths


def _block(heads: Sequence[Text], cells: Sequence[Text]) -> Table:
    """One row as lines, each a column's name and its value; an empty line ends it."""
    block = Table(box=None, pad_edge=False, show_header=False)
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    for head, cell in zip(heads, cells, strict=True):
        block.add_row(head, cell)
    block.add_row("")
    return block


_GAP: Final = 2
"""Blanks between two columns of a table."""

_LEAST: Final = 8
"""Characters of a value that a line of a block has room for."""

_SENTENCE: Final = 24
"""Characters of a line that are worth reading."""

_UNBOUNDED: Final = 1_000_000
"""Columns of a screen that is none: what goes into a pipe or a file is never folded."""


def _local(values: Sequence[object], zone: tzinfo | None) -> tuple[str, list[object]]:
    """Write one column's times in local time, and name the zone.

    Where the clocks changed in between there are two names, and each time bears its own.
    """
    times = [moment(Timestamp(value)).astimezone(zone) if isinstance(value, int) else None for value in values]
    names = list(dict.fromkeys(str(time.tzname()) for time in times if time))
    own = " %Z" if len(names) > 1 else ""
    texts = [time and time.replace(tzinfo=None).isoformat(" ", "milliseconds") + time.strftime(own) for time in times]
    return "/".join(names), list(texts)


def _text(value: Plain, column: Column) -> Text:
    """Make a cell; rich reads no markup in a Text."""
    match value:
        case None:
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case str():
            return Text(_shown(value, column.limit), style=column.styles.get(value, ""))
        case _:
            return Text(_json(value))


def _shown(text: str, limit: int | None) -> str:
    """Cut a text that is too long, and escape it so that what is shown has one reading."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _printable(text.replace("\\", r"\\"), _python_escape)
