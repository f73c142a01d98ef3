"""Where every fold of a log begins: before its first record, or where its beginning was taken out (`es-power prune`).

Rules of this file:
1. No fold knows another way to begin. What comes after the beginning is folded; nothing before it is, not even the
   records that were kept.
2. What it holds can not be folded again, so it is no table of the read models: it stands beside the log, and its digest
   is part of a fact.
3. Facts in it are stored as records store them, so a later es_power reads them as it reads records.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa
import trio

from es_power.domain.decisions import CommandEvent, Resolved, StopRequested, Withdrawn
from es_power.domain.events import START, Event, InstanceId, Position
from es_power.domain.policy import Policy
from es_power.errors import LogSchemaError, SealBrokenError
from es_power.log import SqlLog
from es_power.log.chain import Chain
from es_power.log.codec import shared_codec
from es_power.log.pruned import hashes_there, read_pruned, read_state
from es_power.projections.fleet import Fleet
from es_power.projections.history import Entry
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.snapshots import pack, unpack
from es_power.projections.stop_commands import Derived, Standing, StopCommands
from es_power.projections.tables import (
    command_of,
    command_row,
    entry_of,
    entry_row,
    keeping_of,
    keeping_row,
    times_row,
)
from es_power.projections.times import Block, Times

FORM: Final = 1
"""Of what is stored; whoever changes that counts on, and reads the older ones still."""

_Fact = tuple[str, bytes]
"""A fact as a record stores it: topic and state."""

_Row = Mapping[str, Any]


class _Standing(msgspec.Struct, array_like=True, frozen=True):
    stream: str
    request: _Fact
    recorded: bool
    sent: bool
    ended: bool
    over: str | None


class _State(msgspec.Struct, array_like=True, frozen=True):
    form: int
    fleet: bytes
    times: _Row
    #: Of the history, all that is not gone: what records tell that were kept, and the runs that were open.
    entries: list[dict[str, Any]]
    commands: list[dict[str, Any]]
    keeping: list[dict[str, Any]]
    planned: list[str]
    standing: list[_Standing]
    asks: dict[UUID, str]
    over_already: list[UUID]
    #: What was derived, and was not in the log by then: stream and fact.
    derived: list[tuple[str, _Fact]]


_PACK: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_READ: Final = msgspec.msgpack.Decoder(_State).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a log begins with."""

    position: Position = START
    #: What the fact that says so has to say of it.
    digest: bytes = b""
    #: The hash that each stream had there, by its id.
    hashes: Mapping[bytes, bytes]
    state: _State | None = None

    @property
    def chain(self) -> Chain:
        """What checks the hashes of all that follows."""
        return Chain(self.position, self.hashes)

    @property
    def fleet(self) -> Fleet:
        """The fleet there."""
        return unpack(self.state.fleet) if self.state else Fleet()

    def models(self, *, resume: bool = False, whatif: Policy | None = None) -> ReadModels:
        """The read models there; under another policy without what the recorded ones called for."""
        models = ReadModels(self.fleet, whatif=whatif, resume=resume)
        state = self.state
        if state is None:
            return models
        models.times = Times(self.position, Block(*state.times.values()))
        for entry in self._entries():
            if entry.open and entry.instance is not None:
                models.history.open[entry.instance, entry.stream] = entry
        for row in map(command_of, state.commands):
            models.commands.rows[row.requested.command] = row
        for recorded in map(keeping_of, state.keeping):
            models.keeping.take_up(recorded)
        if whatif is None:
            _take_up(models.derivation, state)
        return models

    def step(self, models: ReadModels) -> Step:
        """What stands before the first record, as tables would have it that this log does not have."""
        state = self.state
        if state is None:
            return Step()
        block = models.times.block
        return Step(
            entries={(entry.position, entry.index): entry for entry in self._entries()},
            commands={row.position: row for row in models.commands.rows.values()},
            keeping={each.position: (each, True) for each in models.keeping},
            vouched=set(models.fleet.vouched),
            times={block.number: block},
            snapshots={self.position: state.fleet},
            derived=[Derived(stream, _derived(fact)) for stream, fact in state.derived],
        )

    def _entries(self) -> Iterable[Entry]:
        return map(entry_of, self.state.entries) if self.state else ()


def read_beginning(connection: sa.Connection) -> Beginning:
    """Read where a log begins; LogSchemaError where a newer es_power pruned it."""
    pruned, data = read_pruned(connection), read_state(connection)
    if pruned is None or data is None:
        return Beginning(hashes={})
    try:
        form, *_ = msgspec.msgpack.decode(data)
        state = _READ(data) if form == FORM else None
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise SealBrokenError(pruned.position, reason=f"what stands for the records up to there: {error}") from error
    if state is None:
        raise LogSchemaError(f"a newer es_power pruned this log (form {form}); upgrade es_power on this machine")
    return Beginning(
        position=pruned.position,
        digest=pruned.digest(data),
        hashes=hashes_there(connection, pruned),
        state=state,
    )


async def beginning_of(log: SqlLog) -> Beginning:
    """Where a log begins."""

    def read() -> Beginning:
        with log.database.read() as connection:
            return read_beginning(connection)

    return await trio.to_thread.run_sync(read)


def pack_state(models: ReadModels, entries: Iterable[Entry], derived: Iterable[Derived]) -> bytes:
    """Write the models that a log will begin with: `entries` of the history, and what was `derived` but not recorded.

    It is packed again where the log is pruned again, so what is in it may come from an older beginning.
    """
    derivation = models.derivation
    return _PACK(
        _State(
            form=FORM,
            fleet=pack(models.fleet),
            times=times_row(models.times.block),
            entries=[dict(entry_row(entry)) for entry in entries],
            commands=[dict(command_row(row)) for row in models.commands.rows.values()],
            keeping=[dict(keeping_row(recorded, stands=True)) for recorded in models.keeping],
            planned=sorted(derivation.planned),
            standing=[
                _Standing(each.stream, _fact(each.request), each.recorded, each.sent, each.ended, each.over)
                for each in derivation.open.values()
            ],
            asks={UUID(int=instance.int): stream for instance, stream in derivation.asks.items()},
            over_already=sorted(derivation.over_already),
            derived=[(each.stream, _fact(each.event)) for each in derived],
        )
    )


def _take_up(derivation: StopCommands, state: _State) -> None:
    derivation.planned.update(state.planned)
    for each in state.standing:
        request = _event(each.request)
        assert isinstance(request, StopRequested)
        derivation.open[request.instance] = Standing(
            each.stream, request, recorded=each.recorded, sent=each.sent, ended=each.ended, over=each.over
        )
    derivation.asks |= {InstanceId(instance): stream for instance, stream in state.asks.items()}
    derivation.over_already.update(state.over_already)


def _fact(event: CommandEvent) -> _Fact:
    return shared_codec().encode(event)


def _event(fact: _Fact) -> Event:
    return shared_codec().decode(*fact)


def _derived(fact: _Fact) -> StopRequested | Withdrawn | Resolved:
    event = _event(fact)
    assert isinstance(event, StopRequested | Withdrawn | Resolved)
    return event
