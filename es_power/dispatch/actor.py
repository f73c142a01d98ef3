"""The actor of one host: executes what was planned for it, and hears what people say of that.

It alone writes its stream, under a lease: its starts, its looks, holds, breakers and alarms. Approvals come through its
own door and are written by itself; one that it finds in the log and did not write is nothing but an alarm. What was
requested or approved before its own start it does not send unless it is approved again.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog
import trio

from es_power.chance import new_uuid
from es_power.dispatch.breaker import Breaker
from es_power.dispatch.desk import Desk
from es_power.dispatch.life import Life
from es_power.domain.command import Command, CommandState
from es_power.domain.decisions import (
    ActingStarted,
    Alarm,
    AlarmRaised,
    Approved,
    BreakerClosed,
    BreakerOpened,
    HoldPlaced,
    HoldReleased,
    Retried,
    StopRequested,
    Withdrawn,
)
from es_power.domain.events import Event, HostSwept, InstanceId, Label, Position, Recorded
from es_power.domain.libvirt_numbers import PAUSED_MIGRATION
from es_power.domain.ports import LabelText
from es_power.domain.streams import observed_host
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import BreakerNotOpenError, CommandStateError, HoldNotFoundError
from es_power.log.labels import make_label
from es_power.projections.readmodels import Step


class Actor:
    """Of one observer's stream; `desk` is what its commands share."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._log = structlog.get_logger().bind(host=desk.host)
        self._breaker = Breaker(desk.how.breaker)
        self._nursery: trio.Nursery | None = None
        #: The lives that go on, by command.
        self._lives: dict[UUID, trio.CancelScope] = {}
        self._alarmed: set[object] = set()
        #: The VMs that another host showed on too at this host's last sweep.
        self._elsewhere_too: set[InstanceId] = set()

    @property
    def host(self) -> str:
        """Whose commands it executes."""
        return self.desk.host

    async def run(self, epoch: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Act until cancelled; TakenOverError where another actor took over this host's commands."""
        desk = self.desk
        desk.epoch = epoch
        started = ActingStarted(
            observed_at=desk.clock(),
            epoch=epoch,
            holder=desk.how.holder,
            version=desk.how.version,
            settings=desk.how.in_words(),
        )
        desk.started = await desk.own.append([started]) or desk.started
        await desk.caught_up()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for command in list(desk.models.commands.rows.values()):
                self._begin(command)
            for recorded in desk.models.keeping.holds.values():
                self._time(recorded)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # What is folded while it ends begins nothing any more.
                self._nursery = None

    # -------------------------------------------------------------------------------------------------- the fold

    def folded(self, batch: Sequence[Recorded], step: Step) -> None:
        """Hear what was folded; begins and ends lives, and never waits."""
        if self._nursery is None:
            return
        now = trio.current_time()
        for recorded in batch:
            self._hear(recorded, now)
        for command in step.commands.values():
            if not command.state.is_open and command.state is not CommandState.SENT:
                self._breaker.will_not_send(command.requested.command)
                if scope := self._lives.pop(command.requested.command, None):
                    scope.cancel()
            else:
                self._begin(command)
        self._judge(now)
        self.desk.wake()

    def _hear(self, recorded: Recorded, now: float) -> None:
        event, desk = recorded.event, self.desk
        if isinstance(event, StopRequested) and desk.is_mine(event):
            self._breaker.would_send(now, event.command, event.instance)
        elif isinstance(event, Approved):
            command = desk.models.commands.rows.get(event.command)
            if command is None or not desk.is_mine(command.requested):
                return
            if (event.actor, event.epoch) != (desk.own.name, desk.epoch) or event.command not in desk.approvals:
                reason = f"the approval at position {recorded.position} was not written by this actor; it is ignored"
                self._raise(Alarm.FOREIGN_APPROVAL, recorded.position, reason, instance=event.instance)
        elif isinstance(event, HoldPlaced):
            self._time(recorded)
        elif isinstance(event, HostSwept) and recorded.stream == desk.observer:
            self._look_for_twins()
        elif isinstance(event, BreakerClosed) and event.host == desk.host:
            self._breaker.reset()
            desk.tripped = None

    def _begin(self, command: Command) -> None:
        request = command.requested
        alive = command.state.is_open or command.state is CommandState.SENT
        if self._nursery is None or not alive or request.command in self._lives or not self.desk.is_mine(request):
            return
        scope = self._lives[request.command] = trio.CancelScope()
        self._nursery.start_soon(self._live, request.command, scope)

    async def _live(self, command_id: UUID, scope: trio.CancelScope) -> None:
        with scope:
            await Life(self.desk, command_id).run()

    def _judge(self, now: float) -> None:
        """Open the breaker where too much would be sent at once."""
        desk = self.desk
        known = [each for each in desk.place.instances.values() if not each.gone]
        self._breaker.shown(now, sum(each.is_on for each in known))
        if desk.tripped or desk.host in desk.models.keeping.breakers or self._nursery is None:
            return
        if reason := self._breaker.verdict(now, known=len(known)):
            desk.tripped = reason
            self._nursery.start_soon(self._open_breaker, reason)

    def _look_for_twins(self) -> None:
        """Alarm where another host shows an instance on too, at two sweeps in turn, and it does not migrate."""
        desk, fleet = self.desk, self.desk.models.fleet
        found: dict[InstanceId, Sequence[str]] = {}
        for instance, known in desk.place.instances.items():
            if known.is_on and (conflict := fleet.owner(instance).conflict):
                hosts = fleet.hosts_of(instance)
                if not any((hosts[each].state, hosts[each].reason) == PAUSED_MIGRATION for each in conflict):
                    found[instance] = conflict
        for instance in found.keys() & self._elsewhere_too:
            hosts_in_words = " and ".join(observed_host(each) or each for each in found[instance])
            reason = f"it is on at {hosts_in_words}; end one of the two by hand: es_power stops neither"
            self._raise(Alarm.TWO_HOSTS, instance, reason, instance=instance)
        self._alarmed -= {(Alarm.TWO_HOSTS, instance) for instance in self._elsewhere_too - found.keys()}
        self._elsewhere_too = set(found)

    async def _open_breaker(self, reason: str) -> None:
        desk = self.desk
        waiting = tuple(
            row.requested.command
            for row in desk.models.commands.rows.values()
            if row.state.is_open and desk.is_mine(row.requested)
        )
        self._log.error("the breaker opens", reason=reason, commands=len(waiting))
        opened = BreakerOpened(observed_at=desk.clock(), host=desk.host, reason=reason, commands=waiting)
        await desk.own.append([opened])

    def _raise(self, alarm: Alarm, about: object, reason: str, *, instance: InstanceId | None = None) -> None:
        """Raise an alarm once for each thing that it is about."""
        if self._nursery is None or (alarm, about) in self._alarmed:
            return
        self._alarmed.add((alarm, about))
        self._log.error("alarm", alarm=str(alarm), reason=reason)
        raised = AlarmRaised(
            observed_at=self.desk.clock(), alarm=alarm, reason=reason, instance=instance, host=self.desk.host
        )
        self._nursery.start_soon(self.desk.own.append, [raised])

    def _time(self, recorded: Recorded) -> None:
        event = recorded.event
        if not isinstance(event, HoldPlaced) or event.until is None or recorded.stream != self.desk.own.name:
            return
        if self._nursery is not None:
            self._nursery.start_soon(self._end_hold, event.hold, event.until)

    async def _end_hold(self, hold: UUID, until: Timestamp) -> None:
        await trio.sleep(max(0, until - self.desk.clock()) / SECOND)
        if hold in self.desk.models.keeping.holds:
            await self.desk.own.append([HoldReleased(observed_at=self.desk.clock(), hold=hold)])

    # ------------------------------------------------------------------------------------------ what people say

    async def approve(self, command_id: UUID, *, by: str, why: str) -> None:
        """Let a command be sent once its way is free; CommandStateError where it is too late for that."""
        desk, command = self.desk, await self.desk.read(command_id)
        if not command.may(Approved):
            raise _too_late(command, "approve")
        if desk.mode_of(command.requested) == "dry-run":
            raise CommandStateError(
                f"command {command_id} is under the mode dry-run, in which nothing is sent; "
                f"set the mode of {desk.host} or of the instance to approve or auto, and start the actor again"
            )
        labels, texts = _said(by, why)
        event = Approved(
            observed_at=desk.clock(),
            instance=command.requested.instance,
            command=command_id,
            actor=desk.own.name,
            epoch=desk.epoch,
            by=labels[0],
            why=labels[1],
        )
        before = desk.approvals.get(command_id)
        # Before the append: what this actor writes itself is no foreign approval, however soon it is folded.
        desk.approvals[command_id] = trio.current_time()
        try:
            await desk.step(command, event, labels=texts)
        except BaseException:
            desk.approvals.pop(command_id)
            if before is not None:
                desk.approvals[command_id] = before
            raise
        self._breaker.would_send(trio.current_time(), command_id, command.requested.instance)
        self._judge(trio.current_time())
        desk.wake()

    async def reject(self, command_id: UUID, *, by: str, why: str) -> None:
        """Withdraw a command; while the disagreement lasts no other is requested."""
        desk, command = self.desk, await self.desk.read(command_id)
        if not command.state.is_open:
            raise _too_late(command, "reject")
        labels, texts = _said(by, why)
        event = Withdrawn(
            observed_at=desk.clock(),
            instance=command.requested.instance,
            command=command_id,
            reason="a person rejected it",
            because=command.last_position,
            actor=desk.own.name,
            by=labels[0],
            why=labels[1],
        )
        await desk.step(command, event, labels=texts)

    async def retry(self, command_id: UUID, *, by: str, why: str) -> None:
        """Have a new command requested in the place of one that ended, if it is still called for."""
        desk, command = self.desk, await self.desk.read(command_id)
        if not command.may(Retried):
            raise _too_late(command, "retry")
        labels, texts = _said(by, why)
        event = Retried(
            observed_at=desk.clock(),
            instance=command.requested.instance,
            command=command_id,
            by=labels[0],
            why=labels[1],
        )
        await desk.step(command, event, labels=texts)

    async def hold(self, *, instance: InstanceId | None, until: Timestamp | None, by: str, why: str) -> UUID:
        """Keep back the commands of an instance, or of the whole host; until a time, or until it is released."""
        labels, texts = _said(by, why)
        hold = new_uuid()
        event = HoldPlaced(
            observed_at=self.desk.clock(),
            hold=hold,
            host=None if instance else self.desk.host,
            instance=instance,
            until=until,
            by=labels[0],
            why=labels[1],
        )
        await self._say(event, texts)
        return hold

    async def release(self, hold: UUID, *, by: str, why: str) -> None:
        """End a hold."""
        await self.desk.caught_up()
        if hold not in self.desk.models.keeping.holds:
            raise HoldNotFoundError(f"no hold {hold} stands; `es-power holds` lists those that do")
        labels, texts = _said(by, why)
        await self._say(HoldReleased(observed_at=self.desk.clock(), hold=hold, by=labels[0], why=labels[1]), texts)

    async def close_breaker(self, *, by: str, why: str) -> None:
        """Let the host's commands go on; each is looked at again before it is sent."""
        await self.desk.caught_up()
        if not (self.desk.tripped or self.desk.host in self.desk.models.keeping.breakers):
            raise BreakerNotOpenError(f"the breaker of {self.desk.host} is not open")
        labels, texts = _said(by, why)
        closed = BreakerClosed(observed_at=self.desk.clock(), host=self.desk.host, by=labels[0], why=labels[1])
        await self._say(closed, texts)

    async def _say(self, event: Event, texts: Sequence[LabelText]) -> Position | None:
        """Append what a person said, and have it folded before the person hears that it is done."""
        position = await self.desk.own.append([event], labels=texts)
        # It is done: whoever gives up the wish now would say that it is not.
        with trio.CancelScope(shield=True):
            await self.desk.caught_up()
        return position


def _said(by: str, why: str) -> tuple[tuple[Label, Label], tuple[LabelText, LabelText]]:
    who, who_text = make_label(by)
    reason, reason_text = make_label(why)
    return (who, reason), (who_text, reason_text)


def _too_late(command: Command, verb: str) -> CommandStateError:
    return CommandStateError(
        f"command {command.requested.command} is {command.state} ({command.reason.rstrip('.')}); "
        f"there is nothing to {verb}"
    )
