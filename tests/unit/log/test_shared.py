"""A stream that many write: whoever comes second stands behind the first."""

from es_power.domain.events import Position
from es_power.domain.ports import Append, Write
from es_power.log.shared import append_shared
from es_power.testing.memory import MemoryLog
from tests.unit.log.facts import lifecycle


class Interrupted(MemoryLog):
    """Somebody else is always a moment earlier, once."""

    before = 1

    async def append(self, append: Append) -> Position:
        if self.before:
            self.before -= 1
            await super().append(Append(writes=[Write(stream="a", expected=0, events=[lifecycle(1)])]))
        return await super().append(append)


async def test_what_came_first_stays_and_the_second_stands_behind_it() -> None:
    log = Interrupted()

    position = await append_shared(log, "a", [lifecycle(2), lifecycle(3)])

    assert position == 2
    assert [each.event for each in await log.read_stream("a")] == [lifecycle(number) for number in (1, 2, 3)]
