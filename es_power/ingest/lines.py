"""Lines out of bytes that come in any pieces: where each ends, none longer than memory should hold, no half one."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final

from es_power.domain.time import Timestamp, timestamp

LINE: Final = 2**18
"""Bytes of a line beyond which it is passed over: qemu's command line has some 10,000, garbage may have no end."""

_LATEST: Final = 2**63


class Lines:
    """Cuts what is fed into lines; what comes after the last line's end waits for more."""

    def __init__(self, *, offset: int = 0, longest: int = LINE) -> None:
        #: Where the last whole line ended: a reader that starts anew goes on there.
        self.offset = offset
        #: The number of the line that was given last, from where this began.
        self.number = 0
        self._longest = longest
        self._half = b""
        #: How long the unfinished line is by now, kept or not.
        self._length = 0

    @property
    def reached(self) -> int:
        """Where what was fed ended: in the middle of a line, perhaps."""
        return self.offset + self._length

    def feed(self, data: bytes) -> Iterator[tuple[bytes | None, int]]:
        """Give each line that ends in `data`, without its end, and the offset after it; None for one too long."""
        *pieces, rest = data.split(b"\n")
        for piece in pieces:
            line = self._half + piece if self._length else piece
            length = self._length + len(piece)
            self.offset += length + 1
            self._half, self._length = b"", 0
            self.number += 1
            yield (line.removesuffix(b"\r") if length <= self._longest else None), self.offset
        self._length += len(rest)
        self._half = self._half + rest if self._length <= self._longest else b""

    def finish(self) -> Iterator[tuple[bytes | None, int]]:
        """Give what stands after the last line's end, where a file has no more than that."""
        if self._length:
            self.offset += self._length
            line = self._half.removesuffix(b"\r") if self._length <= self._longest else None
            self._half, self._length = b"", 0
            self.number += 1
            yield line, self.offset


def read_time(text: str, zone: tzinfo | None = None) -> Timestamp | None:
    """Read a time of ISO 8601, in `zone` where it names none; None where it is none, or none of ours (1970 to 2262)."""
    try:
        read = datetime.fromisoformat(text)
        at = timestamp(read if zone is None or read.tzinfo else read.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return None
    return at if 0 < at < _LATEST else None
