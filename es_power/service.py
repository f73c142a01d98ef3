"""The composition root: what runs, with what, in whose nursery. No globals, and nothing starts at import.

Each host has an observer (facts in), where Nova is asked a reader of its records, and a process manager (decisions in);
one follower folds the log for all of them, keeps the tables, and hands the process managers what the facts lead to.
"""

import gc
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Final, Protocol

import structlog
import trio

from es_power.acting import Acts, how_to_act
from es_power.audit.sealing import Sealer, sealer_of, sealing
from es_power.dispatch.process_manager import ProcessManager
from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import HostSwept, LifecycleEvent, Recorded, Trigger
from es_power.domain.policy import get_policy
from es_power.domain.states import VmState
from es_power.domain.streams import observed_host, observer
from es_power.domain.time import Timestamp
from es_power.errors import HypervisorError, LogFullError, LogUnavailableError, SettingsError, UnknownEventError
from es_power.identity import holder, package_version
from es_power.ingest.clock import clock_read, now
from es_power.ingest.hypervisor import Connection, Hypervisor
from es_power.ingest.inquiries import Questions
from es_power.ingest.observer import Observer, Observing
from es_power.ingest.qemu_follow import QemuLogFollower, log_folder
from es_power.ingest.recording import Recording
from es_power.ingest.records import NovaReader, Reading, Records
from es_power.ingest.roster import Roster
from es_power.log import SqlLog
from es_power.log.lease import lease
from es_power.log.marks import write_mark
from es_power.log.overgrown import watch_wal
from es_power.log.patience import PatientLog
from es_power.log.room import Room
from es_power.projections.fleet import Place
from es_power.projections.follower import Follower
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.stop_commands import Derived
from es_power.projections.store import Store
from es_power.projections.watcher import Watcher
from es_power.settings import Settings
from es_power.upkeep.rewinding import require_not_rewound

_COLLECT_AFTER: Final = 50_000
"""Objects more than were freed, after which the youngest are looked through; Python's own number is 700."""


class House(Protocol):
    """Who answers questions beside the service, on its fold."""

    #: Whether all hosts that answer have been swept since the start.
    is_ready: bool
    #: What signs the log; None where nothing does.
    sealer: Sealer | None

    def report(self, recording: Callable[[], Recording]) -> None:
        """Say from now on how it goes with recording, whenever somebody asks."""

    async def folded(self, batch: Sequence[Recorded]) -> None:
        """Hear what was folded."""


Answering = Callable[[SqlLog, Store, Follower], AbstractAsyncContextManager[House]]
"""Answers questions inside its block."""


class Service:
    """Observes hosts into a log, derives what follows, and keeps the read models."""

    def __init__(
        self,
        log: SqlLog,
        settings: Settings,
        follower: Follower,
        *,
        patient: PatientLog | None = None,
        listen: Callable[[Sequence[Recorded]], None] = lambda _: None,
        acts: Acts | None = None,
        nova: NovaReader | None = None,
        house: House | None = None,
    ) -> None:
        #: The log it writes; its parts see it as one that waits where a database refuses.
        self.log = log
        self._room = Room(log.database.place.path)
        self._patient = patient or PatientLog(log)
        self._patient.waiting = lambda: sum(each.buffered.waiting for each in self.observers.values())
        self._patient.refused, self._patient.admits = self._make_room, self._room.admits
        #: How many events were lost when the room for a gap's record was last given up.
        self._lost = 0
        self._settings = settings
        self._follower = follower
        self._listen = listen
        #: Who executes what is planned, where that is done in this process.
        self.acts = acts
        if acts is not None:
            acts.patient.admits = self._room.admits
        self._house = house
        self._policy = get_policy(settings.policy.name)
        #: By stream: who sees the host, and who appends what its facts lead to.
        self.observers: dict[str, Observer] = {}
        self._managers: dict[str, ProcessManager] = {}
        #: How many it is to observe.
        self._hosts = 0
        #: By stream: what was derived and handed to nobody yet, since its host is not observed, or not yet. What the
        #: log had at the start is in it too: perhaps the last service did not come to append it.
        self._owed: defaultdict[str, list[Derived]] = defaultdict(list)
        self._nova = nova
        self._questions = Questions(per_minute=settings.nova.budget)
        #: By stream: who reads Nova's records of the host; empty where Nova is not asked.
        self.records: dict[str, Records] = {}
        #: By stream: who follows the qemu logs of the host; empty where they are not on this machine.
        self.qemu_logs: dict[str, QemuLogFollower] = {}

    @property
    def models(self) -> ReadModels:
        """The read models of everything that was folded so far."""
        return self._follower.models

    def _make_room(self, refusal: LogUnavailableError) -> None:
        """Give up the room that is kept free, where events are lost on a full disk: that gap must be in the log."""
        lost = sum(each.buffered.dropped for each in self.observers.values())
        if isinstance(refusal, LogFullError) and lost > self._lost and self._room.give_up():
            self._lost = lost

    def recording(self) -> Recording:
        """How it goes with recording."""
        return Recording(
            outages=dict(self._patient.outages),
            buffered={stream: each.buffered for stream, each in self.observers.items()},
        )

    async def run(
        self,
        hosts: Sequence[tuple[str | None, Hypervisor]],
        *,
        task_status: trio.TaskStatus["Service"] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Observe until cancelled; `hosts` are pairs of a name (None: the one libvirt gives) and its hypervisor.

        Started once every host that answers has been swept, and the sweep is folded. A host that does not answer is
        tried again for ever, unless none does: then the first one's HypervisorError is raised. LeaseHeldError where
        another service observes one of the hosts into this log; TakenOverError where another took one over.
        """
        async with trio.open_nursery() as nursery:
            self._hosts = len(hosts)
            await trio.to_thread.run_sync(self._room.keep)
            nursery.start_soon(self._patient.watch)
            nursery.start_soon(watch_wal, self.log.database)
            if self._house is not None:
                self._house.report(self.recording)
            nursery.start_soon(self._follower.run, self._folded)
            await self._follower.caught_up()
            settle_memory()
            reached, unreached = 0, []
            for name, hypervisor in hosts:
                try:
                    connection = await hypervisor.open()
                except HypervisorError as error:
                    unreached.append((name, hypervisor, error))
                else:
                    await nursery.start(self._observe, name, hypervisor, connection)
                    reached += 1
            if not reached:
                raise unreached[0][2]
            for name, hypervisor, failure in unreached:
                structlog.get_logger().warning("host not reached yet", uri=hypervisor.uri, error=str(failure))
                nursery.start_soon(self._observe_later, name, hypervisor)
            for each in list(self.observers.values()):
                await each.seeing.wait()
            await self._follower.caught_up()
            if self.acts is not None:
                await nursery.start(self.acts.run, hosts)
            if self._house is not None:
                self._house.is_ready = True
            task_status.started(self)

    async def _observe_later(self, name: str | None, hypervisor: Hypervisor) -> None:
        wait = 1.0
        while True:
            await trio.sleep(wait)
            wait = min(2 * wait, self._settings.connection.backoff_max)
            try:
                connection = await hypervisor.open()
            except HypervisorError:
                continue
            await self._observe(name, hypervisor, connection)

    async def _observe(
        self,
        name: str | None,
        hypervisor: Hypervisor,
        connection: Connection,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Observe one host until cancelled, with its process manager beside it."""
        stream = observer(name or connection.hostname, hypervisor.driver)
        how = self._how()
        async with aclosing(connection), self._leased(stream, hypervisor.uri, how.holder) as renewal:
            manager = ProcessManager(self._patient, stream, policy=self._policy, clock=now)
            await manager.begin()
            while owed := self._owed.pop(stream, None):
                await manager.append(owed, owed[-1].because)
            self._managers[stream] = manager
            roster = await self._roster(stream)
            self.observers[stream] = Observer(
                self._patient,
                hypervisor,
                name=stream,
                roster=roster,
                how=how,
                records=lambda: self._records_of(stream),
            )
            if self._nova is not None:
                await self._read_records(stream, self._nova, renewal)
            await self._follow_qemu_logs(stream, hypervisor.uri, renewal)
            task_status.started()
            await self.observers[stream].run(connection)

    @asynccontextmanager
    async def _leased(self, stream: str, uri: str, holder: str) -> AsyncIterator[trio.Nursery]:
        """Have the stream for oneself; give the nursery in which its lease is renewed."""
        if stream in self.observers:
            raise SettingsError([f"{uri} is {stream} too; give one of the two URIs a host name of its own by [[host]]"])
        duration = self._settings.lease.duration
        async with (
            trio.open_nursery() as renewal,
            lease(self.log, stream, holder, nursery=renewal, duration=duration),
        ):
            yield renewal

    async def _follow_qemu_logs(self, stream: str, uri: str, nursery: trio.Nursery) -> None:
        """Have the qemu logs of a host of this machine followed, in its nursery."""
        settings = self._settings.qemu_log
        folder = log_folder(uri, os.environ, settings.folder)
        if settings.enabled and folder is not None:
            follower = self.qemu_logs[stream] = QemuLogFollower(self._patient, stream, folder)
            await follower.begin()
            nursery.start_soon(follower.run)

    async def _read_records(self, stream: str, nova: NovaReader, nursery: trio.Nursery) -> None:
        """Have Nova's records of a host read, in its nursery."""
        settings, host, asks = self._settings, observed_host(stream) or "", self.models.derivation.asks
        records = Records(
            self._patient,
            nova,
            stream=stream,
            said=self.models.fleet,
            asks=lambda: [instance for instance, asker in asks.items() if asker == stream],
            how=Reading(
                host=settings.nova.hosts.get(host, host),
                spacing=settings.nova.spacing,
                full=settings.nova.full,
                stuck_after=settings.nova.stuck_after,
                acts=lambda instance: how_to_act(settings).mode_of(instance, host) != "dry-run",
            ),
            questions=self._questions,
        )
        await records.begin()
        self.records[stream] = records
        nursery.start_soon(records.run)

    def _how(self) -> Observing:
        settings = self._settings
        return Observing(
            spacing=settings.sweep.spacing,
            jitter=settings.sweep.jitter,
            policy=self._policy.name,
            policy_version=self._policy.version,
            mode=settings.policy.mode,
            holder=holder(),
            version=package_version(),
            backoff_max=settings.connection.backoff_max,
            patience=settings.connection.keepalive_interval * (settings.connection.keepalive_count + 1),
            capacity=settings.bridge.capacity,
        )

    async def _roster(self, stream: str) -> Roster:
        """What the stream's observer has to remember, out of the fold over it."""
        await self._follower.caught_up()
        place = self._follower.models.fleet.places.get(stream, Place())
        present = {instance: known for instance, known in place.instances.items() if not known.gone}
        labels = await self._patient.labels([known.name.id for known in present.values() if known.name])
        # As the log has it: the fold passes over a record that it cannot read.
        version = await self._patient.version(stream)
        return Roster(
            version=version,
            epoch=place.host.epoch,
            seen_until=await self._seen_until(stream, version, place) if version else None,
            stopped=not place.host.running,
            blind_since=place.host.blind_since,
            names={instance: labels.get(known.name.id) if known.name else "" for instance, known in present.items()},
            inventory=tuple(place.order),
            inventory_version=place.host.inventory,
        )

    async def _seen_until(self, stream: str, version: int, place: Place) -> Timestamp:
        """Until when the last service saw the host: its last fact was true before it was recorded."""
        try:
            [last] = await self._patient.read_stream(stream, after=version - 1, limit=1)
        except UnknownEventError:
            return place.recorded_at
        return min(last.recorded_at, last.event.observed_at)

    def _records_of(self, stream: str) -> int | None:
        """How many instances somebody vouches for on this host; None where nobody does, and Nova was not asked."""
        fleet = self._follower.models.fleet
        host = observed_host(stream) or ""
        count = sum(
            # Of what is deleted Nova expects no guest.
            said.is_of(host) and said.vm_state is not VmState.DELETED
            if said.is_novas
            else stream in fleet.seen_on.get(instance, ())
            for instance, said in fleet.vouched.items()
        )
        asked = stream in self.records and self.records[stream].complete
        return count if asked else count or None

    async def _folded(self, batch: Sequence[Recorded], step: Step) -> None:
        """Append what a batch led to, and have those VMs looked at that somebody has said something about."""
        position = batch[-1].position
        await trio.to_thread.run_sync(self._room.keep)
        for each in step.derived:
            self._owed[each.stream].append(each)
        for stream, manager in list(self._managers.items()):
            await manager.append(self._owed.pop(stream, []), position)
        if len(self._managers) == self._hosts:
            self._owed.clear()  # of hosts that other services observe
        for records in self.records.values():
            records.folded(batch)
        for stream in {each.stream for each in batch if isinstance(each.event, LifecycleEvent)}:
            if stream in self.qemu_logs:
                self.qemu_logs[stream].look_soon()
        for recorded in batch:
            if isinstance(recorded.event, LabelsForgotten):
                self._forget(recorded.event.labels)
        for stream in {each.stream for each in batch if isinstance(each.event, HostSwept)} & self.observers.keys():
            await trio.to_thread.run_sync(write_mark, self.log.database, stream)
        for instance in step.look_at:
            for stream in self._follower.models.fleet.seen_on.get(instance, ()):
                if stream in self.observers:
                    self.observers[stream].look_at(instance, Trigger.RECORD)
        if self.acts is not None:
            await self.acts.folded(batch, step)
        if self._house is not None:
            await self._house.folded(batch)
        self._listen(batch)

    def _forget(self, labels: Collection[int]) -> None:
        """Have nobody here hold on to a text that was erased."""
        forgotten, places = frozenset(labels), self._follower.models.fleet.places
        for stream, each in self.observers.items():
            known = places[stream].instances if stream in places else {}
            each.forget_names(one for one, vm in known.items() if vm.name is not None and vm.name.id in forgotten)


def settle_memory() -> None:
    """Take all that is in memory now out of the garbage collector's sight; it is still freed when nobody refers to it.

    A fold of 10,000 VMs is millions of objects without a cycle. Each full collection walked through them all in vain,
    and for a third of a second nobody was answered. What hundreds of clients are sent is made and freed at once: that
    is no reason to collect either.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


async def serve(
    log: SqlLog,
    hosts: Sequence[tuple[str | None, Hypervisor]],
    settings: Settings,
    *,
    listen: Callable[[Sequence[Recorded]], None] = lambda _: None,
    acting: Callable[[Watcher], Acts] | None = None,
    nova: NovaReader | None = None,
    answering: Answering | None = None,
    task_status: trio.TaskStatus[Service] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a service on a log that is open for writing; see `Service.run`.

    LogRewoundError where the log ends before what was read from it. With `acting` it executes what it plans too: that
    makes the actors, on the service's own fold. With `nova` it reads Nova's records of the hosts. With `answering` it
    answers questions, from the first moment on. Where the settings name a key, the log is sealed, at its end too.
    """
    await trio.to_thread.run_sync(lambda: log.database.make_sure(insist=False))
    await require_not_rewound(log, settings.audit.places)
    patient, store = PatientLog(log), Store(log.database)
    follower = await Follower.start(patient, store)
    acts = acting(follower) if acting else None
    sealer = sealer_of(log, settings.audit, clock=now, beside=lambda: [clock_read()])
    async with (
        answering(log, store, follower) if answering else nullcontext() as house,
        sealing(sealer, settings.audit.every) if sealer else nullcontext(),
    ):
        if house is not None:
            house.sealer = sealer
        service = Service(log, settings, follower, patient=patient, listen=listen, acts=acts, nova=nova, house=house)
        await service.run(hosts, task_status=task_status)
