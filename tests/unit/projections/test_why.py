"""Why, asked of a log: which change is meant, and what is found around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from es_power.domain.cause_table import Cause, Confidence
from es_power.domain.decisions import Approved, Route, Sent, StopVerb
from es_power.domain.events import (
    GapReason,
    HostSwept,
    InstanceEvent,
    InstanceId,
    InstanceNamed,
    Position,
    Recorded,
)
from es_power.domain.evidence import Kind, Verdict
from es_power.domain.logged import (
    FactImported,
    NovaRequestLogged,
    NovaTransitionLogged,
    QemuEnded,
    QemuLogOpened,
    QemuStarted,
    QemuTerminated,
)
from es_power.domain.states import PowerState, Transition
from es_power.domain.streams import actor, command, imported, observer, qemu_log
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import InstanceNotFoundError
from es_power.log import open_log
from es_power.log.codec import Codec
from es_power.log.schema import RECORDS
from es_power.projections.as_of import Moment
from es_power.projections.queries import look
from es_power.projections.why import Why, why
from es_power.testing.facts import stop_requested, vm
from tests.unit.story import DB, OFF, RUNNING, WEB
from tests.unit.tale import Tale

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
DESTROYED, CRASHED, SAVED = (5, 2), (5, 3), (5, 5)
OLD_BOOT, NEW_BOOT = UUID(int=1), UUID(int=2)


class Life(Tale):
    """A tale with libvirt's log of each VM, and hosts that are booted."""

    def begin(self, *, read: bool = True, host: str = "a") -> None:
        self.start(host)
        for instance, name in ((WEB, "web-1"), (DB, "db-1")):
            self.name(instance, name, host)
        if read:
            self.record(
                qemu_log(observer(host, "qemu")),
                QemuLogOpened(observed_at=self.now, instance=WEB, file=self.label("web-1.log"), inode=1, offset=0),
            )

    def run(self, instance: InstanceId = WEB, host: str = "a") -> Recorded:
        self.announce(instance, 4, 0, host)
        self.announce(instance, 2, 0, host)
        return self.observe(instance, *RUNNING, host)

    def killed(self, process: str | None = "bash", *, stream: str | None = None) -> None:
        event = QemuTerminated(
            observed_at=self.now,
            instance=WEB,
            file=self.label("web-1.log"),
            offset=10,
            signal=15,
            pid=4711,
            process=self.label(process) if process else None,
        )
        self.record(stream or qemu_log(observer("a", "qemu")), event)

    def ended(self, reason: str, *, at: Timestamp | None = None, stream: str | None = None) -> None:
        event = QemuEnded(
            observed_at=at or self.now, instance=WEB, file=self.label("web-1.log"), offset=20, reason=reason
        )
        self.record(stream or qemu_log(observer("a", "qemu")), event)

    def stop(self, detail: int = 0, side: int | None = 1, state: tuple[int, int] = OFF) -> Recorded:
        """libvirt announces how it went off, from which side, and is asked."""
        if side is not None:
            self.announce(WEB, 6, side)
        stopped = self.announce(WEB, 5, detail)
        self.observe(WEB, *state)
        return stopped

    def boot(self, boot: UUID, states: dict[InstanceId, tuple[int, int]]) -> Recorded:
        """A sweep of a host that says in which boot it is."""
        swept = self.sweep(states)
        assert isinstance(swept.event, HostSwept)
        self.records[-1] = replace(swept, event=replace(swept.event, boot_id=boot))
        return self.records[-1]


@asynccontextmanager
async def asking(tale: Tale, path: Path, *, tables: int | None = None) -> AsyncIterator["Ask"]:
    await tale.write(path / "log.db", tables=tables)
    async with open_log(path / "log.db") as log:
        view = await look(log)

        async def ask(name: str = "web-1", at: Timestamp | Moment | None = None) -> Why:
            return await why(view, name, at=at)

        yield ask


class Ask:
    async def __call__(self, name: str = "web-1", at: Timestamp | Moment | None = None) -> Why: ...


def said(found: Why) -> tuple[Cause, Confidence]:
    assert found.verdict is not None
    return found.verdict.cause, found.verdict.confidence


def positions(verdict: Verdict | None) -> list[Position | None]:
    assert verdict is not None
    return [each.position for each in verdict.evidence if each.kind is Kind.FACT]


@pytest.mark.parametrize("tables", [None, 0, 9, 14])
async def test_an_answer_is_the_same_wherever_the_tables_stand(tmp_path: Path, tables: int | None) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.wait(3600)
    first = len(tale.records) + 1
    tale.killed()
    tale.stop(side=2)
    tale.ended("shutdown")
    tale.wait(3600)
    tale.sweep({WEB: OFF, DB: OFF})
    async with asking(tale, tmp_path, tables=tables) as ask:
        found = await ask()

    assert said(found) == (Cause.HOST_KILLED, HIGH)
    assert found.verdict is not None
    assert (found.verdict.pid, found.verdict.process, found.host, found.name) == (4711, "bash", "a", "web-1")
    assert (found.verdict.from_state, found.verdict.to_state) == (PowerState.RUNNING, PowerState.SHUTDOWN)
    assert positions(found.verdict) == [first, first + 1, first + 2, first + 3, first + 4]
    assert found.now is PowerState.SHUTDOWN


async def test_a_vm_that_runs_again_is_asked_about_its_last_end_and_as_of_now_about_its_start(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    stopped = tale.stop(side=2, detail=1, state=DESTROYED)
    tale.wait(60)
    tale.run()
    tale.wait(60)
    tale.announce(WEB, 3, 0)
    tale.observe(WEB, 3, 1)
    paused = len(tale.records)
    async with asking(tale, tmp_path) as ask:
        latest = await ask()
        then = await ask(at=Timestamp(stopped.event.observed_at + SECOND))
        there = await ask(at=Moment(position=Position(stopped.position), at=stopped.recorded_at, by_position=True))
        start = await ask(at=Moment(position=Position(paused - 2), at=stopped.recorded_at, by_position=True))
        nothing = await ask(at=Timestamp(1))

    assert said(latest) == (Cause.PAUSED_BY_USER, HIGH)
    assert said(then) == said(there) == (Cause.DESTROYED, HIGH)
    assert there.position == stopped.position
    assert said(start) == (Cause.UNKNOWN, LOW)
    assert start.verdict is not None
    assert start.verdict.to_state is PowerState.RUNNING
    assert nothing.verdict is None


async def test_a_vm_that_only_ever_ran_has_no_end_to_tell_of(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    async with asking(tale, tmp_path) as ask:
        found = await ask()
        with pytest.raises(InstanceNotFoundError):
            await ask("no-such-vm")

    assert said(found) == (Cause.UNKNOWN, LOW)


async def test_a_save_and_a_panic_go_through_a_pause_and_come_from_where_it_ran(tmp_path: Path) -> None:
    for number, events in enumerate(([(3, 0), (5, 4)], [(3, 0), (8, 0), (5, 2)])):
        tale = Life()
        tale.begin()
        tale.run()
        for event in events:
            tale.announce(WEB, *event)
        tale.observe(WEB, *(SAVED if number == 0 else CRASHED))
        path = tmp_path / str(number)
        path.mkdir()
        async with asking(tale, path) as ask:
            found = await ask()
        assert said(found) == (Cause.SAVED if number == 0 else Cause.GUEST_CRASHED, HIGH)
        assert found.verdict is not None
        assert found.verdict.from_state is PowerState.RUNNING


@pytest.mark.parametrize(
    ("cause", "announced", "shown"),
    [
        (Cause.GUEST_CRASHED, [(3, 0), (8, 0), (5, 2)], [RUNNING, (3, 10), (6, 1), CRASHED]),
        (Cause.SAVED, [(3, 0), (5, 4)], [RUNNING, (3, 3), SAVED]),
        (Cause.MIGRATED, [(3, 1), (5, 3)], [RUNNING, (3, 2), (5, 4)]),
    ],
)
async def test_answers_may_be_ahead_of_what_libvirt_announces_of_an_end(
    tmp_path: Path, cause: Cause, announced: list[tuple[int, int]], shown: list[tuple[int, int]]
) -> None:
    """A VM for each two looks at any moments of its end, neither of which is behind what was announced."""
    moments = [(told, state) for told in range(len(shown)) for state in range(told, len(shown))]
    pairs = [pair for pair in combinations_with_replacement(moments, 2) if pair[0][1] <= pair[1][1]]
    tale = Life()
    tale.start("a")
    for number, looks in enumerate(pairs):
        tale.name(vm(number), f"vm-{number}")
        tale.run(vm(number))
        for place, event in enumerate([*announced, None]):
            for told, state in looks:
                if told == place:
                    tale.observe(vm(number), *shown[state])
            if event is not None:
                tale.announce(vm(number), *event)
        tale.observe(vm(number), *shown[-1])
    async with asking(tale, tmp_path) as ask:
        for number, looks in enumerate(pairs):
            found = await ask(f"vm-{number}")
            assert said(found) == (cause, HIGH), looks
            assert found.verdict is not None
            assert found.verdict.from_state is PowerState.RUNNING, looks


async def test_a_guest_that_was_paused_before_it_was_destroyed_comes_from_there(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.announce(WEB, 3, 0)
    tale.observe(WEB, 3, 1)
    tale.stop(side=2, detail=1, state=DESTROYED)
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.DESTROYED, HIGH)
    assert found.verdict is not None
    assert found.verdict.from_state is PowerState.PAUSED


async def test_what_a_sweep_found_after_a_gap_is_low_and_has_the_gap(tmp_path: Path) -> None:
    tale = Life()
    tale.begin(read=False)
    tale.run()
    seen = tale.sweep({WEB: RUNNING, DB: OFF})
    tale.wait(600)
    tale.gap()
    tale.wait(600)
    tale.seen_again()
    tale.sweep({WEB: OFF, DB: OFF})
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.GUEST_SHUTDOWN, LOW)
    assert found.verdict is not None
    assert found.verdict.not_before == seen.event.observed_at
    assert {Kind.UNANNOUNCED, Kind.GAP, Kind.LOG_NOT_READ} <= {each.kind for each in found.verdict.evidence}


async def test_a_line_in_the_log_tells_what_a_gap_hid(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.sweep({WEB: RUNNING, DB: OFF})
    tale.gap()
    tale.wait(600)
    tale.killed()
    tale.ended("shutdown")
    tale.wait(600)
    tale.seen_again()
    tale.sweep({WEB: OFF, DB: OFF})
    async with asking(tale, tmp_path) as ask:
        assert said(await ask()) == (Cause.HOST_KILLED, MEDIUM)


async def test_a_stop_and_start_within_a_gap_is_told_by_the_log_alone(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.gap()
    tale.wait(600)
    tale.ended("destroyed")
    ended = tale.records[-1]
    tale.wait(600)
    tale.record(
        qemu_log(observer("a", "qemu")),
        QemuStarted(observed_at=tale.now, instance=WEB, file=tale.label("web-1.log"), offset=30),
    )
    again = tale.records[-1]
    tale.seen_again()
    tale.sweep({WEB: RUNNING, DB: OFF})
    async with asking(tale, tmp_path) as ask:
        last = await ask()
        started = await ask(at=Timestamp(again.event.observed_at + SECOND))
        off = await ask(at=Timestamp(ended.event.observed_at + SECOND))

    assert said(last) == said(off) == (Cause.DESTROYED, MEDIUM)
    assert last.verdict is not None
    assert Kind.GAP in {each.kind for each in last.verdict.evidence}
    assert last.host == "a"
    assert said(started) == (Cause.UNKNOWN, LOW)


async def test_what_was_imported_tells_of_the_time_before_the_service(tmp_path: Path) -> None:
    tale = Life()
    before = Timestamp(tale.now - 86_400 * SECOND)
    tale.begin(read=False)
    tale.sweep({WEB: OFF, DB: OFF})
    stream = imported("qemu-log", "a")
    tale.ended("crashed", at=before, stream=stream)
    async with asking(tale, tmp_path) as ask:
        found = await ask()
        other = await ask("db-1")

    assert said(found) == (Cause.QEMU_FAILED, MEDIUM)
    assert found.verdict is not None
    assert found.verdict.at == before
    assert said(other) == (Cause.GUEST_SHUTDOWN, LOW)


async def test_what_another_log_had_seen_tells_it_too(tmp_path: Path) -> None:
    other = Life()
    other.begin()
    other.run()
    other.killed(None)
    other.stop(side=2)
    other.ended("shutdown")
    tale = Life()
    tale.wait(86_400)
    tale.begin(read=False)
    tale.sweep({WEB: OFF, DB: OFF})
    for recorded in other.records:
        if isinstance(recorded.event, InstanceEvent) and not isinstance(recorded.event, InstanceNamed | QemuLogOpened):
            topic, state = Codec().encode(recorded.event)
            fact = FactImported(
                observed_at=recorded.event.observed_at,
                stream=recorded.stream,
                version=recorded.version,
                position=recorded.position,
                recorded_then=recorded.recorded_at,
                topic=topic,
                state=state,
            )
            tale.record(imported("jsonl", "a"), fact)
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.HOST_KILLED, HIGH)
    assert found.verdict is not None
    assert (found.verdict.pid, found.host) == (4711, "a")


async def test_novas_log_tells_who_asked(tmp_path: Path) -> None:
    tale = Life()
    tale.begin(read=False)
    tale.run()
    stream, file = imported("nova-log", "a"), tale.label("nova-compute.log")
    tale.announce(WEB, 6, 1)
    tale.announce(WEB, 5, 0)
    at = tale.now
    tale.record(
        stream,
        NovaRequestLogged(
            observed_at=Timestamp(at - 30 * SECOND),
            instance=WEB,
            file=file,
            offset=1,
            request_id="req-9",
            user=tale.label("bob"),
            project=None,
            action="Terminating instance",
        ),
    )
    tale.record(
        stream,
        NovaTransitionLogged(
            observed_at=at,
            logged_at=Timestamp(at + 15 * SECOND),
            instance=WEB,
            file=file,
            offset=2,
            transition=Transition.STOPPED,
        ),
    )
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    # The request stands in the log before the VM was started: 30 s ago it was not running yet.
    assert said(found)[0] is Cause.GUEST_SHUTDOWN


async def test_novas_log_tells_who_asked_of_a_vm_that_ran(tmp_path: Path) -> None:
    tale = Life()
    tale.begin(read=False)
    tale.run()
    tale.wait(3600)
    asked = tale.now
    tale.announce(WEB, 6, 1)
    tale.announce(WEB, 5, 0)
    tale.record(
        imported("nova-log", "a"),
        NovaRequestLogged(
            observed_at=asked,
            instance=WEB,
            file=tale.label("nova-compute.log"),
            offset=1,
            request_id="req-9",
            user=tale.label("bob"),
            project=None,
            action="Terminating instance",
        ),
    )
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.PLATFORM_REQUESTED_SHUTDOWN, HIGH)
    assert found.verdict is not None
    assert (found.verdict.actor, found.verdict.request_id, found.verdict.out_of_band) == ("bob", "req-9", False)


async def test_a_command_of_ours_names_its_rule_and_who_approved_it(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.wait(3600)
    id_ = UUID(int=9)
    common = {"observed_at": tale.now, "instance": WEB, "command": id_}
    requested = stop_requested(WEB, id_, observed_at=tale.now)
    acting = {"actor": actor(observer("a", "qemu")), "epoch": 1}
    approved = Approved(**common, **acting, by=tale.label("carol"), why=tale.label("agreed"))
    tale.extend(command(id_), [requested, approved])
    tale.record(command(id_), Sent(**common, **acting, route=Route.HYPERVISOR, verb=StopVerb.STOP))
    tale.stop()
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.PLATFORM_REQUESTED_SHUTDOWN, HIGH)
    assert found.verdict is not None
    assert found.verdict.actor == "es_power (nova-2013, rule f), approved by carol"


def _goes_down(tale: Life, *, told: bool) -> None:
    """A host of three guests is booted anew; `told`: two of the others shut down before."""
    tale.begin()
    tale.boot(OLD_BOOT, {WEB: RUNNING, DB: RUNNING, vm(4): RUNNING})
    tale.wait(700)
    for instance in (DB, vm(4)) if told else ():
        tale.announce(instance, 6, 1)
        tale.announce(instance, 5, 0)
    tale.gap(reason=GapReason.CRASH)
    tale.wait(300)
    tale.seen_again()
    tale.boot(NEW_BOOT, {WEB: (5, 0), DB: (5, 0), vm(4): (5, 0)})


async def test_a_host_that_was_booted_under_a_vm_went_down(tmp_path: Path) -> None:
    tale = Life()
    _goes_down(tale, told=False)
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.HOST_DOWN, HIGH)
    assert found.verdict is not None
    assert [each.position for each in found.verdict.evidence if each.kind is Kind.REBOOT] == [len(tale.records)]


async def test_a_host_that_told_its_guests_to_go_shut_down(tmp_path: Path) -> None:
    tale = Life()
    _goes_down(tale, told=True)
    async with asking(tale, tmp_path) as ask:
        missed = await ask()
        heard = await ask("db-1")

    assert said(missed) == (Cause.HOST_SHUTDOWN, MEDIUM)
    assert said(heard)[0] is Cause.GUEST_SHUTDOWN, "one of two others is not most of them"
    assert missed.verdict is not None
    assert [(each.count, each.of) for each in missed.verdict.evidence if each.kind is Kind.OTHERS] == [(2, 2)]


async def test_the_same_boot_after_a_gap_is_no_end_of_a_host(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.boot(OLD_BOOT, {WEB: RUNNING, DB: RUNNING})
    tale.gap()
    tale.seen_again()
    tale.boot(OLD_BOOT, {WEB: CRASHED, DB: RUNNING})
    async with asking(tale, tmp_path) as ask:
        assert said(await ask()) == (Cause.QEMU_FAILED, LOW)


def booted_on_a_beside_b() -> Life:
    """Two hosts, and a VM whose boot was seen on the first."""
    tale = Life()
    tale.begin()
    tale.begin(host="b", read=False)
    tale.observe(WEB, 3, 11)
    tale.wait(2)
    tale.run()
    return tale


async def test_a_boot_that_was_seen_and_a_failed_arrival_soon_after_are_no_migration(tmp_path: Path) -> None:
    tale = booted_on_a_beside_b()
    tale.wait(8)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 5, 5, "b")
    tale.observe(WEB, None, host="b")
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.UNKNOWN, LOW), "it ran where it was before the other host showed it"


async def test_a_failed_arrival_that_an_answer_shows_before_it_is_announced_is_no_migration(tmp_path: Path) -> None:
    tale = booted_on_a_beside_b()
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.observe(WEB, None, host="b")
    tale.announce(WEB, 5, 5, "b")
    tale.observe(WEB, None, host="b")
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.UNKNOWN, LOW), "it had only begun to arrive, and ran where it came from"


async def test_a_departure_that_an_answer_shows_before_it_is_announced_is_a_migration(tmp_path: Path) -> None:
    """The control: the other host has shown it on only since it came from here."""
    tale = booted_on_a_beside_b()
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 3, 1)
    tale.announce(WEB, 4, 1, "b")
    tale.observe(WEB, None)
    tale.announce(WEB, 5, 3)
    tale.observe(WEB, None)
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.MIGRATED, HIGH)
    assert found.host == "a"


async def test_a_pause_to_leave_for_another_host_that_failed_is_no_migration(tmp_path: Path) -> None:
    tale = booted_on_a_beside_b()
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 3, 1)
    tale.announce(WEB, 5, 5, "b")
    tale.announce(WEB, 4, 1)
    tale.observe(WEB, 1, 1)
    tale.observe(WEB, None, host="b")
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.UNKNOWN, LOW), "it went on where it was"


async def test_a_vm_that_migrated_is_told_so_and_a_failed_arrival_is_no_end(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.begin(host="b", read=False)
    tale.run()
    tale.wait(60)
    tale.observe(WEB, 3, 11, host="b")
    tale.announce(WEB, 2, 1, "b")
    tale.observe(WEB, 3, 2, host="b")
    tale.announce(WEB, 5, 5, "b")
    failed = tale.records[-1]
    tale.observe(WEB, None, host="b")
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 3, 1)
    tale.announce(WEB, 4, 1, "b")
    tale.announce(WEB, 5, 3)
    tale.observe(WEB, None)
    async with asking(tale, tmp_path) as ask:
        last = await ask()
        then = await ask(at=Timestamp(failed.event.observed_at + SECOND))

    assert said(last) == (Cause.MIGRATED, HIGH)
    assert last.now is PowerState.RUNNING
    assert last.verdict is not None
    assert last.verdict.from_state is PowerState.RUNNING
    assert said(then) == (Cause.UNKNOWN, LOW), "it had only begun to arrive, and ran where it came from"
    assert then.host == "a"


@pytest.mark.parametrize("answered_first", [False, True])
@pytest.mark.parametrize("failures", [1, 9, 10, 40])
async def test_arrivals_that_failed_since_hide_neither_a_migration_nor_what_was_before_it(
    tmp_path: Path, failures: int, answered_first: bool
) -> None:
    tale = Life()
    tale.begin()
    tale.begin(host="b", read=False)
    tale.observe(WEB, 5, 0)
    tale.run()
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 3, 1)
    tale.observe(WEB, 3, 2, host="b")
    tale.announce(WEB, 4, 1, "b")
    if answered_first:
        tale.observe(WEB, 5, 4)
    tale.announce(WEB, 5, 3)
    tale.observe(WEB, 5, 4)
    for _ in range(failures):
        tale.wait(60)
        tale.announce(WEB, 2, 1)
        tale.announce(WEB, 5, 5)
        tale.observe(WEB, 5, 6)
    tale.announce(WEB, 2, 1)
    async with asking(tale, tmp_path) as ask:
        found = await ask()

    assert said(found) == (Cause.MIGRATED, HIGH), "that it was off before it ran does not speak against it"
    assert found.host == "a"


async def test_a_vm_that_is_undefined_after_its_end_still_has_it(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    tale.stop(side=2, detail=1, state=DESTROYED)
    tale.observe(WEB, None)
    last = tale.records[-1]
    async with asking(tale, tmp_path) as ask:
        assert said(await ask()) == (Cause.DESTROYED, HIGH)
        assert said(await ask(at=last.event.observed_at)) == (Cause.DESTROYED, HIGH)


async def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    tale = Life()
    tale.begin()
    tale.run()
    stopped = tale.stop(side=2)
    await tale.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with log.database.write() as connection:
            connection.execute(sa.update(RECORDS).where(RECORDS.c.position == stopped.position - 1).values(state=b"?"))
    async with open_log(tmp_path / "log.db") as log:
        found = await why(await look(log), "web-1")

    assert said(found) == (Cause.GUEST_SHUTDOWN, LOW)
