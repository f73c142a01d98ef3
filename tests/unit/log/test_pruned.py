"""What stays known of a log's beginning that was taken out."""

from contextlib import closing
from dataclasses import replace

from es_power.domain.streams import stream_id
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.pruned import Pruned, hashes_there, read_pruned, write_pruned
from tests.unit.log.facts import append_of, clock, lifecycle, new_database, older_database

PRUNED = Pruned(
    position=5,
    checkpoint="log\n5\nroot\n\n— log signature\n",
    edge=[bytes([1]) * 32, bytes([2]) * 32],
    kept={3: (bytes([5]) * 32, bytes([6]) * 32)},
    archive=17,
    streams={1: (5, bytes([3]) * 32), 7: (1, bytes([4]) * 32)},
    pruned_at=-3,
)


def test_where_a_log_begins_comes_back_as_it_was_written():
    with closing(new_database()) as database, database.write() as connection:
        assert read_pruned(connection) is None
        for pruned in (PRUNED, replace(PRUNED, position=6, streams={})):
            write_pruned(connection, pruned, b"state")

            assert read_pruned(connection) == pruned


def test_a_log_of_schema_1_begins_with_its_first_record():
    with closing(older_database(1)) as database, database.read() as connection:
        assert read_pruned(connection) is None


def test_a_chain_begins_with_the_hashes_of_the_streams_that_the_log_has():
    with closing(new_database()) as database:
        Appender(database, clock).commit([prepare(append_of("a", 0, lifecycle(1)), Codec())])
        with database.read() as connection:
            assert hashes_there(connection, PRUNED) == {stream_id("a").bytes: bytes([3]) * 32}
