"""The program while somebody sets the machine's clock: libfaketime does that to one process."""

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from es_power.domain.events import ClockJumped, GapClosed, HostSwept, Recorded, ServiceStarted
from es_power.domain.time import SECOND
from es_power.errors import LogNotFoundError
from es_power.log import open_log
from es_power.projections.gaps import gaps
from es_power.projections.queries import look
from tests.acceptance.program import PROGRAM, Machine, environment

LIBRARY = next(
    (path for place in ("/usr/lib", "/usr/lib64") for path in Path(place).glob("**/faketime/libfaketimeMT.so.1")),
    None,
)
HOUR = 3600 * SECOND

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not here")


@asynccontextmanager
async def observing(home: Path, log: Path) -> AsyncIterator[None]:
    """Run the service with a clock that the file `clock` sets."""
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "run", "--uri", "test:///default", "--log", str(log), "--spacing", "1s"],
        env={
            **environment(home),
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(home / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "ES_POWER_API_ENABLED": "false",
            "ES_POWER_METRICS_ENABLED": "false",
        },
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        process.terminate()
        with trio.fail_after(20):
            await process.wait()
    finally:
        process.kill()


async def until(log: Path, enough: Callable[[list[Recorded]], bool]) -> list[Recorded]:
    with trio.fail_after(60):
        while True:
            try:
                async with open_log(log) as opened:
                    records = list(await opened.read(after=0, limit=100_000))
            except LogNotFoundError:
                records = []
            if enough(records):
                return records
            await trio.sleep(0.5)


def of(kind: type) -> Callable[[list[Recorded]], list]:
    return lambda records: [each.event for each in records if isinstance(each.event, kind)]


async def test_a_clock_that_is_set_is_told_and_order_does_not_depend_on_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    log, clock = machine.home / "log.db", machine.home / "clock"
    clock.write_text("+0\n")
    async with observing(machine.home, log):
        await until(log, lambda records: len(of(HostSwept)(records)) >= 2)
        clock.write_text("-2h\n")
        await until(log, lambda records: len(of(ClockJumped)(records)) >= 1)
        clock.write_text("+1y\n")
        await until(log, lambda records: len(of(ClockJumped)(records)) >= 2)
    clock.write_text("-2h\n")
    async with observing(machine.home, log):
        records = await until(
            log, lambda records: len(of(ServiceStarted)(records)) == 2 and len(of(GapClosed)(records)) >= 1
        )
    async with open_log(log) as opened:
        found = await gaps(await look(opened))
    back, forward, at_the_start = [each.by for each in of(ClockJumped)(records)]

    assert abs(back + 2 * HOUR) < 5 * SECOND
    assert abs(forward - (365 * 24 + 2) * HOUR) < 25 * HOUR
    assert at_the_start < -364 * 24 * HOUR
    assert [each.position for each in records] == list(range(1, len(records) + 1))
    assert found
    assert all(gap.until is not None and gap.since <= gap.until for gap in found)
    assert machine("replay", "--verify", "--log", log).code == 0
