"""What earlier versions wrote is read to the same end: as it stands, and after a migration."""

import lzma
import shutil
from pathlib import Path

import msgspec
import pytest

from es_power.errors import LogSchemaError
from es_power.log import open_log, schema
from es_power.log.codec import recordable
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.replay import rebuild, verify
from tests.golden.make import FOLDER, facts_of, make
from tests.golden.tale import tell

LOGS = sorted(FOLDER.glob("schema-*.db.xz"), key=lambda each: int(each.name.split("-")[1].split(".")[0]))


def known(golden: Path) -> dict:
    return msgspec.json.decode(golden.with_name(golden.name.replace(".db.xz", ".json")).read_bytes())


@pytest.fixture(params=LOGS, ids=lambda each: each.name.removesuffix(".db.xz"))
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def place(golden: Path, tmp_path: Path) -> Path:
    unpacked = tmp_path / "log.db"
    unpacked.write_bytes(lzma.decompress(golden.read_bytes()))
    return unpacked


async def test_a_log_is_read_as_it_stands(golden: Path, place: Path) -> None:
    before = place.read_bytes()
    expected = known(golden)
    actual = await facts_of(place)

    assert {name: expected[name] for name in actual} == actual
    assert place.read_bytes() == before


async def test_a_log_that_was_migrated_comes_to_the_same(golden: Path, place: Path) -> None:
    async with open_log(place, mode="write") as log:
        replayed = await rebuild(log)
        _, differences = await verify(log)
        live, _ = await read_models(log, Store(log.database))

    assert known(golden)["digests"] == replayed.digests
    assert list(differences) == []
    assert replayed.models.fleet.quarantined == live.fleet.quarantined == {}


async def test_the_next_golden_log_is_not_made_before_it_tells_every_kind_of_fact(tmp_path: Path) -> None:
    """Until then, that says which kinds no golden log has yet."""
    untold = {kind.__name__ for kind in recordable()} - {type(each.event).__name__ for each in tell().records}
    in_golden_logs = {kind for golden in LOGS for kind in known(golden)["kinds"]}

    assert not untold & in_golden_logs
    if untold:
        with pytest.raises(SystemExit, match=", ".join(sorted(untold))):
            await make(tmp_path)
    else:
        await make(tmp_path)


def test_golden_logs_stay_small() -> None:
    assert LOGS
    assert max(golden.stat().st_size for golden in LOGS) < 40_000


async def test_a_record_that_was_changed_is_noticed(golden: Path, place: Path) -> None:
    async with open_log(place, mode="write") as log:
        with log.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE records SET state = (SELECT state FROM records WHERE topic = 'ServiceStopped:1') "
                "WHERE topic = 'LinkIssued:1'"
            )
        with pytest.raises(Exception, match="changed or damaged"):
            await facts_of(place)


async def test_a_golden_log_is_made_once(tmp_path: Path) -> None:
    shutil.copy(LOGS[0], tmp_path / f"schema-{schema.CURRENT}.db.xz")
    with pytest.raises(SystemExit, match="stays what it is"):
        await make(tmp_path)


async def test_a_log_of_a_later_schema_is_refused(place: Path) -> None:
    async with open_log(place, mode="write") as log:
        with log.database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LogSchemaError):
        await facts_of(place)
