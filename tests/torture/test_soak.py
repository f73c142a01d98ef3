"""A service that hears ten million events is no larger at their end than it was when it had warmed up."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.frame import CHECKOUT
from tests.torture.soak import PARTS

EVENTS = 10_000_000
CONTROL = 200_000
LEAK = 100
"""Bytes that the broken service keeps of each event."""

WARM = PARTS // 5
"""After so many of its parts it has warmed up."""

MEBIBYTES = 5


@pytest.mark.torture
def test_ten_million_events_leave_a_service_as_large_as_it_was(tmp_path: Path, count, report) -> None:
    tried = count(0, 1)
    rate, grown = _grown(tmp_path / "log.db", EVENTS, 0)
    _, leaked = _grown(tmp_path / "leaky.db", CONTROL, LEAK)
    assert leaked > MEBIBYTES
    report(
        "soak",
        tried=tried,
        held=int(grown < MEBIBYTES),
        control=f"a service that keeps {LEAK} bytes of each of {CONTROL:,} events: {leaked:.1f} MiB",
        detail=f"{EVENTS:,} events, {rate:,.0f} a second; {grown:.1f} MiB more than after {WARM / PARTS:.0%} of them",
    )


def _grown(log: Path, events: int, leak: int) -> tuple[float, float]:
    """Run a service in a process of its own: its rate, and how many MiB it grew since it had warmed up."""
    command = [sys.executable, "-m", "tests.torture.soak", str(log), str(events), str(leak)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    seen = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit() and len(line.split()) == 3]
    sizes = [int(size) for _, size, _ in seen]
    assert len(sizes) == PARTS
    return float(seen[-1][2]), (sizes[-1] - sizes[WARM - 1]) / 1024
