from es_power.log import open_log, schema
from es_power.log.description import describe
from es_power.log.labels import make_label
from es_power.testing.log_contract import append_of, lifecycle


async def test_a_log_is_described_for_whoever_looks_after_it(tmp_path):
    place, times = tmp_path / "log.db", iter([10, 20])
    async with open_log(place, mode="write", clock=lambda: next(times)) as log:
        empty = describe(log.database)
        await log.append(append_of("a", 0, lifecycle(1), lifecycle(2), labels=[make_label("name")[1]]))
        await log.append(append_of("b", 0, lifecycle(3)))
        found = describe(log.database)

    assert (empty.head, empty.first_recorded_at, empty.last_recorded_at, empty.streams) == (0, None, None, {})
    assert (found.place, found.database, found.schema) == (str(place), "SQLite", schema.CURRENT)
    assert found.written_by == schema.writer_version()
    assert (found.head, found.first_recorded_at, found.last_recorded_at) == (3, 10, 20)
    assert (found.streams, found.labels) == ({"a": 2, "b": 1}, 1)
