"""What can be set: the kinds of values, and the sections that hold them.

A type's ``description`` ends the sentence "it must be ..." and so is the mend of every problem with it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields

from es_power.domain.policy import POLICIES

DEFAULT_URI: Final = "qemu:///system"

# ------------------------------------------------------------------------------------------------------- kinds

_YEAR: Final = 31_536_000

Seconds = Annotated[
    float, Meta(gt=0, le=_YEAR, description='a time above zero and up to a year, in seconds or in words like "10m"')
]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number from 1 on")]
Share = Annotated[float, Meta(ge=0, lt=1, description="a share from 0 up to, not including, 1")]
Place = Annotated[str, Meta(min_length=1, description="a path, or a URL such as postgresql://user@host/database")]
Uri = Annotated[str, Meta(pattern=r"^\S+$", description="a libvirt URI such as qemu:///system, without blanks")]
Uris = Annotated[tuple[Uri, ...], Meta(description='a list of libvirt URIs such as ["qemu:///system"]')]
HostName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,255}$", description="a host name of letters, digits, points and dashes")
]
PolicyName = Annotated[str, Meta(description=f"the name of a policy: {', '.join(POLICIES)}")]
ModeName = Literal["dry-run", "approve", "auto"]
Mode = Annotated[
    ModeName, Meta(description="dry-run (nothing is sent), approve (what a person approved) or auto (what was planned)")
]
Modes = Annotated[
    dict[str, ModeName],
    Meta(description='a table of host names or instance UUIDs and their modes, such as {"kvm-07" = "auto"}'),
]
Names = Annotated[tuple[str, ...], Meta(description='a list of names such as ["root", "ops"]')]
HostNames = Annotated[
    dict[str, str],
    Meta(description='a table of our names of hosts and Nova\'s names for them, such as {"kvm-07" = "compute-7"}'),
]
Listen = Annotated[
    str,
    Meta(
        pattern=r"^$|^([0-9.]+|\[[0-9A-Fa-f:.]+\]|localhost):[0-9]{1,5}$",
        description="an address and a port such as 127.0.0.1:8420 or [::1]:8420, or empty",
    ),
]
VmLabels = Annotated[Literal["auto", "always", "never"], Meta(description="auto, always or never")]
CheckpointPlace = Annotated[
    str, Meta(pattern=r"^(file:/.+|directory:/.+|syslog:(/.+)?)$")
]  # as `audit.places` reads it
CheckpointPlaces = Annotated[
    tuple[CheckpointPlace, ...],
    Meta(description='a list of places such as ["file:/mnt/audit/log.checkpoints", "directory:/mnt/audit", "syslog:"]'),
]
Switch = Annotated[bool, Meta(description="true or false")]
Text = Annotated[str, Meta(description="a text")]


# ---------------------------------------------------------------------------------------------------- sections


class Log(Struct, frozen=True, kw_only=True):
    """Where the log is."""

    #: A path of SQLite's, or a URL.
    path: Place


class Observe(Struct, frozen=True, kw_only=True):
    """What to observe, by URI alone; the host is called what libvirt calls it."""

    uri: Uris = ()


class Host(Struct, frozen=True, kw_only=True):
    """One hypervisor to observe."""

    uri: Uri
    #: What to call it; None: what libvirt calls it (virConnectGetHostname).
    name: HostName | None = None


class NamedHost(Struct, frozen=True, kw_only=True):
    """One `[[host]]`: a URI and what to call the host."""

    name: HostName
    uri: Uri


class Sweep(Struct, frozen=True, kw_only=True):
    """How often every VM is asked for."""

    #: Seconds between sweeps (Nova's sync_power_state_interval).
    spacing: Seconds = 600.0
    #: The share of the spacing by which a sweep may come early or late, so that hosts do not sweep in step.
    jitter: Share = 0.1


class PolicyChoice(Struct, frozen=True, kw_only=True):
    """What decides for vouched instances, and what becomes of its commands."""

    name: PolicyName = "nova-2013"
    mode: Mode = "dry-run"
    #: By host name or instance UUID, for those that have another one; an instance's is before its host's.
    modes: Modes = {}


class Act(Struct, frozen=True, kw_only=True):
    """How planned commands are executed, by `es-power act`."""

    #: Seconds that a command waits before anything else, so that a reboot is over (Nova waits 15 in memory).
    settle: Seconds = 15.0
    #: Seconds, at most, between the last look's answer and the act; later the command is withdrawn.
    window: Seconds = 2.0
    #: Seconds after its approval, or its request under auto, after which a command is too old to be sent.
    max_age: Seconds = 3600.0
    #: Seconds after which a command that nobody approved expires.
    expiry: Seconds = 86_400.0
    #: Seconds that a guest has to shut itself down before it is destroyed (Nova's shutdown_timeout).
    shutdown_timeout: Seconds = 60.0
    #: Seconds in which an act has to be seen to have happened.
    confirm: Seconds = 120.0
    #: Seconds that a host has to be up before commands of its VMs are sent.
    after_boot: Seconds = 300.0
    #: Where approvals and holds reach the actor; empty: /run/es-power/act.sock, or beside a log of one's own.
    socket: Text = ""
    #: Users and (with @) groups, beside root and the actor's own user, who may approve and hold.
    operators: Names = ()


class Breaker(Struct, frozen=True, kw_only=True):
    """When so much of a host would be stopped at once that a person has to look first."""

    #: Seconds that count as at once.
    within: Seconds = 60.0
    #: So many commands, if they are also more than this share of the host's known VMs.
    commands: Count = 5
    share: Share = 0.3
    #: More than so many in any case.
    most: Count = 10
    #: A host on which at least so many VMs were on, and now none is.
    whole: Count = 3


class Nova(Struct, frozen=True, kw_only=True):
    """Nova's records, out of its API."""

    #: Whether Nova is asked at all; how to reach it is said by clouds.yaml and OS_* variables.
    enabled: Switch = False
    #: The cloud's name in clouds.yaml; empty: what OS_CLOUD or the other OS_* variables say.
    cloud: Text = ""
    #: Seconds between two questions for what changed, and between two for everything.
    spacing: Seconds = 60.0
    full: Seconds = 3600.0
    #: Seconds after which a question that was not answered is given up.
    timeout: Seconds = 20.0
    #: Questions for single instances in a minute, at most.
    budget: Count = 600
    #: Seconds that a task may be pending before an alarm is raised.
    stuck_after: Seconds = 3600.0
    #: Nova's names of hosts (its `host` option) that libvirt calls otherwise.
    hosts: HostNames = {}


class Api(Struct, frozen=True, kw_only=True):
    """The HTTP API that `es-power run` serves."""

    #: Whether it is served at all.
    enabled: Switch = True
    #: Where programs and browsers of this machine reach it, with a token: ADDRESS:PORT; port 0: any; empty: nowhere.
    listen: Listen = "127.0.0.1:8420"
    #: Whether an address that other machines reach stands behind a proxy that speaks TLS; without that it is refused.
    proxy: Switch = False
    #: Names, beside this machine's own, by which the proxy is asked; a request for another host is refused.
    hosts: Names = ()
    #: Where the command line reaches it, without a token; empty: /run/es-power-api/api.sock, or beside one's own log.
    socket: Text = ""
    #: Requests in a second that one client may make over time; ten times as many at once.
    rate: Count = 50
    #: Clients that may follow the log (/v1/stream) at the same time.
    followers: Count = 1000


class Metrics(Struct, frozen=True, kw_only=True):
    """Health and metrics, on a listener of their own that asks for no token."""

    #: Whether they are served at all.
    enabled: Switch = True
    #: ADDRESS:PORT of /healthz, /readyz and /metrics; port 0: any; empty: nowhere.
    listen: Listen = "127.0.0.1:9420"
    #: Whether each VM has metrics of its own: always, never, or auto (up to 1,000 VMs).
    vm_labels: VmLabels = "auto"


class Connection(Struct, frozen=True, kw_only=True):
    """How a connection to libvirt is kept."""

    #: Whole seconds between keepalive messages, and how many may go unanswered (virConnectSetKeepAlive).
    keepalive_interval: Count = 5
    keepalive_count: Count = 3
    #: Seconds, at most, between two tries to connect.
    backoff_max: Seconds = 30.0
    #: Seconds after which a call that has not come back is given up.
    call_timeout: Seconds = 30.0


class Bridge(Struct, frozen=True, kw_only=True):
    """The queue between libvirt's thread and ours."""

    #: How many events it holds; what comes beyond is a gap.
    capacity: Count = 65_536


class QemuLog(Struct, frozen=True, kw_only=True):
    """The logs that libvirt keeps of each VM's qemu, where the host is this machine."""

    #: Whether they are followed; where they may not be read, that is said and nothing else happens.
    enabled: Switch = True
    #: Where they are; empty: /var/log/libvirt/qemu, and of a session $XDG_CACHE_HOME/libvirt/qemu/log.
    folder: Text = ""


class Audit(Struct, frozen=True, kw_only=True):
    """How the log is sealed: signed as it is, so that nobody can change it later without being found out."""

    #: The file of the key that signs, made by `es-power audit keygen`; empty: nothing is signed.
    key: Text = ""
    #: Seconds between two checkpoints.
    every: Seconds = 3600.0
    #: Where checkpoints are kept outside of the log.
    places: CheckpointPlaces = ()


class Lease(Struct, frozen=True, kw_only=True):
    """The claim to be the only observer of a host in one log."""

    #: Seconds it lasts without being renewed.
    duration: Seconds = 15.0


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    log: Log
    hosts: tuple[Host, ...] = (Host(uri=DEFAULT_URI),)
    sweep: Sweep = Sweep()
    policy: PolicyChoice = PolicyChoice()
    act: Act = Act()
    breaker: Breaker = Breaker()
    nova: Nova = Nova()
    api: Api = Api()
    metrics: Metrics = Metrics()
    connection: Connection = Connection()
    bridge: Bridge = Bridge()
    lease: Lease = Lease()
    audit: Audit = Audit()
    qemu_log: QemuLog = QemuLog()


SECTIONS: Final[Mapping[str, type[Struct]]] = {
    "log": Log,
    "observe": Observe,
    "host": NamedHost,
    "sweep": Sweep,
    "policy": PolicyChoice,
    "act": Act,
    "breaker": Breaker,
    "nova": Nova,
    "api": Api,
    "metrics": Metrics,
    "connection": Connection,
    "bridge": Bridge,
    "lease": Lease,
    "audit": Audit,
    "qemu_log": QemuLog,
}
FIELDS: Final[Mapping[str, FieldInfo]] = {
    f"{section}.{field.name}": field for section, struct in SECTIONS.items() for field in fields(struct)
}
VARIABLES: Final[Mapping[str, str]] = {
    "ES_POWER_LOG" if key == "log.path" else f"ES_POWER_{key.replace('.', '_').upper()}": key
    for key in FIELDS
    if not key.startswith("host.")
}
#: Of that prefix but not ours to read: what make reads, and what a cluster sets for a service named es-power.
NOT_SETTINGS: Final = re.compile(r"ES_POWER_(NO_INSTALL|API_CASES|OS_RELEASE|SERVICE_(HOST|PORT).*|PORT(_.*)?)")
