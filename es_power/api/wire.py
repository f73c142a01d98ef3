"""What is sent, as the API's description shows it: shapes and examples. Rows are made in `answers`, not here.

A test holds every answer to these shapes, so that nothing is sent which is not described.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from es_power.domain.access import Role
from es_power.domain.states import UNKNOWN, PowerState
from es_power.projections.marks import MarkKind

T = TypeVar("T")

VM: Final = "7f1c1c52-6ad5-4c0b-9df1-2f0f5e8b6f3a"
COMMAND: Final = "3b0d6a35-1f5e-5b43-93a9-2d6f0c2c7a10"


class State(StrEnum):
    """A power_state, or UNKNOWN while nobody can say."""

    NOSTATE = PowerState.NOSTATE.value
    RUNNING = PowerState.RUNNING.value
    PAUSED = PowerState.PAUSED.value
    SHUTDOWN = PowerState.SHUTDOWN.value
    CRASHED = PowerState.CRASHED.value
    SUSPENDED = PowerState.SUSPENDED.value
    UNKNOWN = UNKNOWN


class Wire(BaseModel):
    """An object of JSON."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Open(BaseModel):
    """An object to which later versions add keys, and whose kinds have keys of their own."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class Page(Wire, Generic[T]):
    """Some rows of a list, in its order."""

    items: list[T]
    next: str | None
    """The path of the rows that follow, as in the Link header; null where none do."""


class Vm(Wire):
    """What is said of one VM at one moment: a row of `es-power status`."""

    instance: UUID = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    """Its owner's choice: text that may hold anything. Null where the log never heard one."""
    host: str = Field(examples=["kvm-07"])
    power_state: State
    """UNKNOWN while nobody can say."""
    vm_state: str | None = Field(examples=["active"])
    task_state: str | None = Field(examples=[None])
    policy: str = Field(examples=["nova-2013"])
    since: datetime | None
    observed_at: datetime | None
    position: int
    provisional: bool
    """Set by an event that no observation has confirmed yet."""
    gone: bool
    drift: str | None = Field(examples=["stop (e)"])
    """What its policy's table says where it is not what its record says; null where it is, or nobody can say."""
    state: str | None = Field(examples=["RUNNING"])
    state_number: int | None
    reason: str | None
    reason_number: int | None
    note: str
    """What a person should know; empty where all is well."""


class VmAnswer(Wire):
    """One VM: on the host whose word counts, or with `all` on each host that ever showed it."""

    items: list[Vm]


class Line(Open):
    """One line of a history; a run of equal observations is one, with `first`, `last` and `count`."""

    position: int
    index: int | None
    kind: str = Field(examples=["LifecycleEvent"])
    instance: UUID = Field(examples=[VM])
    host: str | None = Field(examples=["kvm-07"])
    observed_at: datetime
    recorded_at: datetime
    power_state: str | None
    changed: bool
    stale: bool
    what: str = Field(examples=["event STOPPED (SHUTDOWN)"])


class Fact(Open):
    """One record of the log; keys beside these are those of its kind."""

    position: int
    stream: str | None = Field(examples=["observer/kvm-07/qemu"])
    version: int | None
    kind: str | None = Field(examples=["LifecycleEvent"])
    """Null for a record that cannot be read."""
    host: str | None = Field(examples=["kvm-07"])
    instance: UUID | None = Field(examples=[VM])
    observed_at: datetime | None
    recorded_at: datetime | None
    what: str = Field(examples=["event STOPPED (SHUTDOWN)"])


class Host(Wire):
    """One observed host under one driver."""

    host: str = Field(examples=["kvm-07"])
    stream: str = Field(examples=["observer/kvm-07/qemu"])
    uri: str = Field(examples=["qemu:///system"])
    holder: str = Field(examples=["kvm-07, process 812"])
    running: bool
    """False after its service ended in good order."""
    blind_since: datetime | None
    """Since when nobody sees it; null while somebody does."""
    blind_reason: str | None
    vms: int
    """VMs that it knows now."""
    swept_at: datetime | None
    position: int
    """Of its newest sweep."""
    spacing: float = Field(examples=[600.0])
    policy: str = Field(examples=["nova-2013"])
    policy_version: int
    mode: str = Field(examples=["dry-run"])


class Gap(Wire):
    """A time in which nobody saw a host."""

    host: str = Field(examples=["kvm-07"])
    since: datetime
    until: datetime | None
    """Null: still blind."""
    reason: str = Field(examples=["connection lost"])
    lost: int | None
    position: int


class Doubt(Wire):
    """A record that could not be read or applied, and whom it leaves in doubt."""

    position: int
    host: str | None = Field(examples=["kvm-07"])
    kind: str = Field(examples=["StateObserved"])
    vms: str
    """The names of the VMs that it is about; empty where that cannot be read, or it is about a host."""
    reason: str
    stream: str
    instances: str


class Command(Open):
    """One stop command, with what justifies it."""

    id: UUID = Field(examples=[COMMAND])
    instance: UUID = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    host: str = Field(examples=["kvm-07"])
    policy: str = Field(examples=["nova-2013"])
    policy_version: int
    rule: str = Field(examples=["e"])
    command: str = Field(examples=["stop"])
    state: str = Field(examples=["Planned"])
    requested_at: datetime
    position: int
    reason: str
    justification: dict[str, Any]
    cell: dict[str, Any] | None
    ended: dict[str, Any] | None


class Step(Open):
    """One step of a command's life, or a fact that it was looked at by."""

    at: datetime
    step: str = Field(examples=["Approved"])
    what: str
    by: str | None = Field(examples=["alice"])
    why: str | None
    position: int


class CommandAnswer(Command):
    """One stop command, with its life."""

    life: list[Step]


class Wish(Wire):
    """What a person says of a command."""

    why: str = Field(min_length=1, max_length=1000, pattern=r"\S", examples=["maintenance of kvm-07 is over"])
    """The reason, for whoever reads the log later."""


class Said(Wire):
    """What the actor says that it did."""

    said: str


class Link(Wire):
    """A link for a browser."""

    path: str = Field(examples=["/session?link=..."])
    """To be opened once, within `seconds`."""
    url: str | None = Field(examples=["http://127.0.0.1:8420/session?link=..."])
    """The same for a browser of this machine; null where the service listens at no address."""
    seconds: float


class Session(Wire):
    """Who asks."""

    user: str | None = Field(examples=["alice"])
    role: Role
    csrf: str | None
    """What a browser sends as X-CSRF-Token with whatever it writes; null where no session asks."""


class Evidence(Open):
    """A fact that speaks for a cause, or against it, or one that was looked for and is not there."""

    weight: str = Field(examples=["+"])
    what: str


class Why(Wire):
    """Why a VM stopped or paused, as `es-power why` says it."""

    instance: UUID = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    host: str | None
    cause: str = Field(examples=["HostKilled"])
    confidence: str = Field(examples=["high"])
    sentence: str
    at: datetime | None
    not_before: datetime | None
    from_state: str | None
    to_state: str | None
    actor: str | None
    request_id: str | None
    pid: int | None
    process: str | None
    signal: int | None
    out_of_band: bool | None
    power_state: str | None
    position: int
    """Up to where the log was known."""
    evidence: list[Evidence]
    notes: list[str]
    next: list[str]


class Segment(Wire):
    """A time in which one VM was in one state."""

    instance: UUID = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    since: datetime
    until: datetime
    power_state: str | None = Field(examples=["RUNNING"])
    """UNKNOWN while nobody can say, MIXED where a bucket holds several, null while the VM did not exist."""
    why_unknown: str | None
    host: str | None
    source: str | None
    position: int | None
    seconds: float
    shares: dict[str, float]


class Mark(Wire):
    """A fact on a VM's lane."""

    instance: UUID = Field(examples=[VM])
    at: datetime
    kind: MarkKind
    """`missed`: an observation of a change that no event announced; `stale`: one that lost to a newer event."""
    position: int = Field(examples=[48_102])
    index: int | None
    """The place in a sweep; null for any other record. It and `position` name the mark."""
    what: str = Field(examples=["event STOPPED (SHUTDOWN)"])


class Growth(Wire):
    """Where the log stood at a time."""

    at: datetime
    position: int = Field(examples=[48_102])
    """The last one that was recorded by then."""


class Uptime(Wire):
    """How long one VM was up; the range of its availability holds the truth."""

    name: str | None = Field(examples=["web-1"])
    instance: UUID = Field(examples=[VM])
    since: datetime
    until: datetime
    existed_s: float
    known_up_s: float
    known_down_s: float
    known_paused_s: float
    unknown_s: float
    availability_min: float | None
    availability_max: float | None


class Anomaly(Wire):
    """Something out of the ordinary, of a VM or of a host."""

    kind: str = Field(examples=["missed event"])
    host: str = Field(examples=["kvm-07"])
    instance: UUID | None = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    since: datetime
    until: datetime
    count: int
    positions: list[int]


class Problem(Open):
    """A problem of RFC 9457."""

    type: str = Field(examples=["/problems/vm-not-found"], json_schema_extra={"format": "uri-reference"})
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str | None = None
    request_id: str | None = None
