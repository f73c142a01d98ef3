"""A process that writes into a log as fast as it can, several streams at once, and says what was acknowledged.

It is the victim of power cuts (`victims`), and the workload whose system calls are
recorded for crash states (``python -m tests.torture.writer LOG SYNCHRONOUS``).
"""

import os
import random
import sqlite3
import sys
from pathlib import Path

import trio

from es_power.domain.ports import LabelText
from es_power.log import SqlLog, open_log
from es_power.log.database import Database
from es_power.testing.log_contract import append_of, lifecycle
from tests.torture.ledger import tell

STREAMS = ("one", "two", "three")

CHECKPOINT = 40
"""Pages after which SQLite moves its write-ahead log into the file in the recorded workload: by default 1,000, so
that a short workload has several of these moments."""


def weaken(*pragmas: str) -> None:
    """Let connections that write be other than they assert: ``synchronous=NORMAL`` and ``=OFF`` are broken variants."""
    connect = Database._connect_sqlite

    def weak(self: Database) -> sqlite3.Connection:
        connection = connect(self)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    Database._connect_sqlite = weak  # type: ignore[method-assign]


async def write(log: SqlLog, *, seed: int, appends: int | None = None) -> None:
    """Append to all streams at once, so many times each, or for ever."""
    async with trio.open_nursery() as nursery:
        for number, stream in enumerate(STREAMS):
            nursery.start_soon(_write, log, stream, random.Random(seed + number), appends)


async def _write(log: SqlLog, stream: str, draw: random.Random, appends: int | None) -> None:
    version = await log.version(stream)
    while appends is None or appends > 0:
        events = [lifecycle(number) for number in range(draw.randint(1, 4))]
        texts = [LabelText(id=draw.getrandbits(60), salt=b"salt", text="x" * draw.randint(1, 200))]
        await log.append(append_of(stream, version, *events, labels=texts if draw.random() < 0.2 else ()))
        version += len(events)
        appends = appends and appends - 1


async def _recorded(place: Path) -> None:
    """Write, close, and write again: a log is created, moved into its file, closed and reopened."""
    for seed, appends in enumerate((3, 1, 12)):
        async with open_log(place, mode="write") as log:
            await write(log, seed=seed, appends=appends)


def main(place: str, synchronous: str) -> None:
    weaken(f"synchronous={synchronous}", f"wal_autocheckpoint={CHECKPOINT}")
    tell(lambda line: os.write(1, line))
    trio.run(_recorded, Path(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
