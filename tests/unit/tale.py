"""A story in which time passes, Nova has a part, and commands come as far as they can."""

from es_power.domain.command import CommandState
from es_power.domain.decisions import (
    Approved,
    BreakerOpened,
    Confirmed,
    Expired,
    Failed,
    HoldPlaced,
    LookedAgain,
    Refused,
    Route,
    Sent,
    StopRequested,
    StopVerb,
    Withdrawn,
)
from es_power.domain.events import InstanceId, NovaStopObserved, Position, Recorded, RecordObserved
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import actor, command, observer, records
from es_power.domain.time import SECOND, Timestamp
from es_power.testing.facts import SOMEBODY, vm
from tests.unit.story import OFF, RUNNING, Story

HOST = observer("a", "qemu")
ACTOR = {"actor": actor(HOST), "epoch": 1}


class Tale(Story):
    """A story in which seconds pass without a fact, and in which Nova and an actor have a say."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0

    @property
    def now(self) -> Timestamp:
        return Timestamp(super().now + self.passed)

    def wait(self, seconds: float) -> None:
        self.passed += int(seconds * SECOND)

    def nova_says(self, instance: InstanceId, vm_state: VmState, task: str | None = None) -> Recorded:
        """A record of Nova's, read now."""
        said = RecordObserved(
            observed_at=self.now,
            instance=instance,
            asked_at=self.now,
            vm_state=vm_state,
            task_state=task,
            power_state=PowerState.RUNNING,
            host="a",
            after=Position(len(self.records)),
        )
        return self.record(records(HOST), said)

    def nova_stopped(self, instance: InstanceId, at: Timestamp, *, itself: bool = True) -> Recorded:
        """A stop in Nova's history, read now."""
        stopped = NovaStopObserved(observed_at=at, instance=instance, request_id="req-1", by_nova_itself=itself)
        return self.record(records(HOST), stopped)

    def request(self) -> StopRequested:
        """Let the process manager request what the facts call for; give the newest."""
        self.plan()
        return [each.event for each in self.records if isinstance(each.event, StopRequested)][-1]

    def step(self, request: StopRequested, kind: type, **fields: object) -> Recorded:
        """One more step of a command."""
        stepped = kind(observed_at=self.now, instance=request.instance, command=request.command, **fields)
        return self.record(command(request.command), stepped)


def every_state() -> Tale:
    """A log with a command in each state, a hold, an open breaker, and a stop of Nova's own."""
    tale = Tale()
    tale.start()
    vms = [vm(number) for number, _ in enumerate(CommandState, 1)]
    tale.sweep(dict.fromkeys(vms, RUNNING))
    for state, instance in zip(CommandState, vms, strict=True):
        tale.name(instance, f"{state}".lower().replace(" ", "-"))
        tale.vouch(instance, VmState.ACTIVE)
        seen = tale.observe(instance, *OFF).position
        request = tale.request()
        approved = (Approved, ACTOR)
        looked = (LookedAgain, {"observation": seen, "record": request.record, "reason": "still so"})
        sent = (Sent, {**ACTOR, "route": Route.NOVA, "verb": StopVerb.STOP})
        lives: dict[CommandState, list[tuple[type, dict[str, object]]]] = {
            CommandState.PLANNED: [],
            CommandState.APPROVED: [approved],
            CommandState.LOOKED_AGAIN: [approved, looked],
            CommandState.SENT: [approved, looked, sent],
            CommandState.CONFIRMED: [approved, looked, sent, (Confirmed, {"because": seen, "window": 1})],
            CommandState.REFUSED: [approved, looked, sent, (Refused, {"reason": "409"})],
            CommandState.FAILED: [approved, looked, sent, (Failed, {"reason": "nobody saw it happen"})],
            CommandState.WITHDRAWN: [
                (Withdrawn, {"reason": "no", "because": seen, "actor": actor(HOST), "by": SOMEBODY, "why": SOMEBODY})
            ],
            CommandState.EXPIRED: [(Expired, {"reason": "nobody approved it"})],
        }
        for kind, fields in lives[state]:
            tale.step(request, kind, **fields)
    held = {"instance": None, "until": None, "by": SOMEBODY, "why": SOMEBODY}
    tale.record(actor(HOST), HoldPlaced(observed_at=tale.now, hold=vms[0], host="a", **held))
    tale.record(actor(HOST), BreakerOpened(observed_at=tale.now, host="a", reason="many", commands=(vms[0],)))
    tale.nova_stopped(vms[0], tale.now)
    return tale
