"""The stops in Nova's own history of an instance: who ordered them, and whether that was Nova itself.

Nova's power sync leaves an instance action `stop` like everybody else's, but without a user and a project. Its vm_state
need not change by that (rule f stops what should be stopped already), so an instance that is stopped is looked up
whenever Nova touched its row since the last time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from es_power.domain.decisions import Alarm, AlarmRaised
from es_power.domain.events import Event, InstanceId, NovaStopObserved, Recorded
from es_power.domain.ports import EventReader
from es_power.domain.states import VmState
from es_power.domain.streams import records
from es_power.domain.time import SECOND, Timestamp, timestamp
from es_power.errors import UnknownEventError
from es_power.nova import InstanceAction

_BATCH: Final = 1000
_STOP: Final = "stop"  # nova/compute/instance_actions.py: STOP; force_stop is recorded as the same


def nova_time(text: str | None) -> datetime | None:
    """Read a time of Nova's, which is in UTC with a zone or without one; None for what is no time."""
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


class NovaStops:
    """Which stops of one host's instances are in the log already, and which instances may have had more."""

    def __init__(self, *, host: str, acts: Callable[[InstanceId], bool]) -> None:
        self._host = host
        self._acts = acts
        self._seen: set[tuple[InstanceId, str]] = set()
        #: By instance: how far, by Nova's clock, its row was followed, and what it said.
        self._followed: dict[InstanceId, tuple[datetime, VmState]] = {}
        #: The alarm was raised by this start.
        self._raised = False

    def note(self, event: Event) -> None:
        """Take in a fact that is in the log."""
        if isinstance(event, NovaStopObserved):
            self._seen.add((event.instance, event.request_id))

    def is_touched(self, instance: InstanceId, vm_state: VmState, updated: datetime, *, since: datetime | None) -> bool:
        """Whether a row was touched after it was last followed; where it never was, after `since`.

        Nova's times are whole seconds, so within one of them only the vm_state tells.
        """
        before = self._followed.get(instance)
        self._followed[instance] = updated, vm_state
        if before is None:
            return since is not None and updated > since
        return updated > before[0] or vm_state is not before[1]

    def facts(
        self, instance: InstanceId, actions: Iterable[InstanceAction], *, since: Timestamp, now: Timestamp
    ) -> Sequence[Event]:
        """Give the stops that began after `since` and are new, and the alarm where Nova acts beside us."""
        return list(self._facts(instance, actions, since, now))

    def _facts(
        self, instance: InstanceId, actions: Iterable[InstanceAction], since: Timestamp, now: Timestamp
    ) -> Iterator[Event]:
        for action in actions:
            begun = nova_time(action.start_time)
            if action.action != _STOP or begun is None or (instance, action.request_id) in self._seen:
                continue
            # Nova tells whole seconds, so what began in the same one may have begun after it.
            if (at := timestamp(begun)) + SECOND <= since:
                continue  # before anybody looked: the log has nothing to hold it against
            itself = action.user_id is None and action.project_id is None
            yield NovaStopObserved(
                observed_at=at, instance=instance, request_id=action.request_id, by_nova_itself=itself
            )
            if itself and self._acts(instance) and not self._raised:
                self._raised = True
                yield AlarmRaised(
                    observed_at=now,
                    alarm=Alarm.NOVA_ACTS,
                    reason="Nova's own power sync stops instances while this mode is not dry-run: either may undo what "
                    "the other is about to do; turn off sync_power_state_interval and handle_virt_lifecycle_events in "
                    "nova.conf, or set the mode to dry-run",
                    instance=instance,
                    host=self._host,
                )


async def latest_stop_by_nova(log: EventReader, observer_stream: str) -> Recorded | None:
    """The latest stop by Nova itself that the log has of a host; None where it has none."""
    name = records(observer_stream)
    end = await log.version(name)
    while end > 0:
        after = max(0, end - _BATCH)
        try:
            batch = await log.read_stream(name, after=after, limit=end - after)
        except UnknownEventError:
            return None
        for recorded in reversed(batch):
            if isinstance(recorded.event, NovaStopObserved) and recorded.event.by_nova_itself:
                return recorded
        end = after
    return None
