"""Files to import, a piece at a time: in which order, what each piece tells, and where a file breaks off."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol, cast

from es_power.domain.events import Event, InstanceId
from es_power.domain.ports import LabelText
from es_power.ingest.importing import nova_facts
from es_power.ingest.nova_log import NovaLine, NovaLogParser
from es_power.ingest.opening import open_plain, opened
from es_power.ingest.qemu_follow import facts_of
from es_power.ingest.qemu_log import QemuLine, QemuLogParser
from es_power.log.labels import make_label

PIECE: Final = 2**20
"""Bytes of text that are parsed at once."""

HELD: Final = 10_000
"""Facts of a file that wait until it says whose log it is."""

STDIN: Final = Path("-")

# No two parts of it may take the same characters, or some names would be tried in more ways than there is time for.
_ROTATED: Final = re.compile(r"(.+?\.log)(?:[.-](\d{1,14}))?(?:[.-]+\w+)*", re.DOTALL)
_DATED: Final = 10**6  # logrotate's dateext


@dataclass(frozen=True, slots=True)
class Found:
    """What a piece of a file told: facts, the texts of their labels, and the names of VMs."""

    facts: Sequence[Event] = ()
    labels: Sequence[LabelText] = ()
    names: Mapping[InstanceId, str] = field(default_factory=dict)

    def __add__(self, later: "Found") -> "Found":
        """Put two pieces together."""
        return Found([*self.facts, *later.facts], [*self.labels, *later.labels], {**self.names, **later.names})


class Reader(Protocol):
    """Makes facts of one file's text."""

    #: How many facts are of a VM that nothing names.
    unknown: int

    @property
    def ambiguous(self) -> int:
        """How many facts are at a time that a change of clocks made twice."""

    @property
    def unparsed(self) -> tuple[int, int]:
        """How many lines could not be read, and the number of the first of them."""

    def feed(self, data: bytes) -> Found:
        """Read on."""

    def finish(self) -> Found:
        """Read the end."""


class QemuLogReader:
    """Reads one VM's qemu log, after its `former` contents; `vm` is who bears the file's name, where that is known."""

    def __init__(self, file: str, *, former: "QemuLogReader | None" = None, vm: InstanceId | None = None) -> None:
        before = former.parser if former else QemuLogParser()
        self.parser: QemuLogParser = QemuLogParser(instance=before.instance, name=before.name)
        self.unknown = 0
        self._name = vm_name(file)
        self._file, self._text = make_label(file)
        self._vm = vm
        self._held: list[QemuLine] = []

    @property
    def ambiguous(self) -> int:
        """See `Reader`: its times are in UTC."""
        return 0

    @property
    def unparsed(self) -> tuple[int, int]:
        """See `Reader`."""
        return self.parser.unparsed, self.parser.first_unparsed

    def feed(self, data: bytes) -> Found:
        """See `Reader`."""
        self._held += self.parser.feed(data)
        if self.parser.instance is None:
            # Whose log it is may come later; no file has as many ends without a start between them.
            self.unknown += len(self._held[HELD:])
            del self._held[HELD:]
            return Found()
        return self._found(self.parser.instance)

    def finish(self) -> Found:
        """See `Reader`."""
        self._held += self.parser.finish()
        instance = self.parser.instance or self._vm
        if instance is None:
            self.unknown += len(self._held)
            return Found()
        return self._found(instance)

    def _found(self, instance: InstanceId) -> Found:
        # What stands before the first start is of the VM that is started there.
        first = next((line.instance for line in self._held if line.instance is not None), instance)
        lines = [line if line.instance is not None else replace(line, instance=first) for line in self._held]
        self._held = []
        labels = [self._text]
        names = {line.instance: line.name or self._name for line in lines if line.instance is not None}
        return Found(
            facts=list(facts_of(lines, self._file, labels)),
            labels=labels,
            names={instance: name for instance, name in names.items() if name},
        )


class NovaLogReader:
    """Reads one nova-compute log."""

    def __init__(self, file: str, zone: tzinfo) -> None:
        self._parser = NovaLogParser(zone)
        self._file, self._text = make_label(file)
        self.unknown = 0

    @property
    def ambiguous(self) -> int:
        """See `Reader`."""
        return self._parser.ambiguous

    @property
    def unparsed(self) -> tuple[int, int]:
        """See `Reader`."""
        return self._parser.unparsed, self._parser.first_unparsed

    def feed(self, data: bytes) -> Found:
        """See `Reader`."""
        return self._found(self._parser.feed(data))

    def finish(self) -> Found:
        """See `Reader`."""
        return self._found(self._parser.finish())

    def _found(self, lines: Iterable[NovaLine]) -> Found:
        labels = [self._text]
        return Found(facts=list(nova_facts(lines, self._file, labels)), labels=labels)


# ------------------------------------------------------------------------------------------------------- files


def log_name(path: Path) -> str:
    """Name the log that a file is, or was before rotation: ``web-1.log.2.gz`` is ``web-1.log``."""
    found = _ROTATED.fullmatch(path.name)
    return found[1] if found else path.name


def vm_name(file: str) -> str | None:
    """Name the VM that libvirt names a log after; None for a stream without a name."""
    return None if file == str(STDIN) else log_name(Path(file)).removesuffix(".log")


def oldest_first(paths: Iterable[Path]) -> list[Path]:
    """Put each log's former contents before its present one, as logrotate and virtlogd name them."""

    def place(path: Path) -> tuple[str, str, int, int]:
        found = _ROTATED.fullmatch(path.name)
        number = int(found[2]) if found and found[2] else None
        kind = 2 if number is None else 0 if number >= _DATED else 1
        return str(path.parent), log_name(path), kind, (number or 0) if kind != 1 else -(number or 0)

    return sorted(dict.fromkeys(paths), key=place)


def pieces(path: Path) -> Iterator[tuple[bytes, int]]:
    """Give a file's text, and after each piece how far the file itself was read; raises `opening.UNREADABLE`."""
    with _plain(path) as plain, opened(plain) as text:
        done = 0
        # What a damaged file still has comes before its error: read1 gives what there is.
        while data := text.read1(PIECE):
            done = done + len(data) if path == STDIN else plain.tell()
            yield data, done


@contextmanager
def _plain(path: Path) -> Iterator[BufferedReader]:
    if path == STDIN:
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    with open_plain(path) as plain:
        yield plain


MakeReader = Callable[[Path], Reader]
