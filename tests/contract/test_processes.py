"""Several processes on one log: nothing is lost, nothing is doubled, no position is skipped."""

import subprocess
import sys

import pytest

from es_power.log import open_log
from es_power.log.chain import Chain

WRITER = """
import sys, trio
from es_power.errors import ConcurrentAppendError
from es_power.log import open_log
from es_power.testing.log_contract import append_of, lifecycle

async def write(place, name, appends):
    async with open_log(place, mode="write") as log:
        print("open", flush=True)
        sys.stdin.readline()
        for version in range(appends):
            await log.append(append_of(name, version, lifecycle(version)))
            while True:
                shared = await log.version("shared")
                try:
                    await log.append(append_of("shared", shared, lifecycle(version)))
                    break
                except ConcurrentAppendError:
                    continue

trio.run(write, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    """A place where there is no log yet."""
    return request.getfixturevalue("postgres").url() if request.param == "postgres" else str(tmp_path / "log.db")


async def test_processes_that_write_one_log_together_share_its_positions(place):
    appends, names = 40, ["one", "two", "three"]
    run_writers(place, names, appends)
    async with open_log(place) as log:
        found, chain = await log.read(after=0), Chain()

        assert len(await log.read_raw(after=0, chain=chain)) == len(found)
        chain.close(await log.head(), await log.ends())
    assert [each.position for each in found] == list(range(1, 2 * len(names) * appends + 1))
    for stream in (*names, "shared"):
        versions = [each.version for each in found if each.stream == stream]
        assert versions == list(range(1, len(versions) + 1))
    assert sum(each.stream == "shared" for each in found) == len(names) * appends


def run_writers(place, names, appends):
    """Let one process for each name create or open the log at once, and write at once."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, place, name, str(appends)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
    assert [writer.returncode for writer in writers] == [0] * len(writers)
