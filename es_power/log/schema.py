"""The tables of a log. `migrations` creates and changes them; a test holds the two equal.

Small on purpose: an unchanged sweep of 50 VMs must cost at most 400 bytes in the file, indexes and all. So a record
names its stream by a number, and its append's key stands on the first record only. There is no foreign key: one
function writes all of these tables in one transaction, and on PostgreSQL the check would cost more than the insert.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

import sqlalchemy as sa

CURRENT: Final = 2
"""The schema that this es_power writes; an older one can be read, a newer one is refused."""

METADATA: Final = sa.MetaData()

#: SQLite makes a column its rowid only where it is called INTEGER.
_ROWID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: One row, locked first by whoever appends: that gives positions without gaps, in the order of commits.
HEAD: Final = sa.Table(
    "head",
    METADATA,
    sa.Column("position", sa.BigInteger, nullable=False),
    #: The es_power that opened the log for writing last.
    sa.Column("written_by", sa.Text, nullable=False),
)

STREAMS: Final = sa.Table(
    "streams",
    METADATA,
    sa.Column("no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.LargeBinary(16), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    #: Version and hash of its last record.
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

RECORDS: Final = sa.Table(
    "records",
    METADATA,
    sa.Column("position", _ROWID, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
    #: Of the append, on its first record only.
    sa.Column("key", sa.LargeBinary(16)),
    sa.UniqueConstraint("stream", "version", name="records_stream_version"),
)
sa.Index(
    "records_key",
    RECORDS.c.key,
    unique=True,
    sqlite_where=RECORDS.c.key.is_not(None),
    postgresql_where=RECORDS.c.key.is_not(None),
)

LABELS: Final = sa.Table(
    "labels",
    METADATA,
    sa.Column("id", _ROWID, primary_key=True, autoincrement=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    #: Of a text that is not kept as it was, SHA-256 of all of it, by which the digest can still be checked; empty where
    #: an es_power of schema 1 cut it, and nobody can.
    sa.Column("whole", sa.LargeBinary(32)),
)

LEASES: Final = sa.Table(
    "leases",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    #: By the clock of the database, nanoseconds since 1970.
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

TRACKING: Final = sa.Table(
    "tracking",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)

#: Roots of whole subtrees of the log's Merkle tree, so that a seal and a proof need not read the log again.
#: Only those of 256, 65,536 ... records, and all of them can be computed again (`es_power.audit.stored`).
TREE: Final = sa.Table(
    "tree",
    METADATA,
    #: 8 for a subtree over 2^8 records, then 16, 24 ...
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    #: 0 for the one that begins with the first record.
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

#: One row where records were taken out of the log's beginning: up to a checkpoint, and what must be known there to
#: check all that follows.
PRUNED: Final = sa.Table(
    "pruned",
    METADATA,
    #: The last record that is gone.
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    #: The signed note of the checkpoint of that size.
    sa.Column("checkpoint", sa.Text, nullable=False),
    #: The tree's right edge there: the roots of the whole subtrees that its records fall into, the largest first.
    sa.Column("edge", sa.LargeBinary, nullable=False),
    #: The label of where the archive of what is gone was written to.
    sa.Column("archive", sa.BigInteger, nullable=False),
    #: Of each single record that was kept out of streams that begin later now: its position, the hash of the record
    #: before it in its stream, and its own.
    sa.Column("kept", sa.LargeBinary, nullable=False),
    #: Roots of the smallest whole subtrees beside records that stay, by which these can still be proved.
    sa.Column("nodes", sa.LargeBinary, nullable=False),
    #: What every fold begins with: the read models there.
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("pruned_at", sa.BigInteger, nullable=False),
)

#: Each stream's end at the pruned position, of the streams that had begun by then.
PRUNED_STREAMS: Final = sa.Table(
    "pruned_streams",
    METADATA,
    sa.Column("stream", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)


def writer_version() -> str:
    """Give the version of this es_power, for the log to remember."""
    try:
        return version("es-power")
    except PackageNotFoundError:
        return "an unreleased version"
