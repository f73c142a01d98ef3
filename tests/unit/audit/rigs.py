"""Small logs for the tests of the seal, and what somebody with access to their database does to them."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from es_power.audit.keys import Signer
from es_power.audit.notes import Checkpoint, Note
from es_power.audit.stored import Tree, grow
from es_power.domain.custody import LogPruned
from es_power.domain.events import InstanceNamed, Position
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.log.append import Appender, prepare
from es_power.log.chain import GENESIS, link
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.log.labels import make_label
from es_power.log.pruned import Pruned, write_pruned
from es_power.log.upgrade import ensure_schema
from es_power.testing.facts import vm
from es_power.testing.log_contract import append_of, lifecycle

CODEC = Codec()
SIGNER = Signer.generate("kvm-07.example.org/es-power")


def write_log(place: str | Path, records: int, *, streams: int = 3, labels: int = 2) -> Database:
    """Append so many records, turn by turn to each stream; the first ones of each name VMs."""
    database = Database(place)
    ensure_schema(database)
    appender = Appender(database, lambda: Timestamp(1_700_000_000_000_000_000))
    versions: defaultdict[int, int] = defaultdict(int)
    group = []
    for number in range(records):
        stream = number % streams
        event, texts = lifecycle(number), []
        if versions[stream] < labels:
            label, text = make_label(f"vm-{number}" + "x" * 300 * (number == 1))
            event, texts = InstanceNamed(observed_at=Timestamp(number), instance=vm(number), name=label), [text]
        group.append(prepare(append_of(f"observer/kvm-{stream}/qemu", versions[stream], event, labels=texts), CODEC))
        versions[stream] += 1
    appender.commit(group)
    return database


def checkpoint_of(database: Database) -> Note:
    """Sign a log as it is, as a service does."""
    edge = grow(database)
    return SIGNER.sign(Checkpoint(origin=SIGNER.verifier.name, size=edge.size, root=edge.root()).text)


def image_of(database: Database) -> bytes:
    """The bytes of a log's file; in memory, so that another one can be made of them in no time."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.connection.driver_connection is not None
        image = bytearray(connection.connection.driver_connection.serialize())
    image[18:20] = b"\1\1"  # no write-ahead log, which has no file beside it here
    return bytes(image)


class Copies:
    """One database in memory, which becomes one copy of a log after the other."""

    def __init__(self) -> None:
        self.database = Database("sqlite://")
        self._connection = self.database.engine.raw_connection()

    def put(self, image: bytes) -> sqlite3.Connection:
        """Be this log from now on."""
        driver = self._connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        if driver.in_transaction:
            driver.rollback()
        driver.deserialize(image)
        return driver


def pruned_at(database: Database, position: int, **changed: object) -> int:
    """Take out the beginning of a log, as `es-power prune` does, all but each stream's last record; say how many."""
    grow(database)
    with database.read() as connection:
        tree = Tree(connection)
        edge = tree.edge(position)
        ends = connection.exec_driver_sql(
            f"SELECT stream, max(version), hash, position FROM records WHERE position <= {position} GROUP BY stream"
        ).fetchall()
        before = {
            at: connection.exec_driver_sql(
                f"SELECT hash FROM records WHERE stream = {stream} AND version = {version - 1}"
            ).scalar()
            for stream, version, _, at in ends
        }
        nodes = tree.nodes_beside([at for *_, at in ends], position)
    note = SIGNER.sign(Checkpoint(origin=SIGNER.verifier.name, size=position, root=edge.root()).text)
    label, text = make_label("root")
    values = {
        "position": position,
        "checkpoint": str(note),
        "edge": edge.nodes,
        "streams": {stream: (version, end) for stream, version, end, _ in ends},
        "kept": {at: (before[at] or GENESIS, end) for _, _, end, at in ends},
        "archive": label.id,
        "pruned_at": 1,
    }
    pruned = Pruned(**{**values, **changed})  # type: ignore[arg-type]
    fact = LogPruned(
        observed_at=Timestamp(1),
        position=Position(position),
        root=edge.root(),
        state=pruned.digest(b"state"),
        count=position - len(ends),
        archive=label,
        by=label,
    )

    def beside(connection: sa.Connection) -> None:
        write_pruned(connection, pruned, b"state", nodes)
        there = ",".join(str(at) for *_, at in ends)
        gone = f"position <= {position} AND position NOT IN ({there})"
        for topic, state in connection.exec_driver_sql(f"SELECT topic, state FROM records WHERE {gone}").fetchall():
            for each in CODEC.labels(topic, state):
                connection.exec_driver_sql(f"DELETE FROM labels WHERE id = {each.id}")
        connection.exec_driver_sql(f"DELETE FROM records WHERE {gone}")

    append = prepare(append_of(AUDIT, 0, fact, labels=[text]), CODEC)
    Appender(database, lambda: Timestamp(2)).commit([append], beside=beside)
    return len(ends)


@contextmanager
def insider(path: Path) -> Iterator[sqlite3.Connection]:
    """Be somebody who may write the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


def move_up(connection: sqlite3.Connection, after: int, by: int) -> None:
    """Renumber all records after a position."""
    connection.execute("UPDATE records SET position = -position WHERE position > ?", (after,))
    connection.execute(f"UPDATE records SET position = -position + {by} WHERE position < 0")
    connection.execute("UPDATE head SET position = (SELECT max(position) FROM records)")


def recompute(connection: sqlite3.Connection) -> None:
    """Compute versions and hashes of all records anew, and where the streams end: then everything fits.

    Of a pruned log, those of all records behind the cut.
    """
    ids = dict(connection.execute("SELECT no, id FROM streams").fetchall())
    ends = {no: (version, end) for no, version, end in connection.execute("SELECT * FROM pruned_streams")}
    [cut] = connection.execute("SELECT coalesce(max(position), 0) FROM pruned").fetchone()
    rows = connection.execute(
        "SELECT position, stream, recorded_at, topic, state FROM records WHERE position > ? ORDER BY position", (cut,)
    ).fetchall()
    changed = []
    for position, stream, at, topic, state in rows:
        version, before = ends.get(stream, (0, GENESIS))
        ends[stream] = version + 1, link(before, ids[stream], version + 1, position, at, topic, state)
        changed.append((*ends[stream], position))
    connection.execute("UPDATE records SET version = -version WHERE position > ?", (cut,))
    connection.executemany("UPDATE records SET version = ?, hash = ? WHERE position = ?", changed)
    connection.executemany(
        "UPDATE streams SET version = ?, hash = ? WHERE no = ?", [(*end, no) for no, end in ends.items()]
    )
    connection.execute("DELETE FROM streams WHERE no NOT IN (SELECT stream FROM records)")
    connection.execute("DELETE FROM tree")
    connection.execute("UPDATE head SET position = (SELECT coalesce(max(position), 0) FROM records)")
