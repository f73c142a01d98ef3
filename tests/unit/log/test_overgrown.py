"""A write-ahead log that is not moved into its file is told of, now and then, with what to do."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from es_power.log import open_log
from es_power.log.overgrown import LONG, REMIND, Overgrown, watch_wal
from tests.unit.log.facts import append_of, lifecycle


def test_it_is_said_once_an_hour_and_when_it_is_over() -> None:
    overgrown = Overgrown("log.db")
    with capture_logs() as lines:
        for at, waiting in ((0, LONG), (1, LONG + 1), (2, LONG + 1), (REMIND + 1, 2 * LONG), (REMIND + 2, 0)):
            overgrown.note(waiting, at=at)
        overgrown.note(0, at=REMIND + 3)

    assert [(each["log_level"], each["event"], each.get("mebibytes_waiting")) for each in lines] == [
        ("warning", "the log is not moved into its file", 64),
        ("warning", "the log is not moved into its file", 128),
        ("info", "the log is moved into its file again", None),
    ]
    assert lines[0]["mend"] == "see whether somebody reads it all the time, or its disk is slow"


async def test_a_service_looks_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_power.log.overgrown.LONG", 0)
    async with open_log(tmp_path / "log.db", mode="write") as log:
        await log.append(append_of("s", 0, lifecycle(1)))
        with capture_logs() as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_wal, log.database)
                with trio.fail_after(10):
                    while not lines:
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    assert lines[0]["log"] == str(tmp_path / "log.db")


async def test_a_log_that_is_no_file_is_not_looked_after() -> None:
    async with open_log("sqlite://", mode="write") as log:
        with trio.fail_after(10):
            await watch_wal(log.database)
