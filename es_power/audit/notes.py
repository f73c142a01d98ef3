"""Signed notes and checkpoints, in the forms that C2SP gives them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A note is a text, an empty line, and lines of signatures; a checkpoint is a note whose text has an origin, the number
of records and the tree's root. So other programs read ours, and may sign it too::

    kvm-07.example.org/es-power
    48102
    p+rYkNq1Cg3t1mFZ5S3mKx0o7tW9lNnQ3mNqvJtOQ4c=

    — kvm-07.example.org/es-power x08go/ZJ...

Rules of this file:
1. What is not exactly of the form is refused, NoteError: a text that may be read in two ways must not be signed.
2. Many notes in one file are read too, as a place that takes them appends them, and so are the lines of a syslog. What
   is between them, or was cut off by a full disk, is no note and is counted.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from es_power.errors import NoteError

LARGEST: Final = 1_000_000
"""Bytes of a note, at most."""

_MOST: Final = 100  # signatures of a note
_DASH: Final = "\N{EM DASH} "
_HASH: Final = 32
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
#: A note in one line, as `places` sends it to a syslog: there, no line end survives.
_LINE: Final = re.compile(r"checkpoint: (\S+) (0|[1-9]\d*) (\S+) \N{EM DASH} (\S+) ([A-Za-z0-9+/=]+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Signature:
    """One line of signature, with the id of its key."""

    name: str
    key: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {b64encode(self.key + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, and who signed it; the signatures are not checked yet."""

    text: str
    signatures: Sequence[Signature]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log as it was up to a position."""

    origin: str
    #: How many records it had.
    size: int
    root: bytes
    #: Further lines, which may say anything.
    extensions: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The text to be signed."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def read_note(text: str) -> Note:
    """Read a note; NoteError where it is not one."""
    if len(text.encode(errors="replace")) > LARGEST:
        raise NoteError(f"a note has at most {LARGEST:,} bytes")
    if wrong := next((char for char in text if char < " " and char != "\n"), None):
        raise NoteError(f"a note has no control characters, such as {wrong!r}")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise NoteError("a note is UTF-8")
    body, separator, lines = text.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise NoteError("a note is a text, an empty line, and lines with signatures, each line ended")
    signed = lines.removesuffix("\n").split("\n")
    if len(signed) > _MOST:
        raise NoteError(f"a note has at most {_MOST} signatures")
    return Note(f"{body}\n", [_signature(line) for line in signed])


def read_checkpoint(note: Note) -> Checkpoint:
    """Read a note's text as a checkpoint; NoteError where it is not one."""
    origin, *rest = note.text.removesuffix("\n").split("\n")
    if len(rest) < 2 or not origin or "" in rest:  # noqa: PLR2004 (size and root)
        raise NoteError("a checkpoint is an origin, a number of records and a root, each on a line")
    size, root, *extensions = rest
    if not _SIZE.fullmatch(size):
        raise NoteError(f"{size[:40]!r} is no number of records")
    return Checkpoint(origin=origin, size=int(size), root=read_base64(root, _HASH), extensions=tuple(extensions))


def find_notes(text: str) -> tuple[list[Note], int]:
    """Read the notes that a place has gathered; also the number of parts between them that are none."""
    found: list[Note] = []
    for origin, size, root, name, signature in _LINE.findall(text):
        try:
            found.append(read_note(f"{origin}\n{size}\n{root}\n\n{_DASH}{name} {signature}\n"))
        except NoteError:
            continue
    text = "".join(line for line in text.splitlines(keepends=True) if not _LINE.search(line)) if found else text
    body, broken = "", 0
    for part in re.split(r"\n{2,}", text.strip("\n")) if text.strip("\n") else ():
        if not part.startswith(_DASH):
            broken += bool(body)
            body = part
            continue
        try:
            found.append(read_note(f"{body}\n\n{part}\n"))
        except NoteError:
            broken += 1
        body = ""
    return found, broken + bool(body)


def in_one_line(note: Note) -> str:
    """Write a checkpoint with its first signature in one line, for a syslog; `find_notes` reads it."""
    origin, size, root = note.text.splitlines()[:3]
    signed = note.signatures[0]
    return f"checkpoint: {origin} {size} {root} {str(signed).removesuffix(chr(10))}"


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_name(name):
        raise NoteError(f"{line[:80]!r} is no signature's line")
    signed = read_base64(encoded)
    if len(signed) <= 4:  # noqa: PLR2004 (the key's id)
        raise NoteError(f"{line[:80]!r} is no signature's line: it is too short")
    return Signature(name, signed[:4], signed[4:])


def is_name(text: str) -> bool:
    """Whether a key may bear that name: UTF-8, no blank of any kind in it, and no plus."""
    return bool(text) and not any(char == "+" or char.isspace() or "\ud800" <= char <= "\udfff" for char in text)


def read_base64(text: str, size: int | None = None) -> bytes:
    """Read base64 in its one right way: what two texts stand for could be changed without a trace."""
    try:
        value = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{text[:60]!r} is not base64") from error
    if b64encode(value).decode() != text or (size is not None and len(value) != size):
        raise NoteError(f"{text[:60]!r} is not base64 of {size or 'some'} bytes")
    return value
