"""What other programs' logs tell of a VM's state at a time that our own was blind at, or had not begun.

Nothing is told of a time at which we saw the VM ourselves, nor by a line that is older than our last word on it: then
such a line is evidence, for causes and histories. A row that is told says so, in its note.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from es_power.domain.events import InstanceId, Position, Recorded
from es_power.domain.logged import LoggedEvent, NovaTransitionLogged, QemuEnded, QemuStarted
from es_power.domain.policy import mirrored
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.streams import is_imported, is_told, told_host
from es_power.domain.time import Timestamp
from es_power.log import SqlLog
from es_power.log.queries import RawRecord
from es_power.projections import past
from es_power.projections.as_of import Then, scan
from es_power.projections.fleet import Fleet
from es_power.projections.power_state import PowerRow
from es_power.projections.store import Store

_KINDS: Final = frozenset({QemuStarted.__name__, QemuEnded.__name__, NovaTransitionLogged.__name__})


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
    newest = {
        (entry.instance.bytes, entry.stream): (entry.observed_at, entry.position) for entry in kept if entry.instance
    }

    def visit(batch: Sequence[RawRecord]) -> None:
        for position, stream, _, _, kind, raw in batch:
            if kind in _KINDS and is_told(stream) and raw[0] <= then.at:
                line, key = (raw[0], position), (raw[1], stream)
                newest[key] = max(newest.get(key, line), line)

    await scan(log, visit, after=checkpoint, until=then.known)
    told: dict[InstanceId, Told] = {}
    for recorded in (await log.read_at([position for _, position in newest.values()])).values():
        if isinstance(recorded.event, LoggedEvent):
            found = _told(recorded.event, recorded)
            known = told.get(recorded.event.instance, found)
            told[recorded.event.instance] = max(known, found, key=_weight)
    return told


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


def _told(event: LoggedEvent, recorded: Recorded) -> Told:
    kind = recorded.stream.split("/")[1] if is_imported(recorded.stream) else "qemu-log"
    return Told(
        host=told_host(recorded.stream) or "",
        state=_state(event),
        at=event.observed_at,
        position=recorded.position,
        source=f"the imported {kind}" if is_imported(recorded.stream) else f"the {kind}",
    )


def _state(event: LoggedEvent) -> PowerState | None:
    match event:
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
