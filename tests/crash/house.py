"""A service that observes and acts, as ``run --act`` does, in a process that can kill itself at a chosen moment.

``python -m tests.crash.house`` reads one run a line, as JSON (`Run`), and forks a process for each: see `rigs.forks`.
The log, the guests and what was done to them are files of the run's directory, so they outlive it, and the next run
goes on with them.
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from es_power.acting import Acts
from es_power.dispatch.stopper import Outcome, Result, StillWanted
from es_power.domain.command import CommandState
from es_power.domain.decisions import CommandEvent, Confirmed, Failed, Route, StopRequested, StopVerb
from es_power.domain.events import InstanceId, Position
from es_power.domain.ports import Append
from es_power.domain.states import VmState
from es_power.errors import CommandStateError, ConcurrentAppendError
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import SqlLog
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from es_power.service import serve
from es_power.settings import Act, Host, Log, PolicyChoice, Settings
from es_power.testing import FakeHypervisor, vm
from tests.rigs.forks import quietly, serve as serve_forks

WEB, PROBE = vm(1), vm(2)
ON, OFF = 1, 5


@dataclass(frozen=True, kw_only=True)
class Run:
    """What happens in one process."""

    place: str
    #: A method of `House`.
    story: str
    mode: str = "auto"
    #: The guest is off though it should be on: its record is what has to change.
    off: bool = False
    #: Before anything starts, a person says this of WEB.
    wish: str | None = None
    #: Die at the append of this number after the story began, or that holds such an event; None: at the act.
    append: int | str | None = None
    #: `before`, `after`; of an act also `ordered`: libvirt has the order, the guest is not off yet.
    when: str | None = None

    @property
    def dies(self) -> bool:
        return self.when is not None


def die() -> None:
    """End as kill -9 ends a process: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


class MortalLog(SqlLog):
    """Counts appends once a story began, and dies at one."""

    run: Run
    count: int | None = None

    async def append(self, append: Append) -> Position:
        if self.count is None:
            return await super().append(append)
        self.count += 1
        kinds = {type(event).__name__ for write in append.writes for event in write.events}
        mine = self.run.dies and self.run.append in {self.count, *kinds}
        if mine and self.run.when == "before":
            die()
        position = await super().append(append)
        if mine:
            die()
        return position


class Guests:
    """The guests of a host, in files."""

    def __init__(self, place: Path) -> None:
        self._states, self._acts = place / "guests.json", place / "acts.jsonl"

    @property
    def states(self) -> dict[InstanceId, int]:
        if not self._states.exists():
            return {WEB: ON, PROBE: ON}
        return {vm(int(number)): state for number, state in json.loads(self._states.read_text()).items()}

    def become(self, instance: InstanceId, state: int) -> None:
        states = self.states | {instance: state}
        self._states.write_text(json.dumps({each.int & 0xFF: found for each, found in states.items()}))

    @property
    def acts(self) -> list[dict[str, int]]:
        """What was done, in order: the guest's number, its state then, and where the log ended."""
        return [json.loads(line) for line in self._acts.read_text().splitlines()] if self._acts.exists() else []

    def note(self, instance: InstanceId, head: Position) -> None:
        with self._acts.open("a") as acts:
            acts.write(json.dumps({"vm": instance.int & 0xFF, "state": self.states[instance], "head": head}) + "\n")
            acts.flush()
            os.fsync(acts.fileno())


class MortalStopper:
    """Stops guests that are files; may die around it."""

    def __init__(self, run: Run, guests: Guests, host: FakeHypervisor, log: SqlLog) -> None:
        self._run, self._guests, self._host, self._log = run, guests, host, log

    async def stop(self, instance: InstanceId, verb: StopVerb, *, within: float, still_wanted: StillWanted) -> Result:
        head = await self._log.head()
        self._die_if("before")
        self._guests.note(instance, head)
        self._die_if("ordered")
        self._guests.become(instance, OFF)
        self._die_if("after")
        self._host.power_off(instance)
        return Result(outcome=Outcome.ACCEPTED)

    def _die_if(self, when: str) -> None:
        if self._run.append is None and self._run.when == when:
            die()


class House:
    """What a story plays in."""

    def __init__(self, run: Run, log: MortalLog, guests: Guests, host: FakeHypervisor, acts: Acts) -> None:
        self._run, self._log, self._guests, self._host = run, log, guests, host
        self._actor = acts.actors[host.hostname]

    async def live(self) -> None:
        """WEB is declared to be what it is not; its command lives until it ends."""
        self._log.count = 0
        await say(self._log, WEB, VmState.ACTIVE if self._run.off else VmState.STOPPED)
        if self._run.off:
            self._guests.become(WEB, OFF)
            self._host.power_off(WEB)
        if self._run.mode == "approve":
            await self._until(lambda: self._is_at(WEB, StopRequested))
            await self._approve()
        await self._until(lambda: self._is_at(WEB, Confirmed, Failed))

    async def recover(self) -> None:
        """A later command lives until it ends; only then somebody approves what was left of WEB's."""
        await self.probe()
        await self._approve()
        await self._until(self._all_ended)

    async def probe(self) -> None:
        """Nobody says a word about WEB, and another's command lives until it ends."""
        self._log.count = 0
        await say(self._log, PROBE, VmState.STOPPED)
        if self._run.mode == "approve":
            await self._until(lambda: self._is_at(PROBE, StopRequested))
            await self._approve(PROBE)
        await self._until(lambda: self._is_at(PROBE, Confirmed, Failed))

    async def _approve(self, instance: InstanceId = WEB) -> None:
        """Approve whatever may still be sent."""
        for request in await self._requests(instance):
            if (await self._actor.desk.read(request.command)).state.is_open:
                with suppress(CommandStateError, ConcurrentAppendError):
                    await self._actor.approve(request.command, by="ann", why="go on")

    async def _all_ended(self) -> bool:
        states = [(await self._actor.desk.read(each.command)).state for each in await self._requests(WEB)]
        return not any(state.is_open or state is CommandState.SENT for state in states)

    async def _requests(self, instance: InstanceId) -> list[StopRequested]:
        records = await self._log.read(after=Position(0))
        return [
            each.event for each in records if isinstance(each.event, StopRequested) and each.event.instance == instance
        ]

    async def _is_at(self, instance: InstanceId, *kinds: type[CommandEvent]) -> bool:
        records = await self._log.read(after=Position(0))
        return any(isinstance(each.event, kinds) and each.event.instance == instance for each in records)

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        with trio.fail_after(60):
            while True:
                head = await self._log.head()
                if await condition():
                    return
                await self._log.wait_beyond(head)


async def say(log: SqlLog, instance: InstanceId, vm_state: VmState) -> None:
    await declare(log, [(instance, vm_state, None)], by="ann", why="so it is meant to be", at=now())


async def play(run: Run) -> None:
    """Play a story to its end, or die."""
    place = Path(run.place)
    guests, database = Guests(place), Database(place / "log.db", mode="write")
    ensure_schema(database)
    log = MortalLog(database, clock=now, poll=0.02)
    log.run = run
    if run.wish is not None:
        await say(log, WEB, VmState(run.wish))
    host = FakeHypervisor()
    for instance, state in guests.states.items():
        host.add(f"guest-{instance}", state=state, reason=1, instance=instance)
    settings = Settings(
        log=Log(path=str(place / "log.db")),
        hosts=(Host(uri=host.uri),),
        policy=PolicyChoice(mode=run.mode),
        act=Act(settle=0.05, after_boot=0.001, confirm=1.0),
    )
    stopper = MortalStopper(run, guests, host, log)
    ways = {Route.HYPERVISOR: stopper, Route.NOVA: stopper}
    acts: list[Acts] = []
    async with trio.open_nursery() as nursery:

        def acting(watcher):
            acts.append(Acts(log, watcher, settings, stoppers=lambda _: ways))
            return acts[0]

        await nursery.start(
            lambda task_status: serve(log, [(None, host)], settings, acting=acting, task_status=task_status)
        )
        await getattr(House(run, log, guests, host, acts[0]), run.story)()
        (place / "count").write_text(str(log.count))
        os._exit(0)  # nothing is tidied up, and nothing more is appended


def main() -> None:
    """Play each line in a process of its own."""
    quietly()
    serve_forks(lambda line: trio.run(play, run_of(line)), lambda line: Path(run_of(line).place))


def line_of(run: Run) -> str:
    """A run as `main` reads it."""
    return json.dumps(asdict(run))


def run_of(line: str) -> Run:
    return Run(**json.loads(line))


if __name__ == "__main__":
    main()
