"""What people say of instances: their records, in the one stream that many may write."""

from collections.abc import Callable, Sequence

from es_power.domain.events import Event, InstanceId, Label, RecordCleared, RecordDeclared
from es_power.domain.ports import EventLog
from es_power.domain.states import VmState
from es_power.domain.streams import DECLARATIONS
from es_power.domain.time import Timestamp
from es_power.log.labels import make_label
from es_power.log.shared import append_shared


async def declare(
    log: EventLog,
    records: Sequence[tuple[InstanceId, VmState, str | None]],
    *,
    by: str,
    why: str,
    at: Timestamp,
) -> None:
    """Vouch for instances: (instance, vm_state, task_state) each; all of them or none."""

    def said(who: Label, reason: Label) -> list[Event]:
        return [
            RecordDeclared(
                observed_at=at, instance=instance, vm_state=vm_state, task_state=task_state, by=who, why=reason
            )
            for instance, vm_state, task_state in records
        ]

    await _say(log, by, why, said)


async def clear(log: EventLog, instance: InstanceId, *, by: str, why: str, at: Timestamp) -> None:
    """End a person's record of an instance."""
    await _say(log, by, why, lambda who, reason: [RecordCleared(observed_at=at, instance=instance, by=who, why=reason)])


async def _say(log: EventLog, by: str, why: str, said: Callable[[Label, Label], list[Event]]) -> None:
    who, who_text = make_label(by)
    reason, reason_text = make_label(why)
    await append_shared(log, DECLARATIONS, said(who, reason), labels=(who_text, reason_text))
