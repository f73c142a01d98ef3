"""Whatever is read from outside, however damaged: it is read, or refused in words of ours, and nothing else happens.

Each input is a damaged copy of a real one, made by its number (`mutation`), so a find is named by its kind and number.
What was found becomes a case of `test_fuzz_cases.py`.
"""

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from tests.torture.cli_input import command_line
from tests.torture.http_input import http
from tests.torture.inputs import KINDS, Kind, find, quiet
from tests.torture.mutation import Mutator

#: Of so many inputs of all kinds together, how many are of each: those that are read fast are tried more often.
SHARES = {
    "records": 680,
    "folds": 600,
    "exports": 600,
    "qemu logs": 400,
    "Nova logs": 500,
    "compressed logs": 200,
    "file names": 150,
    "settings": 250,
    "places": 150,
    "times": 400,
    "rows": 20,
    "cursors": 150,
    "answers of Nova": 150,
    "announcements of libvirt": 100,
    "wishes": 100,
    "situations": 50,
    "notes": 250,
    "keys": 130,
    "proofs": 50,
    "HTTP": 60,
    "command line": 10,
}

SECONDS = 20
"""Of processor time for one input of some kilobytes: what takes that long would never end."""

MEBIBYTES = 64
"""By which reading may grow this process, at most at any moment."""

CONTROL = 500
"""Inputs for a reader that must be found out."""

_SHOWN = 5  # finds that a failure tells


def _unguarded(data: bytes) -> int:
    return int(json.loads(data)["position"])


UNGUARDED = Kind(read=_unguarded, samples=KINDS["exports"].samples)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    quiet()
    yield
    structlog.configure(**before)


class EndlessError(Exception):
    """An input that is read for too long."""


@pytest.fixture
def _clock() -> Iterator[None]:
    def out_of_time(*_: object) -> None:
        raise EndlessError

    before = signal.signal(signal.SIGPROF, out_of_time)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def finds(kind: Kind, count: int, seed: int = 0) -> Iterator[tuple[int, Exception, bytes]]:
    """Try so many inputs; give those that end in something else than they should."""
    mutator = Mutator(kind.samples(), kind.words)
    for number in range(seed << 40, (seed << 40) + count):
        data = mutator.make(number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        error = find(kind, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if error is not None:
            yield number, error, data


class Peak:
    """The most memory that this process held since it was made, beyond what it held then."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark
        self._before = self._read("VmRSS")

    def mebibytes(self) -> float:
        return (self._read("VmHWM") - self._before) / 1024

    @staticmethod
    def _read(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("name", KINDS)
def test_what_nobody_damaged_is_read(name: str) -> None:
    assert [find(KINDS[name], sample) for sample in KINDS[name].samples()] == [None] * len(KINDS[name].samples())


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[Mapping[str, Kind]]:
    """All kinds, those too that need a server or a log."""
    with http(tmp_path / "http") as (kind, _):
        yield {**KINDS, "HTTP": kind, "command line": command_line(tmp_path / "cli")}


@pytest.mark.torture
@pytest.mark.usefixtures("_clock")
def test_damaged_input_is_read_or_refused_in_our_words(kinds: Mapping[str, Kind], count, seed: int, report) -> None:
    total = count(5_000, 10_000_000)
    found: list[str] = []
    tried = 0
    peak = Peak()
    for name, share in SHARES.items():
        several = max(1, share * total // sum(SHARES.values()))
        tried += several
        for number, error, data in finds(kinds[name], several, seed):
            found.append(f"{name} {number}: {type(error).__name__}: {error!s:.200}\n  {data[:300]!r}")
    caught = len(list(finds(UNGUARDED, CONTROL, seed)))
    grown = peak.mebibytes()
    report(
        "fuzz",
        tried=tried,
        held=tried - len(found),
        control=f"a parser that nothing guards: {caught} of {CONTROL} inputs raise what nobody expects",
        detail="\n".join(found[:_SHOWN]) or f"{len(SHARES)} kinds; memory grew by {grown:.0f} MiB at most",
    )

    assert caught > CONTROL // 10
    assert grown < MEBIBYTES
