"""The breaker of one host: tells when so much would be stopped at once that a person has to look first.

It only counts; whoever owns it says what time it is, on a clock that nobody sets, and keeps the commands back.
"""

from collections import deque
from dataclasses import dataclass
from uuid import UUID

from es_power.domain.events import InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on it is too much at once."""

    #: Seconds that count as at once.
    within: float = 60.0
    #: So many commands, if they are also more than this share of the host's known VMs.
    commands: int = 5
    share: float = 0.3
    #: More than so many in any case.
    most: int = 10
    #: A host on which at least so many VMs were on, and now none is.
    whole: int = 3


class Breaker:
    """What would be sent lately, and how many VMs were on."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Of each command that would be sent: since when, and whose it is.
        self._lately: dict[UUID, tuple[float, InstanceId]] = {}
        #: How many VMs were on, and when, the newest last.
        self._on: deque[tuple[float, int]] = deque()

    def would_send(self, at: float, command: UUID, instance: InstanceId) -> None:
        """Count a command that was requested, or approved, now."""
        self._lately[command] = at, instance

    def will_not_send(self, command: UUID) -> None:
        """Count it no more: it was withdrawn before anything was done."""
        self._lately.pop(command, None)

    def shown(self, at: float, on: int) -> None:
        """Take note of how many VMs are on now."""
        if not self._on or self._on[-1][1] != on:
            self._on.append((at, on))

    def reset(self) -> None:
        """Begin anew: a person has seen what was counted."""
        self._lately.clear()
        while len(self._on) > 1:
            self._on.popleft()

    def verdict(self, at: float, *, known: int) -> str | None:
        """Say why it has to open; None where it has not. `known` is the number of VMs that the host knows."""
        limits = self._limits
        begin = at - limits.within
        self._lately = {command: since for command, since in self._lately.items() if since[0] > begin}
        # The oldest that is kept says how many were on when the time began.
        while len(self._on) > 1 and self._on[1][0] <= begin:
            self._on.popleft()
        count = len({instance for _, instance in self._lately.values()})
        if count > limits.most:
            return f"{count} commands within {limits.within:g} s are more than {limits.most}"
        if count >= limits.commands and count > limits.share * known:
            share = f"{limits.share:.0%}"
            return f"{count} commands within {limits.within:g} s are more than {share} of the host's {known} VMs"
        were_on = max((on for _, on in self._on), default=0)
        if count and were_on >= limits.whole and self._on[-1][1] == 0:
            return f"none of {were_on} VMs that were on within the last {limits.within:g} s is on any more"
        return None
