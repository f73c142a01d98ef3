"""Damaged copies of real input, each made by its number: the same number makes the same one on every machine."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

_NUMBERS: Final = (
    b"0", b"-1", b"1e999", b"NaN", b"-0", b"2147483648", b"4294967296", b"9223372036854775807",
    b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"9" * 25, b"9" * 400, b"9" * 5000,
    b"0.1", b"00", b"0000-00-00", b"9999-12-31", b"99:99:99",
)  # fmt: skip
_TEXTS: Final = (
    b"", b"\0", b"\n", b"\r\n", b"\t", b" ", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x1b[2J",
    "\u202e".encode(), "\ufeff".encode(), "🦀".encode(), "é".encode(), b"\\u0000", b"\\ud800", b"'\"\\", b"%00", b"%2f",
    b"../..", b"null", b"true", b"[]", b"{}", b"[" * 3000, b'{"":' * 3000, b"(" * 200, b"=1+1", b"' OR 1=1--",
    b"<script>", b"A" * 300, b"a" * 5000,
)  # fmt: skip
_ROUNDS: Final = (1, 1, 1, 1, 2, 2, 3, 5, 9)
_DIGITS: Final = re.compile(rb"[0-9]+")


class Mutator:
    """Damages samples; `words` are what its kind of input is made of."""

    def __init__(self, samples: Sequence[bytes], words: Sequence[bytes] = ()) -> None:
        self._samples = samples
        self._words = (*words, *_TEXTS)
        self._ways: Sequence[Callable[[bytearray, Random], None]] = (
            self._flip, self._overwrite, self._drop, self._double, self._insert, self._insert, self._number,
            self._splice, self._end, self._exchange,
        )  # fmt: skip

    def make(self, number: int) -> bytes:
        """The damaged copy of this number; a few are whole, so that what is right is tried beside."""
        random = Random(number)
        data = bytearray(random.choice(self._samples))
        if number % 64:
            for _ in range(random.choice(_ROUNDS)):
                random.choice(self._ways)(data, random)
        return bytes(data)

    def _place(self, data: bytearray, random: Random) -> tuple[int, int]:
        begin = random.randint(0, len(data))
        return begin, min(len(data), begin + random.choice((1, 1, 2, 4, 8, 16, 64, 256)))

    def _flip(self, data: bytearray, random: Random) -> None:
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)

    def _overwrite(self, data: bytearray, random: Random) -> None:
        begin, end = self._place(data, random)
        data[begin:end] = random.randbytes(end - begin)

    def _drop(self, data: bytearray, random: Random) -> None:
        begin, end = self._place(data, random)
        del data[begin:end]

    def _double(self, data: bytearray, random: Random) -> None:
        begin, end = self._place(data, random)
        data[begin:begin] = data[begin:end] * random.choice((1, 1, 1, 2, 30))

    def _insert(self, data: bytearray, random: Random) -> None:
        begin, end = self._place(data, random)
        data[begin : random.choice((begin, end))] = random.choice(self._words)

    def _number(self, data: bytearray, random: Random) -> None:
        """Put an extreme number in the place of one."""
        if found := _DIGITS.search(data, random.randint(0, len(data))):
            data[found.start() : found.end()] = random.choice(_NUMBERS)

    def _splice(self, data: bytearray, random: Random) -> None:
        other = random.choice(self._samples)
        data[random.randint(0, len(data)) :] = other[random.randint(0, len(other)) :]

    def _end(self, data: bytearray, random: Random) -> None:
        del data[random.randint(0, len(data)) :]

    def _exchange(self, data: bytearray, random: Random) -> None:
        (one, one_end), (other, other_end) = sorted((self._place(data, random), self._place(data, random)))
        if one_end <= other:
            data[one:other_end] = data[other:other_end] + data[one_end:other] + data[one:one_end]
