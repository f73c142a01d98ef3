"""Names of streams: one per observer and its planner, one per stop command, one for what people say.

A stream has one writer, or a version conflict. Its name tells what kind of facts it holds.
"""

from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10")
_OBSERVER: Final = "observer/"

DECLARATIONS: Final = "declarations"
"""What people say: records and, later, holds. Many may write; a conflict is retried."""


def observer(host: str, driver: str) -> str:
    """The stream of the service that observes this driver on this host: ``observer/kvm-07/qemu``."""
    return f"{_OBSERVER}{host}/{driver}"


def planner(observer_stream: str) -> str:
    """The stream of the process manager that derives commands from an observer's facts."""
    return f"planner/{observer_stream.removeprefix(_OBSERVER)}"


def planned_observer(stream: str) -> str | None:
    """The observer's stream that a planner's stream belongs to; None for any other stream."""
    return f"{_OBSERVER}{stream.removeprefix('planner/')}" if stream.startswith("planner/") else None


def command(command_id: UUID) -> str:
    """The stream of one stop command."""
    return f"command/{command_id}"


def observed_host(stream: str) -> str | None:
    """The host that a stream's facts were seen on; None for a stream that is no observer's."""
    if not stream.startswith(_OBSERVER):
        return None
    return stream.removeprefix(_OBSERVER).rpartition("/")[0]


def stream_id(name: str) -> UUID:
    """The stream's originator id in eventsourcing's interfaces: derived from the name, so every writer agrees."""
    return uuid5(_NAMESPACE, name)
