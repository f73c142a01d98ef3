"""nova-compute's log: bytes in, what it says of lifecycle events, its power sync and requests out. Pure.

The lines, as oslo.log writes them by default (before 2023 without the first word in brackets, the global request id)::

    2026-11-22 03:12:22.412 1234 INFO nova.compute.manager [-] [instance: UUID] VM Stopped (Lifecycle Event)
    ... [None req-... USER PROJECT - - default default] [instance: UUID] Terminating instance
    ... [instance: UUID] During sync_power_state the instance has a pending task (spawning). Skip.
    ... WARNING ... While synchronizing instance power states, found 3 instances in the database and 2 instances on ...

Their times have no zone: whoever reads them has to say it. Of a time that a change of clocks made twice, the first is
taken; those are counted. A line that has the words of one of these and not its form is counted too, as is one that is
no text or longer than `lines.LINE`. Nothing that is fed raises.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final
from uuid import UUID

from es_power.domain.events import InstanceId
from es_power.domain.states import Transition
from es_power.domain.time import SECOND, Timestamp
from es_power.ingest.lines import Lines, read_time

LATE: Final = 15 * SECOND
"""How long Nova holds a stop back, in case it is a reboot (nova/virt/libvirt/host.py, _event_emit_delayed)."""

_LINE: Final = re.compile(
    r"(?:\S+ )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})?) \d+ [A-Z]+ \S+ \[([^\]]*)\] "
    r"(?:\[instance: ([0-9a-fA-F-]{36})\] )?(.*)",
    re.ASCII,
)
_LIFECYCLE: Final = re.compile(r"VM ([A-Z][a-z ]{2,20}) \(Lifecycle Event\)")
_SKIP: Final = re.compile(
    r"During (?:sync_power_state the instance|the sync_power process the instance) has a "
    r"pending task \(([a-z][a-z0-9_-]{0,40})\)\. Skip\."
)
_COUNT: Final = re.compile(
    r"While synchronizing instance power states, found (\d{1,9}) instances in the database "
    r"and (\d{1,9}) instances on the hypervisor\."
)
_ACTIONS: Final = (
    "Terminating instance",
    "Rebooting instance",
    "Stopping instance",
    "Starting instance",
    "Powering-off instance",
    "Powering-on instance",
    "Rebuilding instance",
    "Evacuating instance",
    "Reclaiming deleted instance",
    "Pausing",
    "Unpausing",
    "Suspending",
    "Resuming",
    "Rescuing",
    "Unrescuing",
    "Shelving",
    "Shelve offloading",
    "Unshelving",
    "Migrating",
)
_REQUEST: Final = re.compile(rf"({'|'.join(_ACTIONS)})(?:[.;,:].*)?")

# What a line has to hold to be looked at; most have none of it.
_WORDS: Final = (b"(Lifecycle Event)", b"pending task (", b"While synchronizing instance power states, found ")
_ASKED: Final = re.compile(b"|".join(rf"\] {action}".encode() for action in _ACTIONS))

_TRANSITIONS: Final = {each.value.capitalize(): each for each in Transition}


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaLine:
    """A line that tells a fact: when it was written, and where it ends in the file."""

    at: Timestamp
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled(NovaLine):
    """Nova handled a lifecycle event of an instance; `happened` is when that was."""

    instance: InstanceId
    transition: Transition
    happened: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(NovaLine):
    """Nova's sync passed an instance over for its task."""

    instance: InstanceId
    task_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested(NovaLine):
    """Nova did something to an instance at somebody's request."""

    instance: InstanceId
    request_id: str
    user: str | None
    project: str | None
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(NovaLine):
    """Nova's sync found another number of VMs than it has records of."""

    found: int
    records: int


class NovaLogParser:
    """Reads one log in pieces of any size."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._lines = Lines()
        #: How many lines could not be read, and the number of the first of them.
        self.unparsed = 0
        self.first_unparsed = 0
        #: Facts whose time was there twice, or never, by a change of clocks.
        self.ambiguous = 0

    def feed(self, data: bytes) -> Sequence[NovaLine]:
        """Give the facts of the lines that end in `data`; a half line at its end waits."""
        return [fact for line, offset in self._lines.feed(data) for fact in self._read(line, offset)]

    def finish(self) -> Sequence[NovaLine]:
        """Give the fact of a last line without an end; the words of each are such that half of one has no form."""
        return [fact for line, offset in self._lines.finish() for fact in self._read(line, offset)]

    def _read(self, line: bytes | None, offset: int) -> Iterator[NovaLine]:
        if line is None or b"\0" in line:
            self._count()
            return
        if not any(words in line for words in _WORDS) and not (b"[instance: " in line and _ASKED.search(line)):
            return
        try:
            found = _LINE.fullmatch(line.decode())
        except UnicodeDecodeError:
            found = None
        at = read_time(found[1].replace(",", "."), self._zone) if found else None
        if found is None or at is None:
            self._count()
            return
        fact = self._fact(found, at, offset)
        if isinstance(fact, NovaLine):
            self.ambiguous += _is_ambiguous(found[1], self._zone)
            yield fact
        elif fact is False:
            self._count()

    def _fact(self, found: re.Match[str], at: Timestamp, offset: int) -> NovaLine | bool:
        """Read a line's message: False where it should be one of ours and is not, True where it is another."""
        message = found[4]
        if counted := _COUNT.fullmatch(message):
            return Counted(at=at, offset=offset, records=int(counted[1]), found=int(counted[2]))
        instance = _instance(found[3])
        if lifecycle := _LIFECYCLE.fullmatch(message):
            transition = _TRANSITIONS.get(lifecycle[1])
            if instance is None or transition is None:
                # Nova's own "Postcopy started" and "Migration completed" say nothing about power.
                return instance is not None
            late = LATE if transition is Transition.STOPPED else 0
            return Handled(
                at=at, offset=offset, instance=instance, transition=transition, happened=Timestamp(at - late)
            )
        if skipped := _SKIP.fullmatch(message):
            return instance is not None and Skipped(at=at, offset=offset, instance=instance, task_state=skipped[1])
        if requested := _REQUEST.fullmatch(message):
            return _requested(found[2], instance, requested[1], at, offset)
        return not any(words.decode() in message for words in _WORDS)

    def _count(self) -> None:
        self.unparsed += 1
        self.first_unparsed = self.first_unparsed or self._lines.number


def _requested(context: str, instance: InstanceId | None, action: str, at: Timestamp, offset: int) -> NovaLine | bool:
    """Read who asked, out of ``[GLOBAL] REQUEST USER PROJECT ...``; what Nova does by itself has no request."""
    words = context.split(" ")
    requests = [index for index, word in enumerate(words[:2]) if word.startswith("req-")]
    if instance is None or not requests:
        return True
    last = requests[-1]
    user, project = ([*words[last + 1 : last + 3], "-", "-"])[:2]
    return Requested(
        at=at,
        offset=offset,
        instance=instance,
        request_id=words[last][:64],
        user=None if user in {"-", "None"} else user,
        project=None if project in {"-", "None"} else project,
        action=action,
    )


def _instance(text: str | None) -> InstanceId | None:
    try:
        return InstanceId(UUID(text)) if text else None
    except ValueError:
        return None


def _is_ambiguous(text: str, zone: tzinfo) -> bool:
    read = datetime.fromisoformat(text.replace(",", ".")).replace(tzinfo=zone)
    return read.utcoffset() != read.replace(fold=1).utcoffset()
