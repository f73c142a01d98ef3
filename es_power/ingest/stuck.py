"""Tasks that have been pending for so long that nobody ends them: a fold over records, and the alarm that follows.

While a task is set, Nova's power sync passes the instance over, and so do the policies. Where the service that should
have ended the task died, that is for ever. The first record that showed the task says since when it is known; the
alarm stands in the log, so a restart does not raise it again.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from es_power.domain.decisions import Alarm, AlarmRaised
from es_power.domain.events import Event, InstanceId, RecordNotFound, RecordObserved
from es_power.domain.host import Vouched
from es_power.domain.time import SECOND, Timestamp, moment


@dataclass(slots=True)
class _Pending:
    task: str
    since: Timestamp
    raised: bool = False


class PendingTasks:
    """What each instance's task is, and since when."""

    def __init__(self) -> None:
        self._pending: dict[InstanceId, _Pending] = {}

    def apply(self, event: Event) -> None:
        """Fold one fact of any stream; one that was folded already changes nothing."""
        match event:
            case RecordObserved(instance=instance, task_state=task, observed_at=at):
                self._note(instance, task, at)
            case RecordNotFound(instance=instance):
                self._pending.pop(instance, None)
            case AlarmRaised(alarm=Alarm.STUCK_TASK, instance=instance) if instance in self._pending:
                self._pending[instance].raised = True
            case _:
                pass

    def take_up(self, vouched: Mapping[InstanceId, Vouched]) -> None:
        """Go on with what is known now; a task that only another stream tells of is as old as that record."""
        for instance, said in vouched.items():
            if said.asked_at is not None:
                self._note(instance, said.task_state, said.asked_at)

    def _note(self, instance: InstanceId, task: str | None, at: Timestamp) -> None:
        known = self._pending.get(instance)
        if task is None:
            self._pending.pop(instance, None)
        elif known is None or known.task != task:
            self._pending[instance] = _Pending(task, at)

    def alarms(self, now: Timestamp, *, after: float, host: str, here: Container[InstanceId]) -> Iterator[AlarmRaised]:
        """Give the alarm of each task that is pending for more than `after` seconds, of the instances that are here."""
        for instance, pending in self._pending.items():
            since = f"{moment(pending.since):%Y-%m-%d %H:%M} UTC"
            if instance in here and not pending.raised and now - pending.since > after * SECOND:
                yield AlarmRaised(
                    observed_at=now,
                    alarm=Alarm.STUCK_TASK,
                    reason=f"task {pending.task} is pending since {since}; until it ends "
                    "nobody mends the instance, Nova neither; see who should end it, or reset its state in Nova",
                    instance=instance,
                    host=host,
                )
