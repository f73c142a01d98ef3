"""What other programs' logs tell of a VM's state at a time that our own was blind at, or had not begun.

Nothing is told of a time at which we saw the VM ourselves, nor by a line that is older than our last word on it: then
such a line is evidence, for causes and histories. A row that is told says so, in its note.

What another log of es_power observed ages as ours does. As long as that log went on it would have told of a change, or
that it was blind; after its end, as far as that was imported, it tells nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final
from uuid import UUID

import trio

from es_power.domain.events import (
    START,
    Event,
    GapOpened,
    HostSwept,
    InstanceId,
    LifecycleEvent,
    Position,
    Recorded,
    ServiceStopped,
    StateObserved,
)
from es_power.domain.libvirt_numbers import STOPPED_MIGRATED
from es_power.domain.logged import FactImported, NovaTransitionLogged, QemuEnded, QemuStarted
from es_power.domain.policy import mirrored
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.streams import is_imported, is_told, told_host
from es_power.domain.time import Timestamp
from es_power.log import SqlLog
from es_power.log.queries import RawRecord
from es_power.projections import past
from es_power.projections.as_of import Then, scan
from es_power.projections.fleet import Fleet
from es_power.projections.history import Entry, told_entries
from es_power.projections.imported import EXPORTS, believed_until, part_of, power_state
from es_power.projections.logged_words import BLIND, LOGGED, READ_THERE
from es_power.projections.power_state import PowerRow
from es_power.projections.store import Store

_KINDS: Final = frozenset(LOGGED)
_OF_ANOTHER: Final = frozenset({*LOGGED, *(kind.__name__ for kind in (LifecycleEvent, StateObserved, HostSwept))})
_BLIND: Final = frozenset({GapOpened.__name__, ServiceStopped.__name__})
_TOPIC: Final = [field.name for field in fields(FactImported)].index("topic")
_AT_ONCE: Final = 1000  # imported facts that are opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The newest line about a VM that tells a state."""

    host: str
    #: None: that it went on elsewhere.
    state: PowerState | None
    at: Timestamp
    position: Position
    #: Where it stands, for people.
    source: str


async def told_states(log: SqlLog, then: Then) -> Mapping[InstanceId, Told]:
    """What lines tell of each VM, of those that count."""
    store = Store(log.database)
    kept, checkpoint = await trio.to_thread.run_sync(lambda: past.told(store, then.at, known=then.known))
    dark: Sequence[Entry] = ()
    if checkpoint:
        dark = await trio.to_thread.run_sync(lambda: store.of_hosts(BLIND, until=min(checkpoint, then.known)))
    words = _Words(then.at)
    for entry in (*kept, *dark):
        words.add(entry)
    opened: list[Position] = []

    def visit(batch: Sequence[RawRecord]) -> None:
        for position, stream, _, _, kind, raw in batch:
            if kind in _KINDS and is_told(stream) and raw[0] <= then.at:
                words.put((raw[1], stream), raw[0], position)
            elif kind == FactImported.__name__ and raw[_TOPIC].partition(":")[0] in _OF_ANOTHER | _BLIND:
                opened.append(position)

    await scan(log, visit, after=checkpoint, until=then.known)
    for start in range(0, len(opened), _AT_ONCE):
        for recorded in (await log.read_at(opened[start : start + _AT_ONCE])).values():
            for entry in told_entries(recorded):
                words.add(entry)
    facts = await log.read_at([position for _, position, _ in words.newest.values()])
    exports = {stream for _, stream in words.newest if stream.startswith(EXPORTS)}
    ends = {stream: await believed_until(log, stream, known=then.known) for stream in exports}
    told: dict[InstanceId, Told] = {}
    for (raw_instance, stream), (at, position, index) in words.newest.items():
        if then.at > ends.get(stream, then.at):
            continue
        if position in facts and (at, position) > words.blind.get(stream, (at, START)):
            instance = InstanceId(UUID(bytes=raw_instance))
            found = _told(part_of(facts[position], None if index < 0 else index), facts[position])
            told[instance] = max(told.get(instance, found), found, key=_weight)
    return told


class _Words:
    """The newest word about each VM in each stream, by its time, and since when a stream of another log was blind."""

    def __init__(self, at: Timestamp) -> None:
        self._at = at
        #: Its time, its position and its place in a sweep (-1 for no sweep).
        self.newest: dict[tuple[bytes, str], tuple[Timestamp, Position, int]] = {}
        self.blind: dict[str, tuple[Timestamp, Position]] = {}

    def add(self, entry: Entry) -> None:
        """Take in an entry that tells a state, or that nobody looked from then on."""
        if entry.observed_at > self._at:
            return
        if entry.kind in BLIND:
            since = entry.observed_at, entry.position
            self.blind[entry.stream] = max(self.blind.get(entry.stream, since), since)
        elif entry.instance is not None and (entry.kind in {*LOGGED, *READ_THERE} or entry.power_state is not None):
            self.put((entry.instance.bytes, entry.stream), entry.observed_at, entry.position, entry.index)

    def put(self, key: tuple[bytes, str], at: Timestamp, position: Position, index: int | None = None) -> None:
        """Take in a word."""
        word = at, position, -1 if index is None else index
        self.newest[key] = max(self.newest.get(key, word), word)


def retold(rows: Iterable[PowerRow], fleet: Fleet, told: Mapping[InstanceId, Told]) -> Iterator[PowerRow]:
    """The same rows, with what is told where nobody of ours can say; `told` is of these rows' VMs."""
    known = set[InstanceId]()
    for row in rows:
        known.add(row.instance)
        line = told.get(row.instance)
        if line and line.state and _is_open(row, fleet) and line.at > row.observed_at:
            yield _laid_over(row, line)
        else:
            yield row
    for instance, line in told.items():
        if line.state and instance not in known and instance not in fleet.seen_on:
            yield _laid_over(_unseen(instance, line), line)


def _told(event: Event, recorded: Recorded) -> Told:
    kind = recorded.stream.split("/")[1] if is_imported(recorded.stream) else "qemu-log"
    return Told(
        host=told_host(recorded.stream) or "",
        state=_state(event),
        at=event.observed_at,
        position=recorded.position,
        source=f"the imported {kind}" if is_imported(recorded.stream) else f"the {kind}",
    )


def _state(event: Event) -> PowerState | None:
    match event:
        case LifecycleEvent(event=number, detail=detail) if (number, detail) == STOPPED_MIGRATED:
            return None
        case LifecycleEvent() | StateObserved():
            # That libvirt did not know the VM is no state.
            return None if (state := power_state(event)) is PowerState.NOSTATE else state
        case QemuStarted():
            return PowerState.RUNNING
        case NovaTransitionLogged(transition=transition):
            return transition.power_state
        case QemuEnded(reason="migrated"):
            return None
        case _:
            return PowerState.SHUTDOWN


def _weight(told: Told) -> tuple[bool, Timestamp, Position]:
    """Of several hosts' logs the word of one where it is on counts, else the newest."""
    return told.state is not None and told.state.is_on, told.at, told.position


def _is_open(row: PowerRow, fleet: Fleet) -> bool:
    """Whether nobody of ours can say what the state is, and not because two hosts say it is on."""
    return row.power_state == UNKNOWN and not row.gone and not fleet.owner(row.instance).conflict


def _laid_over(row: PowerRow, told: Told) -> PowerRow:
    assert told.state is not None
    return replace(
        row,
        host=told.host,
        power_state=told.state.value,
        vm_state=mirrored(told.state) if row.policy == "follow" else row.vm_state,
        since=told.at,
        observed_at=told.at,
        position=told.position,
        provisional=False,
        state=None,
        reason=None,
        note=f"told by {told.source}; {row.note}",
    )


def _unseen(instance: InstanceId, told: Told) -> PowerRow:
    """A VM that our log had nothing of."""
    return PowerRow(
        instance=instance,
        name=None,
        host=told.host,
        power_state=UNKNOWN,
        vm_state=None,
        task_state=None,
        policy="follow",
        since=told.at,
        observed_at=told.at,
        position=told.position,
        provisional=False,
        gone=False,
        state=None,
        reason=None,
        note="not observed then",
    )
