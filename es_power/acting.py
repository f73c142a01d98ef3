"""The composition root of acting: one actor for each host, with what it reads, looks with and acts by.

Runs in a process of its own (`serve_acts`), or beside the observers in one (`service.serve`); either way an actor opens
its connections itself, and the observers never hold one that could change anything.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

import structlog
import trio

from es_power.dispatch.actor import Actor
from es_power.dispatch.breaker import Limits
from es_power.dispatch.desk import Acting, AskNova, Desk
from es_power.dispatch.door import AnyWish, Approve, CloseBreaker, Hold, Reject, Release, Retry
from es_power.dispatch.stopper import Stopper
from es_power.domain.decisions import Route
from es_power.domain.events import InstanceId, Recorded
from es_power.domain.streams import actor as actor_stream, observer
from es_power.domain.time import Timestamp
from es_power.errors import ActorUnavailableError, HypervisorError, LogUnavailableError
from es_power.identity import holder, package_version
from es_power.ingest.clock import now
from es_power.ingest.hypervisor import Hypervisor
from es_power.ingest.stream import OwnStream
from es_power.log import SqlLog
from es_power.log.lease import lease
from es_power.log.patience import PatientLog
from es_power.projections.readmodels import Step
from es_power.projections.store import Store
from es_power.projections.watcher import Watcher
from es_power.settings import Settings
from es_power.upkeep.rewinding import require_not_rewound

SOON: Final = 5.0
"""Seconds in which what a person says must be in the log. A person is not kept waiting for a disk; who acts is."""

Stoppers = Callable[[str], Mapping[Route, Stopper]]
"""Makes the ways to act on a host, by its URI."""


def how_to_act(settings: Settings) -> Acting:
    """What the settings say of acting."""
    act, breaker = settings.act, settings.breaker
    return Acting(
        holder=holder(),
        version=package_version(),
        mode=settings.policy.mode,
        modes=settings.policy.modes,
        settle=act.settle,
        window=act.window,
        max_age=act.max_age,
        expiry=act.expiry,
        confirm=act.confirm,
        after_boot=act.after_boot,
        breaker=Limits(
            within=breaker.within,
            commands=breaker.commands,
            share=breaker.share,
            most=breaker.most,
            whole=breaker.whole,
        ),
    )


class Acts:
    """The actors of some hosts."""

    def __init__(
        self, log: SqlLog, watcher: Watcher, settings: Settings, *, stoppers: Stoppers, nova: AskNova | None = None
    ) -> None:
        #: For the lease.
        self._log = log
        #: For all else: it waits where a database refuses, and says so.
        self.patient = PatientLog(log)
        self._watcher = watcher
        self._settings = settings
        self._stoppers = stoppers
        self._nova = nova
        #: By host name.
        self.actors: dict[str, Actor] = {}

    async def folded(self, batch: Sequence[Recorded], step: Step) -> None:
        """Hear what the watcher folded."""
        for actor in self.actors.values():
            actor.folded(batch, step)

    async def run(
        self,
        hosts: Sequence[tuple[str | None, Hypervisor]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Act until cancelled; `hosts` as for `Service.run`.

        Started once every host that answers has its actor; the others follow when they answer. LeaseHeldError where
        another actor has one of the hosts; TakenOverError where another took one over.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.patient.watch)
            for name, hypervisor in hosts:
                try:
                    host = name or await _hostname(hypervisor)
                except HypervisorError as error:
                    structlog.get_logger().warning("host not reached yet", uri=hypervisor.uri, error=str(error))
                    nursery.start_soon(self._act_later, hypervisor)
                else:
                    await nursery.start(self._act, host, hypervisor)
            task_status.started()

    async def hear(self, wish: AnyWish, by: str) -> str:
        """Do what a person wishes, and say what was done; EsPowerError says what speaks against it.

        LogUnavailableError where the log does not take it soon: it is given up then, and nothing of it is done later.
        """
        with trio.move_on_after(SOON):
            return await self._do(wish, by)
        outages = self.patient.outages.values()
        because = " and ".join(outage.reason for outage in outages) or f"it did not answer within {SOON:g} s"
        raise LogUnavailableError(f"the log does not take it now, so nothing was done; say it again later: {because}")

    async def _do(self, wish: AnyWish, by: str) -> str:
        match wish:
            case Hold(host=host, instance=instance, until=until, why=why):
                actor = self._actor_of(host) if host else self._any_actor()
                kept = InstanceId(instance) if instance else None
                ends = Timestamp(until) if until is not None else None
                hold = await actor.hold(instance=kept, until=ends, by=by, why=why)
                return f"hold {hold} stands"
            case Release(hold=hold, why=why):
                await self._any_actor().release(hold, by=by, why=why)
                return f"hold {hold} is released"
            case CloseBreaker(host=host, why=why):
                await self._actor_of(host).close_breaker(by=by, why=why)
                return f"the breaker of {host} is closed"
            case Approve(command=command, why=why):
                actor = await self._actor_for(command)
                await actor.approve(command, by=by, why=why)
                return f"command {command} is approved; it is looked at once more before it is sent"
            case Reject(command=command, why=why):
                actor = await self._actor_for(command)
                await actor.reject(command, by=by, why=why)
                return f"command {command} is withdrawn"
            case Retry(command=command, why=why):
                actor = await self._actor_for(command)
                await actor.retry(command, by=by, why=why)
                return f"command {command} may be tried again: a new one is requested if it is still called for"

    def _any_actor(self) -> Actor:
        for actor in self.actors.values():
            return actor
        raise ActorUnavailableError("this actor has reached no host yet; try again when libvirt answers")

    def _actor_of(self, host: str) -> Actor:
        if actor := self.actors.get(host):
            return actor
        mine = ", ".join(sorted(self.actors)) or "none yet"
        raise ActorUnavailableError(f"this actor does not act on {host!r}; its hosts are {mine}")

    async def _actor_for(self, command_id: UUID) -> Actor:
        return self._actor_of((await self._any_actor().desk.read(command_id)).requested.host)

    async def _act_later(self, hypervisor: Hypervisor) -> None:
        wait = 1.0
        while True:
            await trio.sleep(wait)
            wait = min(2 * wait, self._settings.connection.backoff_max)
            try:
                host = await _hostname(hypervisor)
            except HypervisorError:
                continue
            await self._act(host, hypervisor)

    async def _act(
        self, host: str, hypervisor: Hypervisor, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        observed = observer(host, hypervisor.driver)
        name, how = actor_stream(observed), how_to_act(self._settings)
        async with (
            trio.open_nursery() as nursery,
            lease(self._log, name, how.holder, nursery=nursery, duration=self._settings.lease.duration) as epoch,
        ):
            desk = Desk(
                self.patient,
                observed,
                own=OwnStream(self.patient, name, await self.patient.version(name)),
                models=lambda: self._watcher.models,
                caught_up=self._watcher.caught_up,
                hypervisor=hypervisor,
                stoppers=self._stoppers(hypervisor.uri),
                nova=self._nova,
                how=how,
                clock=now,
            )
            actor = self.actors[host] = Actor(desk)
            await actor.run(epoch, task_status=task_status)


async def serve_acts(
    log: SqlLog,
    hosts: Sequence[tuple[str | None, Hypervisor]],
    settings: Settings,
    *,
    stoppers: Stoppers,
    nova: AskNova | None = None,
    task_status: trio.TaskStatus[Acts] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Act by a log that is open for writing, and that others write; see `Acts.run`."""
    await require_not_rewound(log, settings.audit.places)
    watcher = await Watcher.start(PatientLog(log), Store(log.database))
    acts = Acts(log, watcher, settings, stoppers=stoppers, nova=nova)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run, acts.folded)
        await watcher.caught_up()
        nursery.start_soon(_run, acts, hosts, task_status)


async def _run(acts: Acts, hosts: Sequence[tuple[str | None, Hypervisor]], task_status: trio.TaskStatus[Acts]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(acts.run, hosts)
        task_status.started(acts)


async def _hostname(hypervisor: Hypervisor) -> str:
    connection = await hypervisor.open()
    try:
        return connection.hostname
    finally:
        await connection.aclose()
