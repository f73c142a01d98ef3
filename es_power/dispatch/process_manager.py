"""The process manager: appends what the facts of one host lead to, once.

What it appends is derived in `projections.stop_commands`; this module only sees to it that each command is in the log
at most once. Its tracking stands in the same transaction as what it appends, and every command has a stream of its own
whose first record is the request: derived twice, it is a version conflict.
"""

from collections.abc import Sequence

import structlog

from es_power.domain.events import PlanningStarted, Position, StopRequested
from es_power.domain.policy import Policy
from es_power.domain.ports import Append, Clock, EventLog, Tracking, Write
from es_power.domain.streams import command, planner
from es_power.log.patience import append_patiently
from es_power.projections.stop_commands import Derived


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
        records = await self._log.read_stream(self._name)
        latest = records[-1].event if records else None
        now = PlanningStarted(observed_at=self._clock(), policy=self._policy.name, policy_version=self._policy.version)
        if isinstance(latest, PlanningStarted) and (latest.policy, latest.policy_version) == (
            now.policy,
            now.policy_version,
        ):
            return
        begun = Write(stream=self._name, expected=len(records), events=(now,))
        await append_patiently(self._log, Append(writes=(begun,)))

    async def append(self, derived: Sequence[Derived], position: Position) -> None:
        """Append what was derived for this host from records up to `position`, unless that was done before.

        ConcurrentAppendError where another process manager of this host did it meanwhile: this service has to stop.
        """
        mine = [each.event for each in derived if each.stream == self._observer and each.because > self._tracked]
        if not mine:
            return
        writes = [
            Write(
                stream=command(event.command),
                expected=0 if isinstance(event, StopRequested) else 1,
                events=(event,),
            )
            for event in mine
        ]
        tracking = Tracking(name=self._name, position=position)
        await append_patiently(self._log, Append(writes=writes, tracking=tracking))
        self._tracked = position
        for event in mine:
            structlog.get_logger().info(
                "stop planned" if isinstance(event, StopRequested) else "stop withdrawn",
                instance=str(event.instance),
                command=str(event.command),
                reason=event.reason,
            )
