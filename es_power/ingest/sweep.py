"""One bulk answer of a host, and what it is told as."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from es_power.domain.events import Event, GapReason, HostSwept, InstanceId
from es_power.domain.time import Timestamp
from es_power.ingest.clock import clock_state
from es_power.ingest.hypervisor import Info

_ODD: Final = 255
"""Stands in a sweep's bytes for a number that does not fit in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a sweep is told as, and what is known once the log has it."""

    events: Sequence[Event]
    #: Whether it closes the gap that is open.
    closes: bool
    #: The VMs, and the version of the record that lists them.
    inventory: tuple[tuple[InstanceId, ...], int]
    #: How many VMs and records there were when they last differed.
    differed: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One bulk answer, before it becomes facts."""

    asked_at: Timestamp
    answered_at: Timestamp
    number: int
    listed: Sequence[Info]
    #: The gap that was open when it was asked, and how many events were known to be lost.
    dark: tuple[tuple[Timestamp, GapReason] | None, int | None]

    @property
    def members(self) -> tuple[InstanceId, ...]:
        """The VMs that the host has."""
        return tuple(info.instance for info in self.listed)

    def fact(self, inventory: int, *, connection: int, boot_id: UUID | None) -> HostSwept:
        """Make the fact of it, by the inventory of that version."""
        # Two bytes for each VM: state and reason; an answer that does not fit in them stands beside.
        odd = tuple((index, info.state, info.reason) for index, info in enumerate(self.listed) if not _fits(info))
        numbers = [number for info in self.listed for number in (info.state, info.reason)]
        for index, _, _ in odd:
            numbers[2 * index : 2 * index + 2] = _ODD, _ODD
        clock = clock_state()
        return HostSwept(
            observed_at=self.answered_at,
            asked_at=self.asked_at,
            inventory=inventory,
            connection=connection,
            number=self.number,
            boot_id=boot_id,
            clock_synchronised=clock.synchronised,
            clock_offset=clock.offset,
            clock_error=clock.error,
            states=bytes(numbers),
            odd=odd,
        )


def _fits(info: Info) -> bool:
    return 0 <= info.state < _ODD and 0 <= info.reason < _ODD
