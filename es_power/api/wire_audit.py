"""What is sent of the seal, as the API's description shows it."""

from datetime import datetime
from typing import Final

from pydantic import Field

from es_power.api.wire import Wire

VERIFIER: Final = "kvm-07/es-power+bad03072+AUvq3isjNDC5cYuqzs8P4FHLIqILbXmlqfxa2HOI4vc8"
ROOT: Final = "50b312f5cbc716759f5620d73a7cc11415707349f41b0ce0b7cf7b7807ec31da"
NOTE: Final = (
    "kvm-07/es-power\n48102\nULMS9cvHFnWfViDXOnzBFBVwc0n0Gwzgt897eAfsMdo=\n\n"
    "\u2014 kvm-07/es-power "
    "utAwcougZZ01+zUc9lPOgT8bTeiRhxkpz8YnPthZ00WPb7CQeCfbeTx6tS0Py49S1bvi+iw/FU30WZL006HDGcLXQg8=\n"
)


class Checkpoint(Wire):
    """A checkpoint that is a fact of the log."""

    size: int = Field(examples=[48_102])
    """How many records are signed: all up to this position."""
    root: str = Field(examples=[ROOT])
    """Of the Merkle tree over them (RFC 6962), in hexadecimal."""
    position: int = Field(examples=[48_103])
    """Of the fact that says so."""
    observed_at: datetime
    origin: str = Field(examples=["kvm-07/es-power"])
    key: str = Field(examples=["bad03072"])
    """The id of the key that signed it, in hexadecimal."""
    missed: list[str] = Field(examples=[["directory:/mnt/audit/kvm-07"]])
    """The places outside of the log that did not take it."""
    note: str = Field(examples=[NOTE])
    """The signed note (C2SP tlog-checkpoint)."""


class Seal(Wire):
    """How the log is sealed."""

    checkpoint: Checkpoint | None
    """The newest one; null where none was signed yet."""
    position: int = Field(examples=[48_211])
    """Where the log ends; what is behind the checkpoint's `size` is not signed yet."""
    verifier: str | None = Field(examples=[VERIFIER])
    """The verifier key of the service; null where it has no key. Compare it with the one that you were given."""
    key: str | None = Field(examples=["bad03072"])
    """That key's id."""
    failed: dict[str, str] = Field(examples=[{"directory:/mnt/audit/kvm-07": "No space left on device"}])
    """The places that did not take the service's last checkpoint, and why."""
    failure: str = Field(examples=[""])
    """Why the service's last try came to no checkpoint; empty where it came to one."""


class Sealed(Wire):
    """A checkpoint that was signed just now."""

    size: int = Field(examples=[48_211])
    root: str = Field(examples=[ROOT])
    position: int = Field(examples=[48_212])
    failed: dict[str, str] = Field(examples=[{}])
    """The places that did not take it, and why."""
    note: str = Field(examples=[NOTE])


class Proof(Wire):
    """A record, byte for byte, and its way to the root that was signed; bytes are in hexadecimal."""

    position: int = Field(examples=[4711])
    stream: str = Field(examples=["observer/kvm-07/qemu"])
    stream_id: str = Field(examples=["0d6c6f0e8f0b5d0e9b5e3d2c8a1f7e10"])
    version: int
    recorded_at_ns: int = Field(examples=[1_763_781_125_000_000_000])
    topic: str = Field(examples=["LifecycleEvent:1"])
    state: str = Field(examples=["83a2"])
    previous: str = Field(examples=[ROOT])
    """The hash of the record before it in its stream."""
    hash: str = Field(examples=[ROOT])
    size: int = Field(examples=[48_102])
    """How many records were signed."""
    path: list[str] = Field(examples=[[ROOT]])
    """The audit path, the lowest first."""
    note: str = Field(examples=[NOTE])


class Compared(Wire):
    """A checkpoint, and whether the log is still the one that was signed."""

    size: int
    origin: str = Field(examples=["kvm-07/es-power"])
    outside: bool
    signed: bool
    """Whether its signature was checked with the key that was given."""
    holds: bool | None
    """Null where the log cannot be read so far, or was pruned beyond it."""


class Damage(Wire):
    """One thing that is wrong with the log."""

    kind: str = Field(examples=["edited"])
    position: int | None
    """The first bad record; null where it is outside of records, or cannot be told."""
    until: int | None
    page: int | None
    """The page of the database's file, where that is known."""
    detail: str


class Verdict(Wire):
    """What a verification came to."""

    intact: bool
    position: int
    """The last record that was checked, and fits all before it."""
    records: int
    streams: int
    vouched: int
    """Up to where a checkpoint from outside says that nothing was changed: 0, since over HTTP none is given."""
    pruned: int | None
    remains_vouched: bool | None
    """Whether such a checkpoint covers the fact that says what was kept of what was pruned; null where nothing was."""
    root: str = Field(examples=[ROOT])
    labels: int
    labels_gone: int
    labels_unchecked: int
    unread: int
    checkpoints: list[Compared]
    damage: list[Damage]
