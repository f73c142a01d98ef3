"""From when each thousand records is: so a time is found in a log of millions, though clocks may be set back.

For each block the earliest time at which one of its records was recorded, and the earliest time at the source of what
bears on states. Whoever looks for a time then reads only blocks that may hold it, and the answer is that of reading
all. A block with a record that nobody could read may hold any time.
"""

from dataclasses import dataclass
from typing import Final

from es_power.domain.events import START, Event, GapOpened, NovaStopObserved, Position, Recorded
from es_power.domain.streams import is_told
from es_power.domain.time import NEVER, Timestamp
from es_power.log.codec import Raw

BLOCK: Final = 1000
"""Positions in a block; block 0 is short of one, since the first position is 1."""

_LATEST: Final = Timestamp(2**63 - 1)
_NO_BEARING: Final = NovaStopObserved.__name__  # no state follows from it, and it comes in long after its time


@dataclass(frozen=True, slots=True)
class Block:
    """A thousand positions of the log, and their earliest times."""

    #: Position // BLOCK.
    number: int
    recorded: Timestamp = _LATEST
    source: Timestamp = _LATEST


class Times:
    """The block that is being filled, as a fold over all records."""

    def __init__(self, position: Position = START, block: Block | None = None) -> None:
        self.position = position
        self.block = block or Block(position // BLOCK)

    def apply(self, recorded: Recorded) -> list[Block]:
        """Take in the next record; give the blocks that changed."""
        block, changed = self.block, list[Block]()
        number = recorded.position // BLOCK
        if recorded.position != self.position + 1:
            # Those in between could not be read.
            first, last = (self.position + 1) // BLOCK, (recorded.position - 1) // BLOCK
            changed = [Block(skipped, NEVER, NEVER) for skipped in range(first, last + 1)]
            block = changed[-1]
        if number != block.number:
            block = Block(number)
        self.position = recorded.position
        source = source_time(recorded.event) if bears(recorded.stream, type(recorded.event).__name__) else _LATEST
        if recorded.recorded_at < block.recorded or source < block.source:
            block = Block(number, min(block.recorded, recorded.recorded_at), min(block.source, source))
            changed.append(block)
        self.block = block
        return changed


def bears(stream: str, kind: str) -> bool:
    """Whether a fact may bear on what the fleet is: seen or said by us, and not read in another program's log."""
    return kind != _NO_BEARING and not is_told(stream)


def source_time(event: Event) -> Timestamp:
    """Since when a fact is true at its source."""
    return event.since if isinstance(event, GapOpened) else event.observed_at


def raw_source_time(kind: str, raw: Raw) -> Timestamp:
    """The same of bare fields."""
    at: Timestamp = raw[1] if kind == GapOpened.__name__ else raw[0]
    return at
