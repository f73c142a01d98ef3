"""Appending to a log that refuses for a while: once, in the end, whatever became of the refused tries."""

import pytest
import trio

from es_power.domain.events import Position
from es_power.domain.ports import Append, Write
from es_power.errors import ConcurrentAppendError, LogUnavailableError
from es_power.log.patience import append_patiently
from es_power.testing.facts import Facts, vm
from es_power.testing.memory import MemoryLog


class MoodyLog(MemoryLog):
    """Refuses so many appends; `stores` says whether it keeps what it refuses, as a commit of unknown outcome may."""

    def __init__(self, refusals: int, *, stores: bool) -> None:
        super().__init__()
        self._refusals = refusals
        self._stores = stores

    async def append(self, append: Append) -> Position:
        if self._refusals:
            self._refusals -= 1
            if self._stores:
                await super().append(append)
            raise LogUnavailableError
        return await super().append(append)


def fact() -> Append:
    event = Facts().announce(vm(1), 5, 0).event
    return Append(writes=[Write(stream="s", expected=0, events=[event])])


@pytest.mark.parametrize("stores", [True, False])
async def test_what_was_refused_is_stored_once(stores: bool, autojump_clock: trio.testing.MockClock) -> None:
    log, told = MoodyLog(6, stores=stores), list[LogUnavailableError]()

    await append_patiently(log, fact(), refused=told.append)

    assert len(log.records) == 1
    assert len(told) == (1 if stores else 6)


async def test_a_conflict_is_not_waited_for() -> None:
    log = MoodyLog(0, stores=False)
    await append_patiently(log, fact())

    with pytest.raises(ConcurrentAppendError):
        await append_patiently(log, fact())
