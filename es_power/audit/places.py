"""Places outside of the log that take its checkpoints: a file, a directory on another mount, a syslog.

Rules of this file:
1. A checkpoint in a place is on disk when `put` returns, file and directory, as far as the place can say.
2. A place fails alone, with OSError; what others did is done.
3. No checkpoint takes the place of another: two that contradict each other are what an auditor looks for.
4. A place is worth as much as it is out of reach of whoever can write the log: `beside` says how near it is.
"""

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from es_power.audit.notes import Note, find_notes, in_one_line, read_checkpoint
from es_power.log.folders import sync

SYSLOG: Final = Path("/dev/log")

_PATIENCE: Final = 5.0  # seconds

_PRIORITY: Final = 13 << 3 | 5  # the facility for audits (RFC 5424), and notice


class Place(Protocol):
    """Somewhere that a checkpoint is kept."""

    def put(self, note: Note) -> None:
        """Keep it; OSError where that did not work."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file to which each checkpoint is appended, with an empty line between."""

    path: Path

    @property
    def folder(self) -> Path:
        """The directory in which it is."""
        return self.path.parent

    def put(self, note: Note) -> None:
        """Append it; what an earlier one left unfinished is closed by an empty line first."""
        created = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(file).st_size
            last = os.pread(file, 2, max(0, size - 2))
            begin = "" if last in {b"", b"\n\n"} else "\n\n"
            text = f"{begin}{note}\n".encode()
            if os.write(file, text) != len(text):
                raise OSError(0, "it took only a part", str(self.path))
            os.fsync(file)
        finally:
            os.close(file)
        if created:
            sync(self.path.parent)


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A directory with one file for each checkpoint, named by its size and key, so that names sort as they grew.

    One of the same size and key that says something else has a number behind its name.
    """

    path: Path

    @property
    def folder(self) -> Path:
        """The directory in which they are: itself."""
        return self.path

    def put(self, note: Note) -> None:
        """Write it beside, and give it its name when it is whole; what is there already stays as it is.

        OSError where another was there, though this one is kept too: whoever wrote the log anew has two of one size.
        """
        size, key = read_checkpoint(note).size, note.signatures[0].key.hex()
        name = whole = self.path / f"{size:019d}-{key}.checkpoint"
        others: list[str] = []
        numbers = count(2)
        while whole.exists():
            there, _ = find_notes(whole.read_text(encoding="utf-8", errors="replace"))
            if note.text in {each.text for each in there}:
                break
            others += [whole.name] if there else []  # one that a full disk cut off says nothing
            whole = name.with_stem(f"{name.stem}-{next(numbers)}")
        else:
            self._write(note, whole)
        if others:
            said = f"{', '.join(others)} and {whole.name} differ: two roots of one size are a proof of tampering"
            raise OSError(0, said, str(self.path))

    def _write(self, note: Note, whole: Path) -> None:
        partial = whole.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(str(note))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(whole)
        sync(self.path)


@dataclass(frozen=True, slots=True)
class SyslogPlace:
    """The syslog of this machine, which may send it on; it does not say what became of it."""

    path: Path = SYSLOG

    def put(self, note: Note) -> None:
        """Send it in one line."""
        line = f"<{_PRIORITY}>es-power[{os.getpid()}]: {in_one_line(note)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(_PATIENCE)  # a syslog that hangs lets nobody go
            sending.connect(str(self.path))
            sending.send(line.encode())


def parse_place(text: str) -> Place:
    """Read ``file:/path``, ``directory:/path`` or ``syslog:``; ValueError for anything else."""
    kind, separator, rest = text.partition(":")
    if separator and kind == "syslog":
        return SyslogPlace(Path(rest) if rest else SYSLOG)
    if separator and kind in {"file", "directory"} and rest.startswith("/"):
        return FilePlace(Path(rest)) if kind == "file" else FolderPlace(Path(rest))
    msg = f"{text!r} is no place for checkpoints: file:/PATH, directory:/PATH or syslog:"
    raise ValueError(msg)


class Beside(StrEnum):
    """How near a place is to the log."""

    #: Who can write the log can write what contradicts it.
    FOLDER = "in the folder of the log: whoever can write the log can write its checkpoints too"
    #: A disk that fails takes both, and so may whoever administers it.
    MOUNT = "on the mount of the log: a disk that fails, or who administers it, takes both"


def beside(place: Place, log: Path) -> Beside | None:
    """How near a place is to a log's file; None where it is on another mount, or is none of the file system."""
    if not isinstance(place, FilePlace | FolderPlace):
        return None
    log_folder, folder = log.resolve().parent, place.folder.resolve()
    if folder == log_folder:
        return Beside.FOLDER
    return Beside.MOUNT if _device(folder) == _device(log_folder) else None


def _device(folder: Path) -> int:
    """The device of a directory, or of where it would be made."""
    return next(each for each in (folder, *folder.parents) if each.exists()).stat().st_dev
