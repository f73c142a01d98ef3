"""What was written before anybody observed, brought into the log: once, however often and in whatever pieces it comes.

A fact's identity is what it says, not where it stands: the class and every field but the file, the offset and the texts
of labels. So a log that was rotated, copied, compressed or imported twice adds nothing, and forgetting a text does not
make its fact a new one. The identities of a stream's facts are read out of it first, and kept in memory: some hundred
bytes for each fact.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Final

from es_power.domain.events import Event, InstanceId, InstanceNamed, Label, Position, Recorded
from es_power.domain.logged import (
    FactImported,
    LoggedEvent,
    NovaCountLogged,
    NovaRequestLogged,
    NovaSkipLogged,
    NovaTransitionLogged,
)
from es_power.domain.ports import Append, EventLog, LabelText, Write
from es_power.domain.streams import host_of, imported
from es_power.domain.time import Timestamp
from es_power.errors import ConcurrentAppendError, UnknownEventError
from es_power.ingest.nova_log import Counted, Handled, NovaLine, Requested, Skipped
from es_power.log import SqlLog
from es_power.log.codec import Codec
from es_power.log.labels import make_label, shown

BATCH: Final = 1000
"""Facts in one append, and records in one question."""

_CODEC: Final = Codec()

# Nor the position in another log, nor bytes that hold new labels: stream, version and time name a fact of another log.
_ELSEWHERE: Final = frozenset({"file", "offset", "position", "state", "told"})


def identity(event: Event) -> bytes:
    """What makes a fact the same as another, in 16 bytes."""
    said = [type(event).__name__]
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name not in _ELSEWHERE and not isinstance(value, Label):
            said.append(f"{field.name}={value}")
    return blake2b("\n".join(said).encode(), digest_size=16).digest()


def _labels(event: Event) -> Iterator[Label]:
    fact = _CODEC.decode(event.topic, event.state) if isinstance(event, FactImported) else event
    yield from (value for each in fields(fact) if isinstance(value := getattr(fact, each.name), Label))


class Importer:
    """Appends what is new to one stream of imported facts; several may do so at once."""

    def __init__(self, log: EventLog, source: str, host: str) -> None:
        self._log = log
        self.stream = imported(source, host)
        #: Facts that were left out since the log itself had recorded them: what another program wrote is never that.
        self.own = 0
        #: The version of the stream's last record, as far as is known here.
        self.version = 0
        self._known: set[bytes] = set()
        #: By instance: the names that the stream has of it; None for one that was forgotten.
        self._names: dict[InstanceId, set[str | None]] = {}

    async def begin(self) -> None:
        """Read on in what the stream has."""
        version = await self._log.version(self.stream)
        while self.version < version:
            try:
                records = await self._log.read_stream(self.stream, after=self.version, limit=BATCH)
            except UnknownEventError:
                self.version += 1
                continue
            self.version = records[-1].version
            named = [each.event for each in records if isinstance(each.event, InstanceNamed)]
            texts = await self._log.labels([event.name.id for event in named])
            for event in named:
                self._names.setdefault(event.instance, set()).add(texts.get(event.name.id))
            self._known.update(identity(each.event) for each in records if not isinstance(each.event, InstanceNamed))

    def knows(self, key: bytes) -> bool:
        """Whether the stream has a fact of this identity."""
        return key in self._known

    def note(self, event: Event) -> None:
        """Take in a fact that was appended to the stream."""
        self.version += 1
        self._known.add(identity(event))

    async def add(self, facts: Sequence[Event], *, labels: Iterable[LabelText], names: Mapping[InstanceId, str]) -> int:
        """Append those facts that are new, with what names their VMs; give their number.

        What somebody else imports meanwhile into the same stream is read, and then tried again.
        """
        texts = {label.id: label for label in labels}
        while True:
            new = self._new(facts)
            named = list(self._naming(new, names))
            if not new and not named:
                return 0
            events = [*(event for event, _ in named), *new]
            borne = {label.id for event in new for label in _labels(event)}
            append = Append(
                writes=[Write(stream=self.stream, expected=self.version, events=events)],
                labels=[*(text for _, text in named), *(texts[each] for each in borne if each in texts)],
            )
            try:
                await self._log.append(append)
            except ConcurrentAppendError:
                await self.begin()
                continue
            self.version += len(events)
            self._known.update(map(identity, new))
            for event, text in named:
                self._names.setdefault(event.instance, set()).add(text.text)
            return len(new)

    def _new(self, facts: Iterable[Event]) -> list[Event]:
        found = {identity(event): event for event in reversed(list(facts))}
        return [event for key, event in reversed(found.items()) if key not in self._known]

    def _naming(
        self, facts: Iterable[Event], names: Mapping[InstanceId, str]
    ) -> Iterator[tuple[InstanceNamed, LabelText]]:
        """Name the VMs that bear no such name in this stream yet, as of the first of the facts about each."""
        first: dict[InstanceId, Timestamp] = {}
        for event in facts:
            if isinstance(event, LoggedEvent):
                first[event.instance] = min(event.observed_at, first.get(event.instance, event.observed_at))
        for instance, at in first.items():
            known = self._names.get(instance, set())
            if (name := names.get(instance)) is not None and shown(name) not in known and None not in known:
                label, text = make_label(name)
                yield InstanceNamed(observed_at=at, instance=instance, name=label), text


class JsonlImporter:
    """Appends facts of other logs in their order, those of each host to a stream of its own.

    What this log recorded itself is left out. It is known by where it stood and when it was recorded, to the
    nanosecond; so a copy that went on by itself is another log from there on.
    """

    def __init__(self, log: SqlLog) -> None:
        self._log = log
        #: Facts that were left out since this log had recorded them.
        self.own = 0
        self._importers: dict[str, Importer] = {}

    async def add(self, facts: Sequence[Event], *, labels: Iterable[LabelText], names: Mapping[InstanceId, str]) -> int:
        """See `Importer.add`; what names VMs are facts of their own here."""
        del names
        texts = {label.id: label for label in labels}
        others = await self._of_others([event for event in facts if isinstance(event, FactImported)])
        self.own += len(facts) - len(others)
        while True:
            new: list[tuple[Importer, Event]] = []
            seen: set[bytes] = set()
            for fact in others:
                importer = await self._importer(host_of(fact.stream) or "")
                if (key := identity(fact)) not in seen and not importer.knows(key):
                    seen.add(key)
                    new.append((importer, fact))
            if not new:
                return 0
            versions = {importer.stream: importer.version for importer, _ in new}
            writes: list[Write] = []
            for importer, run in groupby(new, key=itemgetter(0)):
                events = [event for _, event in run]
                writes.append(Write(stream=importer.stream, expected=versions[importer.stream], events=events))
                versions[importer.stream] += len(events)
            borne = [texts[label.id] for _, event in new for label in _labels(event) if label.id in texts]
            try:
                await self._log.append(Append(writes=writes, labels=borne))
            except ConcurrentAppendError:
                for importer in self._importers.values():
                    await importer.begin()
                continue
            for importer, event in new:
                importer.note(event)
            return len(new)

    async def _of_others(self, facts: Sequence[FactImported]) -> Sequence[FactImported]:
        """Those that stand in this log only as imported, if at all."""
        ours = await self._log.read_at(list({Position(event.position) for event in facts}))
        return [event for event in facts if not _is_of(ours.get(Position(event.position)), event)]

    async def _importer(self, host: str) -> Importer:
        if host not in self._importers:
            self._importers[host] = Importer(self._log, "jsonl", host)
            await self._importers[host].begin()
        return self._importers[host]


def _is_of(recorded: Recorded | None, event: FactImported) -> bool:
    """Whether a fact of an export is this record."""
    return recorded is not None and (recorded.stream, recorded.version, recorded.recorded_at) == (
        event.stream,
        event.version,
        event.recorded_then,
    )


def nova_facts(lines: Iterable[NovaLine], file: Label, labels: list[LabelText]) -> Iterator[Event]:
    """Make facts of the lines of a nova-compute log; the texts of labels are added to `labels`."""

    def label(text: str | None) -> Label | None:
        if text is None:
            return None
        made, kept = make_label(text)
        labels.append(kept)
        return made

    for line in lines:
        match line:
            case Handled(instance=instance, transition=transition, happened=happened):
                yield NovaTransitionLogged(
                    observed_at=happened,
                    instance=instance,
                    file=file,
                    offset=line.offset,
                    logged_at=line.at,
                    transition=transition,
                )
            case Skipped(instance=instance, task_state=task):
                yield NovaSkipLogged(
                    observed_at=line.at, instance=instance, file=file, offset=line.offset, task_state=task
                )
            case Requested(instance=instance, request_id=request, action=action):
                yield NovaRequestLogged(
                    observed_at=line.at,
                    instance=instance,
                    file=file,
                    offset=line.offset,
                    request_id=request,
                    user=label(line.user),
                    project=label(line.project),
                    action=action,
                )
            case Counted(found=found, records=records):
                yield NovaCountLogged(observed_at=line.at, file=file, offset=line.offset, found=found, records=records)
            case _:
                msg = f"{type(line).__name__} is no line that tells a fact"
                raise AssertionError(msg)
