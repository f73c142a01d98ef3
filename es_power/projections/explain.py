"""Stop commands explained: the facts that justify them, the cell of the table, and each step of their lives."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from es_power.domain.command import Command
from es_power.domain.decisions import Confirmed, LookedAgain
from es_power.domain.events import Event, HostSwept, Label, Position, RecordDeclared, Recorded
from es_power.domain.streams import command as command_stream
from es_power.errors import AmbiguousNameError, CommandNotFoundError
from es_power.projections.queries import View, label_of, part, said_by, texts

_CANDIDATES: Final = 5  # that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One stop command, with the facts that justify it."""

    row: Command
    name: str | None
    #: What was observed (a sweep as this VM's part of it) and what the record said; None where it cannot be read.
    observation: Recorded | None
    record: Recorded | None
    #: Who declared the record, and why; None for Nova's.
    by: str | None
    why: str | None
    #: Each step of its life, with the looks' own facts; only where one command was asked for.
    life: tuple["LifeStep", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeStep:
    """One record that a command's life is made of, or that it looked at; who said it and why, where a person did."""

    recorded: Recorded
    by: str | None
    why: str | None


async def commands(view: View) -> list[Explained]:
    """All stop commands that were recorded, in the order in which they were."""
    return await explain(view, view.models.commands.rows.values())


async def command(view: View, text: str) -> Explained:
    """One stop command, by its id or the beginning of it; raises CommandNotFoundError and AmbiguousNameError."""
    rows = view.models.commands.rows
    found = [row for command_id, row in rows.items() if text and str(command_id).startswith(text.lower())]
    if not found:
        hint = "`es-power commands list` has the ids of all"
        raise CommandNotFoundError(f"no stop command {text!r} is in the log at position {view.position}; {hint}")
    if len(found) > 1:
        listed = ", ".join(str(row.requested.command) for row in found[:_CANDIDATES])
        raise AmbiguousNameError(f"{len(found)} stop commands begin with {text!r}, among them {listed}; write more")
    [explained] = await explain(view, found)
    return replace(explained, life=await _life(view, found[0]))


async def _life(view: View, row: Command) -> tuple[LifeStep, ...]:
    stream = command_stream(row.requested.command)
    steps = [each for each in await view.log.read_stream(stream) if view.has(each)]
    looks = {place for each in steps for place in _looked_at(each.event)}
    facts = await view.log.read_at(sorted(looks - {row.requested.record}))
    told = sorted([*steps, *facts.values()], key=lambda each: each.position)
    text_of = await texts(view.log, [label for each in told for label in said_by(each.event)])
    return tuple(
        LifeStep(recorded=each, by=text_of(said_by(each.event)[0]), why=text_of(said_by(each.event)[1]))
        for each in told
    )


def _looked_at(event: Event) -> tuple[Position, ...]:
    match event:
        case LookedAgain(observation=observation, record=record):
            return observation, record
        case Confirmed(because=because):
            return (because,)
        case _:
            return ()


async def explain(view: View, rows: Collection[Command]) -> list[Explained]:
    """Read the facts that justify commands, recorded ones or those of a what-if."""
    wanted = {position for row in rows for position in (row.requested.observation, row.requested.record)}
    facts = await view.log.read_at(sorted(wanted))
    said = {row.requested.command: facts.get(row.requested.record) for row in rows}
    declared = [record.event for record in said.values() if record and isinstance(record.event, RecordDeclared)]
    names = {row.requested.instance: label_of(view.fleet, row.requested.instance) for row in rows}
    text_of = await texts(
        view.log, [*names.values(), *(each.by for each in declared), *(each.why for each in declared)]
    )
    return [
        _command(row, facts, said[row.requested.command], text_of, names[row.requested.instance])
        for row in sorted(rows, key=lambda row: row.position)
    ]


def _command(
    row: Command,
    facts: Mapping[Position, Recorded],
    record: Recorded | None,
    text_of: Callable[[Label | None], str | None],
    name: Label | None,
) -> Explained:
    request = row.requested
    observation = facts.get(request.observation)
    if observation and isinstance(observation.event, HostSwept) and request.observation_index is not None:
        observation = part(observation, observation.event, request.observation_index, request.instance)
    said = record.event if record else None
    return Explained(
        row=row,
        name=text_of(name),
        observation=observation,
        record=record,
        by=text_of(said.by) if isinstance(said, RecordDeclared) else None,
        why=text_of(said.why) if isinstance(said, RecordDeclared) else None,
    )
