"""eventsourcing's own test cases, on every database: its `optional` ones too, and contiguous ids expected."""

import subprocess
import sys
import tempfile
import threading
from abc import abstractmethod
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from eventsourcing import persistence
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import InfrastructureFactory, StoredEvent, Tracking
from eventsourcing.tests import persistence as shipped
from eventsourcing.utils import Environment, get_topic

from es_power.log.database import Database
from es_power.log.recorder import (
    PLACE,
    LogAggregateRecorder,
    LogApplicationRecorder,
    LogFactory,
    LogProcessRecorder,
    LogTrackingRecorder,
)
from es_power.log.upgrade import ensure_schema


class OnPlace:
    """A new, empty log for each case."""

    def place(self) -> str:
        raise NotImplementedError

    def setUp(self):
        self.others = set(threading.enumerate())
        self.database = Database(self.place())
        ensure_schema(self.database)

    def tearDown(self):
        for thread in set(threading.enumerate()) - self.others:  # a shipped case leaves its readers running
            if not thread.daemon:
                thread.join(timeout=60)
                assert not thread.is_alive(), thread
        self.database.close()

    def create_recorder(self):
        return self.recorder(self.database)


class OnMemory(OnPlace):
    def place(self):
        return "sqlite://"


class OnFile(OnPlace):
    def place(self):
        self.directory = tempfile.TemporaryDirectory()
        return str(Path(self.directory.name) / "log.db")

    def tearDown(self):
        super().tearDown()
        self.directory.cleanup()


@pytest.mark.postgres
class OnPostgres(OnPlace):
    @pytest.fixture(autouse=True)
    def _cluster(self, postgres):
        self.cluster = postgres

    def place(self):
        return self.cluster.url()


class Aggregates(shipped.AggregateRecorderTestCase):
    recorder = LogAggregateRecorder


class Applications(shipped.ApplicationRecorderTestCase):
    recorder = LogApplicationRecorder
    EXPECT_CONTIGUOUS_NOTIFICATION_IDS = True

    def test_insert_subscribe(self):
        self.optional_test_insert_subscribe()


class Trackings(shipped.TrackingRecorderTestCase):
    recorder = LogTrackingRecorder


class Processes(shipped.ProcessRecorderTestCase):
    recorder = LogProcessRecorder


class NonInterleaving(shipped.NonInterleavingNotificationIDsBaseCase):
    recorder = LogApplicationRecorder


class TestAggregatesInMemory(OnMemory, Aggregates): ...


class TestApplicationsInMemory(OnMemory, Applications): ...


class TestTrackingsInMemory(OnMemory, Trackings): ...


class TestProcessesInMemory(OnMemory, Processes): ...


class TestNonInterleavingInMemory(OnMemory, NonInterleaving): ...


class TestAggregatesInFile(OnFile, Aggregates): ...


class TestApplicationsInFile(OnFile, Applications): ...


class TestTrackingsInFile(OnFile, Trackings): ...


class TestProcessesInFile(OnFile, Processes): ...


class TestNonInterleavingInFile(OnFile, NonInterleaving): ...


class TestAggregatesInPostgres(OnPostgres, Aggregates): ...


class TestApplicationsInPostgres(OnPostgres, Applications): ...


class TestTrackingsInPostgres(OnPostgres, Trackings): ...


class TestProcessesInPostgres(OnPostgres, Processes): ...


class TestNonInterleavingInPostgres(OnPostgres, NonInterleaving): ...


class OurTrackingRecorder(LogTrackingRecorder): ...


class Factories(shipped.InfrastructureFactoryTestCase):
    @abstractmethod
    def place(self) -> str: ...

    def setUp(self):
        self.env = Environment("TestCase", {InfrastructureFactory.PERSISTENCE_MODULE: LogFactory.__module__})
        self.env[PLACE] = self.place()
        super().setUp()

    def expected_factory_class(self):
        return LogFactory

    def expected_aggregate_recorder_class(self):
        return LogAggregateRecorder

    def expected_application_recorder_class(self):
        return LogApplicationRecorder

    def expected_tracking_recorder_class(self):
        return LogTrackingRecorder

    def expected_process_recorder_class(self):
        return LogProcessRecorder

    def tracking_recorder_subclass(self):
        return OurTrackingRecorder


class TestFactoryInMemory(Factories):
    def place(self):
        return ""

    def test_there_is_no_recorder_for_snapshots(self):
        with pytest.raises(persistence.NotSupportedError, match="facts only"):
            self.factory.aggregate_recorder("snapshots")


class TestFactoryInFile(Factories):
    def place(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        return str(Path(self.directory.name) / "log.db")


@pytest.mark.postgres
class TestFactoryInPostgres(Factories):
    @pytest.fixture(autouse=True)
    def _cluster(self, postgres):
        self.cluster = postgres

    def place(self):
        return self.cluster.url()


class Light(Aggregate):
    """An aggregate like those in eventsourcing's documentation."""

    @event("Switched")
    def switch(self, on: bool):
        self.on = on


def test_an_application_of_eventsourcing_keeps_its_events_in_a_log(tmp_path):
    env = {InfrastructureFactory.PERSISTENCE_MODULE: get_topic(LogFactory), PLACE: str(tmp_path / "log.db")}
    with Application(env=env) as app:
        light = Light()
        light.switch(on=True)
        light.switch(on=False)
        [*recordings] = app.save(light)

        assert [each.notification.id for each in recordings] == [1, 2, 3]
        assert app.repository.get(light.id).on is False
        assert app.repository.get(light.id, version=2).on is True
        assert [each.id for each in app.notification_log.select(start=2, limit=9)] == [2, 3]


def test_an_originator_may_be_named_like_a_stream():
    database = Database("sqlite://")
    ensure_schema(database)
    recorder = LogApplicationRecorder(database)
    stored = StoredEvent(originator_id="observer/kvm-07/qemu", originator_version=1, topic="t", state=b"s")
    other = StoredEvent(originator_id=uuid4(), originator_version=1, topic="t", state=b"s")
    recorder.insert_events([stored, other])

    assert recorder.select_events("observer/kvm-07/qemu") == [stored]
    assert [each.originator_id for each in recorder.select_notifications(None, 9)] == [
        "observer/kvm-07/qemu",
        other.originator_id,
    ]
    assert isinstance(other.originator_id, UUID)
    database.close()


def test_a_subscription_that_has_read_all_waits_for_more():
    database = Database("sqlite://")
    ensure_schema(database)
    recorder = LogApplicationRecorder(database)
    subscription = recorder.subscribe()
    subscription._stopped = Waits(lambda: recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"s")]))
    with subscription:
        assert next(subscription).id == 1
    assert list(subscription) == []
    database.close()


class Waits(threading.Event):
    """Lets something happen instead of waiting."""

    def __init__(self, happen):
        super().__init__()
        self._happen = happen

    def wait(self, timeout=None):
        assert timeout is not None
        self._happen()
        return False


def test_tracking_may_begin_at_zero():
    database = Database("sqlite://")
    ensure_schema(database)
    recorder = LogTrackingRecorder(database)
    recorder.insert_tracking(Tracking("upstream", 0))

    assert recorder.max_tracking_id("upstream") == 0
    with pytest.raises(persistence.IntegrityError):
        recorder.insert_tracking(Tracking("upstream", 0))
    database.close()


def test_what_the_database_refuses_is_an_error_of_eventsourcing(tmp_path):
    database = Database(tmp_path / "missing.db")
    with pytest.raises(persistence.OperationalError):
        LogTrackingRecorder(database).insert_tracking(Tracking("upstream", 0))
    database.close()

    text = tmp_path / "text.db"
    text.write_text("no log, by far" * 100)
    database = Database(text)
    with pytest.raises(persistence.DatabaseError):
        LogTrackingRecorder(database).max_tracking_id("upstream")
    database.close()


def test_another_recorder_on_a_log_leaves_the_first_ones_locks(tmp_path):
    factory = LogFactory(Environment("", {PLACE: str(tmp_path / "log.db")}))
    with factory:
        recorder = factory.application_recorder()
        stream = uuid4()
        recorder.insert_events([StoredEvent(stream, 1, "Switched:1", b"")])
        factory.tracking_recorder()
        # Where nobody holds it locked, whoever closes it last takes away what is beside it.
        reading = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM records'); c.close()"
        subprocess.run([sys.executable, "-c", reading, tmp_path / "log.db"], check=True)

        recorder.insert_events([StoredEvent(stream, 2, "Switched:1", b"")])

        assert len(recorder.select_events(stream)) == 2
