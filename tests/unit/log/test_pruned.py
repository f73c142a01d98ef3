"""What stays known of a log's beginning that was taken out."""

from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from es_power.domain.events import Position
from es_power.domain.streams import stream_id
from es_power.domain.time import Timestamp
from es_power.errors import RecordPrunedError
from es_power.log import open_log
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.labels import make_label
from es_power.log.pruned import (
    Pruned,
    hashes_there,
    pruned_up_to,
    read_nodes,
    read_pruned,
    read_state,
    require_kept,
    require_kept_since,
    write_pruned,
)
from es_power.log.schema import RECORDS
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


def test_who_asks_about_what_is_gone_is_told_where_its_archive_is():
    label, text = make_label("/mnt/archive/log.db")
    with closing(new_database()) as database:
        Appender(database, clock).commit([prepare(append_of("a", 0, lifecycle(1), labels=[text]), Codec())])
        with database.write() as connection:
            require_kept(connection, Position(0))
            require_kept_since(connection, Timestamp(0))
            write_pruned(connection, replace(PRUNED, position=1, archive=label.id), b"state", {(3, 4): bytes(32)})
            recorded_at = connection.scalar(sa.select(RECORDS.c.recorded_at))

            assert (pruned_up_to(connection), read_state(connection)) == (1, b"state")
            assert read_nodes(connection) == {(3, 4): bytes(32)}
            require_kept(connection, Position(1))
            require_kept_since(connection, recorded_at)
            with pytest.raises(RecordPrunedError, match=r"/mnt/archive/log\.db"):
                require_kept(connection, Position(0))
            with pytest.raises(RecordPrunedError, match="which is until"):
                require_kept_since(connection, Timestamp(recorded_at - 1))


async def test_readers_step_over_what_is_missing(tmp_path):
    async with open_log(tmp_path / "log.db", mode="write") as log:
        await log.append(append_of("a", 0, *map(lifecycle, range(9))))
        with log.database.write() as connection:
            connection.execute(sa.delete(RECORDS).where(RECORDS.c.position.between(2, 6)))
        seen = []
        await log.scan(lambda batch: seen.extend(each[0] for each in batch), after=Position(0), limit=3)

        assert seen == [1, 7, 8]
        assert [each.position for each in await log.read(after=Position(1), limit=1)] == [7]
        assert [each.position for each in await log.read(after=Position(2), until=Position(7))] == [7]
        assert list(await log.read(after=Position(1), until=Position(6))) == []
        assert [each.version for each in await log.read_stream("a", after=1, limit=2)] == [7, 8]
        assert list(await log.read_stream("a", after=9, limit=2)) == []
