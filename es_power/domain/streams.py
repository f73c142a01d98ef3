"""Names of streams: an observer's, and beside it its planner's, its records' and its actor's; each stop command's own.

A stream has one writer, or a version conflict. Its name tells what kind of facts it holds.
"""

from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10")
_OBSERVER: Final = "observer/"
_IMPORTED: Final = "imported/"
_QEMU_LOG: Final = "qemu-log/"

DECLARATIONS: Final = "declarations"
"""What people say of VMs: records. Many may write; a conflict is retried."""


ACCESS: Final = "access"
"""Who is let in over HTTP: tokens, links and sessions. Many may write; a conflict is retried."""

AUDIT: Final = "audit"
"""What was done to the log itself: signed, pruned, erased, restored. Many may write; a conflict is retried."""


def observer(host: str, driver: str) -> str:
    """The stream of the service that observes this driver on this host: ``observer/kvm-07/qemu``."""
    return f"{_OBSERVER}{host}/{driver}"


def planner(observer_stream: str) -> str:
    """The stream of the process manager that derives commands from an observer's facts."""
    return f"planner/{observer_stream.removeprefix(_OBSERVER)}"


def planned_observer(stream: str) -> str | None:
    """The observer's stream that a planner's stream belongs to; None for any other stream."""
    return f"{_OBSERVER}{stream.removeprefix('planner/')}" if stream.startswith("planner/") else None


def records(observer_stream: str) -> str:
    """The stream of Nova's records of one host's instances, as its observer's service reads them."""
    return f"records/{observer_stream.removeprefix(_OBSERVER)}"


def actor(observer_stream: str) -> str:
    """The stream of the actor that executes one host's commands; holds and breakers stand in it."""
    return f"actor/{observer_stream.removeprefix(_OBSERVER)}"


def qemu_log(observer_stream: str) -> str:
    """The stream of what libvirt wrote into the qemu logs of one host's VMs, as its observer's service follows them."""
    return f"{_QEMU_LOG}{observer_stream.removeprefix(_OBSERVER)}"


def imported(source: str, host: str) -> str:
    """The stream of what was imported from one kind of source about one host: ``imported/nova-log/kvm-07``."""
    return f"{_IMPORTED}{source}/{host}"


def is_imported(stream: str) -> bool:
    """Whether its facts were imported: they are told, and nothing follows from them."""
    return stream.startswith(_IMPORTED)


def import_source(stream: str) -> str | None:
    """What its facts were imported from: ``jsonl``, ``qemu-log``, ``nova-log``; None where they were not imported."""
    return stream.removeprefix(_IMPORTED).partition("/")[0] if is_imported(stream) else None


def is_told(stream: str) -> bool:
    """Whether its facts are what another program wrote down, followed or imported, and not what we saw or said."""
    return stream.startswith((_IMPORTED, _QEMU_LOG))


def command(command_id: UUID) -> str:
    """The stream of one stop command."""
    return f"command/{command_id}"


def observed_host(stream: str) -> str | None:
    """The host that a stream's facts were seen on; None for a stream that is no observer's."""
    if not stream.startswith(_OBSERVER):
        return None
    return stream.removeprefix(_OBSERVER).rpartition("/")[0]


def told_host(stream: str) -> str | None:
    """The host that a stream's facts are about, seen or read; None where its name does not tell."""
    if is_imported(stream):
        return stream.removeprefix(_IMPORTED).partition("/")[2]
    if stream.startswith(_QEMU_LOG):
        return stream.removeprefix(_QEMU_LOG).rpartition("/")[0]
    return observed_host(stream)


def host_of(stream: str) -> str | None:
    """The host that a stream belongs to, whoever writes it; None for those that belong to none."""
    kind, _, rest = stream.partition("/")
    if kind in {"planner", "records", "actor"}:
        return rest.rpartition("/")[0]
    return told_host(stream) or None


def stream_id(name: str) -> UUID:
    """The stream's originator id in eventsourcing's interfaces: derived from the name, so every writer agrees."""
    return uuid5(_NAMESPACE, name)
