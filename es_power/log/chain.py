"""The hash that ties a record to the one before it in its stream: a change of any byte is found, and where.

A record's hash is SHA-256 over these bytes, whole numbers big-endian, so that a second verifier can be written from
this page alone:

======== ======================================================================================
bytes    meaning
======== ======================================================================================
1        the number of this format: 1
32       the hash of the record before it in the same stream; 32 zero bytes for the first
16       the id of the stream (a UUID)
8        the version in the stream, unsigned
8        the position in the log, unsigned
8        recorded_at, nanoseconds since 1970 in UTC, signed
4        the length of the topic in bytes, unsigned
(that)   the topic, UTF-8
(rest)   the state, as it is stored
======== ======================================================================================

All but the last two have a fixed width and the topic says its own, so no two records have the same bytes. Whoever may
write the database can also compute new hashes: against that, only a hash kept elsewhere helps.
"""

import struct
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from es_power.domain.events import START, Position
from es_power.domain.time import Timestamp
from es_power.errors import SealBrokenError

GENESIS: Final = bytes(32)
"""What stands for the hash before the first record of a stream."""

_FORMAT: Final = 1
_PREFIX: Final = struct.Struct(">B32s16sQQqI")

#: The same in parts, for hashes and ids that are of their length: packing those costs as much as hashing.
_BEGIN: Final = bytes([_FORMAT])
_NUMBERS: Final = struct.Struct(">QQq")
_LENGTH: Final = struct.Struct(">I")


Row = tuple[Position, int, int, Timestamp, str, bytes, bytes]
"""A record as it is stored: position, number of its stream, version, recorded_at, topic, state, hash."""


def link(  # noqa: PLR0917 - the columns of a record, in their order
    previous: bytes, stream: bytes, version: int, position: int, recorded_at: int, topic: str, state: bytes
) -> bytes:
    """Compute the hash of a record; `stream` is the id of its stream, 16 bytes."""
    name = topic.encode()
    prefix = _PREFIX.pack(_FORMAT, previous, stream, version, position, recorded_at, len(name))
    return sha256(prefix + name + state).digest()


class Chain:
    """Checks records one after the other, from the first of the log on.

    It remembers one hash per stream and the last position; what it has passed is what was written. It may begin in the
    middle, with the hash of each stream there, by the stream's id: then what stands before is believed.
    """

    def __init__(self, position: Position = START, hashes: Mapping[bytes, bytes] | None = None) -> None:
        self.position = position
        self._hashes = dict(hashes or {})
        #: By topic: its length and itself, as they are hashed.
        self._topics: dict[str, bytes] = {}

    def check(self, row: Row, stream: bytes) -> None:
        """Raise SealBrokenError where the next record is missing, or is not as it was written."""
        self.check_all((row,), {row[1]: (stream, "")})

    def check_all(self, rows: Iterable[Row], streams: Mapping[int, tuple[bytes, str]]) -> None:
        """Check the next records one after the other; `streams` gives the id and name of a stream by its number."""
        # `link`, written out: of millions of records, a call for each is a tenth of what their check costs.
        hashes, topics, pack, join, last = self._hashes, self._topics, _NUMBERS.pack, b"".join, int(self.position)
        try:
            for position, number, version, recorded_at, topic, state, stored in rows:
                if position != last + 1:
                    raise SealBrokenError(last + 1, reason="it is missing")
                try:
                    stream = streams[number][0]
                    previous, name = hashes.get(stream, GENESIS), topics.get(topic) or self._take_topic(topic)
                    numbers = pack(version, position, recorded_at)
                    computed = sha256(join((_BEGIN, previous, stream, numbers, name, state))).digest()
                except KeyError as error:
                    reason = f"there is no stream of number {number!r}"
                    raise SealBrokenError(position, reason=reason) from error
                except (struct.error, AttributeError, TypeError, UnicodeEncodeError) as error:
                    reason = f"its columns do not hold what they should ({error})"
                    raise SealBrokenError(position, reason=reason) from error
                if computed != stored:
                    reason = "its hash is not that of its content after the record before it"
                    raise SealBrokenError(position, reason=reason)
                hashes[stream] = stored
                last = position
        finally:
            self.position = Position(last)

    def _take_topic(self, topic: str) -> bytes:
        name = topic.encode()
        self._topics[topic] = _LENGTH.pack(len(name)) + name
        return self._topics[topic]

    def __copy__(self) -> "Chain":
        """Give a chain that goes on from here by itself."""
        return Chain(self.position, self._hashes)

    def end_of(self, stream: bytes) -> bytes:
        """The hash of the last record of a stream so far."""
        return self._hashes.get(stream, GENESIS)

    def fits(self, row: Row, stream: bytes, position: int) -> bool:
        """Whether a record would pass as the next one if it stood at this position."""
        _, _, version, recorded_at, topic, state, stored = row
        try:
            return link(self.end_of(stream), stream, version, position, recorded_at, topic, state) == stored
        except (struct.error, AttributeError, TypeError, UnicodeEncodeError):
            return False

    def close(self, head: int, hashes: dict[bytes, bytes]) -> None:
        """Raise SealBrokenError where records are missing at the end: compare the head and each stream's last hash."""
        if head != self.position:
            raise SealBrokenError(min(head, self.position) + 1, reason=f"the log should end at {head}")
        if hashes != self._hashes:
            raise SealBrokenError(head, reason="the table of streams does not end with the hashes of the records")
