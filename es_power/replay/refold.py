"""One pass through a log from its beginning: what comes out, what of it differs from what was kept, new tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import trio

from es_power.domain.command import Command
from es_power.domain.custody import LogPruned
from es_power.domain.decisions import CommandEvent, Sent, StopRequested, Withdrawn
from es_power.domain.events import (
    START,
    GapOpened,
    HostSwept,
    HypervisorEvent,
    NovaStopObserved,
    Position,
    Recorded,
    StateObserved,
)
from es_power.domain.policy import Policy
from es_power.domain.streams import command, planner
from es_power.errors import LogRewoundError, ReplayDivergedError, SealBrokenError, UnknownEventError
from es_power.log import SqlLog
from es_power.log.chain import Chain
from es_power.projections import command_table, history, power_state
from es_power.projections.beginning import beginning_of
from es_power.projections.command_table import CommandTable
from es_power.projections.history import Entry
from es_power.projections.quarantine import unreadable
from es_power.projections.reader import BATCH, batches, load_all
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.snapshots import EVERY, pack
from es_power.projections.stop_commands import Derived, is_derived
from es_power.projections.store import Store

__all__ = ["Progress", "Replay", "lives", "rebuild", "replay", "verify"]

Progress = Callable[[Position], None]
"""Told how far a replay has come, after each batch."""

_SHORT: Final = 16  # characters of a digest in a message


@dataclass(slots=True, kw_only=True)
class Replay:
    """What a log came to, folded from its beginning."""

    models: ReadModels
    #: Where that is: 0, or up to where the log was pruned.
    begun: Position = START
    #: Every entry of every VM's history, and the commands that the facts call for, recorded or not.
    step: Step = field(default_factory=Step)
    #: Every step of every command that was recorded.
    steps: list[Recorded] = field(default_factory=list)
    #: What the log tells of stops in Nova's own history.
    nova_stops: list[Recorded] = field(default_factory=list)
    #: What the log says, where it was pruned, of what it begins with: the digest of that.
    begins_with: bytes = b""
    #: How many records there were of each kind.
    kinds: Counter[str] = field(default_factory=Counter)
    #: What was observed of single VMs, each VM's part of a sweep counted; and what libvirt announced of them.
    observations: int = 0
    announcements: int = 0

    @property
    def position(self) -> Position:
        """The last record that was read."""
        return self.models.fleet.position

    @property
    def digests(self) -> dict[str, str]:
        """One SHA-256 for each projection; equal ones mean equal projections."""
        return _digests(self.models, self.step.entries.values())

    @property
    def counts(self) -> dict[str, int]:
        """How much of what there was."""
        return {
            "records": sum(self.kinds.values()),
            "events": self.announcements,
            "observations": self.observations,
            "sweeps": self.kinds[HostSwept.__name__],
            "gaps": self.kinds[GapOpened.__name__],
            "commands": self.kinds[StopRequested.__name__],
            "set_aside": len(self.models.fleet.quarantined),
        }

    @property
    def recorded(self) -> list[Recorded]:
        """The steps of commands that were recorded and should be derived from the facts."""
        return [recorded for recorded in self.steps if is_derived(recorded.event)]

    @property
    def commands(self) -> list[Command]:
        """The commands that the facts call for, as if each had been recorded where it was derived."""
        return lives(self.step.derived)

    def take(self, batch: Sequence[Recorded]) -> None:
        """Fold records in the order of their positions."""
        self.step.add(self.models.apply(batch))
        for recorded in batch:
            event = recorded.event
            self.kinds[type(event).__name__] += 1
            if isinstance(event, HostSwept):
                self.observations += len(event.states) // 2
            elif isinstance(event, StateObserved):
                self.observations += 1
            elif isinstance(event, HypervisorEvent):
                self.announcements += 1
            elif isinstance(event, CommandEvent):
                self.steps.append(recorded)
            elif isinstance(event, NovaStopObserved):
                self.nova_stops.append(recorded)
            elif isinstance(event, LogPruned) and event.position == self.begun:
                self.begins_with = event.state


def lives(derived: Iterable[Derived]) -> list[Command]:
    """Fold what was derived into commands, as if each step had been recorded where it was derived."""
    table = CommandTable()
    for each in derived:
        event = each.event
        table.apply(
            Recorded(
                position=each.because,
                stream=command(event.command),
                version=1,
                recorded_at=event.observed_at,
                event=event,
            )
        )
    return list(table.rows.values())


async def replay(
    log: SqlLog,
    *,
    until: Position | None = None,
    policy: Policy | None = None,
    snapshots: bool = False,
    progress: Progress = lambda _: None,
) -> Replay:
    """Fold the log from its beginning up to `until`, or to its end.

    With a `policy`, that one decides from the first fact on, for all who are vouched for: what it would have asked for.
    With `snapshots`, the fleet is kept as it was every so often, as tables have it.
    SealBrokenError where a record is not as it was written, or is missing; LogRewoundError where `until` lies beyond
    the end, and RecordPrunedError where it lies before the beginning. A record that this version cannot read is set
    aside and counted.
    """
    if until is not None and until > (head := await log.head()):
        raise LogRewoundError(checkpoint=until, head=head)
    if until is not None:
        await log.require_kept(until)
    beginning = await beginning_of(log)
    models, chain = beginning.models(whatif=policy), beginning.chain
    step = beginning.step(models)
    if policy is not None:
        step.derived.clear()
    replayed = Replay(models=models, begun=beginning.position, step=step)
    while True:
        try:
            batch = await log.read(after=replayed.position, until=until, limit=BATCH, chain=chain)
        except UnknownEventError as error:
            replayed.kinds[error.topic] += 1
            replayed.models.fleet.set_aside(unreadable(error, Position(replayed.position + 1)))
            continue
        if not batch and (until is not None or await _ends(log, chain)):
            if until is None and beginning.digest not in {b"", replayed.begins_with}:
                raise SealBrokenError(
                    beginning.position, reason="what stands for the records up to there is not what the log says of it"
                )
            return replayed
        begin = replayed.position
        replayed.take(batch)
        if snapshots and begin // EVERY != replayed.position // EVERY:
            replayed.step.snapshots[replayed.position] = pack(replayed.models.fleet)
        progress(replayed.position)


async def _ends(log: SqlLog, chain: Chain) -> bool:
    """Whether the log ends where the chain does; False where it grew meanwhile, SealBrokenError where its end is gone.

    The streams' hashes are read first: where the head has not moved since the chain's last record, they belong to it.
    """
    hashes, head = await log.ends(), await log.head()
    if head > chain.position and await log.read(after=Position(chain.position), limit=1):
        return False
    chain.close(head, hashes)
    return True


async def rebuild(log: SqlLog, *, progress: Progress = lambda _: None) -> Replay:
    """Replay the log into new tables and put them in the place of the old; the log must be open for writing.

    A service that runs meanwhile finds tables older than its own last word, and adds what is missing. Tables never go
    beyond a fact whose command is not in the log yet: the next service would take that command for recorded.
    """
    replayed = await replay(log, snapshots=True, progress=progress)
    owed = await _owed(log, replayed)
    if owed:
        replayed = await replay(log, until=Position(min(each.because for each in owed) - 1), snapshots=True)
    await trio.to_thread.run_sync(lambda: Store(log.database).rebuild(replayed.models, replayed.step))
    return replayed


# -------------------------------------------------------------------------------------------- live and replayed


async def verify(log: SqlLog, *, progress: Progress = lambda _: None) -> tuple[Replay, Sequence[ReplayDivergedError]]:
    """Replay the log, and tell where it differs from what was kept live: the tables, and the recorded commands.

    Tables are folded on to where the replay ends, as every question does. Commands that a process manager has not come
    to append yet are no difference.
    """
    live, kept = await load_all(log, Store(log.database))
    entries: dict[tuple[int, int | None], Entry] = {(entry.position, entry.index): entry for entry in kept}
    replayed = await replay(log, progress=progress)
    async for batch in batches(log, live, until=replayed.position):
        entries.update(live.apply(batch).entries)
    return replayed, [
        *_compare_tables(_digests(live, entries.values()), replayed),
        *await _compare_commands(log, replayed),
    ]


def _digests(models: ReadModels, entries: Iterable[Entry]) -> dict[str, str]:
    return {
        "power_state": power_state.digest(models.fleet),
        "history": history.digest(entries, models.fleet),
        "keeping": models.keeping.digest(),
        "stop_commands": command_table.digest(models.commands.rows.values()),
    }


def _compare_tables(live: dict[str, str], replayed: Replay) -> Sequence[ReplayDivergedError]:
    return [
        ReplayDivergedError(
            replayed.position, recorded=f"{name} {live[name][:_SHORT]}", derived=f"{name} {digest[:_SHORT]}"
        )
        for name, digest in replayed.digests.items()
        if live[name] != digest
    ]


async def _compare_commands(log: SqlLog, replayed: Replay) -> Sequence[ReplayDivergedError]:
    derived = {_step(each.event): each for each in replayed.step.derived}
    differences: list[ReplayDivergedError] = []
    for recorded in replayed.recorded:
        event = recorded.event
        assert isinstance(event, CommandEvent)
        expected = derived.get(_step(event))
        if expected is None or expected.event != event:
            differences.append(
                ReplayDivergedError(
                    recorded.position,
                    recorded=_words(event),
                    derived=_words(expected.event) if expected else "nothing there",
                )
            )
    owed = await _owed(log, replayed)
    differences += [
        ReplayDivergedError(each.because, recorded="nothing that follows", derived=_words(each.event))
        for each in await _unrecorded(log, replayed)
        if each not in owed
    ]
    return differences


async def _owed(log: SqlLog, replayed: Replay) -> Sequence[Derived]:
    """What was derived from facts that their process manager has not come to yet."""
    reached = {each.stream: await log.tracked(planner(each.stream)) or START for each in replayed.step.derived}
    return [each for each in await _unrecorded(log, replayed) if each.because > reached[each.stream]]


async def _unrecorded(log: SqlLog, replayed: Replay) -> Sequence[Derived]:
    """What was derived and is not in the log, not even behind the end of the replay."""
    known = {_step(recorded.event) for recorded in replayed.recorded if isinstance(recorded.event, CommandEvent)}
    missing = [each for each in replayed.step.derived if _step(each.event) not in known]
    unrecorded: list[Derived] = []
    for each in missing:
        life = [recorded.event for recorded in await log.read_stream(command(each.event.command))]
        later = {_step(event) for event in life if isinstance(event, CommandEvent)}
        # What an actor sent, or ended, before the process manager came to withdraw it, is withdrawn no more.
        ended = isinstance(each.event, Withdrawn) and any(isinstance(event, Sent | Withdrawn) for event in life)
        if _step(each.event) not in later and not ended:
            unrecorded.append(each)
    return unrecorded


def _step(event: CommandEvent) -> tuple[UUID, str]:
    """A command takes each step once, so this names one."""
    return event.command, type(event).__name__


def _words(event: CommandEvent) -> str:
    return f"{type(event).__name__} of {event.command} for {event.instance}: {getattr(event, 'reason', '')}"
