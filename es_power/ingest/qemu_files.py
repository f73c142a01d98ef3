"""The qemu logs of one folder as files that grow, are emptied, renamed and copied: what is new in each since last time.

A content is known by its mark, the hash of its first line (which has the time of a start to the millisecond), not by
its name or inode alone: logrotate copies a log and empties it (copytruncate, as Debian ships it), virtlogd renames it,
a session's libvirt empties it at every start, and an inode is used again. Where a name has another content than before,
what was not read yet of the former one is looked for among ``NAME.log.*``, and read first.

Everything here blocks, and raises nothing but the OSError of a folder that cannot be read.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

from es_power.domain.events import InstanceId
from es_power.domain.time import Timestamp
from es_power.ingest.opening import UNREADABLE, Text, open_plain, open_text
from es_power.ingest.qemu_log import QemuLine, QemuLogParser

_HEAD: Final = 256
"""Bytes of a first line that make its mark."""

_PIECE: Final = 2**16
_AT_ONCE: Final = 2**22
"""Bytes that are read of one file before the others have their turn."""

_BACK: Final = 2**24
"""Bytes before a file's end in which its last start is looked for."""

_UUID: Final = re.compile(rb"(?:^|\s)-uuid ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")

_ROTATED: Final = re.compile(r"(.*\.log)[.-][0-9][0-9-]*(?:\.[a-z0-9]+)?", re.DOTALL)

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a content was read before, and whose log it was."""

    inode: int
    offset: int
    instance: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A VM's log is followed from an offset on."""

    instance: InstanceId
    inode: int
    offset: int
    mark: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What one file told, in its order; every fact's VM is known, and was opened before."""

    file: str
    found: Sequence[Opened | QemuLine]


class _Listing:
    """What is in the folder: the logs, and what rotation made of their former contents."""

    def __init__(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            self._entries = sorted(entries, key=lambda entry: entry.name)
        self.logs = {entry.name: entry for entry in self._entries if entry.name.endswith(".log")}
        self._former: dict[str, list[tuple[int, str, os.DirEntry[str]]]] | None = None

    def rotated(self, name: str) -> "list[os.DirEntry[str]]":
        """The former contents of a log, the oldest first."""
        if self._former is None:
            self._former = {}
            for entry in self._entries:
                with suppress(OSError):
                    if (found := _ROTATED.fullmatch(entry.name)) and stat.S_ISREG((seen := entry.stat()).st_mode):
                        self._former.setdefault(found[1], []).append((seen.st_mtime_ns, entry.name, entry))
        return [entry for _, _, entry in sorted(self._former.get(name, ()), key=lambda each: each[:2])]


@dataclass(slots=True)
class _File:
    """A log by its name: the content that it had, and how far that was read."""

    name: str
    mark: bytes
    inode: int
    parser: QemuLogParser
    #: Where reading of this content began, and the VM for which that was told.
    begun: int
    told: InstanceId | None = None

    def start_over(self, mark: bytes, inode: int) -> None:
        """Have another content, from its beginning; of the same VM, until its first start says otherwise."""
        self.parser = QemuLogParser(instance=self.parser.instance, name=self.parser.name)
        self.mark, self.inode, self.begun, self.told = mark, inode, 0, None


class QemuFiles:
    """Reads what the logs in a folder gained, file by file."""

    def __init__(
        self, folder: Path, *, known: Mapping[bytes, Sequence[Place]], since: Timestamp, first: bool = False
    ) -> None:
        """Go on at the places that are `known`, by mark.

        `since` is when the folder was first followed: what a file tells from before then is history, and passed over.
        The `first` time of all, each file that is there is read from its end.
        """
        self.folder = folder
        self._known = known
        self._since = since
        self._first = first
        self._files: dict[str, _File] = {}
        self._signatures: dict[str, Signature] = {}
        #: The logs that may not be read.
        self.denied: set[str] = set()
        #: Whether there is more to be read at once.
        self.more = False

    def read(self) -> Iterator[News]:
        """Give what is new."""
        self.more = False
        listed = _Listing(self.folder)
        self.denied &= listed.logs.keys()
        for entry in listed.logs.values():
            with suppress(*UNREADABLE):
                yield from self._look(entry, listed)
        for name in self._files.keys() - listed.logs.keys():
            with suppress(*UNREADABLE):
                yield from self._renamed(self._files[name], listed)
        self._first = False

    # ---------------------------------------------------------------------------------------------- one file

    def _look(self, entry: "os.DirEntry[str]", listed: _Listing) -> Iterator[News]:
        seen, name = entry.stat(), entry.name
        # ctime: it changes with the content, and with who may read it.
        signature = seen.st_ino, seen.st_size, seen.st_ctime_ns
        if self._signatures.get(name) == signature or not stat.S_ISREG(seen.st_mode):
            return
        self._signatures[name] = signature
        try:
            text = open_plain(entry.path)
        except PermissionError:
            self.denied.add(name)
            return
        with text:
            self.denied.discard(name)
            mark, inode = _mark(text), os.fstat(text.fileno()).st_ino
            file = self._files.get(name)
            if file is None:
                if not mark:
                    return  # without a first line there is nothing to know it by
                file = self._files[name] = self._begin(name, mark, inode, text, listed)
            if mark != file.mark or seen.st_size < file.parser.offset:
                if file.mark:
                    yield from self._former(file, listed)
                file.start_over(mark, inode)
            if mark:
                yield from self._advance(file, text, most=_AT_ONCE)

    def _begin(self, name: str, mark: bytes, inode: int, text: Text, listed: _Listing) -> _File:
        """Find where to go on in a log that was not looked at since the start: perhaps in a rotated one."""
        if place := self._place(mark, inode):
            return _at(place, name, mark)
        if self._first:
            offset, instance = _end(text)
            parser = QemuLogParser(offset=offset, instance=instance)
            return _File(name, mark, inode, parser, begun=offset)
        for other in reversed(listed.rotated(name)):
            if place := self._place(before := _mark_at(other.path), other.inode()):
                return _at(place, name, before)
        return _File(name, mark, inode, QemuLogParser(), begun=0)

    def _place(self, mark: bytes, inode: int) -> Place | None:
        places = self._known.get(mark, ())
        same = [place for place in places if place.inode == inode]
        # Two VMs started in the same millisecond have one mark; a copy of either is not told apart.
        return same[0] if same else places[0] if len(places) == 1 else None

    def _former(self, file: _File, listed: _Listing) -> Iterator[News]:
        """Read the rest of a content that is no longer the log's own, and every content that came after it."""
        found = False
        for other in listed.rotated(file.name):
            mark = _mark_at(other.path)
            if found:
                file.start_over(mark, other.inode())
            found = found or mark == file.mark
            if found:
                with suppress(*UNREADABLE), open_text(other.path) as text:
                    yield from self._advance(file, text)

    def _renamed(self, file: _File, listed: _Listing) -> Iterator[News]:
        """Follow a log that was renamed, while nothing is in its place: whoever writes it still has it open."""
        for other in listed.rotated(file.name):
            if other.inode() == file.inode and other.stat().st_size > file.parser.reached:
                with open_plain(other.path) as text:
                    yield from self._advance(file, text)

    def _advance(self, file: _File, text: Text, *, most: int | None = None) -> Iterator[News]:
        """Read on from where the file's parser is."""
        text.seek(file.parser.reached)
        read = 0
        while piece := text.read(_PIECE):
            if found := list(self._tell(file, file.parser.feed(piece))):
                yield News(file=file.name, found=found)
            read += len(piece)
            if most is not None and read >= most:
                self.more = True
                self._signatures.pop(file.name)
                return
        if found := list(self._tell(file, ())):
            yield News(file=file.name, found=found)

    def _tell(self, file: _File, facts: Iterable[QemuLine]) -> Iterator[Opened | QemuLine]:
        for fact in facts:
            if fact.instance is not None and fact.at >= self._since:
                yield from _open(file, fact.instance)
                yield fact
        if file.parser.instance is not None:
            yield from _open(file, file.parser.instance)


def _open(file: _File, instance: InstanceId) -> Iterator[Opened]:
    if instance != file.told:
        file.told = instance
        yield Opened(instance=instance, inode=file.inode, offset=file.begun, mark=file.mark)


def _at(place: Place, name: str, mark: bytes) -> _File:
    parser = QemuLogParser(offset=place.offset, instance=place.instance)
    return _File(name, mark, place.inode, parser, begun=place.offset, told=place.instance)


# --------------------------------------------------------------------------------------------------- contents


def _mark(text: Text) -> bytes:
    """Hash a content's first line; empty where it has no whole one yet."""
    text.seek(0)
    head = text.read(_HEAD)
    line, end, _ = head.partition(b"\n")
    return sha256(line).digest()[:16] if end or len(head) == _HEAD else b""


def _mark_at(path: str) -> bytes:
    with suppress(*UNREADABLE), open_text(path) as text:
        return _mark(text)
    return b""


def _end(text: Text) -> tuple[int, InstanceId | None]:
    """Find the end of a log's last whole line, and whose log it was at its last start."""
    size = end = text.seek(0, os.SEEK_END)
    begin, tail, offset = end, b"", None
    while begin > max(0, size - _BACK):
        begin = max(0, begin - _PIECE)
        text.seek(begin)
        tail = text.read(end - begin) + tail[:_HEAD]
        if offset is None and b"\n" in tail:
            offset = begin + tail.rindex(b"\n") + 1
        if found := _UUID.findall(tail):
            return offset or size, InstanceId(UUID(found[-1].decode()))
        end = begin
    return offset or size, None
