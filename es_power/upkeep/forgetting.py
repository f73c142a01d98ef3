"""Forgetting a person or a VM: the texts that name them are erased, and every record stands as it was.

Rules of this file:
1. What names somebody is every text in which the name stands as a word, whoever wrote it: a VM's name, a user, a
   project, the path of a file, a reason. Of a VM that is also every name that it ever had here.
2. Nothing is erased that was not shown first.
3. That something was forgotten is a fact, with who said so and which labels; no fact has a text.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import trio

from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import START, InstanceEvent, InstanceId, InstanceNamed, Position
from es_power.domain.logged import FactImported
from es_power.domain.streams import told_host
from es_power.domain.time import Timestamp
from es_power.errors import TextNotFoundError, UnknownEventError
from es_power.log import SqlLog
from es_power.log.codec import Raw
from es_power.log.erasing import scrub
from es_power.log.labels import shown, stands_in
from es_power.log.queries import RawRecord
from es_power.projections.as_of import scan
from es_power.upkeep.saying import say

_IMPORTED: Final = FactImported.__name__
_NAMED: Final = InstanceNamed.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One text that names whom is to be forgotten, and what it is in the log."""

    label: int
    text: str = ""
    #: The first fact that bears it, and as what: ``name``, ``by``, ``why``, ``user`` ...; empty where none does.
    kind: str = ""
    field: str = ""
    position: Position = START
    host: str | None = None
    #: The VM that the fact is about.
    instance: InstanceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was done."""

    position: Position
    count: int
    #: Whether the files have followed; else somebody kept SQLite's write-ahead log, and that still has the texts.
    scrubbed: bool


async def find_namings(log: SqlLog, target: str) -> list[Naming]:
    """Find the texts that name a person or a VM, in the order of the log; TextNotFoundError where none does.

    A VM is meant by its whole UUID, by HOST/NAME, or by its name; a beginning of one is not enough here.
    """
    kept = shown(target)
    texts = await log.labels_that(lambda text: stands_in(kept, text))
    host, _, name = kept.rpartition("/")
    search = _Search(log, texts, called=await log.labelled([name]), host=host, uuid=_as_uuid(kept))
    await scan(log, search.visit, after=START, until=await log.head())
    texts |= await log.labels(list(search.names_of_the_vm - texts.keys()))
    if not texts:
        raise TextNotFoundError(
            f"no text in the log names {kept!r}; a VM is meant by its whole UUID or name, or as HOST/NAME"
        )
    found = [replace(search.bearers.get(label, Naming(label=label)), text=text) for label, text in texts.items()]
    return sorted(found, key=lambda each: (each.position, each.field))


async def forget(log: SqlLog, found: Sequence[Naming], *, by: str, at: Timestamp) -> Forgotten:
    """Erase these texts for good and say so in the log, in one transaction; then have the files follow.

    LogUnavailableError where the database refuses: then nothing was erased.
    """
    labels = tuple(each.label for each in found)
    position = await say(log, by, lambda who: LabelsForgotten(observed_at=at, labels=labels, by=who), forgets=labels)
    scrubbed = await trio.to_thread.run_sync(scrub, log.database)
    return Forgotten(position=position, count=len(labels), scrubbed=scrubbed)


async def finish(log: SqlLog) -> bool:
    """Have the files follow what was erased before, where somebody was killed in between; False as of `Forgotten`."""
    return await trio.to_thread.run_sync(scrub, log.database)


class _Search:
    """One pass through the log: who bears the texts that fit, and what the VM that is meant was ever called."""

    def __init__(
        self, log: SqlLog, texts: Collection[int], *, called: Collection[int], host: str, uuid: UUID | None
    ) -> None:
        self._codec = log.codec
        self._texts = frozenset(texts)
        #: The labels of the name that the VM may have been meant by; only on a host, where one was named too.
        self._called = called
        self._host = host
        self._meant: set[InstanceId] = {InstanceId(uuid)} if uuid else set()
        #: By label: which fact bears it first, of those that fit and of all VMs' names.
        self.bearers: dict[int, Naming] = {}

    @property
    def names_of_the_vm(self) -> set[int]:
        """The labels of all names that the VM ever had."""
        return {each.label for each in self.bearers.values() if each.kind == _NAMED and each.instance in self._meant}

    def visit(self, batch: Sequence[RawRecord]) -> None:
        """Look at bare records."""
        for position, stream, _, _, kind, raw in batch:
            # What cannot be read bears nothing that could be told. An error that leaves here would have the whole batch
            # read again for each such record.
            with suppress(UnknownEventError):
                self._look(position, stream, *(self._inner(raw) if kind == _IMPORTED else (kind, raw)))

    def _look(self, position: Position, stream: str, name: str, fields: Raw) -> None:
        borne = self._codec.raw_labels(name, fields)
        if name != _NAMED and self._texts.isdisjoint(borne.values()):
            return
        event = self._codec.build(name, fields, position=position)
        instance, host = (event.instance if isinstance(event, InstanceEvent) else None), told_host(stream)
        for field, label in borne.items():
            bearer = Naming(label=label, kind=name, field=field, position=position, host=host, instance=instance)
            self.bearers.setdefault(label, bearer)
            if name == _NAMED and instance and label in self._called and self._host in {"", host}:
                self._meant.add(instance)

    def _inner(self, raw: Raw) -> tuple[str, Raw]:
        """Open a fact of another log; its labels are this one's."""
        fact = self._codec.build(_IMPORTED, raw)
        assert isinstance(fact, FactImported)
        return self._codec.raw(fact.topic, fact.state)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
