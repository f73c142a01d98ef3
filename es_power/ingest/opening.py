"""Files as bytes of text, however they are compressed: what a file is says its beginning, not its name."""

import bz2
import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, Final

Text = BufferedIOBase

UNREADABLE: Final = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What opening or reading a file raises that is not there, not ours to read, or damaged."""

_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"

_OPENERS: Final[Mapping[bytes, Callable[[BufferedReader], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}


def open_plain(path: str | Path) -> BufferedReader:
    """Open a regular file as it is; a pipe or a device is none of ours, and would keep whoever opens it waiting."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "is no file", str(path))
    return os.fdopen(handle, "rb")


@contextmanager
def open_text(path: str | Path) -> Iterator[Text]:
    """Open a file to read its text, through gzip, bzip2 or xz where it begins as they do."""
    with open_plain(path) as plain, opened(plain) as text:
        yield text


@contextmanager
def opened(plain: BufferedReader) -> Iterator[Text]:
    """Read the text of what is open already."""
    head = plain.peek(6)
    if head.startswith(_ZSTANDARD):
        with _zstandard(plain) as text:
            yield text
        return
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            with opener(plain) as text:
                yield text
            return
    yield plain


def _zstandard(plain: BufferedReader) -> Text:
    """Open what zstd compressed, which Python can since 3.14."""
    try:
        opened: Text = import_module("compression.zstd").open(plain)
    except ImportError:
        raise OSError(
            0, "it is compressed by zstd: give `zstd -dc FILE` to standard input, and - for the file"
        ) from None
    return opened
