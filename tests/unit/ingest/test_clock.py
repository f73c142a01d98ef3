"""The wall clock, and whether the kernel trusts it."""

import ctypes
import time
from pathlib import Path
from typing import Any, Self

import pytest

from es_power.ingest import clock


def test_now_is_in_nanoseconds() -> None:
    assert abs(clock.now() - time.time_ns()) < 10_000_000_000


class _Kernel:
    def __init__(self, result: int, status: int, offset: int = 0, error: int = 0) -> None:
        self._result, self._status, self._offset, self._error = result, status, offset, error

    def __call__(self, *_: object, **__: object) -> Self:
        return self

    def adjtimex(self, timex: Any) -> int:
        timex._obj.status, timex._obj.offset, timex._obj.maxerror = self._status, self._offset, self._error
        return self._result


@pytest.mark.parametrize(
    ("result", "status", "synchronised"), [(0, 0x2001, True), (5, 0x2041, False), (0, 0x40, False), (-1, 0, None)]
)
def test_the_kernel_says_whether_the_clock_is_disciplined(
    monkeypatch: pytest.MonkeyPatch, result: int, status: int, synchronised: bool | None
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _Kernel(result, status))

    assert clock.clock_synchronised() is synchronised


@pytest.mark.parametrize(
    ("status", "offset", "state"),
    [
        (0x2001, -1_500, clock.ClockState(synchronised=True, offset=-1_500, error=3_000)),
        (0x0001, -1_500, clock.ClockState(synchronised=True, offset=-1_500_000, error=3_000)),
        (0x2041, -1_500, clock.ClockState(synchronised=False)),
    ],
)
def test_how_far_a_clock_is_off_is_known_while_something_synchronises_it(
    monkeypatch: pytest.MonkeyPatch, status: int, offset: int, state: clock.ClockState
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _Kernel(0, status, offset, 3))

    assert state == clock.clock_state()


def test_the_steady_clock_goes_on_and_elsewhere_is_the_one_that_python_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.steady() <= clock.steady()

    monkeypatch.delattr(time, "CLOCK_BOOTTIME")

    assert abs(clock.steady() - time.monotonic_ns()) < 10_000_000_000


def test_a_system_without_adjtimex_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())

    assert clock.clock_synchronised() is None


def test_the_real_kernel_answers_something() -> None:
    assert clock.clock_synchronised() in (True, False, None)


def test_the_boot_is_known_on_linux_and_elsewhere_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.boot_id() == clock.boot_id() is not None

    monkeypatch.setattr(clock, "Path", lambda _: Path("/nowhere"))

    assert clock.boot_id() is None


def test_what_the_kernel_says_is_a_fact_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _Kernel(0, 0x2001, 7, 3))
    read = clock.clock_read()

    assert (read.clock_synchronised, read.clock_offset, read.clock_error) == (True, 7, 3_000)
