"""A Nova that answers as a test says, and a log with the fold over it, on trio's mock clock."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from es_power.domain.events import Event, InstanceId, Recorded
from es_power.domain.ports import Append, Write
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observer, records
from es_power.domain.time import SECOND, Timestamp, moment
from es_power.errors import NovaError
from es_power.ingest.inquiries import Questions
from es_power.ingest.nova_history import nova_time
from es_power.ingest.records import Reading, Records
from es_power.nova import InstanceAction, ServerRecord
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import T0, Facts
from es_power.testing.memory import MemoryLog

E = TypeVar("E", bound=Event)

HOST = "a"
STREAM = observer(HOST, "qemu")


def clock() -> Timestamp:
    return Timestamp(T0 + int(trio.current_time() * SECOND))


def server(instance: InstanceId, **fields: object) -> ServerRecord:
    """A row of Nova's, of an instance that runs on this host unless told otherwise."""
    row = ServerRecord(
        instance=instance,
        name="",
        vm_state=VmState.ACTIVE,
        task_state=None,
        power_state=PowerState.RUNNING,
        host=HOST,
        node=HOST,
        created=None,
        updated=None,
    )
    return replace(row, **fields)


@dataclass
class FakeNova:
    rows: dict[InstanceId, ServerRecord] = field(default_factory=dict)
    history: dict[InstanceId, list[InstanceAction]] = field(default_factory=dict)
    #: What was asked, in order: "all", the time since when, an instance, or an instance's history.
    asked: list[object] = field(default_factory=list)
    #: Raised instead of an answer, while it is set.
    error: NovaError | None = None
    #: Awaited with what was asked, between reading the answer and giving it.
    on_its_way: Callable[[object], Awaitable[None]] | None = None

    def put(self, instance: InstanceId, **fields: object) -> None:
        """Write an instance's row, as Nova does: with the time."""
        row = self.rows.get(instance) or server(instance)
        self.rows[instance] = replace(row, updated=f"{moment(clock()):%Y-%m-%dT%H:%M:%SZ}", **fields)

    def act(self, instance: InstanceId, request: str, user: str | None = None, action: str = "stop") -> None:
        begun = f"{moment(clock()):%Y-%m-%dT%H:%M:%S.%f}"
        done = InstanceAction(request_id=request, start_time=begun, action=action, user_id=user, project_id=user)
        self.history.setdefault(instance, []).append(done)

    async def servers(self, *, host: str, changes_since: datetime | None = None) -> Sequence[ServerRecord]:
        found = [row for row in self.rows.values() if row.host in (host, None)]
        if changes_since is None:
            found = [row for row in found if row.vm_state is not VmState.DELETED]
        else:
            found = [row for row in found if (nova_time(row.updated) or changes_since) >= changes_since]
        await self._answer(changes_since or "all")
        return found

    async def server(self, instance: InstanceId) -> ServerRecord | None:
        found = self.rows.get(instance)
        await self._answer(instance)
        return None if found is None or found.vm_state is VmState.DELETED else found

    async def actions(self, instance: InstanceId) -> Sequence[InstanceAction]:
        await self._answer(("history", instance))
        return self.history.get(instance, [])

    async def _answer(self, asked: object) -> None:
        self.asked.append(asked)
        await trio.lowlevel.checkpoint()
        if self.on_its_way is not None:
            await self.on_its_way(asked)
        if self.error is not None:
            raise self.error


class House:
    """One host's reader, with the log and the fold it lives in."""

    def __init__(self, nursery: trio.Nursery, **how: object) -> None:
        self.nova = FakeNova()
        self.log = MemoryLog(clock=clock)
        self.models = ReadModels(resume=True)
        self.how = Reading(host=HOST, **how)
        self.questions = Questions(per_minute=600)
        self.facts = Facts()
        self._nursery = nursery
        self._life = trio.CancelScope()
        self.records: Records | None = None

    async def start(self) -> None:
        """Start, or start again as after a crash: with what the log says and nothing else."""
        self._life.cancel()
        self._life = trio.CancelScope()
        self.models = ReadModels(resume=True)
        self.models.apply(await self.log.read(after=0, limit=10_000))
        self.questions = Questions(per_minute=600)
        self.records = self.reader()
        await self.records.begin()
        self._nursery.start_soon(self._run, self.records, self._life)
        await self.settled()

    def reader(self) -> Records:
        models = self.models
        return Records(
            self.log,
            self.nova,
            stream=STREAM,
            said=models.fleet,
            asks=lambda: [each for each, stream in models.derivation.asks.items() if stream == STREAM],
            how=self.how,
            questions=self.questions,
            clock=clock,
        )

    async def _run(self, reader: Records, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self._fold, reader))
                nursery.start_soon(reader.run)

    async def _fold(self, reader: Records) -> None:
        models = self.models
        while True:
            if batch := await self.log.read(after=models.fleet.position):
                models.apply(batch)
                reader.folded(batch)
            else:
                await self.log.wait_beyond(models.fleet.position)

    def said(self, kind: type[E]) -> list[E]:
        """The facts of a kind in the reader's own stream."""
        mine = [each.event for each in self.log.records if each.stream == records(STREAM)]
        return [each for each in mine if isinstance(each, kind)]

    async def settled(self, seconds: float = 0.0) -> None:
        """Let so much time pass, and then whatever follows from it without any more time."""
        await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()


async def write(log: MemoryLog, facts: Sequence[Recorded]) -> None:
    """Put facts into the log as their writers would."""
    for each in facts:
        wrote = Write(stream=each.stream, expected=await log.version(each.stream), events=[each.event])
        await log.append(Append(writes=[wrote]))
