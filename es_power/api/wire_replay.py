"""What is sent of policies and of replays, as the API's description shows it."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import Field

from es_power.api.asking import TIME
from es_power.api.pages import DEFAULT, MOST
from es_power.api.wire import VM, Open, Wire
from es_power.domain.policy import POLICIES

SIDE: Final = f"^({'|'.join((*POLICIES, 'recorded', 'nova'))})$"


class Policy(Wire):
    """A decision table, as `es-power policy list` and `es-power policy table` show it."""

    name: str = Field(examples=["nova-2013"])
    version: int
    """It rises with each change of a cell."""
    description: str
    table: list[dict[str, str]] = Field(examples=[[{"vm_state": "active", "RUNNING": "agree", "SHUTDOWN": "stop (e)"}]])
    """A row for each vm_state; under each power_state what is ordered, with its rule, or the word for why nothing."""


class ReplayWish(Wire):
    """Two sides, whose stops over the same history are compared."""

    policy: str = Field("recorded", pattern=SIDE, examples=["nova-2013"])
    """Whose stops: a policy's, `recorded` (the log's own), or `nova` (those that Nova's history shows as its own)."""
    against: str = Field(pattern=SIDE, examples=["nova-2026"])
    since: str | None = Field(None, max_length=64, pattern=f"^{TIME}$", examples=["2026-11-22T00:00:00Z"])
    """Count only stops that were called for from then on; the log is read from its first record all the same."""
    until: str | None = Field(None, max_length=64, pattern=f"^([0-9]{{1,18}}|{TIME})$", examples=["48211"])
    """Read the log only up to then: an RFC 3339 time with a zone, or a position."""
    limit: int = Field(DEFAULT, ge=0, le=MOST)
    """At most so many differences; all are counted."""


class Difference(Open):
    """A stop that one side calls for and the other does not, or another command for: a row of `es-power replay`."""

    requested_at: datetime
    instance: UUID = Field(examples=[VM])
    name: str | None = Field(examples=["web-1"])
    host: str | None = Field(examples=["kvm-07"])
    only_in: str | None = Field(examples=["nova-2026"])
    """The side that alone calls for it; null where both do, but for another command."""
    difference: str = Field(examples=["only in nova-2026"])
    rule: str | None = Field(examples=["e"])
    command: str | None = Field(examples=["stop"])
    power_state: str | None = Field(examples=["RUNNING"])
    then: str = Field(examples=["RUNNING; running again after 8.1 s (4712)"])
    """What the facts say of the VM around that moment, each with its position."""
    position: int
    """Of the fact that calls for it."""
    running_again: dict[str, Any] | None
    migrating: dict[str, Any] | None
    task: dict[str, Any] | None
    stops: list[dict[str, Any]]
    """The commands of both sides."""


class Comparison(Wire):
    """What two sides over one history came to."""

    left: str = Field(examples=["nova-2013"])
    right: str = Field(examples=["nova-2026"])
    position: int = Field(examples=[48_211])
    """Up to where the log was read."""
    both: int
    """Stops that both call for, be it otherwise."""
    otherwise: int
    """How many of these are another command."""
    only_left: int
    only_right: int
    unseen: int
    """Nova's stops of before anything was known of their VM: they are left out."""
    differences: list[Difference]
    """Where the sides differ, in the order in which it began; at most `limit`."""
