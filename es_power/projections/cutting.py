"""What the tables of the read models say of a log's beginning goes when the beginning does."""

from collections.abc import Iterable

import sqlalchemy as sa

from es_power.log.database import Database, tables_in
from es_power.projections.history import Entry
from es_power.projections.store import Store
from es_power.projections.tables import HISTORY, METADATA, SNAPSHOTS, TIMES, entry_row
from es_power.projections.times import BLOCK

_KEPT = sa.Table(
    "kept_entries",
    sa.MetaData(),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)


def cut_off(connection: sa.Connection, database: Database, kept: Iterable[Entry]) -> None:
    """Have the tables say what a refold of the log says that was just pruned, with these entries of before that.

    Where they had not come so far, they begin there. Nothing is made where no tables are.
    """
    if not METADATA.tables.keys() & tables_in(connection):
        return
    store = Store(database)
    position, begins = store.reached(connection)
    if position < begins:
        store.begin(connection)
        return
    _KEPT.create(connection)
    rows = [{key: row[key] for key in ("position", "index")} for row in map(entry_row, kept)]
    if rows:
        connection.execute(sa.insert(_KEPT), rows)
    is_kept = sa.exists().where(_KEPT.c.position == HISTORY.c.position, _KEPT.c["index"] == HISTORY.c["index"])
    connection.execute(sa.delete(HISTORY).where(HISTORY.c.position <= begins, ~is_kept))
    _KEPT.drop(connection)
    connection.execute(sa.delete(TIMES).where(TIMES.c.block < begins // BLOCK))
    connection.execute(sa.delete(SNAPSHOTS).where(SNAPSHOTS.c.position < begins))
