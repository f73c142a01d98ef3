"""What a fold could not read or apply, and of which VMs nobody can be sure because of it.

Rules of this file:
1. A record that was set aside hides no other: every other record is folded.
2. It puts in doubt the VM that it is about, where that can still be read; else every VM that its stream bears on.
3. A VM in doubt reads UNKNOWN until something newer is known of it, and is marked after that; no stop is requested for
   it. What ends the doubt is a version that can apply the record: it folds the VM's history again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from es_power.domain.events import InstanceEvent, InstanceId, Position, Recorded
from es_power.domain.streams import DECLARATIONS, is_told, observed_host
from es_power.errors import UnknownEventError

EVERYBODY = ""
"""Stands among the names of streams for all VMs of all hosts."""

_OF_A_HOST = ("planner/", "records/", "actor/")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A record that could not be read or applied."""

    position: Position
    #: Empty where not even that could be read.
    stream: str
    #: Of the fact, as it was written.
    kind: str
    #: The VMs that it is about; none where that could not be read, or it is about a host.
    instances: tuple[InstanceId, ...] = ()
    reason: str

    @property
    def doubtful(self) -> Iterator[InstanceId | str]:
        """What is in doubt by it: VMs, or an observer's stream with all VMs of that host, or EVERYBODY."""
        if is_told(self.stream):
            return  # nothing follows from what others told
        if self.instances:
            yield from self.instances
        elif self.stream in {"", DECLARATIONS}:
            yield EVERYBODY
        elif observed_host(self.stream) is not None:
            yield self.stream
        elif self.stream.startswith(_OF_A_HOST):
            yield f"observer/{self.stream.partition('/')[2]}"


def unreadable(error: UnknownEventError, position: Position) -> SetAside:
    """Set aside what cannot be read."""
    return SetAside(
        position=position,
        stream=error.stream,
        kind=error.topic.partition(":")[0],
        instances=() if error.instance is None else (InstanceId(error.instance),),
        reason=str(error),
    )


def failed(recorded: Recorded, error: Exception) -> SetAside:
    """Set aside what was read and could not be applied."""
    event = recorded.event
    return SetAside(
        position=recorded.position,
        stream=recorded.stream,
        kind=type(event).__name__,
        instances=(event.instance,) if isinstance(event, InstanceEvent) else (),
        reason=f"{type(error).__name__}: {error}",
    )
