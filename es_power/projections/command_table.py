"""Every stop command that was recorded, each as far as its life has come."""

from collections.abc import Iterable
from uuid import UUID

from es_power.domain.command import Command, begin, evolve
from es_power.domain.decisions import CommandEvent, StopRequested
from es_power.domain.events import Recorded
from es_power.projections.digests import line, of_lines


class CommandTable:
    """The commands by their id."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Command] = {}

    def apply(self, recorded: Recorded) -> Command | None:
        """Fold one record; give the command that it begins or moves on."""
        event = recorded.event
        if not isinstance(event, CommandEvent):
            return None
        known = self.rows.get(event.command)
        if known is not None:
            row = evolve(known, recorded)
        elif isinstance(event, StopRequested):
            row = begin(recorded)
        else:
            return None
        self.rows[event.command] = row
        return row


def digest(rows: Iterable[Command]) -> str:
    """SHA-256 over commands, in the order in which they were requested."""
    return of_lines(line(row) for row in sorted(rows, key=lambda row: row.position))
