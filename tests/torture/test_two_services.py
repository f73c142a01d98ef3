"""Two services on one stream: the first is paused past its lease, and when it comes back it finds that it is late."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from es_power.domain.events import HostSwept, Recorded, ServiceStarted
from es_power.domain.ports import Append, Write
from es_power.log import SqlLog, open_log
from tests.contract.test_service_on_postgres import until
from tests.postgres import cluster, missing
from tests.torture.frame import nobodys

pytestmark = [
    pytest.mark.torture,
    pytest.mark.postgres,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


PATIENCE = 120.0
"""Seconds in which a process has come to its first sweep; 30 were too few on a machine that had much else to do."""


@contextmanager
def program(place: str) -> Iterator[subprocess.Popen[str]]:
    """`es-power run` on libvirt's test driver, as a process."""
    command = [sys.executable, "-m", "es_power", "run", "--uri", "test:///default", "--log", place]
    quiet = {"ES_POWER_API_ENABLED": "false", "ES_POWER_METRICS_ENABLED": "false"}
    environment = nobodys() | {"ES_POWER_LEASE_DURATION": "2"} | quiet
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()
            process.send_signal(signal.SIGCONT)


async def test_a_service_paused_past_its_lease_stops_itself(count, report) -> None:
    times, held = count(2, 200), 0
    with cluster() as postgres:
        for _ in range(times):
            async with open_log(place := postgres.url(), mode="write", poll=0.05) as log:
                stopped = await pause_one_past_its_lease(place, log)
                records = await log.read(after=0, limit=100_000)
                held += stopped and [each.event.epoch for each in starts(records)] == [1, 2]
        # Who asks for the version anew, instead of building on the one that it knows, is fenced by nothing.
        async with open_log(place, mode="write") as log:
            [first, _] = starts(await log.read(after=0, limit=100_000))
            stale = Write(stream=first.stream, expected=await log.version(first.stream), events=[first.event])
            await log.append(Append(writes=[stale]))
            unfenced = len(starts(await log.read(after=0, limit=100_000))) - 2

    report(
        "two_services",
        tried=times,
        held=held,
        control=f"a stale service that asks for its stream's version anew: {unfenced} of 1 appended",
    )
    assert unfenced == 1


def starts(records: list[Recorded]) -> list[Recorded]:
    return [each for each in records if isinstance(each.event, ServiceStarted)]


async def pause_one_past_its_lease(place: str, log: SqlLog) -> bool:
    """Whether the one that was paused ends with one clear line, and the other goes on."""
    with program(place) as paused:
        await until(log, HostSwept, patience=PATIENCE)
        paused.send_signal(signal.SIGSTOP)
        with program(place) as successor:
            try:
                [_, started] = await until(log, ServiceStarted, 2, patience=PATIENCE)
            except trio.TooSlowError:
                return False  # wherever it was paused, its successor gets on
            paused.send_signal(signal.SIGCONT)
            _, complaint = await trio.to_thread.run_sync(lambda: paused.communicate(timeout=60))
            return (
                paused.returncode == 1
                and successor.poll() is None
                and started.holder.endswith(f"process {successor.pid}")
                and f"process {successor.pid}" in complaint.splitlines()[-1]
                and "Traceback" not in complaint
            )
