"""libvirt's log of one VM's qemu (``/var/log/libvirt/qemu/NAME.log``): bytes in, starts and ends out. Pure.

What stands there, as libvirt 9.0 and qemu 7.2 write it, all in UTC::

    2026-11-22 03:10:00.123+0000: starting up libvirt version: 9.0.0, package: ..., hostname: kvm-07
    LC_ALL=C \
    /usr/bin/qemu-system-x86_64 \
    -name guest=web-1,debug-threads=on \
    -uuid 4dea22b3-1d52-d8f3-2516-782e98ab3fa0 \
    -msg timestamp=on
    2026-11-22T03:12:07.391442Z qemu-system-x86_64: terminating on signal 15 from pid 4711 (bash)
    2026-11-22 03:12:09.020+0000: shutting down, reason=shutdown

Older ones have the command in one line, no version and no reason. Which VM it is stands in the command only. A
session's libvirt empties the file at each start; the system's appends, and leaves the rest to logrotate. Everything
else in it (qemu's warnings, environment, devices) is passed over; a line that has the words of a fact and not its form,
is longer than `lines.LINE` or is no text is counted. Nothing that is fed raises.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

from es_power.domain.events import InstanceId
from es_power.domain.time import Timestamp
from es_power.ingest.lines import Lines, read_time

_STAMP: Final = r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d{4}))"
_STARTING: Final = re.compile(_STAMP + r": starting up(?: libvirt version: .*)?", re.ASCII)
_ENDING: Final = re.compile(_STAMP + r": shutting down(?:, reason=([a-z][a-z _-]{0,30}))?", re.ASCII)
# qemu's system/runstate.c, qemu_kill_report: a signal without a sender has neither pid nor name.
_TERMINATING: Final = re.compile(
    _STAMP + r" .*?: terminating on signal (\d{1,3})(?: from pid (\d{1,10})(?: \((.*)\))?)?", re.ASCII
)
_NOBODY: Final = frozenset({"", "<unknown process>"})
_WORDS: Final = (b": starting up", b": shutting down", b": terminating on signal ")

REASONS: Final = frozenset(
    {"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"}
)
"""libvirt's words for an end (virDomainShutoffReason)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuLine:
    """A line that tells a fact: when, where it ends in the file, and of which VM as far as the file told."""

    at: Timestamp
    offset: int
    instance: InstanceId | None
    #: The VM's name as the command had it.
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting(QemuLine):
    """libvirt started a qemu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminating(QemuLine):
    """qemu was told to end by a signal; `pid` is 0 where the line names no sender."""

    signal: int
    pid: int
    process: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending(QemuLine):
    """libvirt saw qemu end; `reason` is empty where an old libvirt gave none."""

    reason: str


class QemuLogParser:
    """Reads one VM's log from an offset on, in pieces of any size."""

    def __init__(self, *, offset: int = 0, instance: InstanceId | None = None, name: str | None = None) -> None:
        self._lines = Lines(offset=offset)
        #: Whose log this is, as far as was read; a name may be used by one VM after another.
        self.instance = instance
        self.name = name
        #: How many lines could not be read, and the number of the first of them.
        self.unparsed = 0
        self.first_unparsed = 0
        #: A start whose command did not name the VM yet.
        self._starting: tuple[Timestamp, int] | None = None

    @property
    def offset(self) -> int:
        """Where the last whole line ended."""
        return self._lines.offset

    @property
    def reached(self) -> int:
        """Where what was fed ended."""
        return self._lines.reached

    def feed(self, data: bytes) -> Sequence[QemuLine]:
        """Give the facts of the lines that end in `data`; a half line at its end waits."""
        return [fact for line, offset in self._lines.feed(data) for fact in self._read(line, offset)]

    def finish(self) -> Sequence[QemuLine]:
        """Give the facts of a file's end, where the last line may lack its own; one that may go on is counted."""
        found: list[QemuLine] = []
        for line, offset in self._lines.finish():
            for fact in self._read(line, offset):
                if _is_whole(line or b"", fact):
                    found.append(fact)
                else:
                    self._count()
        return [*found, *self._started()]

    def _read(self, line: bytes | None, offset: int) -> Iterator[QemuLine]:
        if line is None or b"\0" in line:
            self._count()
            return
        try:
            text = line.decode()
        except UnicodeDecodeError:
            if not any(words in line for words in _WORDS):
                self._count()
                return
            text = line.decode(errors="backslashreplace")
        if text.startswith(("-name ", "-uuid ")) or " -uuid " in text:
            yield from self._command(text)
        elif any(words in line for words in _WORDS):
            yield from self._fact(text, offset)

    def _fact(self, text: str, offset: int) -> Iterator[QemuLine]:
        for pattern in (_STARTING, _ENDING, _TERMINATING):
            if (found := pattern.fullmatch(text)) and (at := read_time(found[1])) is not None:
                break
        else:
            self._count()
            return
        yield from self._started()
        if pattern is _STARTING:
            self._starting = at, offset
        elif pattern is _ENDING:
            yield Ending(at=at, offset=offset, instance=self.instance, name=self.name, reason=found[2] or "")
        else:
            yield Terminating(
                at=at,
                offset=offset,
                instance=self.instance,
                name=self.name,
                signal=int(found[2]),
                pid=int(found[3] or 0),
                process=None if (found[4] or "") in _NOBODY else found[4],
            )

    def _command(self, text: str) -> Iterator[QemuLine]:
        """Read a part of the command, or all of it: who it starts stands in it once, and only after a start."""
        try:
            words = shlex.split(text.removesuffix("\\"))
        except ValueError:
            return  # a word that goes on in the next line, so neither of the two that are looked for
        options = dict(reversed([*pairwise(words)]))  # the first of each
        if (named := options.get("-name")) is not None:
            self.name = _guest(named)
        if "-uuid" in options and self._starting is not None:
            try:
                self.instance = InstanceId(UUID(options["-uuid"]))
            except ValueError:
                self._count()
            yield from self._started()

    def _count(self) -> None:
        self.unparsed += 1
        self.first_unparsed = self.first_unparsed or self._lines.number

    def _started(self) -> Iterator[QemuLine]:
        if self._starting is not None:
            at, offset = self._starting
            self._starting = None
            yield Starting(at=at, offset=offset, instance=self.instance, name=self.name)


def _is_whole(line: bytes, fact: QemuLine) -> bool:
    match fact:
        case Ending(reason=reason):
            return reason in REASONS
        case Terminating():
            return line.endswith(b")")
        case _:
            return True


def _guest(option: str) -> str | None:
    """Read the name out of ``guest=web-1,debug-threads=on``, or ``web-1`` as of old; a comma in it is doubled."""
    first = re.match(r"(?:[^,]|,,)*", option)
    assert first is not None
    key, equals, value = first[0].partition("=")
    name = value if equals and key == "guest" else first[0]
    return name.replace(",,", ",") or None
