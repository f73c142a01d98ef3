"""What other programs wrote down: facts read out of libvirt's and Nova's log files, followed or imported.

The rules of `events` hold here too. These facts are evidence: histories tell them and causes are found by them, and
none of them bears on the power_state table or on a command. Where a line says another time than that at which it was
true (Nova holds a stop back for 15 s), both are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

from es_power.domain.events import Event, InstanceEvent, InstanceId, Label
from es_power.domain.states import Transition
from es_power.domain.time import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent(InstanceEvent):
    """A line of another program's log about one instance; `observed_at` is when it was true."""

    #: The file's name, without its folder.
    file: Label
    #: Where the line ends in the file, in bytes of its text (uncompressed).
    offset: int


# ------------------------------------------------------------------------------------- what libvirt wrote of qemu


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuLogOpened(InstanceEvent):
    """The service follows a VM's log from here on; what stands before `offset` was not read."""

    file: Label
    inode: int
    offset: int
    #: SHA-256 of the file's first line, its beginning: by this it is known again under another name or inode.
    mark: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuStarted(LoggedEvent):
    """libvirt started a qemu for the VM (``starting up libvirt version: ...``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuTerminated(LoggedEvent):
    """qemu was told to end by a signal (``terminating on signal 15 from pid 4711 (bash)``)."""

    signal: int
    #: Who sent it; 0 where qemu did not know.
    pid: int
    #: That process as the line has it, by name or as it was called; None where it was gone already.
    process: Label | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuEnded(LoggedEvent):
    """libvirt saw qemu end (``shutting down, reason=crashed``)."""

    #: libvirt's word: ``shutdown``, ``destroyed``, ``crashed``, ``migrated``, ``saved``, ``failed`` and others.
    reason: str


# ---------------------------------------------------------------------------------------- what nova-compute wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaTransitionLogged(LoggedEvent):
    """Nova handled a lifecycle event (``VM Stopped (Lifecycle Event)``).

    `observed_at` is when it happened: of a stop, 15 s before the line (nova/virt/libvirt/host.py, _event_emit_delayed).
    """

    times: ClassVar[tuple[str, ...]] = ("observed_at", "logged_at")

    logged_at: Timestamp
    transition: Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSkipLogged(LoggedEvent):
    """Nova's sync passed the instance over, since it had a pending task (``pending task (spawning). Skip.``)."""

    task_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaRequestLogged(LoggedEvent):
    """Nova did something to the instance at somebody's request (``Terminating instance``)."""

    request_id: str
    #: Who asked, as the line has them: ids, or names.
    user: Label | None
    project: Label | None
    #: The line's own words.
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaCountLogged(Event):
    """Nova's sync found another number of VMs than it has records of."""

    file: Label
    offset: int
    found: int
    records: int


# ------------------------------------------------------------------------------------------------- another log


@dataclass(frozen=True, slots=True, kw_only=True)
class FactImported(Event):
    """A fact of another log of es_power, out of its export; `observed_at` is that fact's.

    It is kept as its bytes, so that nothing takes it for a fact of this log: who tells of it opens it.
    """

    times: ClassVar[tuple[str, ...]] = ("observed_at", "recorded_then")

    #: Where and when that log had it.
    stream: str
    version: int
    position: int
    recorded_then: Timestamp
    #: As a record of this log has them; labels are this log's own.
    topic: str
    state: bytes
    #: The VM's place in the sweep of which this is one part.
    index: int | None = None
    #: Of a sweep, the VMs of which it says another thing than what was imported before: state and reason.
    told: tuple[tuple[InstanceId, int, int], ...] = ()
