"""What of a log's beginning remains when it is pruned, and what stands for the rest.

Rules of this file:
1. Only what was observed goes: records of observers' streams. What was said, decided, done and told stays, whole.
2. An observation stays where something that is kept rests on it: what befell a host (gaps, starts, clocks), from when
   on a VM was last seen on, the inventory in force, the name it has, the observation that a stop was requested for; and
   of each host the last ones, among which the cause of what comes next is looked for.
3. It is found out from the archive, which was read and found whole; nothing here changes a log.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
import trio

from es_power.audit.stored import Tree
from es_power.domain.decisions import CommandEvent
from es_power.domain.events import InstanceId, InstanceNamed, Position
from es_power.domain.streams import command, observed_host, planner
from es_power.errors import PruneError, SealBrokenError, UnknownEventError
from es_power.log import SqlLog
from es_power.log.chain import GENESIS
from es_power.log.codec import shared_codec
from es_power.log.pruned import Pruned, read_pruned
from es_power.log.schema import RECORDS, STREAMS
from es_power.projections.beginning import Beginning, beginning_of, pack_state
from es_power.projections.history import Entry
from es_power.projections.quarantine import unreadable
from es_power.projections.reader import BATCH
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.stop_commands import Derived
from es_power.projections.stored import shows_on
from es_power.upkeep.cut import Cut

NEAR: Final = 500
"""Records of each host before the cut that stay: `why` looks at no more of them."""

_PARAMETERS: Final = 1000

_Step = tuple[UUID, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What a pruned log has in the place of its beginning."""

    edge: Sequence[bytes]
    #: Version and hash of each stream at the cut, by its number; and the numbers of those that lose records.
    streams: dict[int, tuple[int, bytes]]
    observers: Sequence[int]
    #: The single records that stay of these: the hash before each, and its own.
    kept: dict[Position, tuple[bytes, bytes]]
    entries: Sequence[Entry]
    state: bytes
    #: By level and number, the roots of subtrees by which all that stays can still be proved.
    nodes: dict[tuple[int, int], bytes]
    #: How many records go, and the labels of the names that go with them.
    count: int
    labels: Sequence[int]


async def remaining(archive: SqlLog, cut: Cut) -> Remaining:
    """Fold an archive up to where it is cut, and say what remains.

    PruneError where a stop command that follows from what would go is not in the log yet; SealBrokenError where a
    record is not as it was written.
    """
    beginning = await beginning_of(archive)
    models, step, steps = await _fold(archive, beginning, cut.position)
    pending = [each for each in step.derived if _step(each.event) not in steps]
    await _require_recorded(archive, pending)
    return await trio.to_thread.run_sync(_remaining, archive, cut, models, step, pending)


async def _fold(archive: SqlLog, beginning: Beginning, until: Position) -> tuple[ReadModels, Step, set[_Step]]:
    models, chain = beginning.models(), beginning.chain
    step, steps = beginning.step(models), set[_Step]()
    while True:
        try:
            batch = await archive.read(after=models.fleet.position, until=until, limit=BATCH, chain=chain)
        except UnknownEventError as error:
            models.fleet.set_aside(unreadable(error, Position(models.fleet.position + 1)))
            continue
        if not batch:
            return models, step, steps
        step.add(models.apply(batch))
        steps |= {_step(each.event) for each in batch if isinstance(each.event, CommandEvent)}


async def _require_recorded(archive: SqlLog, pending: Sequence[Derived]) -> None:
    for each in pending:
        if each.because <= (await archive.tracked(planner(each.stream)) or 0):
            continue  # its process manager passed it over, or an actor was there first
        life = await archive.read_stream(command(each.event.command))
        if _step(each.event) not in {_step(of.event) for of in life if isinstance(of.event, CommandEvent)}:
            raise PruneError(
                f"a stop command follows from record {each.because} and is not in the log yet: let the service of "
                f"{observed_host(each.stream)} catch up, and prune then"
            )


def _step(event: CommandEvent) -> _Step:
    return event.command, type(event).__name__


def _remaining(archive: SqlLog, cut: Cut, models: ReadModels, step: Step, pending: Sequence[Derived]) -> Remaining:
    with archive.database.read() as connection:
        before = read_pruned(connection)
        names = {row.no: row.name for row in connection.execute(sa.select(STREAMS.c.no, STREAMS.c.name))}
        observers = [no for no, name in names.items() if observed_host(name) is not None]
        tree = Tree(connection)
        edge = tree.edge(cut.position)
        if edge.root() != cut.root:
            raise SealBrokenError(cut.position, reason="the records up to there are not those that were signed")
        streams = _ends(connection, cut.position)
        there = _Observed(connection, observers, cut.position)
        wanted = {
            *_referred_to(models, step.entries.values()),
            *there.lasts(streams),
            *there.inventories(models, {name: no for no, name in names.items()}),
            *there.names(),
            cut.position,
        }
        kept = there.kept(sorted(each for each in wanted if each <= cut.position), before)
        entries = [
            entry
            for entry in step.entries.values()
            if entry.open or entry.position in kept or observed_host(entry.stream) is None
        ]
        return Remaining(
            edge=edge.nodes,
            streams=streams,
            observers=observers,
            kept=kept,
            entries=entries,
            state=pack_state(models, entries, pending),
            nodes=tree.nodes_beside([*kept, *there.others()], cut.position),
            count=there.count() - len(kept),
            labels=[each for position, each in there.labels() if position not in kept],
        )


def _referred_to(models: ReadModels, entries: Iterable[Entry]) -> Iterator[Position]:
    """Where the facts are that the present rests on."""
    for _, _, known in models.fleet:
        yield from (known.position, known.left_on)
    for place in models.fleet.places.values():
        yield from (place.host.sweep_position, place.host.booted)
    for row in models.commands.rows.values():
        yield row.requested.observation
    #: Of each VM on each host, what was seen from when on it was last seen on, and what last changed its state.
    since_on: dict[tuple[str, InstanceId], list[Position]] = {}
    changed: dict[tuple[str, InstanceId], Position] = {}
    for entry in sorted(entries, key=lambda each: each.position):
        if entry.instance is None:
            yield entry.position
            continue
        of = entry.stream, entry.instance
        if shows_on(entry):
            since_on[of] = []
        since_on.setdefault(of, []).append(entry.position)
        if entry.changed:
            changed[of] = entry.position
        if entry.open:
            yield entry.position
    yield from (position for positions in since_on.values() for position in positions)
    yield from changed.values()


def _ends(connection: sa.Connection, until: Position) -> dict[int, tuple[int, bytes]]:
    record = RECORDS.c
    last = (
        sa.select(record.stream, sa.func.max(record.version).label("version"))
        .where(record.position <= until)
        .group_by(record.stream)
        .subquery()
    )
    here = sa.and_(record.stream == last.c.stream, record.version == last.c.version)
    query = sa.select(record.stream, record.version, record.hash).join(last, here)
    return {row.stream: (row.version, row.hash) for row in connection.execute(query)}


class _Observed:
    """The records of observers' streams up to the cut."""

    def __init__(self, connection: sa.Connection, observers: Sequence[int], until: Position) -> None:
        self._connection = connection
        self._numbers = observers
        self._until = until
        self._here = sa.and_(RECORDS.c.stream.in_(observers), RECORDS.c.position <= until)

    def count(self) -> int:
        """How many there are."""
        return int(self._connection.scalar(sa.select(sa.func.count()).select_from(RECORDS).where(self._here)) or 0)

    def lasts(self, ends: dict[int, tuple[int, bytes]]) -> Iterator[Position]:
        """The last ones of each stream."""
        for number in self._numbers:
            version, _ = ends.get(number, (0, b""))
            last = sa.and_(RECORDS.c.stream == number, RECORDS.c.version > version - max(NEAR, 1))
            yield from self._connection.scalars(sa.select(RECORDS.c.position).where(self._here, last))

    def others(self) -> Sequence[int]:
        """Where the records of all other streams are, which stay."""
        other = sa.and_(RECORDS.c.stream.not_in(self._numbers), RECORDS.c.position <= self._until)
        return self._connection.scalars(sa.select(RECORDS.c.position).where(other)).all()

    def inventories(self, models: ReadModels, numbers: dict[str, int]) -> Iterator[Position]:
        """The inventories in force."""
        for stream, place in models.fleet.places.items():
            if place.host.inventory:
                wanted = sa.and_(RECORDS.c.stream == numbers[stream], RECORDS.c.version == place.host.inventory)
                yield self._connection.scalars(sa.select(RECORDS.c.position).where(wanted)).one()

    def names(self) -> Iterator[Position]:
        """The newest name of each VM on each host, and every one whose label nobody can read, which stays with it."""
        newest: dict[tuple[int, UUID | None], Position] = {}
        for row in self._namings:
            try:
                shared_codec().labels(row.topic, row.state)
            except UnknownEventError:
                yield Position(row.position)
                continue
            instance = shared_codec().instance(row.topic, row.state)
            newest[row.stream, instance and InstanceId(instance)] = Position(row.position)
        yield from newest.values()

    def labels(self) -> Iterator[tuple[Position, int]]:
        """The labels of all names: what was observed bears no others, and each of these records one of its own."""
        for row in self._namings:
            with suppress(UnknownEventError):
                yield from ((Position(row.position), label.id) for label in shared_codec().labels(row.topic, row.state))

    @cached_property
    def _namings(self) -> Sequence[sa.Row[Any]]:
        columns = [RECORDS.c[name] for name in ("position", "stream", "topic", "state")]
        named = RECORDS.c.topic.startswith(f"{InstanceNamed.__name__}:")
        return self._connection.execute(sa.select(*columns).where(self._here, named).order_by(RECORDS.c.position)).all()

    def kept(self, wanted: Sequence[Position], before: Pruned | None) -> dict[Position, tuple[bytes, bytes]]:
        """Of those that stay, the hash before each, and its own."""
        known = before.kept if before else {}
        found: dict[Position, tuple[bytes, bytes]] = {}
        previous = RECORDS.alias("previous")
        follows = sa.and_(previous.c.stream == RECORDS.c.stream, previous.c.version == RECORDS.c.version - 1)
        query = sa.select(RECORDS.c.position, RECORDS.c.version, RECORDS.c.hash, previous.c.hash.label("previous"))
        joined = query.select_from(RECORDS.outerjoin(previous, follows)).where(self._here)
        for start in range(0, len(wanted), _PARAMETERS):
            some = wanted[start : start + _PARAMETERS]
            for row in self._connection.execute(joined.where(RECORDS.c.position.in_(some))):
                position = Position(row.position)
                if position in known:
                    found[position] = known[position]
                else:
                    found[position] = (row.previous or GENESIS, row.hash)
        return found
