"""One host observed: what libvirt announces and answers becomes facts of the host's stream.

A session is the life of one connection. It registers for events first and sweeps then, so that nothing happens unseen
between the two. Everything that happens in it is appended in three ways, and no other: announcements as they come, the
answers to `get_info` that follow them, and sweeps. The end of a session opens a gap; the first sweep of the next one
closes it, in the same append.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import structlog
import trio

from es_power.chance import uniform
from es_power.domain.events import (
    ClockJumped,
    Event,
    GapClosed,
    GapOpened,
    GapReason,
    InstanceId,
    InventoryRecorded,
    ServiceStarted,
    ServiceStopped,
    SettingsRecorded,
    StateObserved,
    SweepCountDiffered,
    Trigger,
)
from es_power.domain.ports import Clock, EventLog
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import HypervisorError, HypervisorUnavailableError
from es_power.ingest.bridge import EventBridge, Overflow
from es_power.ingest.clock import JUMP, ClockWatch, clock_state, now, steady
from es_power.ingest.hypervisor import Announcement, Connection, Hypervisor
from es_power.ingest.jumps import Jumps
from es_power.ingest.naming import without_user
from es_power.ingest.recording import Buffered
from es_power.ingest.roster import Roster, naming
from es_power.ingest.stream import OwnStream
from es_power.ingest.sweep import Swept, Told

STORM: Final = 64
"""So many VMs waiting to be asked are asked by one sweep instead."""

SECOND_LOOK: Final = 2.0
"""Seconds after the sweep that ends a gap to the next one.

A libvirtd that was just started may still list a guest as running that died while it was away, and when it notices, it
announces nothing.
"""

FIRST_WAIT: Final = 0.1
"""Seconds before the first try to connect again; each later one waits twice as long."""

_SAID_AFTER: Final = 0.1
"""Seconds after a call failed in which libvirt may say why: that the connection is lost."""

GOODBYE: Final = 5.0
"""Seconds that a service which stops gives its last facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """How a host is observed: every setting that bears on its facts, and who observes."""

    spacing: float
    #: The part of the spacing by which sweeps of many hosts are spread.
    jitter: float
    policy: str
    policy_version: int
    mode: str
    holder: str
    version: str
    backoff_max: float = 30.0
    #: Seconds for which a daemon may be silent before it counts as hung; what happened in them was seen by nobody.
    patience: float = 0.0
    capacity: int = 65_536


class Observer:
    """The only writer of one host's stream, from one ServiceStarted to its end."""

    def __init__(
        self,
        log: EventLog,
        hypervisor: Hypervisor,
        *,
        name: str,
        roster: Roster,
        how: Observing,
        records: Callable[[], int | None] = lambda: None,
        clock: Clock = now,
        steady: Clock = steady,
    ) -> None:
        self._hypervisor = hypervisor
        self._roster = roster
        self._how = how
        self._records = records
        self._clock = clock
        self._jumps = Jumps(ClockWatch(clock, steady), self._clock_jumped)
        self._stream = OwnStream(log, name, roster.version)
        self._log = structlog.get_logger().bind(stream=name)
        self._wanted: dict[InstanceId, Trigger] = {}
        self._ask = trio.Event()
        self._sweep_soon = trio.Event()
        self._gap: tuple[Timestamp, GapReason] | None = None
        self._lost: int | None = None
        #: What the present connection is called in facts.
        self._number = 0
        self._differed: tuple[int, int] | None = None
        #: What the present connection's callbacks have delivered, and what of it is in the log, by identity: where that
        #: was learnt too late to keep the bridge from handing it over once more.
        self._bridge: EventBridge[Announcement] | None = None
        self._stored: dict[int, Announcement | Overflow[Announcement]] = {}
        #: How many events earlier connections' bridges had no room for.
        self._dropped = 0
        #: Set while a connection is open and its first sweep is in the log.
        self.seeing = trio.Event()

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._stream.name

    @property
    def buffered(self) -> Buffered:
        """How many events wait for the log, and how many found no room since the start."""
        now = self._bridge.statistics() if self._bridge else None
        if now is None:
            return Buffered(waiting=0, dropped=self._dropped)
        return Buffered(waiting=now.queued - now.emitted, dropped=self._dropped + now.dropped)

    def look_at(self, instance: InstanceId, trigger: Trigger) -> None:
        """Have one VM asked soon; several wishes for one VM are one question."""
        self._wanted[instance] = trigger
        self._ask.set()

    def sweep_soon(self) -> None:
        """Have the whole host asked now, instead of when the spacing is over."""
        self._sweep_soon.set()

    def forget_names(self, instances: Iterable[InstanceId]) -> None:
        """Hold on to the names of these VMs no longer, and do not record them again."""
        self._roster.forget_names(instances)

    async def run(self, connection: Connection) -> None:
        """Observe until cancelled, with `connection` first; TakenOverError where another service took the stream."""
        try:
            await self._stream.append(self._started(connection))
            wait = FIRST_WAIT
            while True:
                since, reason = await self._session(connection)
                if self.seeing.is_set():
                    wait, self.seeing = FIRST_WAIT, trio.Event()
                else:  # not tried again at once, for ever; and whoever waits for the first sweep goes on waiting
                    wait = min(2 * wait, self._how.backoff_max)
                await self._open_gap(since, reason)
                self._log.warning("connection lost", reason=str(reason))
                connection = await self._reconnect(wait)
        finally:
            at = self._clock()
            with trio.move_on_after(GOODBYE, shield=True):
                await connection.aclose()
                # Where these do not come into the log any more, no good end is recorded.
                await self._store_announcements()
                await self._stream.append([ServiceStopped(observed_at=at)])

    # ------------------------------------------------------------------------------------------- start and end

    def _started(self, connection: Connection) -> Sequence[Event]:
        at, clock = self._clock(), clock_state()
        self._roster.epoch += 1
        events: list[Event] = [
            ServiceStarted(
                observed_at=at,
                epoch=self._roster.epoch,
                holder=self._how.holder,
                version=self._how.version,
                uri=without_user(self._hypervisor.uri),
                host=connection.hostname,
                driver=self._hypervisor.driver,
                boot_id=connection.boot_id,
                clock_synchronised=clock.synchronised,
                clock_offset=clock.offset,
                clock_error=clock.error,
            ),
            SettingsRecorded(
                observed_at=at,
                spacing=self._how.spacing,
                policy=self._how.policy,
                policy_version=self._how.policy_version,
                mode=self._how.mode,
            ),
        ]
        last, blind = self._roster.seen_until, self._roster.blind_since
        if last is not None and last - at > JUMP:
            events.append(ClockJumped(observed_at=at, expected=last, looked_at=last))
            blind = None if blind is None else Timestamp(blind + at - last)
        if blind is not None:
            self._gap = min(blind, at), GapReason.RESTART
        elif last is not None:
            # By a clock that was set back it began when it is noticed, at the latest.
            self._gap = min(last, at), GapReason.RESTART if self._roster.stopped else GapReason.CRASH
            events.append(GapOpened(observed_at=at, since=self._gap[0], reason=self._gap[1]))
        return events

    def _clock_jumped(self, jumped: ClockJumped) -> None:
        """Go by the new clock: what is open since a time is so by this one, and all is seen again at times of it."""
        self._log.warning("the clock was set", by=jumped.by / SECOND)
        if self._gap is not None:
            since, reason = self._gap
            self._gap = Timestamp(since + jumped.by), reason
        self.sweep_soon()

    async def _session(self, connection: Connection) -> tuple[Timestamp, GapReason]:
        """Observe by one connection until it is lost, and say since when nobody sees the host, and why."""
        self._number = self._stream.version
        self._dropped = self.buffered.dropped
        bridge = self._bridge = EventBridge(capacity=self._how.capacity)
        bridge.register_event_listener(self._announced)
        begun = self._clock()
        reason = GapReason.KEEPALIVE  # of a daemon that holds the connection and does not answer
        async with trio.open_nursery() as delivery:
            delivery.start_soon(bridge.run)
            try:
                async with trio.open_nursery() as asking:
                    await connection.subscribe(connection=self._number, announce=bridge.queue_event)
                    asking.start_soon(self._sweep_forever, connection)
                    asking.start_soon(self._ask_forever, connection)
                    reason = await connection.wait_closed()
                    asking.cancel_scope.cancel()
            except* HypervisorError as gone:
                self._log.warning("libvirt does not answer", errors=[str(error) for error in gone.exceptions])
                with trio.move_on_after(_SAID_AFTER):
                    reason = await connection.wait_closed()
            # Read before what follows, which may take as long as the log refuses.
            end = self._clock()
            await connection.aclose()
            # What was delivered before the end is a fact too.
            await bridge.emit_queued_events()
            delivery.cancel_scope.cancel()
        silent = self._how.patience if reason is GapReason.KEEPALIVE else 0.0
        # Where the clock was set back meanwhile, it had not begun yet by what it reads now.
        return min(end, max(begun, Timestamp(end - int(silent * SECOND)))), reason

    async def _reconnect(self, wait: float) -> Connection:
        while True:
            await trio.sleep(wait)
            try:
                connection = await self._hypervisor.open()
            except HypervisorError as error:
                self._log.info("cannot reconnect yet", error=str(error), again_in=wait)
                wait = min(2 * wait, self._how.backoff_max)
            else:
                return connection

    async def _open_gap(self, since: Timestamp, reason: GapReason) -> None:
        opened = GapOpened(observed_at=self._clock(), since=since, reason=reason)

        def stored() -> None:
            self._gap = self._gap or (since, reason)

        await self._stream.append_at(self._jumps.before(lambda _: [] if self._gap else [opened]), stored=stored)

    # ------------------------------------------------------------------------------------------- announcements

    async def _announced(self, batch: Sequence[Announcement | Overflow[Announcement]]) -> None:
        """Append a batch as it came, and the gap that a loss opened; then have its VMs asked."""
        await self._stream.settle()
        # A batch whose emission was broken off comes again, though it may have come into the log.
        batch = [item for item in batch if self._stored.get(id(item)) is not item]
        announcements = [item for item in batch if isinstance(item, Announcement)]
        overflows = [item for item in batch if isinstance(item, Overflow)]
        at = self._clock()
        names = self._roster.new_names((a.event.instance, a.name) for a in announcements)
        named, labels = naming(names, at)

        if overflows:
            # By itself and first: on a full disk there is room for it, and none for the rest, so it begins before that.
            first = batch[0].after if isinstance(batch[0], Overflow) else batch[0]
            await self._open_gap(first.event.observed_at, GapReason.OVERFLOW)

        def stored() -> None:
            self._stored = {id(item): item for item in batch}
            self._roster.names |= names
            for announcement in announcements:
                self.look_at(announcement.event.instance, Trigger.EVENT)
            if overflows:
                self._lost = (self._lost or 0) + sum(each.lost for each in overflows)
                self.sweep_soon()

        events = [*named, *(a.event for a in announcements)]
        await self._stream.append_at(self._jumps.before(lambda _: events), labels=labels, stored=stored)
        self._stored = {}

    async def _store_announcements(self) -> None:
        """Append what was delivered so far, before what was learnt later.

        Then nothing is missing that came before the stream's last fact, and a crash loses only what came after it.
        """
        if self._bridge is not None:
            await self._bridge.emit_queued_events()

    async def _ask_forever(self, connection: Connection) -> None:
        """Ask for the VMs that somebody wants looked at; in a storm, for all by one sweep."""
        while True:
            await self._ask.wait()
            self._ask = trio.Event()
            wanted, self._wanted = self._wanted, {}
            if len(wanted) > STORM:
                self.sweep_soon()
                continue
            answers = [
                answer
                for instance, trigger in wanted.items()
                if (answer := await self._look(connection, instance, trigger)) is not None
            ]
            await self._store_announcements()
            await self._stream.append_at(self._jumps.before(lambda _: answers))  # noqa: B023 (it is called at once)
            self._roster.forget(answer.instance for answer in answers if answer.state is None)

    async def _look(self, connection: Connection, instance: InstanceId, trigger: Trigger) -> StateObserved | None:
        """Ask for one VM; None where libvirt failed on this one, which says nothing about the others."""
        number, asked_at = connection.highest_number, self._clock()
        try:
            info = await connection.get_info(instance)
        except HypervisorUnavailableError:
            raise
        except HypervisorError as error:
            self._log.warning("libvirt cannot say", instance=str(instance), error=str(error))
            return None
        return StateObserved(
            observed_at=self._clock(),
            instance=instance,
            asked_at=asked_at,
            state=info.state if info else None,
            reason=info.reason if info else None,
            trigger=trigger,
            connection=self._number,
            number=number,
        )

    # --------------------------------------------------------------------------------------------------- sweeps

    async def _sweep_forever(self, connection: Connection) -> None:
        while True:
            self._sweep_soon = trio.Event()
            was_blind = self._gap is not None
            try:
                await self._sweep(connection)
            except HypervisorUnavailableError:
                raise
            except HypervisorError as error:
                self._log.error("the sweep failed", error=str(error))
            wait = self._how.spacing * (1 + self._how.jitter * uniform(-1, 1))
            if was_blind and self._gap is None:
                wait = min(wait, SECOND_LOOK)
            with trio.move_on_after(wait):
                await self._sweep_soon.wait()

    async def _sweep(self, connection: Connection) -> None:
        """Ask for all VMs at once, and by UUID for each that should have been listed and was not."""
        number, asked_at, dark = connection.highest_number, self._clock(), (self._gap, self._lost)
        listed = sorted(await connection.list_states(), key=attrgetter("instance.int"))
        gone: list[StateObserved] = []
        for instance in self._roster.missing(listed):
            answer = await self._look(connection, instance, Trigger.MISSING)
            if answer is not None:
                gone.append(answer)
        swept = Swept(asked_at=asked_at, answered_at=self._clock(), number=number, listed=listed, dark=dark)
        await self._store_announcements()
        names = self._roster.new_names((info.instance, info.name) for info in listed)
        named, labels = naming(names, swept.answered_at)
        told: list[Told] = []

        def build(version: int) -> Sequence[Event]:
            told[:] = [self._facts_of(swept, [*named, *gone], version, connection)]
            return told[0].events

        def stored() -> None:
            self._take_in(told[0])
            self._roster.names |= names
            self._roster.forget(answer.instance for answer in gone if answer.state is None)

        await self._stream.append_at(self._jumps.before(build), labels=labels, stored=stored)
        self.seeing.set()

    def _facts_of(self, swept: Swept, before: Iterable[Event], version: int, connection: Connection) -> Told:
        """Make facts of an answer; nothing is changed by that, since they may not come into the log."""
        at, events = swept.answered_at, list[Event]()
        # What was lost after the question was asked is for the next sweep to find.
        closes = self._gap is not None and (self._gap, self._lost) == swept.dark
        if self._gap is not None and closes:
            since, reason = self._gap
            events.append(GapClosed(observed_at=at, since=since, reason=reason, lost=self._lost))
        events += before
        inventory = self._roster.inventory_version
        if not self._roster.has(swept.members):
            inventory = version + len(events) + 1
            events.append(InventoryRecorded(observed_at=at, instances=swept.members))
        events.append(swept.fact(inventory, connection=self._number, boot_id=connection.boot_id))
        records, differed = self._records(), self._differed
        found = len(swept.members)
        if records is not None and (found, records) != (differed or (records, records)):
            differed = found, records
            if records != found:
                events.append(SweepCountDiffered(observed_at=at, found=found, records=records))
        return Told(events=events, closes=closes, inventory=(swept.members, inventory), differed=differed)

    def _take_in(self, told: Told) -> None:
        """Know what the log knows now."""
        if told.closes:
            self._gap, self._lost = None, None
        self._roster.inventory, self._roster.inventory_version = told.inventory
        self._differed = told.differed
