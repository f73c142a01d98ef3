"""One host observed: what libvirt announces and answers becomes facts of the host's stream.

A session is the life of one connection. It registers for events first and sweeps then, so that nothing happens unseen
between the two. Everything that happens in it is appended in three ways, and no other: announcements as they come, the
answers to `get_info` that follow them, and sweeps. The end of a session opens a gap; the first sweep of the next one
closes it, in the same append.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import structlog
import trio

from es_power.domain.events import (
    ClockJumped,
    Event,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
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
from es_power.ingest.hypervisor import Announcement, Connection, Hypervisor, Info
from es_power.ingest.jumps import Jumps
from es_power.ingest.roster import Roster, naming
from es_power.ingest.stream import ObserverStream

STORM: Final = 64
"""So many VMs waiting to be asked are asked by one sweep instead."""

FIRST_WAIT: Final = 0.1
"""Seconds before the first try to connect again; each later one waits twice as long."""

_ODD: Final = 255
"""Stands in a sweep's bytes for a number that does not fit in one."""

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
        self._stream = ObserverStream(log, name, roster.version)
        self._log = structlog.get_logger().bind(stream=name)
        self._wanted: dict[InstanceId, Trigger] = {}
        self._ask = trio.Event()
        self._sweep_soon = trio.Event()
        self._gap: tuple[Timestamp, GapReason] | None = None
        self._lost: int | None = None
        #: What the present connection is called in facts.
        self._number = 0
        self._differed: tuple[int, int] | None = None
        #: What the present connection's callbacks have delivered.
        self._bridge: EventBridge[Announcement] | None = None
        #: Set while a connection is open and its first sweep is in the log.
        self.seeing = trio.Event()

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._stream.name

    def look_at(self, instance: InstanceId, trigger: Trigger) -> None:
        """Have one VM asked soon; several wishes for one VM are one question."""
        self._wanted[instance] = trigger
        self._ask.set()

    def sweep_soon(self) -> None:
        """Have the whole host asked now, instead of when the spacing is over."""
        self._sweep_soon.set()

    async def run(self, connection: Connection) -> None:
        """Observe until cancelled, with `connection` first; TakenOverError where another service took the stream."""
        try:
            await self._stream.append(self._started(connection))
            wait = FIRST_WAIT
            while True:
                since, reason = await self._session(connection)
                # A connection that never came to its first sweep is not tried again at once, for ever.
                wait = FIRST_WAIT if self.seeing.is_set() else min(2 * wait, self._how.backoff_max)
                self.seeing = trio.Event()
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
                uri=self._hypervisor.uri,
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
        if self._gap is None:
            opened = GapOpened(observed_at=self._clock(), since=since, reason=reason)
            await self._stream.append_at(self._jumps.before(lambda _: [opened]))
            self._gap = since, reason

    # ------------------------------------------------------------------------------------------- announcements

    async def _announced(self, batch: Sequence[Announcement | Overflow[Announcement]]) -> None:
        """Append a batch as it came, and the gap that a loss opened; then have its VMs asked."""
        announcements = [item for item in batch if isinstance(item, Announcement)]
        overflows = [item for item in batch if isinstance(item, Overflow)]
        at = self._clock()
        names = self._roster.new_names((a.event.instance, a.name) for a in announcements)
        named, labels = naming(names, at)
        opened: list[GapOpened] = []

        def build(_: int) -> Sequence[Event]:
            if overflows and self._gap is None:
                since = overflows[0].after.event.observed_at
                opened.append(GapOpened(observed_at=at, since=since, reason=GapReason.OVERFLOW))
            return [*named, *(a.event for a in announcements), *opened]

        await self._stream.append_at(self._jumps.before(build), labels=labels)
        # Nothing is waited for from here on: a batch that was stored is not emitted a second time.
        self._roster.names |= names
        for announcement in announcements:
            self.look_at(announcement.event.instance, Trigger.EVENT)
        for gap in opened:
            self._gap = gap.since, gap.reason
        if overflows:
            self._lost = (self._lost or 0) + sum(each.lost for each in overflows)
            self.sweep_soon()

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
            try:
                await self._sweep(connection)
            except HypervisorUnavailableError:
                raise
            except HypervisorError as error:
                self._log.error("the sweep failed", error=str(error))
            spread = 1 + self._how.jitter * random.uniform(-1, 1)  # noqa: S311 (spreads load, guards nothing)
            with trio.move_on_after(self._how.spacing * spread):
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
        swept = _Swept(asked_at=asked_at, answered_at=self._clock(), number=number, listed=listed, dark=dark)
        await self._store_announcements()
        names = self._roster.new_names((info.instance, info.name) for info in listed)
        named, labels = naming(names, swept.answered_at)
        before = self._roster.inventory, self._roster.inventory_version
        try:
            facts = self._jumps.before(lambda version: self._facts_of(swept, [*named, *gone], version, connection))
            await self._stream.append_at(facts, labels=labels)
        except BaseException:
            # It did not come into the log, so the next sweep has to say it all.
            self._roster.inventory, self._roster.inventory_version = before
            self._gap, self._lost = self._gap or dark[0], self._lost or dark[1]
            raise
        self._roster.names |= names
        self._roster.forget(answer.instance for answer in gone if answer.state is None)
        self.seeing.set()

    def _facts_of(
        self, swept: "_Swept", before: Iterable[Event], version: int, connection: Connection
    ) -> Sequence[Event]:
        at, clock = swept.answered_at, clock_state()
        events: list[Event] = []
        # What was lost after the question was asked is for the next sweep to find.
        if self._gap is not None and (self._gap, self._lost) == swept.dark:
            since, reason = self._gap
            events.append(GapClosed(observed_at=at, since=since, reason=reason, lost=self._lost))
            self._gap, self._lost = None, None
        events += before
        odd = swept.odd()
        members = tuple(info.instance for info in swept.listed)
        events += self._roster.relist(members, at, version + len(events) + 1)
        events.append(
            HostSwept(
                observed_at=at,
                asked_at=swept.asked_at,
                inventory=self._roster.inventory_version,
                connection=self._number,
                number=swept.number,
                boot_id=connection.boot_id,
                clock_synchronised=clock.synchronised,
                clock_offset=clock.offset,
                clock_error=clock.error,
                states=swept.states(odd),
                odd=odd,
            )
        )
        records = self._records()
        if records is not None and (len(members), records) != (self._differed or (records, records)):
            self._differed = len(members), records
            if records != len(members):
                events.append(SweepCountDiffered(observed_at=at, found=len(members), records=records))
        return events


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swept:
    """One bulk answer, before it becomes facts."""

    asked_at: Timestamp
    answered_at: Timestamp
    number: int
    listed: Sequence[Info]
    #: The gap that was open when it was asked, and how many events were known to be lost.
    dark: tuple[tuple[Timestamp, GapReason] | None, int | None]

    def states(self, odd: Iterable[tuple[int, int, int]]) -> bytes:
        """Two bytes for each VM: state and reason, 255 and 255 where the answer is `odd`."""
        numbers = [number for info in self.listed for number in (info.state, info.reason)]
        for index, _, _ in odd:
            numbers[2 * index : 2 * index + 2] = _ODD, _ODD
        return bytes(numbers)

    def odd(self) -> tuple[tuple[int, int, int], ...]:
        """The answers that do not fit in two bytes."""
        return tuple((index, info.state, info.reason) for index, info in enumerate(self.listed) if not _fits(info))


def _fits(info: Info) -> bool:
    return 0 <= info.state < _ODD and 0 <= info.reason < _ODD
