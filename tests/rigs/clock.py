"""Runs a test on a clock that moves only when nobody has anything left to do.

Whoever sleeps there has seen all that follows from what came before, on however slow a machine, and no wait takes time.
Threads would be left behind by such a clock, so what is given to one is done at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock


@contextmanager
def without_threads() -> Iterator[None]:
    """Do in the one thread of the test what is given to another one, inside the block."""
    with mock.patch.object(trio.to_thread, "run_sync", _at_once):
        yield


async def _at_once(work: Callable[..., object], *args: object, **_: object) -> object:
    await trio.lowlevel.checkpoint()
    return work(*args)


def _run(main: Callable[..., Any], *, clock: Clock | None, instruments: Sequence[Instrument]) -> Any:
    with without_threads():
        return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


jumping = pytest.mark.trio(run=_run)
"""For a module's tests, or a single one: they run on such a clock."""
