"""The night in which web-1 stopped at 03:12 while nobody looked: facts by the clock, some told later."""

from dataclasses import replace

from es_power.domain.events import GapClosed, GapOpened, GapReason, InstanceNamed, Recorded
from es_power.domain.logged import QemuEnded, QemuStarted
from es_power.domain.streams import imported, observer
from es_power.domain.time import SECOND, Timestamp
from es_power.testing.facts import T0
from tests.unit.story import OFF, RUNNING, WEB, Story

A = observer("a", "qemu")


def at(clock: str) -> Timestamp:
    """A time of that night, such as 03:12 or 03:12:07.402."""
    hour, minute, *second = clock.split(":")
    seconds = int(hour) * 3600 + int(minute) * 60
    return Timestamp(
        T0 + seconds * SECOND + round(float(second[0]) * 1000) * 1_000_000 if second else T0 + seconds * SECOND
    )


class Night(Story):
    """A story whose facts are recorded when its clock says."""

    def __init__(self) -> None:
        self.clock = at("03:00")
        super().__init__()

    @property
    def now(self) -> Timestamp:
        return self.clock

    def told(self, event: QemuEnded | QemuStarted, name: str | None = None) -> Recorded:
        """A line of a qemu log is imported, and before it the name that the VM has there."""
        stream = imported("qemu-log", "a")
        if name is not None:
            self.record(stream, InstanceNamed(observed_at=self.now, instance=event.instance, name=self.label(name)))
        return self.record(stream, event)

    def late(self, recorded: Recorded, at: Timestamp) -> Recorded:
        """Let a fact be one that was seen at another time than it is recorded."""
        changed = replace(recorded, event=replace(recorded.event, observed_at=at))
        self.records[recorded.position - 1] = changed
        return changed


def ended(story: Story, at: Timestamp, reason: str = "shutdown") -> QemuEnded:
    return QemuEnded(observed_at=at, instance=WEB, file=story.label("web-1.log"), offset=1000, reason=reason)


def started(story: Story, at: Timestamp) -> QemuStarted:
    return QemuStarted(observed_at=at, instance=WEB, file=story.label("web-1.log"), offset=10)


def blind_night(*, crash: bool = False) -> Night:
    """web-1 runs at 03:05; nobody sees it from 03:10 on; at 03:20 it is off."""
    night = Night()
    night.start()
    night.name(WEB, "web-1")
    night.clock = at("03:05")
    night.sweep({WEB: RUNNING})
    if not crash:
        night.clock = at("03:10")
        night.gap()
    night.clock = at("03:20")
    if crash:
        opened = GapOpened(observed_at=at("03:20"), since=at("03:10"), reason=GapReason.CRASH)
        night.record(A, opened)
    night.record(A, GapClosed(observed_at=at("03:20"), since=at("03:10"), reason=GapReason.CONNECTION_LOST))
    night.sweep({WEB: OFF})
    return night


def imported_night(*, crash: bool = False) -> Night:
    """The same, and at 04:00 web-1's qemu log is imported: it ended at 03:12:07."""
    night = blind_night(crash=crash)
    night.clock = at("04:00")
    night.told(started(night, at("01:00")))
    night.told(ended(night, at("03:12:07")))
    return night
