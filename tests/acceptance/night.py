"""The log of one night on kvm-07, which the README and the how-tos ask: fixed times, fixed facts, a real SQLite file.

Three VMs. alice vouches for web-1 and old-4, nobody for ci-9. libvirtd is restarted at 01:30, somebody starts old-4 at
02:40 and destroys it again, and web-1 shuts itself down at 03:12:07. Whoever is on call looks at 03:21. What libvirt
announces is what it announces on real qemu.
"""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from es_power.domain.decisions import CommandEvent, PlanningStarted
from es_power.domain.events import (
    Event,
    GapClosed,
    GapReason,
    InstanceId,
    InstanceNamed,
    Label,
    RecordDeclared,
    Recorded,
    ServiceStarted,
    SettingsRecorded,
)
from es_power.domain.ports import Append, LabelText, Write
from es_power.domain.states import VmState
from es_power.domain.streams import DECLARATIONS, command, observer, planner
from es_power.domain.time import SECOND, Timestamp, timestamp
from es_power.log import open_log
from es_power.log.labels import label_digest
from es_power.projections.readmodels import ReadModels
from es_power.replay import rebuild
from es_power.testing.facts import Facts

HOST = "kvm-07"
STREAM = observer(HOST, "qemu")

WEB = InstanceId(UUID("7f1c1c52-6ad5-4c0b-9df1-2f0f5e8b6f3a"))
CI = InstanceId(UUID("a2e4a1d0-93ab-4f5e-8b1c-0f6f3a1d7c55"))
OLD = InstanceId(UUID("c40b7a9e-1d2f-4e3a-9a77-5b8d2e6f1a09"))

RUNNING, OFF, DESTROYED = (1, 1), (5, 1), (5, 2)


CI_LOG = """\
2026-11-22 01:30:31.207+0000: shutting down, reason=destroyed
2026-11-22 01:30:52.640+0000: starting up libvirt version: 9.0.0, qemu version: 7.2.0, hostname: kvm-07
LC_ALL=C \\
/usr/bin/qemu-system-x86_64 \\
-name guest=ci-9,debug-threads=on \\
-uuid a2e4a1d0-93ab-4f5e-8b1c-0f6f3a1d7c55 \\
-msg timestamp=on
"""
"""What libvirt wrote of ci-9 while our service could not see it: it was destroyed and started anew."""


def clock(text: str) -> Timestamp:
    """A time of that night, or of the evening before it."""
    day = 21 if text > "12" else 22
    return timestamp(datetime.fromisoformat(f"2026-11-{day}T{text}").replace(tzinfo=UTC))


NOW = clock("03:21:00")
"""When somebody looks."""


class Night(Facts):
    """Facts at times of their own, and the commands that they lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.at = clock("18:00:00")
        self.labels: list[LabelText] = []
        self._models = ReadModels()

    @property
    def now(self) -> Timestamp:
        return self.at

    def record(self, stream: str, event: Event) -> Recorded:
        recorded = super().record(stream, event)
        for derived in self._models.apply([recorded]).derived:
            assert isinstance(derived.event, CommandEvent)
            self.record(command(derived.event.command), derived.event)
        return recorded

    def start(self, host: str = HOST, *, policy: str = "nova-2013", planned: bool = True) -> Recorded:
        started = ServiceStarted(
            observed_at=self.now,
            epoch=1,
            holder=f"{host}, process 812",
            version="0.1.0",
            uri="qemu:///system",
            host=host,
            driver="qemu",
        )
        self.record(STREAM, started)
        settings = SettingsRecorded(observed_at=self.now, spacing=600.0, policy=policy, policy_version=1)
        self.record(planner(STREAM), PlanningStarted(observed_at=self.now, policy=policy, policy_version=1))
        return self.record(STREAM, settings)

    def label(self, text: str) -> Label:
        number = len(self.labels) + 1
        salt = number.to_bytes(16, "big")
        self.labels.append(LabelText(id=number, salt=salt, text=text))
        return Label(id=number, digest=label_digest(salt, text))

    def named(self, instance: InstanceId, name: str) -> None:
        self.record(STREAM, InstanceNamed(observed_at=self.now, instance=instance, name=self.label(name)))

    def vouch(self, instance: InstanceId, vm_state: VmState, why: str) -> None:
        said = RecordDeclared(
            observed_at=self.now,
            instance=instance,
            vm_state=vm_state,
            task_state=None,
            by=self.label("alice"),
            why=self.label(why),
        )
        self.record(DECLARATIONS, said)

    def sweeps(self, states: dict[InstanceId, tuple[int, int]], first: str, last: str) -> None:
        """One every ten minutes, the last one included."""
        self.at = clock(first)
        while self.at <= clock(last):
            self.sweep(states, HOST)
            self.at = Timestamp(self.at + 600 * SECOND)

    def happen(self, at: str, instance: InstanceId, event: int, detail: int) -> None:
        """libvirt announces something."""
        self.at = clock(at)
        self.announce(instance, event, detail, HOST)

    def look(self, at: str, instance: InstanceId, state: tuple[int, int]) -> None:
        """And is asked about it."""
        self.at = clock(at)
        self.observe(instance, *state, HOST)


def the_night() -> Night:
    """Tell it."""
    night = Night()
    night.start()
    for instance, name in ((WEB, "web-1"), (CI, "ci-9"), (OLD, "old-4")):
        night.named(instance, name)
    quiet = {WEB: RUNNING, CI: RUNNING, OLD: OFF}
    night.sweep(quiet, HOST)
    night.at = clock("18:04:11")
    night.vouch(WEB, VmState.ACTIVE, "the shop")
    night.at = clock("18:04:40")
    night.vouch(OLD, VmState.STOPPED, "retired, keep its disk")
    night.sweeps(quiet, "18:10:00", "23:50:00")
    night.sweeps(quiet, "00:00:00", "01:20:00")
    night.at = since = clock("01:30:00.412")
    night.gap(HOST)
    night.at = clock("01:31:12.087")
    closed = GapClosed(observed_at=night.now, since=since, reason=GapReason.CONNECTION_LOST)
    night.record(STREAM, closed)
    night.sweep(quiet, HOST)
    night.sweeps(quiet, "01:40:00", "02:30:00")
    night.happen("02:40:30.115", OLD, 4, 0)
    night.happen("02:40:30.118", OLD, 2, 0)
    night.look("02:40:30.127", OLD, RUNNING)
    night.sweeps(quiet | {OLD: RUNNING}, "02:41:00", "02:51:00")
    night.happen("02:52:02.115", OLD, 6, 2)
    night.happen("02:52:03.540", OLD, 5, 1)
    night.look("02:52:03.552", OLD, DESTROYED)
    night.sweeps(quiet | {OLD: DESTROYED}, "03:01:00", "03:11:00")
    night.happen("03:12:07.402", WEB, 6, 1)
    night.happen("03:12:09.061", WEB, 5, 0)
    night.look("03:12:09.070", WEB, OFF)
    night.sweeps(quiet | {OLD: DESTROYED, WEB: OFF}, "03:20:00", "03:20:00")
    return night


async def write_night(place: Path) -> None:
    """Write that night's log, and the tables beside it."""
    night = the_night()
    time = [NOW]
    async with open_log(place, mode="write", clock=lambda: time[0]) as log:
        for recorded in night.records:
            time[0] = Timestamp(recorded.recorded_at + 2_000_000)
            write = Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])
            labels = night.labels if recorded.position == 1 else ()
            assert await log.append(Append(writes=[write], labels=labels)) == recorded.position
        await rebuild(log)
