"""eventsourcing's recorders over the tables of the log, by the same transaction as every other append.

With them an application written with the `eventsourcing` library keeps its events in a log: an originator is a stream,
a notification id is a position, without gaps. ``PERSISTENCE_MODULE=es_power.log.recorder`` and ``ES_POWER_LOG=<place>``
select it. The log holds facts only, so there is no recorder for snapshots.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from time import time_ns
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid4

import sqlalchemy as sa
from eventsourcing import persistence
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from es_power.domain import ports
from es_power.domain.events import Position
from es_power.domain.streams import stream_id
from es_power.domain.time import Timestamp
from es_power.errors import ConcurrentAppendError, LogError, LogUnavailableError
from es_power.log.append import Appender, Prepared, StreamWrite
from es_power.log.database import Database
from es_power.log.schema import HEAD, RECORDS, STREAMS, TRACKING
from es_power.log.upgrade import ensure_schema

PLACE: Final = "ES_POWER_LOG"
"""The environment variable that says where the log is."""

R = TypeVar("R")

_POLL: Final = 0.2
_AT_ONCE: Final = 500


class _Recorder:
    """What all recorders share: the database and the one way to append."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._appender = Appender(database, lambda: Timestamp(time_ns()))

    def _insert(self, stored_events: Sequence[StoredEvent], tracking: Tracking | None = None) -> list[int]:
        writes = [
            StreamWrite(_id(originator), str(originator), None, [(e.originator_version, e.topic, e.state) for e in run])
            for originator, run in groupby(stored_events, key=lambda event: event.originator_id)
        ]
        reached = None
        if tracking is not None:
            reached = ports.Tracking(name=tracking.application_name, position=Position(tracking.notification_id))
        with _translated():
            [outcome] = self._appender.commit([Prepared(uuid4().bytes, writes, (), reached)])
            if isinstance(outcome, LogError):
                raise outcome
        return list(range(outcome, outcome + len(stored_events)))


class LogAggregateRecorder(_Recorder, AggregateRecorder):
    """Events of aggregates."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append them all, or raise IntegrityError; versions of an originator must rise."""
        self._insert(stored_events, **kwargs)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Events of one originator, by version."""
        version = RECORDS.c.version
        query = (
            sa.select(version, RECORDS.c.topic, RECORDS.c.state)
            .join_from(RECORDS, STREAMS, RECORDS.c.stream == STREAMS.c.no)
            .where(STREAMS.c.id == _id(originator_id))
            .order_by(version.desc() if desc else version)
            .limit(limit)
        )
        if gt is not None:
            query = query.where(version > gt)
        if lte is not None:
            query = query.where(version <= lte)
        with _translated(), self._database.read() as connection:
            return [StoredEvent(originator_id, *row) for row in connection.execute(query)]


class LogApplicationRecorder(LogAggregateRecorder, ApplicationRecorder):
    """Events of aggregates, and all of them in the order of their positions."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append them all and give their positions, or raise IntegrityError."""
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Records by position; what es_power itself recorded is among them, under the names of its streams."""
        position = RECORDS.c.position
        query = (
            sa.select(STREAMS.c.id, STREAMS.c.name, RECORDS.c.version, RECORDS.c.topic, RECORDS.c.state, position)
            .join_from(RECORDS, STREAMS, RECORDS.c.stream == STREAMS.c.no)
            .order_by(position)
            .limit(limit)
        )
        if start is not None:
            query = query.where(position >= start if inclusive_of_start else position > start)
        if stop is not None:
            query = query.where(position <= stop)
        if topics:
            query = query.where(RECORDS.c.topic.in_(topics))
        with _translated(), self._database.read() as connection:
            return [Notification(_originator(id_, name), *row) for id_, name, *row in connection.execute(query)]

    def max_notification_id(self) -> int | None:
        """The head of the log; None where it is empty."""
        with _translated(), self._database.read() as connection:
            return connection.scalar(sa.select(HEAD.c.position)) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "LogSubscription":
        """Follow the log from a position on, on any database."""
        return LogSubscription(self, gt, topics)


class LogTrackingRecorder(_Recorder, TrackingRecorder):
    """How far others have read."""

    def insert_tracking(self, tracking: Tracking) -> None:
        """Store a position, or raise IntegrityError where it does not lie beyond the one stored."""
        self._insert([], tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """The last position stored under this name."""
        query = sa.select(TRACKING.c.position).where(TRACKING.c.name == application_name)
        with _translated(), self._database.read() as connection:
            return connection.scalar(query)


class LogProcessRecorder(LogTrackingRecorder, LogApplicationRecorder, ProcessRecorder):
    """Events and tracking in one transaction: ``insert_events(events, tracking=...)``."""


class LogSubscription(Subscription[LogApplicationRecorder]):
    """Notifications as they come; it polls, so it needs nothing of the database and no thread of its own."""

    def __init__(self, recorder: LogApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._stopped = threading.Event()
        self._fetched: Iterator[Notification] = iter(())

    def stop(self) -> None:
        """End the iteration, from any thread."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._stopped.is_set():
            for notification in self._fetched:
                self._last_notification_id = notification.id
                return notification
            found = self._recorder.select_notifications(
                self._last_notification_id, _AT_ONCE, topics=self._topics, inclusive_of_start=False
            )
            self._fetched = iter(found)
            if not found:
                self._stopped.wait(_POLL)
        raise StopIteration


class LogFactory(InfrastructureFactory[TrackingRecorder]):
    """Makes the recorders for eventsourcing's applications."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self.database = Database(self.env.get(PLACE) or ":memory:")
        self._has_schema = not strtobool(self.env.get("CREATE_TABLE") or "yes")

    def aggregate_recorder(self, purpose: str = "events") -> LogAggregateRecorder:
        """A recorder for aggregates; NotSupportedError for snapshots, which are no facts."""
        if purpose != "events":
            raise persistence.NotSupportedError(f"the log holds facts only, no {purpose}")
        return self._made(LogAggregateRecorder)

    def application_recorder(self) -> LogApplicationRecorder:
        """A recorder for an application."""
        return self._made(LogApplicationRecorder)

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        """A recorder for tracking; its class may be given, or named by TRACKING_RECORDER_TOPIC."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        chosen: Any = tracking_recorder_class or (resolve_topic(topic) if topic else LogTrackingRecorder)
        return cast(TrackingRecorder, self._made(chosen))

    def process_recorder(self) -> LogProcessRecorder:
        """A recorder for a process manager."""
        return self._made(LogProcessRecorder)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()

    def _made(self, recorder: Callable[[Database], R]) -> R:
        if not self._has_schema:
            ensure_schema(self.database)
            self._has_schema = True
        return recorder(self.database)


def _id(originator: UUID | str) -> bytes:
    return (originator if isinstance(originator, UUID) else stream_id(originator)).bytes


def _originator(stream: bytes, name: str) -> UUID | str:
    """The originator's id as it was given: a stream's name, or a UUID, which then is the name too."""
    given = UUID(bytes=stream)
    return given if name == str(given) else name


@contextmanager
def _translated() -> Iterator[None]:
    """Raise eventsourcing's errors instead of ours."""
    try:
        yield
    except ConcurrentAppendError as error:
        raise persistence.IntegrityError(str(error)) from error
    except LogUnavailableError as error:
        raise persistence.OperationalError(str(error)) from error
    except LogError as error:
        raise persistence.DatabaseError(str(error)) from error
