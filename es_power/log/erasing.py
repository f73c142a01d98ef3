"""Erasing a label's text so that its bytes are gone too, and not only what points to them.

SQLite overwrites what it deletes (`secure_delete`), but not what it left behind in a page when rows moved to another.
So the table of labels is written anew in the transaction that deletes from it, and every page of the old one is
overwritten; afterwards the write-ahead log, which has the text as it once came in, is cut to nothing. On PostgreSQL
the table is written anew afterwards. What the file system, snapshots, backups and WAL archives still have is not ours.
"""

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from es_power.log.database import Database
from es_power.log.folders import STAGED, is_one_file
from es_power.log.schema import LABELS

_NEW: Final = "labels_rewritten"


def rewriting_labels(database: Database) -> Sequence[str]:
    """The statements that write SQLite's table of labels anew; none on PostgreSQL, where that comes after."""
    if not database.is_sqlite:
        return ()
    create = sa.schema.CreateTable(LABELS.to_metadata(sa.MetaData(), name=_NEW))
    return (
        str(create.compile(dialect=database.engine.dialect)),
        f"INSERT INTO {_NEW} SELECT * FROM {LABELS.name}",  # noqa: S608 (both are names of ours)
        f"DROP TABLE {LABELS.name}",
        f"ALTER TABLE {_NEW} RENAME TO {LABELS.name}",
    )


def scrub(database: Database) -> bool:
    """Have the files of a log follow what was erased; False where a reader kept it from that for too long.

    It may be done again at any time, and does no harm where nothing was erased.
    """
    if database.is_sqlite:
        return database.in_memory or database.empty_wal()
    database.vacuum(LABELS)
    return True


def copies(path: Path) -> Iterator[Path]:
    """The files beside a log that are copies of it, by their names: they have what was erased in the log since.

    What a restore left that was killed is among them; a second name that it gave to the log itself is not.
    """
    ours = {f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm", "-journal", ".room")}
    for beside in sorted(path.parent.glob(f"{escape(path.name)}*")):
        if beside.name == f"{path.name}{STAGED}":
            yield from (staged for staged in sorted(beside.glob("*")) if staged.is_file())
            continue
        is_named = beside.is_file() and beside.name not in ours and f"{path.name}.lease-" not in beside.name
        if is_named and not is_one_file(path, beside):
            yield beside
