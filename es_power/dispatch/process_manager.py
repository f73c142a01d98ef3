"""The process manager: appends what the facts of one host lead to, once.

What it appends is derived in `projections.stop_commands`; this module only sees to it that each command is in the log
at most once. Its tracking stands in the same transaction as what it appends, and every command has a stream of its own
whose first record is the request: derived twice, it is a version conflict.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final

import structlog

from es_power.domain.command import Command, CommandState, begin, evolve
from es_power.domain.decisions import CommandEvent, PlanningStarted, Resolved, StopRequested, Withdrawn
from es_power.domain.events import Event, Position
from es_power.domain.policy import Policy
from es_power.domain.ports import Append, Clock, EventLog, Tracking, Write
from es_power.domain.streams import command, planner
from es_power.errors import ConcurrentAppendError, UnknownEventError
from es_power.projections.stop_commands import Derived

_TOLD: Final[Mapping[type[CommandEvent], str]] = {
    StopRequested: "stop planned",
    Withdrawn: "stop withdrawn",
    Resolved: "disagreement over",
}


class ProcessManager:
    """Of one observer's stream."""

    def __init__(self, log: EventLog, observer_stream: str, *, policy: Policy, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._policy = policy
        self._observer = observer_stream
        self._name = planner(observer_stream)
        #: What it has appended is derived from records up to here.
        self._tracked = Position(0)

    async def begin(self) -> None:
        """Take up where the last one ended; a first start or another policy begins at the head of the log.

        Raises ConcurrentAppendError where another process manager begins at the same moment.
        """
        self._tracked = await self._log.tracked(self._name) or Position(0)
        version = await self._log.version(self._name)
        latest = await self._last(version) if version else None
        now = PlanningStarted(observed_at=self._clock(), policy=self._policy.name, policy_version=self._policy.version)
        if isinstance(latest, PlanningStarted) and (latest.policy, latest.policy_version) == (
            now.policy,
            now.policy_version,
        ):
            return
        begun = Write(stream=self._name, expected=version, events=(now,))
        await self._log.append(Append(writes=(begun,)))

    async def _last(self, version: int) -> Event | None:
        """What is recorded last in its stream; None where this es_power cannot read it."""
        try:
            [last] = await self._log.read_stream(self._name, after=version - 1, limit=1)
        except UnknownEventError:
            return None
        return last.event

    async def append(self, derived: Sequence[Derived], position: Position) -> None:
        """Append what was derived for this host from records up to `position`, unless that was done before.

        ConcurrentAppendError where another process manager of this host did it meanwhile: this service has to stop.
        """
        mine = [each.event for each in derived if each.stream == self._observer and each.because > self._tracked]
        while mine:
            writes = await self._writes(mine)
            try:
                tracking = Tracking(name=self._name, position=position)
                await self._log.append(Append(writes=writes, tracking=tracking))
            except ConcurrentAppendError as conflict:
                if any(write.stream == conflict.stream and write.expected for write in writes):
                    continue  # an actor was there first; what it made of its command is read again
                raise
            break
        self._tracked = max(self._tracked, position) if mine else self._tracked
        for event in mine:
            structlog.get_logger().info(
                _TOLD[type(event)], instance=str(event.instance), command=str(event.command), reason=event.reason
            )

    async def _writes(self, events: Sequence[StopRequested | Withdrawn | Resolved]) -> Sequence[Write]:
        """Say where each event goes; a command that may not be withdrawn (any more) is left to its actor."""
        writes: list[Write] = []
        #: The versions of streams that this append begins or goes on with itself.
        begun: dict[str, int] = {}
        for event in events:
            stream = command(event.command)
            if isinstance(event, StopRequested):
                expected = 0
            elif stream in begun:
                expected = begun[stream]
            else:
                known = await self._known(stream)
                if known is None or known.state is CommandState.SENT or not known.may(type(event)):
                    continue
                expected = known.version
            writes.append(Write(stream=stream, expected=expected, events=(event,)))
            begun[stream] = expected + 1
        return writes

    async def _known(self, stream: str) -> Command | None:
        """A command as its stream has it; None where there is none, or one of which this es_power cannot read all."""
        version = await self._log.version(stream)
        try:
            life = await self._log.read_stream(stream)
        except UnknownEventError:
            return None
        return reduce(evolve, life[1:], begin(life[0])) if life and life[-1].version >= version else None
