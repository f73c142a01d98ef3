"""Facts with names and reasons, written into a real log: what the questions are asked of."""

from pathlib import Path

from es_power.domain.events import InstanceId, InstanceNamed, Label, Position, RecordDeclared, Recorded
from es_power.domain.ports import Append, LabelText, Tracking, Write
from es_power.domain.states import VmState
from es_power.domain.streams import DECLARATIONS, command, observer, planner
from es_power.log import open_log
from es_power.log.labels import make_label
from es_power.projections.readmodels import ReadModels
from es_power.projections.store import Store
from es_power.testing.facts import Facts, vm

WEB, DB, OLD = vm(1), vm(2), vm(3)
RUNNING, PAUSED, OFF = (1, 1), (3, 1), (5, 1)


class Story(Facts):
    """Facts, and the texts that their labels stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[LabelText] = []

    def label(self, text: str) -> Label:
        label, stored = make_label(text)
        self.texts.append(stored)
        return label

    def name(self, instance: InstanceId, name: str, host: str = "a") -> Recorded:
        event = InstanceNamed(observed_at=self.now, instance=instance, name=self.label(name))
        return self.record(observer(host, "qemu"), event)

    def vouch(self, instance: InstanceId, vm_state: VmState, *, by: str = "alice", why: str = "prod") -> Recorded:
        return self.record(
            DECLARATIONS,
            RecordDeclared(
                observed_at=self.now,
                instance=instance,
                vm_state=vm_state,
                task_state=None,
                by=self.label(by),
                why=self.label(why),
            ),
        )

    def plan(self) -> None:
        """Record what the facts so far lead to, as the process manager would."""
        models = ReadModels()
        derived = models.apply(self.records).derived
        known = [recorded.event for recorded in self.records]
        for each in derived:
            if each.event not in known:
                self.record(command(each.event.command), each.event)

    async def write(self, place: Path | str, *, tables: int | None = None) -> Path | str:
        """Write all of it, with tables that are true at position `tables` (None: at the end)."""
        times = iter([recorded.recorded_at for recorded in self.records])
        async with open_log(place, mode="write", clock=lambda: next(times)) as log:
            for recorded in self.records:
                write = Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])
                labels = self.texts if recorded.position == 1 else ()
                await log.append(Append(writes=[write], labels=labels))
        await self.keep(place, tables)
        return place

    async def keep(self, place: Path | str, tables: int | None) -> None:
        async with open_log(place, mode="write") as log:
            store = Store(log.database)
            store.create()
            models = ReadModels(resume=True)
            step = models.apply(self.records[:tables])
            if models.fleet.position:
                assert store.save(models, step, since=Position(0))


async def track(place: Path, position: int, host: str = "a") -> None:
    """Say that the process manager of a host has read so far."""
    async with open_log(place, mode="write") as log:
        tracking = Tracking(name=planner(observer(host, "qemu")), position=Position(position))
        await log.append(Append(writes=(), tracking=tracking))


def one_host() -> Story:
    """One host: web-1 is vouched to be stopped and runs, db-1 powers off, old-1 vanishes; then a gap."""
    story = Story()
    story.start()
    story.name(WEB, "web-1")
    story.name(DB, "db-1")
    story.name(OLD, "old-1")
    story.sweep({WEB: RUNNING, DB: RUNNING, OLD: OFF})
    story.sweep({WEB: RUNNING, DB: RUNNING, OLD: OFF})
    story.vouch(WEB, VmState.STOPPED, why="not needed")
    story.observe(WEB, *RUNNING)
    story.plan()
    story.announce(DB, 5, 0)
    story.observe(DB, *OFF)
    story.observe(OLD, None)
    story.sweep({WEB: RUNNING, DB: OFF})
    story.announce(WEB, 5, 1)
    story.observe(WEB, *OFF)
    story.plan()
    story.gap()
    return story
