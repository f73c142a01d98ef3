"""How far a log had come when a service took it, swept a host or left it, written into the lease's file beside it.

A log is one file, and a file is easily replaced by an older copy of itself, in which nothing says so. What stands
beside it does: the position and the hash of a record that an older copy lacks, or has another one of.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from es_power.domain.events import START, Position
from es_power.domain.streams import stream_id
from es_power.errors import LogUnavailableError
from es_power.log.database import Database
from es_power.log.schema import HEAD, RECORDS

_MARK: Final = re.compile(rb"(\d{1,19}) ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Mark:
    """A record that was in the log."""

    position: Position
    hash: bytes


def lease_files(path: Path) -> Iterator[Path]:
    """The files of the leases of a log, one for each stream that ever had a service."""
    yield from sorted(path.parent.glob(f"{escape(path.name)}.lease-*"))


def lease_file(path: Path, stream: str) -> Path:
    """The file of one stream's lease."""
    return path.with_name(f"{path.name}.lease-{stream_id(stream).hex[:16]}")


def write_mark(database: Database, stream: str) -> None:
    """Have whoever holds a stream's lease write down the log's last record, where the log is a file.

    Where the disk takes nothing, or the log gives no answer, an older mark has to do.
    """
    if database.place.path is None:
        return
    with suppress(LogUnavailableError, OSError):
        mark = _newest(database)
        handle = os.open(lease_file(database.place.path, stream), os.O_WRONLY)
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, mark, 0)
        finally:
            os.close(handle)


def _newest(database: Database) -> bytes:
    with database.read() as connection:
        last = sa.select(RECORDS.c.position, RECORDS.c.hash).where(RECORDS.c.position == HEAD.c.position)
        row = connection.execute(last).one_or_none()
    return b"" if row is None else b"%d %b\n" % (row.position, row.hash.hex().encode())


def lacking(database: Database) -> Position:
    """The last position of which a mark says that another record was there; 0 where the log has all of them."""
    found = START
    for mark in _marks(database.place.path) if database.place.path else ():
        with database.read() as connection:
            there = connection.scalar(sa.select(RECORDS.c.hash).where(RECORDS.c.position == mark.position))
        if there != mark.hash:
            found = max(found, mark.position)
    return found


def marked(path: Path) -> Position:
    """How far a log had come by the marks beside it; 0 where there are none."""
    return max((mark.position for mark in _marks(path)), default=START)


def _marks(path: Path) -> Iterator[Mark]:
    for beside in lease_files(path):
        if read := _MARK.fullmatch(beside.read_bytes()):  # whatever else is in it was not written whole
            yield Mark(Position(int(read[1])), bytes.fromhex(read[2].decode()))
