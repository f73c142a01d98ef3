"""Whether the indexes of a log's records lead to its records, each and no other.

SQLite's `integrity_check` looks for every record in every index, which takes longer than all other checks together.
Here an index is read once, from its beginning to its end: it has to be in order, and to have the rows that the table
has. Whether they are the same is told by sums of their hashes, by a key that nobody knew before.

It needs nothing but Python, so that it can be a program of its own: it takes a second for a million records, and in a
thread would take that from the others.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import starmap
from operator import lt
from struct import Struct
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Final

#: By name: how its rows are packed, what gives them, the record's position last, and what gives the same of the table.
INDEXES: Final = {
    "sqlite_autoindex_records_1": (
        ">qqq",
        "SELECT stream, version, position FROM records INDEXED BY sqlite_autoindex_records_1 ORDER BY stream, version",
        "SELECT stream, version, position FROM records NOT INDEXED",
    ),
    "records_key": (
        ">16sqq",
        "SELECT key, length(key), position FROM records INDEXED BY records_key WHERE key IS NOT NULL ORDER BY key",
        "SELECT key, length(key), position FROM records NOT INDEXED WHERE key IS NOT NULL",
    ),
}

_AT_ONCE: Final = 4096  # rows
_TRUE: Final = b"each leads to its record"
_FALSE: Final = b"not each leads to its record"

Row = tuple[Any, ...]


def lead(connection: sqlite3.Connection) -> bool:
    """Whether all indexes do; sqlite3.Error, TypeError or struct.error where they hold what cannot be compared."""
    return all(_leads(connection, Struct(packed), index, table) for packed, index, table in INDEXES.values())


def _leads(connection: sqlite3.Connection, packed: Struct, index: str, table: str) -> bool:
    # Python's hash of bytes is SipHash, with a key that is drawn when a process begins.
    def total(rows: Sequence[Row]) -> int:
        return sum(map(hash, starmap(packed.pack, rows)))

    difference, last = 0, list[Row]()
    for rows in _read(connection, index):
        keys = last + [row[:-1] for row in rows]
        if not all(map(lt, keys, keys[1:])):
            return False
        last = keys[-1:]
        difference += total(rows)
    for rows in _read(connection, table):
        difference -= total(rows)
    return difference == 0


def _read(connection: sqlite3.Connection, sql: str) -> Iterator[list[Row]]:
    with closing(connection.execute(sql)) as cursor:
        while rows := cursor.fetchmany(_AT_ONCE):
            yield rows


@contextmanager
def looked_through_beside(uri: str) -> Iterator[tuple[Callable[[], bool | None], Callable[[], None]]]:
    """Have a process look; give what waits for its answer, None where it has none, and what ends it before."""
    try:
        # In a group of its own, a Ctrl-C at the terminal is not its matter.
        command = [sys.executable, "-I", "-S", __file__, uri]
        process = Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, process_group=0)
    except OSError:
        yield (lambda: None), (lambda: None)
        return
    with process:
        try:
            yield (lambda: {_TRUE: True, _FALSE: False}.get(process.communicate()[0])), process.kill
        finally:
            process.kill()


def main(uri: str) -> None:
    """Say of one state of a log whether its indexes lead; nothing where that cannot be told."""
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        sys.stdout.buffer.write(_TRUE if lead(connection) else _FALSE)


if __name__ == "__main__":
    main(sys.argv[1])
