"""What a log is, for a person who looks after it."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from es_power.domain.events import Position
from es_power.domain.time import Timestamp
from es_power.log.database import Database
from es_power.log.schema import HEAD, LABELS, RECORDS, STREAMS
from es_power.log.upgrade import stored_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A log at one moment."""

    place: str
    #: ``SQLite`` or ``PostgreSQL``.
    database: str
    schema: int
    #: The es_power that opened it for writing last.
    written_by: str
    head: Position
    #: When the first and the last record were written; None in an empty log.
    first_recorded_at: Timestamp | None
    last_recorded_at: Timestamp | None
    #: The version of each stream, by name.
    streams: Mapping[str, int]
    labels: int


def describe(database: Database) -> Description:
    """Read a log's description; it blocks, so a service calls it in a thread."""
    with database.read() as connection:
        head = connection.execute(sa.select(HEAD)).one()
        recorded = sa.select(RECORDS.c.recorded_at)
        return Description(
            place=str(database.place),
            database="SQLite" if database.is_sqlite else "PostgreSQL",
            schema=stored_schema(connection, database.place),
            written_by=head.written_by,
            head=head.position,
            first_recorded_at=connection.scalar(recorded.order_by(RECORDS.c.position).limit(1)),
            last_recorded_at=connection.scalar(recorded.order_by(RECORDS.c.position.desc()).limit(1)),
            streams={row.name: row.version for row in connection.execute(sa.select(STREAMS).order_by(STREAMS.c.no))},
            labels=connection.scalar(sa.select(sa.func.count()).select_from(LABELS)) or 0,
        )
