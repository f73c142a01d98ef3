"""The life of one command under an actor: settle, approval, a free way, a last look, the act, its outcome.

Nothing else sends. A life ends where the log says so: whoever withdraws the command, or moves it on, cancels it here.
"""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import structlog
import trio

from es_power.chance import uniform
from es_power.dispatch.desk import Desk
from es_power.dispatch.look import Look, look_again
from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.command import Command, CommandState
from es_power.domain.decisions import (
    Approved,
    CommandEvent,
    Confirmed,
    Expired,
    Failed,
    LookedAgain,
    Refused,
    Route,
    Sent,
    Withdrawn,
)
from es_power.domain.events import Position, RecordDeclared, RecordNotFound
from es_power.domain.host import essence
from es_power.domain.libvirt_numbers import SHUTOFF
from es_power.domain.states import VmState
from es_power.domain.streams import command as command_stream
from es_power.domain.time import SECOND
from es_power.errors import ConcurrentAppendError, EsPowerError, TakenOverError
from es_power.log.labels import make_label, without
from es_power.projections.queries import label_of

TRIES: Final = 5
"""How often an act that never arrived is tried."""

WAITS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds between two tries; the last one repeats. Each is spread by half, so that many lives do not try in step."""

POLL: Final = 2.0
"""Seconds between two questions to Nova whether what was sent has happened."""


class Life:
    """One command's."""

    def __init__(self, desk: Desk, command_id: UUID) -> None:
        self._desk = desk
        self._id = command_id
        self._log = structlog.get_logger().bind(command=str(command_id))
        self._told = ""

    async def run(self) -> None:
        """Bring the command from where it is to its end, or to where it waits for nobody any more."""
        try:
            command = await self._desk.read(self._id)
            if command.state is CommandState.SENT:
                await self._find_out(command, window=None)
            elif command.state.is_open:
                await self._prepare(command)
        except ConcurrentAppendError:
            self._log.info("somebody else moved the command on")
        except TakenOverError:
            raise
        except Exception as error:  # noqa: BLE001 (what is wrong with one command never stops the others)
            self._log.error("the command is left as it is", error=f"{type(error).__name__}: {error}")

    async def _prepare(self, command: Command) -> None:
        desk, request = self._desk, command.requested
        await trio.sleep(desk.how.settle)
        if desk.mode_of(request) == "dry-run":
            await self._unobstructed(command)
            command, look = await self._look(float("inf"))
            if look.objection is None and command.state is not CommandState.LOOKED_AGAIN:
                await self._step(command, self._looked(command, look))
            return
        approved_at = await self._approval(command)
        if approved_at is None:
            return
        while True:
            await self._unobstructed(command)
            command, look = await self._look(approved_at + desk.how.max_age)
            if look.objection is not None:
                return
            if desk.obstacle(request) is None:  # nothing came into the way during the look
                break
        await self._send(command, look)

    # ------------------------------------------------------------------------------------------- before the act

    async def _approval(self, command: Command) -> float | None:
        """Wait until it is approved in this run, and say when it was; where nobody does in time, it expires."""
        desk = self._desk
        automatic = desk.mode_of(command.requested) == "auto" and command.position > desk.started
        if automatic and self._id not in desk.approvals:
            command = await desk.read(self._id)
            approved = Approved(**self._of(command), actor=desk.own.name, epoch=desk.epoch)
            desk.approvals[self._id] = trio.current_time()
            await self._step(command, approved)
        with trio.move_on_after(desk.how.expiry):
            while self._id not in desk.approvals:
                await desk.changed()
            return desk.approvals[self._id]
        command = await desk.read(self._id)
        await self._step(command, Expired(**self._of(command), reason="nobody approved it in time"))
        return None

    async def _unobstructed(self, command: Command) -> None:
        """Wait until no hold, no breaker and no boot is in the way."""
        while obstacle := self._desk.obstacle(command.requested):
            reason, seconds = obstacle
            self._tell("the command waits", reason)
            # Never so short that the clock does not move.
            await self._desk.changed(max(seconds, 0.01))

    async def _look(self, until: float) -> tuple[Command, Look]:
        """Look again until both answer; what speaks against the command withdraws it."""
        waits = iter(WAITS)
        while True:
            try:
                look = await look_again(self._desk, (await self._desk.read(self._id)).requested)
            except EsPowerError as error:
                if not error.transient:
                    raise
                self._tell("the last look has no answer", str(error))
                await _pause(next(waits, WAITS[-1]))
                continue
            command = await self._desk.read(self._id)
            if look.objection is None and trio.current_time() > until:
                look = replace(look, objection="it is too old to be sent")
            if look.objection is not None:
                await self._withdraw(command, look.objection, look.observation)
            return command, look

    # --------------------------------------------------------------------------------------------------- the act

    async def _send(self, command: Command, look: Look) -> None:
        desk, request = self._desk, command.requested
        sent = Sent(**self._of(command), actor=desk.own.name, epoch=desk.epoch, route=look.route, verb=request.verb)
        if look.route is Route.RECORD:
            await self._mark(command, look, sent)
            return
        name = await self._name(command)  # before the act: what came of that has to wait for no question
        position = await self._step(command, self._looked(command, look), sent)
        command = await desk.read(self._id)
        for attempt, wait in enumerate(WAITS[:TRIES], start=1):
            window = trio.current_time() - look.at
            if window > desk.how.window:
                reason = f"{window:.1f} s passed since the last look, more than {desk.how.window:g} s"
                await self._withdraw(command, f"{reason}; nothing was done", position)
                return
            if obstacle := desk.obstacle(request):
                await self._withdraw(command, f"{obstacle[0]}; nothing was done", position)
                return
            result = await self._act(command, look.route, within=desk.how.window - window)
            self._log.info("sent", route=str(look.route), outcome=str(result.outcome), reason=result.reason)
            if result.outcome is not Outcome.NOT_DELIVERED or attempt == TRIES:
                # The guest's name may have to be forgotten, and a reason stays.
                result = replace(result, reason=without(name, result.reason, "the guest"))
                await self._conclude(command, result, window=int(window * SECOND))
                return
            await _pause(wait)
            command, look = await self._look(float("inf"))
            if look.objection is not None:
                return

    async def _name(self, command: Command) -> str:
        """What the guest is called; empty where nobody knows."""
        label = label_of(self._desk.models.fleet, command.requested.instance)
        return (await self._desk.log.labels([label.id])).get(label.id, "") if label else ""

    async def _act(self, command: Command, route: Route, *, within: float) -> Result:
        stopper = self._desk.stoppers.get(route)
        if stopper is None:
            return Result(outcome=Outcome.REFUSED, reason=f"this actor has no way to {route}")
        request = command.requested

        async def still_wanted() -> float:
            try:
                look = await look_again(self._desk, request)
            except EsPowerError as error:
                self._tell("the look in mid-act has no answer", str(error))
                return 0.0
            left = look.at + self._desk.how.window - trio.current_time()
            return max(left, 0.0) if look.objection is None and self._desk.obstacle(request) is None else 0.0

        return await stopper.stop(request.instance, request.verb, within=within, still_wanted=still_wanted)

    async def _mark(self, command: Command, look: Look, sent: Sent) -> None:
        """Say that a declared VM whose guest is off is stopped, as Nova's stop does: one append, and no act."""
        desk, window = self._desk, trio.current_time() - look.at
        by, by_text = make_label("es-power")
        why, why_text = make_label(f"stop command {self._id}: {look.reason}")
        declared = RecordDeclared(
            observed_at=desk.clock(),
            instance=command.requested.instance,
            vm_state=VmState.STOPPED,
            task_state=None,
            by=by,
            why=why,
        )
        confirmed = Confirmed(**self._of(command), because=look.observation, window=int(window * SECOND))
        life = desk.write(command, self._looked(command, look), sent, confirmed)
        await desk.own.append([declared], labels=(by_text, why_text), beside=(life,))

    # ------------------------------------------------------------------------------------------------ the outcome

    async def _conclude(self, command: Command, result: Result, *, window: int) -> None:
        match result.outcome:
            case Outcome.REFUSED:
                await self._step(command, Refused(**self._of(command), reason=result.reason, window=window))
                # What was refused was not as it looked, so the newest word is put on record.
                await self._note_record(command)
            case Outcome.NOT_DELIVERED:
                await self._step(command, Failed(**self._of(command), reason=result.reason, window=window))
            case Outcome.ACCEPTED | Outcome.UNKNOWN:
                await self._find_out(command, window=window)

    async def _find_out(self, command: Command, *, window: int | None) -> None:
        """Wait until it is seen to have happened; it is never repeated."""
        desk = self._desk
        sent, route = await self._sent()
        with trio.move_on_after(desk.how.confirm):
            while self._shown(command, sent, route) is None:
                await desk.changed(POLL)
                if route is Route.NOVA:
                    await self._note_record(command)
        # Outside of the limit: to record what was seen may take as long as the log refuses.
        if (because := self._shown(command, sent, route)) is not None:
            await self._step(command, Confirmed(**self._of(command), because=because, window=window))
        else:
            reason = f"it was not seen to have happened within {desk.how.confirm:g} s"
            await self._step(command, Failed(**self._of(command), reason=reason, window=window))

    async def _note_record(self, command: Command) -> None:
        """Have Nova's present record in the log, where it says something else than the last one."""
        desk, instance = self._desk, command.requested.instance
        known = desk.models.fleet.vouched.get(instance)
        if desk.nova is None or known is None or not known.is_novas:
            return
        try:
            fact = await desk.nova(instance, desk.models.fleet.position)
        except EsPowerError as error:
            self._tell("Nova does not say how it went", str(error))
            return
        if isinstance(fact, RecordNotFound) or essence(fact) != essence(known):
            await desk.own.append([fact])
            await desk.caught_up()

    async def _sent(self) -> tuple[Position, Route]:
        """Where it was sent, and by which way."""
        life = await self._desk.log.read_stream(command_stream(self._id))
        return next((each.position, each.event.route) for each in life if isinstance(each.event, Sent))

    def _shown(self, command: Command, sent: Position, route: Route) -> Position | None:
        """Find the fact, newer than the act, that shows it to have happened."""
        fleet, instance = self._desk.models.fleet, command.requested.instance
        if route is Route.NOVA:
            said = fleet.vouched.get(instance)
            stopped = said is not None and said.vm_state is VmState.STOPPED and said.task_state is None
            return said.position if said is not None and stopped and said.position > sent else None
        known = fleet.get(instance, self._desk.observer)
        off = known.state == SHUTOFF or known.gone
        return known.position if off and not known.provisional and known.position > sent else None

    # --------------------------------------------------------------------------------------------------- steps

    def _of(self, command: Command) -> dict[str, Any]:
        """What every step of the life has."""
        return {
            "observed_at": self._desk.clock(),
            "instance": command.requested.instance,
            "command": command.requested.command,
        }

    def _looked(self, command: Command, look: Look) -> LookedAgain:
        return LookedAgain(**self._of(command), observation=look.observation, record=look.record, reason=look.reason)

    async def _withdraw(self, command: Command, reason: str, because: Position) -> None:
        if command.may(Withdrawn):
            withdrawn = Withdrawn(**self._of(command), reason=reason, because=because, actor=self._desk.own.name)
            await self._step(command, withdrawn)

    async def _step(self, command: Command, *events: CommandEvent) -> Position:
        return await self._desk.step(command, *events)

    def _tell(self, what: str, why: str) -> None:
        """Log a state of waiting once."""
        if (told := f"{what}: {why}") != self._told:
            self._told = told
            self._log.info(what, why=why)


async def _pause(seconds: float) -> None:
    await trio.sleep(seconds * uniform(0.5, 1.5))
