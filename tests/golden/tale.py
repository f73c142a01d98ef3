"""What a golden log tells: facts of every kind, at fixed times, with labels and keys that are the same each time.

A kind that is added later gets its lines at the end of `tell`; the golden logs that are there already stay as they are.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from es_power.domain.access import LinkIssued, Role, SessionOpened, TokenIssued, TokenRevoked
from es_power.domain.decisions import (
    ActingStarted,
    Alarm,
    AlarmRaised,
    Approved,
    BreakerClosed,
    BreakerOpened,
    Confirmed,
    Expired,
    Failed,
    HoldPlaced,
    HoldReleased,
    LookedAgain,
    PlanningStarted,
    Refused,
    Retried,
    Route,
    Sent,
    StopRequested,
    StopVerb,
    Withdrawn,
)
from es_power.domain.events import (
    ControlErrorReported,
    Event,
    GapClosed,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    InstanceNamed,
    IOErrorReported,
    Label,
    LifecycleEvent,
    MemoryFailureReported,
    NovaStopObserved,
    Position,
    PowerManagementReported,
    RebootReported,
    RecordCleared,
    RecordDeclared,
    Recorded,
    RecordNotFound,
    RecordObserved,
    ServiceStarted,
    ServiceStopped,
    SettingsRecorded,
    SweepCountDiffered,
    WatchdogReported,
)
from es_power.domain.logged import (
    FactImported,
    NovaCountLogged,
    NovaRequestLogged,
    NovaSkipLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuLogOpened,
    QemuStarted,
    QemuTerminated,
)
from es_power.domain.ports import Append, LabelText, Tracking, Write
from es_power.domain.states import PowerState, Transition, VmState
from es_power.domain.streams import (
    ACCESS,
    DECLARATIONS,
    actor,
    command,
    imported,
    observer,
    planner,
    qemu_log,
    records,
)
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.log.codec import Codec
from es_power.log.labels import label_digest
from es_power.testing.facts import vm
from tests.unit.story import OFF, PAUSED, RUNNING, Story

_NAMES: Final = UUID("6a0c1de2-3f1b-5f0e-8a57-90de1090de10")
WEB, DB, MAIL, OLD, SHOP, BUILD = (vm(number) for number in range(1, 7))
HERE, THERE = observer("a", "qemu"), observer("b", "qemu")
BOOT: Final = UUID(int=0xB007)


def named(text: str) -> UUID:
    return uuid5(_NAMES, text)


class Tale(Story):
    """Facts whose labels are the same each time."""

    def label(self, text: str) -> Label:
        number = len(self.texts) + 1
        salt = sha256(f"salt {number}".encode()).digest()[:16]
        self.texts.append(LabelText(id=number, salt=salt, text=text))
        return Label(id=number, digest=label_digest(salt, text))

    def requested(self, instance: InstanceId) -> StopRequested:
        """The newest stop that was requested for a VM."""
        events = [each.event for each in self.records if isinstance(each.event, StopRequested)]
        return [each for each in events if each.instance == instance][-1]

    def step(self, kind: type[Event], request: StopRequested, **fields: object) -> Recorded:
        return self.record(
            command(request.command),
            kind(observed_at=self.now, instance=request.instance, command=request.command, **fields),
        )

    async def store(self, place: Path) -> None:
        """Write it all, two or three records to an append, as a service's appends have them."""
        times: list[Timestamp] = []
        async with open_log(place, mode="write", clock=lambda: times[-1]) as log:
            rest = list(self.records)
            while rest:
                some, rest = rest[: 1 + rest[0].position % 3], rest[1 + rest[0].position % 3 :]
                times.append(some[0].recorded_at)
                writes = [Write(stream=each.stream, expected=each.version - 1, events=[each.event]) for each in some]
                labels = self.texts if some[0].position == 1 else ()
                await log.append(Append(writes=writes, labels=labels, key=named(f"append {some[0].position}")))
            read = Tracking(name=planner(HERE), position=self.records[-1].position)
            await log.append(Append(writes=(), tracking=read, key=named("tracking")))


def tell() -> Tale:
    tale = Tale()
    _observing(tale)
    _people_and_nova(tale)
    _commands(tale)
    _other_logs(tale)
    _who_may_ask(tale)
    _in_the_end(tale)
    return tale


def _observing(tale: Tale) -> None:
    for host, stream in (("a", HERE), ("b", THERE)):
        started = ServiceStarted(
            observed_at=tale.now,
            epoch=1,
            holder=f"{host}, process 4711",
            version="0.1.0",
            uri="qemu:///system",
            host=host,
            driver="qemu",
            boot_id=BOOT,
            clock_synchronised=True,
        )
        tale.record(stream, started)
        how = SettingsRecorded(
            observed_at=tale.now, spacing=600.0, policy="nova-2013", policy_version=1, mode="approve"
        )
        tale.record(stream, how)
        tale.record(planner(stream), PlanningStarted(observed_at=tale.now, policy="nova-2013", policy_version=1))
    for instance, name in ((WEB, "web-1"), (DB, "db-1"), (MAIL, "<mail>"), (OLD, "alt-übel"), (BUILD, "build-1")):
        tale.name(instance, name)
    tale.sweep({WEB: RUNNING, DB: RUNNING, MAIL: PAUSED, OLD: OFF, BUILD: RUNNING})
    tale.name(SHOP, "shop-1", "b")
    tale.sweep({SHOP: RUNNING}, "b")
    for event, detail in ((3, 0), (4, 0), (6, 1), (5, 0), (4, 0), (2, 0)):
        tale.announce(DB, event, detail)
    tale.observe(DB, *RUNNING)
    tale.observe(OLD, None)
    number = tale.number()
    for kind, fields in (
        (RebootReported, {}),
        (ControlErrorReported, {}),
        (WatchdogReported, {"action": 1}),
        (IOErrorReported, {"action": 1, "reason": "enospc"}),
        (PowerManagementReported, {"event_id": 13, "reason": 0}),
        (MemoryFailureReported, {"recipient": 1, "action": 2, "flags": 3}),
    ):
        number += 1
        tale.record(HERE, kind(observed_at=tale.now, instance=MAIL, connection=1, number=number, **fields))
    tale._numbers["a"] = number
    tale.record(HERE, SweepCountDiffered(observed_at=tale.now, found=4, records=3))
    tale.sweep({WEB: RUNNING, DB: RUNNING, MAIL: PAUSED, BUILD: RUNNING})
    odd = HostSwept(
        observed_at=tale.now,
        asked_at=tale.now,
        inventory=tale._inventories["a"][1],
        connection=1,
        number=number,
        states=bytes([1, 1, 1, 1, 255, 255, 1, 1]),
        odd=((2, 300, 1),),
        boot_id=BOOT,
        clock_synchronised=False,
    )
    tale.record(HERE, odd)
    tale.gap("b", GapReason.KEEPALIVE)
    again = GapClosed(observed_at=tale.now, since=Timestamp(tale.now - SECOND), reason=GapReason.KEEPALIVE, lost=7)
    tale.record(THERE, again)
    tale.sweep({SHOP: RUNNING}, "b")


def _people_and_nova(tale: Tale) -> None:
    tale.vouch(MAIL, VmState.ACTIVE, by="ann", why="prod")
    cleared = RecordCleared(observed_at=tale.now, instance=MAIL, by=tale.label("ann"), why=tale.label("retired"))
    tale.record(DECLARATIONS, cleared)
    tale.vouch(MAIL, VmState.PAUSED)
    building = RecordDeclared(
        observed_at=tale.now,
        instance=DB,
        vm_state=VmState.ACTIVE,
        task_state="rebooting",
        by=tale.label("bob"),
        why=tale.label(""),
    )
    tale.record(DECLARATIONS, building)
    for instance, host, node in ((SHOP, "b", "b.example"), (OLD, None, None)):
        said = RecordObserved(
            observed_at=tale.now,
            instance=instance,
            asked_at=tale.now,
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=PowerState.RUNNING,
            host=host,
            after=Position(len(tale.records)),
            node=node,
        )
        tale.record(records(THERE), said)
    unknown = RecordNotFound(observed_at=tale.now, instance=OLD, asked_at=tale.now, after=Position(len(tale.records)))
    tale.record(records(HERE), unknown)
    stopped = NovaStopObserved(observed_at=tale.now, instance=SHOP, request_id="req-7", by_nova_itself=True)
    tale.record(records(THERE), stopped)


def _commands(tale: Tale) -> None:
    """One life of each kind; what follows from the facts is derived."""
    acting = actor(HERE)
    settings = (("settle", "15.0"), ("mode", "approve"))
    tale.record(acting, ActingStarted(observed_at=tale.now, epoch=1, holder="a", version="0.1.0", settings=settings))
    _off_by_a_person(tale, WEB)
    confirmed = tale.requested(WEB)
    tale.step(Approved, confirmed, actor=acting, epoch=1, by=tale.label("ann"), why=tale.label("yes"))
    look = {"observation": Position(len(tale.records)), "record": confirmed.record}
    tale.step(LookedAgain, confirmed, reason="it still runs", **look)
    tale.step(Sent, confirmed, actor=acting, epoch=1, route=Route.HYPERVISOR, verb=StopVerb.FORCE_STOP)
    tale.announce(WEB, 5, 1)
    seen = tale.observe(WEB, *OFF)
    tale.step(Confirmed, confirmed, because=seen.position, window=1_000_000)
    _off_by_a_person(tale, BUILD)
    for end, fields in ((Refused, {"reason": "409", "window": 7}), (Failed, {"reason": "it still runs"})):
        request = tale.requested(BUILD)
        tale.step(Approved, request, actor=acting, epoch=1)
        tale.step(Sent, request, actor=acting, epoch=1, route=Route.NOVA, verb=StopVerb.STOP)
        tale.step(end, request, **fields)
        if end is Refused:
            tale.step(Retried, request, by=tale.label("bob"), why=tale.label("again"))
            tale.observe(BUILD, *RUNNING)
            tale.plan()
    tale.observe(BUILD, *OFF)
    tale.plan()  # it is resolved
    tale.observe(BUILD, *RUNNING)
    tale.plan()
    tale.step(Expired, tale.requested(BUILD), reason="nobody approved it within 300 s")
    _off_by_a_person(tale, DB)
    rejected = {"because": Position(len(tale.records)), "actor": acting}
    tale.step(Withdrawn, tale.requested(DB), reason="rejected", by=tale.label("ann"), why=tale.label("no"), **rejected)
    _off_by_a_person(tale, MAIL)
    tale.vouch(MAIL, VmState.ACTIVE)
    tale.observe(MAIL, *RUNNING)
    tale.plan()  # it is withdrawn
    for hold, host, instance in (("one", "a", None), ("two", None, WEB)):
        placed = HoldPlaced(
            observed_at=tale.now,
            hold=named(hold),
            host=host,
            instance=instance,
            until=None if host else Timestamp(tale.now + 3600 * SECOND),
            by=tale.label("ann"),
            why=tale.label("maintenance"),
        )
        tale.record(acting, placed)
    released = HoldReleased(observed_at=tale.now, hold=named("one"), by=tale.label("bob"), why=tale.label("done"))
    tale.record(acting, released)
    opened = BreakerOpened(observed_at=tale.now, host="a", reason="5 of 6", commands=(confirmed.command,))
    tale.record(acting, opened)
    closed = BreakerClosed(observed_at=tale.now, host="a", by=tale.label("bob"), why=tale.label("it is meant so"))
    tale.record(acting, closed)
    for alarm, about in ((Alarm.STUCK_TASK, {"instance": DB}), (Alarm.NOVA_ACTS, {"host": "b"})):
        tale.record(acting, AlarmRaised(observed_at=tale.now, alarm=alarm, reason="look at it", **about))


def _off_by_a_person(tale: Tale, instance: InstanceId) -> None:
    """A person wants a VM to be off, and it runs."""
    tale.vouch(instance, VmState.STOPPED)
    tale.observe(instance, *RUNNING)
    tale.plan()


def _other_logs(tale: Tale) -> None:
    followed, read = qemu_log(HERE), imported("qemu-log", "a")
    opened = QemuLogOpened(
        observed_at=tale.now, instance=WEB, file=tale.label("web-1.log"), inode=7, offset=100, mark=bytes(32)
    )
    tale.record(followed, opened)
    for stream in (followed, read):
        line = {"instance": WEB, "file": tale.label("web-1.log")}
        tale.record(stream, QemuStarted(observed_at=tale.now, offset=200, **line))
        bash = tale.label("bash")
        tale.record(stream, QemuTerminated(observed_at=tale.now, offset=300, signal=15, pid=99, process=bash, **line))
        tale.record(stream, QemuTerminated(observed_at=tale.now, offset=350, signal=9, pid=0, process=None, **line))
        tale.record(stream, QemuEnded(observed_at=tale.now, offset=400, reason="shutdown", **line))
    nova, line = imported("nova-log", "b"), {"instance": SHOP, "file": tale.label("nova-compute.log")}
    earlier = Timestamp(tale.now - 15 * SECOND)
    told = NovaTransitionLogged(
        observed_at=earlier, offset=10, logged_at=tale.now, transition=Transition.STOPPED, **line
    )
    tale.record(nova, told)
    tale.record(nova, NovaSkipLogged(observed_at=tale.now, offset=20, task_state="spawning", **line))
    asked = NovaRequestLogged(
        observed_at=tale.now,
        offset=30,
        request_id="req-8",
        user=tale.label("carol"),
        project=None,
        action="Terminating instance",
        **line,
    )
    tale.record(nova, asked)
    counted = NovaCountLogged(observed_at=tale.now, file=line["file"], offset=40, found=2, records=3)
    tale.record(nova, counted)
    codec = Codec()
    of_another = LifecycleEvent(observed_at=earlier, instance=OLD, connection=1, number=1, event=2, detail=0)
    swept = HostSwept(observed_at=earlier, asked_at=earlier, inventory=2, connection=1, number=1, states=b"\5\1")
    for version, (event, told_of) in enumerate([(of_another, ()), (swept, ((OLD, 5, 1),))], 1):
        topic, state = codec.encode(event)
        fact = FactImported(
            observed_at=earlier,
            stream="observer/far/qemu",
            version=version,
            position=10 + version,
            recorded_then=earlier,
            topic=topic,
            state=state,
            told=told_of,
        )
        tale.record(imported("jsonl", "far"), fact)


def _who_may_ask(tale: Tale) -> None:
    token, link = named("token"), named("link")
    issued = TokenIssued(
        observed_at=tale.now,
        token=token,
        role=Role.OPERATE,
        name=tale.label("prometheus"),
        by=tale.label("ann"),
        digest=bytes(range(32)),
    )
    tale.record(ACCESS, issued)
    tale.record(ACCESS, LinkIssued(observed_at=tale.now, link=link, role=Role.READ, by=tale.label("ann")))
    tale.record(ACCESS, SessionOpened(observed_at=tale.now, link=link, session=named("session")))
    tale.record(ACCESS, TokenRevoked(observed_at=tale.now, token=token, by=tale.label("ann")))


def _in_the_end(tale: Tale) -> None:
    tale.record(THERE, GapOpened(observed_at=tale.now, since=tale.now, reason=GapReason.CONNECTION_LOST))
    named_anew = InstanceNamed(observed_at=tale.now, instance=WEB, name=tale.label("web-1-retired"))
    tale.record(HERE, named_anew)
    tale.sweep({WEB: OFF, DB: RUNNING, MAIL: RUNNING, BUILD: RUNNING})
    tale.record(HERE, ServiceStopped(observed_at=tale.now))
