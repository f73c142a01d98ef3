"""EIO, ENOSPC and KILL at each call to the disk that a fixed workload makes, by strace's fault injection.

What was acknowledged is in the log afterwards, or the process stopped in good order: no traceback, nothing damaged, and
whoever comes next goes on.
"""

import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pytest

from es_power.log import open_log
from es_power.testing.log_contract import append_of, lifecycle
from tests.rigs.forks import Forks, forks
from tests.torture.io_writer import Case, line_of
from tests.torture.ledger import Ledger, wrong

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"),
]

CALLS = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")

KINDS = (*(f"error={error}:when={{}}{on}" for error in ("EIO", "ENOSPC") for on in ("", "+")), "signal=KILL:when={}")


@dataclass(frozen=True)
class Fault:
    """What fails, as strace is told: `when` counts the calls of that name that one thread makes."""

    call: str
    how: str

    def __str__(self) -> str:
        return f"{self.call}:{self.how}"


@pytest.fixture(scope="module")
def writers() -> Iterator[Forks]:
    with forks("tests.torture.io_writer") as running:
        yield running


@pytest.fixture
async def template(tmp_path: Path) -> Path:
    """A log that is there, and empty."""
    place = tmp_path / "template"
    place.mkdir()
    async with open_log(place / "log.db", mode="write"):
        return place


@contextmanager
def played(writers: Forks, template: Path, fault: Fault | None, *, hasty: bool = False, trusting: bool = False):
    """Play the workload under a fault; give its directory, how it ended, and strace's lines."""
    place = template.parent / "case"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    os.mkfifo(place / "gate")
    longest = 0.3 if fault and fault.how.endswith("+") else 30.0
    pid = writers.start(line_of(Case(place=str(place), hasty=hasty, trusting=trusting, longest=longest)))
    trace = template.parent / "trace"
    trace.unlink(missing_ok=True)
    # Comes when the writer is there. Where strace was faster, the fault met what the writer opens on its way.
    gate = os.open(place / "gate", os.O_WRONLY)
    files = [word for name in ("log.db", "log.db-wal", "said") for word in ("-P", str(place / name))]
    what = ["-e", f"inject={fault}"] if fault else []
    traced = ["-e", f"trace={','.join((*CALLS, 'write'))}"]
    command = ["strace", "-f", "-y", "-p", str(pid), "-o", trace, *traced, *files, *what]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        os.write(gate, b"go")
        os.close(gate)
        ended = writers.wait()
        strace.stderr.read()
    calls = trace.read_text().splitlines()
    assert not any('/said"' in line for line in calls), "a fault may have met the ledger"
    yield place, ended, calls


def verdict(place: Path, ended: int) -> list[str]:
    """What is wrong, if anything."""
    found = wrong(place / "log.db", Ledger.read(place / "said"))
    if ended not in (0, -9):
        found.append(f"it ended with {ended}: {(place / 'output').read_text()[-300:]}")
    return found


def faults(writers: Forks, template: Path) -> list[Fault]:
    """Every one that the workload can meet."""
    with played(writers, template, None) as (place, ended, trace):
        assert not verdict(place, ended)
        assert b"ack" in (place / "said").read_bytes()
    made: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in trace:
        if found := re.match(r"(\d+) +(\w+)\(", line):
            made[found[2]][found[1]] += 1
    return [
        Fault(call, kind.format(number))
        for call in CALLS
        for number in range(1, max(made[call].values(), default=0) + 1)
        for kind in KINDS
    ]


async def test_a_fault_at_any_call_costs_nothing_that_was_acknowledged(writers, template, count, report) -> None:
    every = faults(writers, template)
    step = ceil(len(every) / count(ceil(len(every) / 10), len(every)))
    # One of each ten, and not always the first: that would always be of the same kind.
    tried = [fault for number, fault in enumerate(every) if number % step == number // step % step]
    bad = {}
    for fault in tried:
        with played(writers, template, fault) as (place, ended, _):
            found = verdict(place, ended)
            # Whoever comes next goes on, and keeps its word too.
            async with open_log(place / "log.db", mode="write") as log:
                await log.append(append_of("next", 0, lifecycle(1)))
        if found:
            bad[str(fault)] = found
    hasty = [fault for fault in every if fault.call == "pwrite64" and "KILL" in fault.how][::step]
    caught = 0
    for fault in hasty:
        with played(writers, template, fault, hasty=True) as (place, ended, _):
            caught += bool(verdict(place, ended))

    report(
        "io_calls",
        tried=len(tried),
        held=len(tried) - len(bad),
        control=f"a writer that acknowledges before it commits: caught at {caught} of {len(hasty)} calls",
        detail=f"of {len(every)} in all{''.join(f'; {fault}: {words}' for fault, words in bad.items())}",
    )
    assert caught


@pytest.mark.parametrize("trusting", [False, True], ids=["as it is", "the broken variant"])
async def test_what_was_written_before_a_failed_fsync_is_written_anew_before_anything_is_acknowledged(
    writers, template, trusting
) -> None:
    with played(writers, template, Fault("fdatasync", "error=EIO:when=3"), trusting=trusting) as (place, ended, trace):
        assert not verdict(place, ended)
    failed = next(number for number, line in enumerate(trace) if "INJECTED" in line)
    rest = trace[failed + 1 :]
    acknowledged = next(number for number, line in enumerate(rest) if '"ack' in line)
    moved = any("ftruncate" in line and "log.db-wal" in line for line in rest[:acknowledged])

    assert "fdatasync" in trace[failed]
    assert moved is not trusting
