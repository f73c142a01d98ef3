"""What happens in the demo, and in what order; the service only sees its consequences.

Nothing in it is played: the VMs are libvirt's, the events and answers libvirt's own, the log and what is asked of it
those of every service. The story only decides what befalls the VMs, and what befalls the wire to them.
"""

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from es_power.audit.sealing import Sealer
from es_power.demo.guests import Guests, choose
from es_power.demo.proofs import rebuild_tables, tamper
from es_power.demo.telling import Teller
from es_power.demo.wire import Wire
from es_power.domain.events import InstanceId, Position
from es_power.domain.instance import Instance
from es_power.domain.states import PowerState, VmState
from es_power.domain.time import Timestamp
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.projections.marks import Mark, MarkKind, marks
from es_power.projections.queries import View, look
from es_power.projections.why import why
from es_power.service import Service

CHAOS_EVERY: Final = 0.4
"""Seconds between two things that happen to the VMs."""

_HIDDEN: Final = 5
_FLAPS: Final = 3
_FLAPS_EVERY: Final = 0.05  # seconds
_SHOWN: Final = 16  # characters of a digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story is played."""

    service: Service
    sealer: Sealer
    guests: Guests
    wire: Wire
    teller: Teller
    #: Tells what happens, a line each.
    say: Callable[[str], None]
    #: Shows one VM since a time: what is known of it, and what a sync would have that takes the last report for true.
    show: Callable[[View, str, Timestamp], Awaitable[None]]
    #: For what the demo writes beside the log.
    folder: Path


class Story:
    """The demo's script: boot, chaos, a cut wire and what it hid, a report that comes late, and two proofs."""

    def __init__(self, stage: Stage, *, duration: float, seed: int = 1) -> None:
        self._stage = stage
        self._duration = duration
        self._dice = random.Random(seed)  # noqa: S311 (the same story every time, not a secret)
        self._instances: Mapping[str, InstanceId] = {}
        #: When the wire was cut.
        self.cut_at = now()

    async def play(self) -> None:
        """Tell it in about the time there is; returns when it is over."""
        end = trio.current_time() + self._duration
        await self._boot()
        self._stage.say("chaos: guests are paused, resumed, shut down, destroyed, crashed and saved")
        await self._chaos(0.2 * self._duration)
        await self._flap()
        await self._unseen(0.07 * self._duration)
        position = await self._late(0.07 * self._duration)
        await self._rebuild()
        await self._tamper(position)
        await self._chaos(max(0, end - trio.current_time()))

    async def play_on(self) -> None:
        """Let something happen to the VMs now and then, until cancelled."""
        while True:
            await self._stage.guests.act(*choose(self._dice, self._stage.guests.names))
            await trio.sleep(self._dice.uniform(1, 5))

    # ------------------------------------------------------------------------------------------------- chapters

    async def _boot(self) -> None:
        stage = self._stage
        names = stage.guests.names
        stage.say(f"{len(names)} VMs of libvirt's test driver boot")
        self._instances = await stage.guests.boot()
        stage.teller.names = {instance: name for name, instance in self._instances.items()}
        await stage.teller.until(lambda: len(self._running()) == len(names))
        # Half of them are meant to be active, and one to be stopped.
        half = max(1, len(names) // 2)
        vouched = dict.fromkeys(names[:half], VmState.ACTIVE) | dict.fromkeys(names[half : half + 1], VmState.STOPPED)
        records = [(self._instances[name], vm_state, None) for name, vm_state in vouched.items()]
        await declare(stage.service.log, records, by="es-power demo", why="the demo vouches for it", at=now())
        said = stage.service.models.fleet.vouched
        await stage.teller.until(lambda: all(self._instances[name] in said for name in vouched))
        stage.teller.is_quiet = False
        stage.say(f"their {stage.teller.counts['events']} events are in the log")
        stage.say(f"{len(records)} of them are vouched for, the others follow what libvirt says")

    async def _chaos(self, seconds: float) -> None:
        guests = self._stage.guests
        with trio.move_on_after(seconds):
            while True:
                if await guests.act(*choose(self._dice, guests.names)):
                    await trio.sleep(min(CHAOS_EVERY, seconds / 4))

    async def _flap(self) -> None:
        [name] = await self._choose(1)
        self._stage.say(f"{name} flaps: off and on, {_FLAPS} times")
        for _ in range(_FLAPS):
            for action in ("destroy", "start"):
                await self._stage.guests.act(action, name)
                await trio.sleep(_FLAPS_EVERY)

    async def _unseen(self, seconds: float) -> None:
        """Nobody hears of what stops while the wire is cut, and the next sweep finds it."""
        stage = self._stage
        begin = self.cut_at = now()
        hidden = await self._choose(_HIDDEN)
        stage.say("the wire to libvirt is cut: from now on nobody sees anything")
        stage.wire.cut()
        await stage.teller.until(self._is_blind)
        for name in hidden:
            await stage.guests.act("destroy", name)
        stage.say(f"unseen, {', '.join(hidden)} stop")
        await trio.sleep(seconds)
        stage.wire.mend()
        await stage.teller.until(lambda: not self._is_blind())
        view = await look(stage.service.log)
        missed = await self._marked(view, MarkKind.MISSED, begin)
        stage.say(
            f"the wire is mended: a gap is closed, and the sweep finds {len(missed)} stops that no event announced"
        )
        for mark in missed:
            if found := (await why(view, str(mark.instance))).verdict:
                name = stage.teller.names.get(mark.instance, "-")
                stage.say(f"  {name}  {found.to_state}  inferred: {found.cause}, confidence {found.confidence}")

    async def _late(self, seconds: float) -> Position:
        """CloudStack #14206: a report is collected, then its VM starts, and then the report arrives."""
        stage, begin = self._stage, now()
        [name] = await self._choose(1)
        instance = self._instances[name]
        late = stage.wire.slow(instance)
        await stage.guests.act("destroy", name)
        await late.wait_given()
        stage.say(f"{name} stops; libvirt is asked, and its answer, off, is long on its way")
        await trio.sleep(seconds / 2)
        await stage.guests.act("start", name)
        await stage.teller.until(lambda: name in self._running())
        stage.say(f"{name} starts, and that is known at once")
        await trio.sleep(seconds / 2)
        late.arrive()
        await late.wait_given()  # the next question is asked once the answer before it is in the log
        [refused, *_] = await self._marked(await look(stage.service.log), MarkKind.STALE, begin)
        stage.say(f"the old answer arrives, and is refused: {name} started after it was asked for")
        await trio.sleep(seconds)
        stage.wire.quick(instance)
        await stage.teller.until(lambda: name in self._running(confirmed=True))
        stage.say("what is known, and what a sync has that takes the last report for true (CloudStack #14206):")
        await stage.show(await look(stage.service.log), name, begin)
        return refused.line.entry.position

    async def _rebuild(self) -> None:
        stage = self._stage
        stage.say("all tables are thrown away, and folded anew from the first record of the log")
        rebuilt = await rebuild_tables(stage.service.log)
        same = "the same" if rebuilt.before == rebuilt.after else "DIFFERENT"
        stage.say(f"  before  {rebuilt.before[:_SHOWN]}  at #{rebuilt.position}")
        stage.say(f"  after   {rebuilt.after[:_SHOWN]}  {same}")

    async def _tamper(self, position: Position) -> None:
        stage = self._stage
        sealed = await stage.sealer.seal()
        stage.say(f"{sealed.checkpoint.size} records are sealed; then one bit of a copy of the log is turned over")
        keys = [stage.sealer.verifier]
        tampered = await tamper(stage.service.log, stage.folder / "copy.db", position, keys=keys, at=now())
        for damage in tampered.found.damage:
            stage.say(f"  the copy, its byte {tampered.offset}: #{damage.position} is {damage.kind}")
        intact = "intact" if tampered.original.is_intact else "DAMAGED"
        stage.say(f"  the log itself: {intact}, {tampered.original.records} records")

    # -------------------------------------------------------------------------------------------------- the cast

    async def _choose(self, count: int) -> list[str]:
        """Draw some VMs that run, and are known to; where fewer do, more are made to."""
        guests, wanted = self._stage.guests, min(count, len(self._instances))
        while len(self._running(confirmed=True)) < wanted:
            for name in self._dice.sample(guests.names, k=wanted):
                await guests.act("resume", name)
                await guests.act("start", name)
            await self._stage.teller.until(lambda: not self._unconfirmed())
        return sorted(self._dice.sample(self._running(confirmed=True), k=wanted))

    def _running(self, *, confirmed: bool = False) -> list[str]:
        """Which are known to run: as was announced, or as libvirt has answered since."""
        return [
            name
            for name, known in self._known()
            if known.power_state is PowerState.RUNNING and not (confirmed and known.provisional)
        ]

    def _unconfirmed(self) -> bool:
        return any(known.provisional for _, known in self._known())

    def _known(self) -> Iterator[tuple[str, Instance]]:
        fleet = self._stage.service.models.fleet
        for name, instance in self._instances.items():
            for known in fleet.hosts_of(instance).values():
                yield name, known

    def _is_blind(self) -> bool:
        service = self._stage.service
        return any(service.models.fleet.places[stream].host.blind_since is not None for stream in service.observers)

    async def _marked(self, view: View, kind: MarkKind, since: Timestamp) -> Sequence[Mark]:
        end = Timestamp(now() + 1)
        return [each for each in await marks(view, since=since, until=end, now=end) if each.kind is kind]
