"""How an act is carried out and what can come of it; `hypervisor` and `nova` are the ways there are."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId


class Outcome(StrEnum):
    """What is known after an act was tried."""

    #: It was accepted; that it happened is for an observation to say.
    ACCEPTED = "accepted"
    #: Whoever was asked said no and did nothing; asked again, it would say so again.
    REFUSED = "refused"
    #: It never arrived, so it may be tried again.
    NOT_DELIVERED = "not delivered"
    #: It may have happened: it is looked for, and never repeated.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An outcome, and why, in a sentence for a person."""

    outcome: Outcome
    reason: str = ""


StillWanted = Callable[[], Awaitable[float]]
"""Looks once more, in the middle of an act that takes long: for how many seconds what it saw may be acted upon.

Zero: the rest of the act is not done.
"""


class Stopper(Protocol):
    """One way to stop a guest. It raises nothing of its own: every failure is a Result."""

    async def stop(self, instance: InstanceId, verb: StopVerb, *, within: float, still_wanted: StillWanted) -> Result:
        """Stop it once, gently (stop) or at once (force_stop); what cannot go out `within` so many seconds does not."""
