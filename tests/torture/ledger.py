"""What a process said of its appends while it could, held against the log that it left.

A process says of each append that it is tried, and then that it is acknowledged, in lines that survive it. What is in
the log afterwards has to be all of those that were acknowledged, of the others each whole or not at all, nothing twice
and nothing else.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from es_power.domain.events import Position
from es_power.domain.ports import Append
from es_power.errors import SealBrokenError
from es_power.log import SqlLog
from es_power.log.chain import Chain


def tell(say: Callable[[bytes], object], *, hasty: bool = False) -> None:
    """From now on every append to a log of this process is told of by `say`, a line each time.

    A `hasty` one is the broken variant: it acknowledges what is not committed yet.
    """
    store = SqlLog.append

    async def append(self: SqlLog, append: Append) -> Position:
        size = sum(len(write.events) for write in append.writes)
        if not size:
            return await store(self, append)
        say(b"try %s %d\n" % (append.key.hex.encode(), size))
        if hasty:
            say(b"ack %s 0\n" % append.key.hex.encode())
        position = await store(self, append)
        if not hasty:
            say(b"ack %s %d\n" % (append.key.hex.encode(), position))
        return position

    SqlLog.append = append  # type: ignore[method-assign]


def appender(path: Path) -> Callable[[bytes], object]:
    """Say lines into a file: it has each of them at once, whatever becomes of the process."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return lambda line: os.write(file, line)


@dataclass(slots=True)
class Ledger:
    """What was said so far."""

    #: By the append's key: how many records it has.
    tried: dict[bytes, int] = field(default_factory=dict)
    #: By the append's key: the position it was given; 0 where it was acknowledged before it had one.
    acknowledged: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Take in what `appender` wrote."""
        ledger = cls()
        for line in path.read_bytes().splitlines() if path.exists() else ():
            ledger.hear(line)
        return ledger

    def hear(self, line: bytes) -> None:
        """Take in one line."""
        word, key, number = line.split()
        (self.tried if word == b"try" else self.acknowledged)[bytes.fromhex(key.decode())] = int(number)


def wrong(path: Path, ledger: Ledger) -> list[str]:
    """Say what is wrong with the log that a dead process left: nothing, where it kept its word."""
    if not path.exists():
        return ["the log is gone"] if ledger.acknowledged else []
    with closing(sqlite3.connect(path)) as connection:
        try:
            return list(_wrong(connection, ledger))
        except (sqlite3.Error, SealBrokenError) as error:
            return [f"damaged: {error}"]


def _wrong(connection: sqlite3.Connection, ledger: Ledger) -> Iterator[str]:
    [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        yield f"damaged: {found}"
        return
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone():
        if ledger.acknowledged:
            yield f"lost: all {len(ledger.acknowledged)} acknowledged appends"
        return
    streams = connection.execute("SELECT no, id, hash, name FROM streams").fetchall()
    columns = "position, stream, version, recorded_at, topic, state, hash, key"
    rows = connection.execute(f"SELECT {columns} FROM records ORDER BY position").fetchall()
    chain = Chain()
    chain.check_all((row[:7] for row in rows), {number: (id_, name) for number, id_, _, name in streams})
    [head] = connection.execute("SELECT position FROM head").fetchone()
    chain.close(head, {id_: hash_ for _, id_, hash_, _ in streams})
    groups = _groups(rows)
    for key, (position, size) in groups.items():
        if ledger.tried.get(key) != size:
            yield f"torn: {size} of {ledger.tried.get(key, 0)} records at {position}"
    for key, position in ledger.acknowledged.items():
        if key not in groups:
            yield f"lost: what was acknowledged at {position}"
        elif position and groups[key][0] != position:
            yield f"moved: what was acknowledged at {position} is at {groups[key][0]}"


def _groups(rows: list[tuple]) -> dict[bytes, tuple[int, int]]:
    """Each append that is in the log: its first position and how many records it has; its key is on the first."""
    groups: dict[bytes, tuple[int, int]] = {}
    key = b""
    for row in rows:
        key = row[7] or key
        first, size = groups.get(key, (row[0], 0))
        groups[key] = first, size + 1
    return groups
