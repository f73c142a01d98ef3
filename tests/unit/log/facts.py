"""Events and appends for the tests of the log."""

from time import time_ns
from uuid import UUID

from es_power.domain.time import Timestamp
from es_power.log import SqlLog
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from es_power.testing.log_contract import append_of, lifecycle

__all__ = ["append_of", "clock", "lifecycle", "new_database", "new_log"]

KEY = UUID(int=1)


def clock() -> Timestamp:
    return Timestamp(time_ns())


def new_database(place="sqlite://") -> Database:
    database = Database(place)
    ensure_schema(database)
    return database


def new_log(place="sqlite://", **settings) -> SqlLog:
    return SqlLog(new_database(place), clock=clock, **settings)
