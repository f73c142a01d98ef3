"""The qemu logs of one observed host, followed: what libvirt and qemu wrote there becomes facts of a stream of its own.

It runs under the lease of the host's observer. How far each log was read is in the stream itself (the offsets of its
facts), so nothing is told twice, and what happened while no service ran is found by the next. Where logs cannot be
read, that is said once, and the service goes on: a VM without a `QemuLogOpened` has nothing that could tell a killer.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio

from es_power.domain.events import Event, InstanceId, Label
from es_power.domain.logged import LoggedEvent, QemuEnded, QemuLogOpened, QemuStarted, QemuTerminated
from es_power.domain.ports import Clock, EventLog, LabelText
from es_power.domain.streams import qemu_log
from es_power.domain.time import Timestamp
from es_power.errors import UnknownEventError
from es_power.ingest.clock import now
from es_power.ingest.naming import driver_of, is_local
from es_power.ingest.qemu_files import News, Opened, Place, QemuFiles
from es_power.ingest.qemu_log import Ending, QemuLine, Starting, Terminating
from es_power.ingest.stream import OwnStream
from es_power.log.labels import make_label

SPACING: Final = 1.0
"""Seconds between two looks at a folder."""

_BATCH: Final = 1000

_SYSTEM: Final = Path("/var/log/libvirt/qemu")


def log_folder(uri: str, environ: Mapping[str, str], folder: str = "") -> Path | None:
    """Name the folder of a host's qemu logs, `folder` where that is set; None where it has none on this machine."""
    driver = driver_of(uri)
    if not is_local(uri) or driver not in {"qemu", "qemu-session"}:
        return None
    if folder or driver == "qemu":
        return Path(folder or _SYSTEM)
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/") / ".cache"
    return Path(cache) / "libvirt" / "qemu" / "log"


def facts_of(lines: Iterable[QemuLine], file: Label, labels: list[LabelText]) -> Iterator[LoggedEvent]:
    """Make facts of lines whose VM is known; the texts of labels are added to `labels`."""
    for line in lines:
        if line.instance is None:
            continue
        match line:
            case Starting():
                yield QemuStarted(observed_at=line.at, instance=line.instance, file=file, offset=line.offset)
            case Ending(reason=reason):
                yield QemuEnded(
                    observed_at=line.at, instance=line.instance, file=file, offset=line.offset, reason=reason
                )
            case Terminating(signal=signal, pid=pid, process=process):
                named = None
                if process is not None:
                    named, text = make_label(process)
                    labels.append(text)
                yield QemuTerminated(
                    observed_at=line.at,
                    instance=line.instance,
                    file=file,
                    offset=line.offset,
                    signal=signal,
                    pid=pid,
                    process=named,
                )
            case _:
                msg = f"{type(line).__name__} is no line that tells a fact"
                raise AssertionError(msg)


class QemuLogFollower:
    """The only writer of one host's stream of qemu logs."""

    def __init__(
        self, log: EventLog, observer_stream: str, folder: Path, *, spacing: float = SPACING, clock: Clock = now
    ) -> None:
        self._log = log
        self._stream = OwnStream(log, qemu_log(observer_stream), 0)
        self._folder = folder
        self._spacing = spacing
        self._clock = clock
        self._told = structlog.get_logger().bind(folder=str(folder))
        self._said = ""
        self._soon = trio.Event()
        self._labels: dict[str, Label] = {}
        self._files: QemuFiles | None = None

    def look_soon(self) -> None:
        """Have the folder looked at now: something happened to a VM."""
        self._soon.set()

    async def begin(self) -> None:
        """Read how far the stream has come."""
        places: dict[tuple[bytes, int], Place] = {}
        contents: dict[InstanceId, tuple[bytes, int]] = {}
        since: Timestamp | None = None
        version = await self._log.version(self._stream.name)
        while self._stream.version < version:
            for event in await self._next():
                since = event.observed_at if since is None and isinstance(event, QemuLogOpened) else since
                if isinstance(event, QemuLogOpened):
                    key = contents[event.instance] = event.mark, event.inode
                    offset = max(event.offset, places[key].offset) if key in places else event.offset
                    places[key] = Place(inode=event.inode, offset=offset, instance=event.instance)
                elif isinstance(event, LoggedEvent) and event.instance in contents:
                    key = contents[event.instance]
                    places[key] = Place(inode=key[1], offset=event.offset, instance=event.instance)
        known: defaultdict[bytes, list[Place]] = defaultdict(list)
        for (mark, _), place in places.items():
            known[mark].append(place)
        first = since is None
        self._files = QemuFiles(self._folder, known=known, since=self._clock() if since is None else since, first=first)

    async def _next(self) -> Sequence[Event]:
        """Read on in the stream; a record that cannot be read is passed over."""
        try:
            records = await self._log.read_stream(self._stream.name, after=self._stream.version, limit=_BATCH)
        except UnknownEventError:
            self._stream.version += 1
            return ()
        self._stream.version = records[-1].version
        return [each.event for each in records]

    async def run(self) -> None:
        """Follow until cancelled; TakenOverError where another service took the stream."""
        while True:
            self._soon = trio.Event()
            if not await self.look():
                with trio.move_on_after(self._spacing):
                    await self._soon.wait()

    async def look(self) -> bool:
        """Append what is new; whether there is more to be read at once."""
        if self._files is None:
            await self.begin()
        files = self._files
        assert files is not None
        news = files.read()
        problem = ""
        try:
            while (some := await trio.to_thread.run_sync(_some, news)) is not None:
                await self._append(some)
        except OSError as error:
            problem = f"they cannot be read: {error.strerror}"
        if files.denied:
            problem = f"{len(files.denied)} of them may not be read by this user; `es-power doctor` says how they may"
        if problem != self._said:
            self._said = problem
            self._told.warning("qemu logs", because=problem) if problem else self._told.info("qemu logs are read")
        return files.more

    async def _append(self, news: Sequence[News]) -> None:
        labels: list[LabelText] = []
        events: list[Event] = []
        for each in news:
            file = self._labels.get(each.file)
            if file is None:
                file, text = make_label(each.file)
                self._labels[each.file] = file
                labels.append(text)
            for found in each.found:
                if isinstance(found, Opened):
                    events.append(self._opened(found, file))
                else:
                    events += facts_of([found], file, labels)
        await self._stream.append(events, labels=labels)

    def _opened(self, found: Opened, file: Label) -> QemuLogOpened:
        return QemuLogOpened(
            observed_at=self._clock(),
            instance=found.instance,
            file=file,
            inode=found.inode,
            offset=found.offset,
            mark=found.mark,
        )


def _some(news: Iterator[News]) -> Sequence[News] | None:
    """Read up to some hundred facts; None where nothing is new any more."""
    found: list[News] = []
    count = 0
    for each in news:
        found.append(each)
        count += len(each.found)
        if count >= _BATCH:
            break
    return found or None
