"""Events and appends for the tests of the log."""

from pathlib import Path
from time import time_ns

import pytest

from es_power.domain.time import Timestamp
from es_power.log import schema, upgrade
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from es_power.testing.log_contract import append_of, lifecycle

__all__ = ["append_of", "clock", "lifecycle", "new_database", "older_database", "write_next_schema"]


def clock() -> Timestamp:
    return Timestamp(time_ns())


def new_database(place="sqlite://") -> Database:
    database = Database(place)
    ensure_schema(database)
    return database


def older_database(number, place="sqlite://") -> Database:
    """A log as the es_power that wrote that schema made it."""
    database = Database(place)
    upgrade.create_file(database.place)
    with pytest.MonkeyPatch.context() as older, database.write() as connection:
        older.setattr(schema, "CURRENT", number)
        upgrade.migrate(connection)
    return database


def write_next_schema(scripts: Path, monkeypatch) -> None:
    """Make this an es_power that writes a schema one above today's, with its migrations in `scripts`."""
    own = Path(upgrade.__file__).with_name("migrations")
    for script in [own / "env.py", *own.glob("versions/*.py")]:
        target = scripts / script.relative_to(own)
        target.parent.mkdir(exist_ok=True)
        target.write_text(script.read_text())
    (scripts / "versions" / "next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '{schema.CURRENT + 1:04}'\ndown_revision = '{schema.CURRENT:04}'\n"
        "def upgrade():\n    op.add_column('labels', sa.Column('forgotten_at', sa.BigInteger))\n"
    )
    monkeypatch.setattr(upgrade, "_MIGRATIONS", str(scripts))
    monkeypatch.setattr(schema, "CURRENT", schema.CURRENT + 1)
