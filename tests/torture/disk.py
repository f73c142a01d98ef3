"""A disk in memory, of what a program did to files: what is safe on it, and what a power cut may leave of the rest.

The model is as bad as POSIX allows. A file's content is safe once the file was synced, a name once its directory was;
until then each write, length and name is there, or not, or in parts, whatever was done after it. Files are what names
lead to, and not the names: what was written to a file that is deleted does not come back in the next one of its name.

It assumes what SQLite assumes (https://sqlite.org/psow.html): a write does not damage bytes beside those it writes.
"""

import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SECTOR: Final = 512

File = int
"""A file, by the number of its creation: as an inode, but none is used twice."""


@dataclass(frozen=True, slots=True)
class Written:
    file: File
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file got another length."""

    file: File
    size: int


@dataclass(frozen=True, slots=True)
class Named:
    """A name leads to a file from now on, or (None) nowhere."""

    name: str
    file: File | None


@dataclass(frozen=True, slots=True)
class Synced:
    """A file's content is safe; None: the names of the directory are."""

    file: File | None


@dataclass(frozen=True, slots=True)
class Said:
    """The program said a line to the world outside, where no power cut takes it back."""

    line: bytes


Call = Written | Cut | Named | Synced | Said

# ------------------------------------------------------------------------------------------------------ recording

_TRACED: Final = (
    *("openat", "close", "write", "pwrite64", "ftruncate", "fsync", "fdatasync"),
    *("unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "fallocate", "pwritev", "writev"),
)
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED: Final = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_DONE: Final = re.compile(r"(?P<arguments>.*)\) += (?P<result>-?\d+)(?: .*)?$", re.DOTALL)
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def record(folder: Path, module: str, *arguments: str) -> list[Call]:
    """Run ``python -m module`` under strace, and give what it did in a folder, and what it said on standard output."""
    trace = folder.with_suffix(".strace")
    strace = ["strace", "-f", "--seccomp-bpf", "-xx", "-s", "10000000", "-o", trace, "-e", f"trace={','.join(_TRACED)}"]
    command = [*strace, sys.executable, "-m", module, *arguments]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.DEVNULL)
    return list(_Reader(folder).calls(trace.read_text().splitlines()))


class _Reader:
    """Reads strace's lines; keeps what each descriptor is open on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, File] = {}
        #: By descriptor; None where that is the folder itself.
        self._open: dict[int, File | None] = {}
        self._files = 0

    def calls(self, lines: Iterable[str]) -> Iterator[Call]:
        begun: dict[str, tuple[str, str]] = {}
        for line in lines:
            if resumed := _RESUMED.match(line):
                name, rest = begun.pop(resumed["thread"])
                rest += resumed["rest"]
            elif called := _LINE.match(line):
                name, rest = called["name"], called["rest"]
                if rest.endswith("<unfinished ...>"):
                    begun[called["thread"]] = name, rest.removesuffix("<unfinished ...>")
                    continue
            else:
                continue
            if (done := _DONE.match(rest)) and int(done["result"]) >= 0:
                yield from self._call(name, done["arguments"], int(done["result"]))

    def _call(self, name: str, arguments: str, result: int) -> Iterator[Call]:
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
        number = int(arguments.partition(",")[0]) if arguments[:1].isdigit() else -1
        match name:
            case "openat":
                yield from self._opened(Path(texts[0].decode()), arguments, result)
            case "close":
                self._open.pop(number, None)
            case "write" if number == 1:
                if self._names:  # before, other programs that were started may speak too
                    yield Said(texts[0].strip())
            case _ if number in self._open:
                yield self._changed(name, number, arguments, texts)
            case "unlink":
                yield from self._unlinked(Path(texts[0].decode()))
            case _ if any(text.startswith(bytes(self._folder)) for text in texts):
                raise NotImplementedError(f"{name}({arguments[:200]}")
            case _:
                pass

    def _opened(self, path: Path, arguments: str, descriptor: int) -> Iterator[Call]:
        self._open.pop(descriptor, None)
        if path == self._folder:
            self._open[descriptor] = None
        elif path.parent == self._folder and not path.name.endswith("-shm"):  # that one is made anew at every start
            assert "O_TRUNC" not in arguments, arguments
            if path.name not in self._names:
                self._files += 1
                self._names[path.name] = self._files
                yield Named(path.name, self._files)
            self._open[descriptor] = self._names[path.name]

    def _unlinked(self, path: Path) -> Iterator[Call]:
        if path.parent == self._folder and path.name in self._names:
            del self._names[path.name]
            yield Named(path.name, None)

    def _changed(self, name: str, number: int, arguments: str, texts: list[bytes]) -> Call:
        file = self._open[number]
        match name:
            case "fsync" | "fdatasync":
                return Synced(file)
            case "pwrite64" if file is not None:
                return Written(file, int(arguments.rsplit(",", 1)[1]), texts[0])
            case "ftruncate" if file is not None:
                return Cut(file, int(arguments.rsplit(",", 1)[1]))
            case _:
                raise NotImplementedError(f"{name}({arguments[:200]}")


# ------------------------------------------------------------------------------------------------------ the disk


@dataclass(slots=True)
class Disk:
    """What is safe, and what is under way."""

    names: dict[str, File] = field(default_factory=dict)
    files: dict[File, bytearray] = field(default_factory=dict)
    pending: list[Written | Cut | Named] = field(default_factory=list)

    def take(self, call: Written | Cut | Named | Synced) -> None:
        """Let a call happen."""
        if not isinstance(call, Synced):
            self.pending.append(call)
            return
        waiting, self.pending = self.pending, []
        for each in waiting:
            if call.file == (None if isinstance(each, Named) else each.file):
                _apply(self.names, self.files, each)
            else:
                self.pending.append(each)

    def after_a_cut(self, draw: random.Random) -> Mapping[str, bytes]:
        """The content of each file by its name, as one power cut could leave it now."""
        names, files = dict(self.names), dict(self.files)
        for call in _survivors(self.pending, draw):
            if not isinstance(call, Named) and files.get(call.file) is self.files.get(call.file):
                files[call.file] = bytearray(files.get(call.file, b""))
            _apply(names, files, call)
        return {name: bytes(files.get(file, b"")) for name, file in names.items()}


def _apply(names: dict[str, File], files: dict[File, bytearray], call: Written | Cut | Named) -> None:
    match call:
        case Named(name, None):
            names.pop(name, None)
        case Named(name, int(file)):
            names[name] = file
        case Written(file, offset, data):
            content = files.setdefault(file, bytearray())
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        case Cut(file, size):
            content = files.setdefault(file, bytearray())
            content.extend(bytes(max(0, size - len(content))))
            del content[size:]


def _survivors(pending: list[Written | Cut | Named], draw: random.Random) -> Iterator[Written | Cut | Named]:
    """What a power cut leaves of what was under way."""
    if draw.random() < 0.25:
        yield from pending[: draw.randint(0, len(pending))]  # all up to a moment, as a disk would that keeps the order
        return
    for call in pending:
        fate = draw.random()
        if fate < 0.4:
            yield call
        elif isinstance(call, Written) and fate < 0.7:
            yield from (part for part in _sectors(call) if draw.random() < 0.5)
        elif isinstance(call, Written) and fate < 0.8:
            part = draw.choice(list(_sectors(call)))
            yield Written(part.file, part.offset, draw.randbytes(len(part.data)))
        elif not isinstance(call, Written) and fate < 0.7:
            yield call


def _sectors(call: Written) -> Iterator[Written]:
    """A write in the parts that a disk writes whole."""
    at = call.offset
    while at < call.offset + len(call.data):
        end = min(at - at % SECTOR + SECTOR, call.offset + len(call.data))
        yield Written(call.file, at, call.data[at - call.offset : end - call.offset])
        at = end
