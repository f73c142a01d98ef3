"""A real libvirtd is killed or hangs, and guests die meanwhile: libvirt never tells of it, and a sweep finds it."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from math import inf
from pathlib import Path
from statistics import median

import pytest
import trio

from es_power.domain.events import GapClosed, GapOpened, GapReason, InstanceId
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.states import PowerState
from es_power.errors import HypervisorError
from es_power.ingest.clock import now
from es_power.ingest.libvirt import LibvirtConnection, LibvirtHypervisor, event_loop
from es_power.ingest.observer import Observer
from es_power.projections.power_state import power_rows
from es_power.testing import vm
from tests.rigs.libvirtd import PATIENCE, Libvirtd, libvirtd, missing_parts
from tests.rigs.machines import bare_vm
from tests.rigs.recording import Recording, recording
from tests.torture.frame import Bench

pytestmark = [pytest.mark.torture, pytest.mark.libvirt, pytest.mark.qemu]

GUESTS = {f"guest-{number}": vm(number) for number in range(1, 4)}

ROUNDS = 20
"""Ends of the daemon after which a log begins anew."""

LIMIT = 1.0
"""Seconds from when libvirt lists what is true until the table says so too; nothing is held to it in the quick tier.

A daemon that was started takes a second or two until it answers whoever is connected already, whatever is asked.
"""

ask_by_itself = LibvirtHypervisor.open
"""What opens a connection that is none of the service's."""

REASONS = {"kill": GapReason.CONNECTION_LOST, "hang": GapReason.KEEPALIVE}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Libvirtd]:
    if reason := missing_parts(guests=True):
        pytest.skip(reason)
    with libvirtd() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds until the table was true again: from libvirt's own listing on, and from the new connection on."""

    listed: float
    connected: float


NEVER = Took(inf, inf)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the service got each of its connections, by trio's clock."""
    times: list[float] = []

    async def noted(self: LibvirtHypervisor) -> LibvirtConnection:
        connection = await ask_by_itself(self)
        times.append(trio.current_time())
        return connection

    monkeypatch.setattr(LibvirtHypervisor, "open", noted)
    return times


async def test_the_table_is_true_again_as_soon_as_a_daemon_that_was_killed_or_hung_answers(
    daemon: Libvirtd, opened: list[float], tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, draw = bench.count(2, 500), random.Random(bench.seed)
    limit = PATIENCE if bench.tier.is_quick else LIMIT
    ends, took = islice(cycle(REASONS), wanted), []
    crashes = 0
    async with event_loop():
        while some := list(islice(ends, ROUNDS)):
            once = Ends(daemon, opened, draw)
            took += await once.of(tmp_path / f"{len(took)}.db", some)
            crashes += once.crashes
        monkeypatch.setattr(Observer, "_sweep", _not_in_a_gap(Observer._sweep))
        tries = range(1 + wanted // 50)
        broken = [
            ended
            for number in tries
            for ended in await Ends(daemon, opened, draw, patience=LIMIT).of(tmp_path / f"broken-{number}.db", ["kill"])
        ]

    assert broken == [NEVER for _ in tries], "a service without the sweep was not caught"
    listed, connected = [each.listed for each in took], [each.connected for each in took]
    bench.report(
        "libvirtd",
        tried=wanted,
        held=sum(each <= limit for each in listed),
        control=f"without the sweep after the reconnect: {len(broken)} of {len(tries)} times the table stayed untrue",
        detail=f"true {max(listed):.2f} s at most after libvirt listed it, {median(listed):.2f} s at the median; after "
        f"the connection {max(connected):.2f} and {median(connected):.2f} s, mostly before libvirt answered anybody; "
        f"libvirtd crashed by itself {crashes} times, and was started again",
    )


def _not_in_a_gap(sweep: Callable) -> Callable:
    """The broken variant: whoever has lost a host goes by its events once it is back, and does not ask."""

    async def believing(self: Observer, connection: LibvirtConnection) -> None:
        if self._gap is None:
            await sweep(self, connection)

    return believing


class Ends:
    """Ends of a daemon, and what a service makes of them."""

    def __init__(
        self, daemon: Libvirtd, opened: list[float], draw: random.Random, *, patience: float = PATIENCE
    ) -> None:
        self._daemon, self._opened, self._draw, self._patience = daemon, opened, draw, patience
        self._uri = daemon.uri("qemu", "/session")
        #: How often the daemon crashed by itself.
        self.crashes = 0

    async def of(self, log: Path, ends: list[str]) -> list[Took]:
        """End it in these ways, one after the other; give the seconds until the table was true again each time.

        Never where it was not `patience` seconds after libvirt listed it, or where the log has another gap.
        """
        took: list[Took] = []
        async with recording(log, self._uri) as recorded, trio.open_nursery() as beside:
            beside.start_soon(self._start_again)
            for name, instance in GUESTS.items():
                await recorded.act("-", "defineXML", bare_vm(name, instance))
            known = 0
            for end in ends:
                crashes = self.crashes
                ended = await self._one(recorded, end)
                events = [each.event for each in await recorded.records()]
                gaps = [event for event in events if isinstance(event, GapOpened | GapClosed)][known:]
                known += len(gaps)
                pairs = range(1, 2 + self.crashes - crashes)
                is_recorded = [type(gap) for gap in gaps] in [[GapOpened, GapClosed] * number for number in pairs]
                took.append(ended if is_recorded and gaps[1].reason is REASONS[end] else NEVER)
            beside.cancel_scope.cancel()
            for name in GUESTS:
                with suppress(RuntimeError):  # it may be off
                    await recorded.act(name, "destroy")
                await recorded.act(name, "undefine")
        return took

    async def _start_again(self) -> None:
        """Start a daemon that crashes by itself, as systemd does: libvirt 9.0 may, over guests that died meanwhile."""
        while True:
            await trio.sleep(0.02)
            if self._daemon.has_ended():
                self.crashes += 1
                await trio.to_thread.run_sync(self._daemon.start)

    async def _one(self, recorded: Recording, end: str) -> Took:
        for name, instance in GUESTS.items():
            if _table(recorded).get(instance) != PowerState.RUNNING:
                await recorded.act(name, "create")
        running = dict.fromkeys(GUESTS.values(), PowerState.RUNNING)
        assert await _until(lambda: _table(recorded) == running), _table(recorded)
        doomed = self._draw.sample(list(GUESTS), self._draw.randint(1, len(GUESTS)))
        truth = running | {GUESTS[name]: PowerState.SHUTDOWN for name in doomed}
        pids, before = [self._daemon.guest_pid(name) for name in doomed], len(self._opened)

        getattr(self._daemon, end)()
        assert await _until(lambda: set(_table(recorded).values()) == {"UNKNOWN"}), _table(recorded)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await trio.to_thread.run_sync(self._daemon.start if end == "kill" else self._daemon.wake)

        assert await _until(lambda: len(self._opened) > before), self._daemon.said()
        async with trio.open_nursery() as beside:
            listed = await beside.start(self._listed, truth)
            assert await _until(
                lambda: _table(recorded) == truth or (bool(listed) and trio.current_time() > listed[0] + self._patience)
            )
            is_true, true = _table(recorded) == truth, trio.current_time()
        if not is_true:
            return NEVER
        return Took(max(0.0, true - listed[0]), true - self._opened[before])

    async def _listed(
        self, truth: dict[InstanceId, str], *, task_status: trio.TaskStatus[list[float]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Ask libvirt until it lists what is true, and note when it did."""
        noted: list[float] = []
        task_status.started(noted)
        while not noted:
            with suppress(HypervisorError):
                connection = await ask_by_itself(LibvirtHypervisor(self._uri))
                while {info.instance: POWER_STATES[info.state] for info in await connection.list_states()} != truth:
                    await trio.sleep(0.005)
                noted.append(trio.current_time())
                await connection.aclose()


def _table(recorded: Recording) -> dict[InstanceId, str]:
    rows = power_rows(recorded.service.models.fleet, now=now())
    return {row.instance: row.power_state for row in rows}


async def _until(true: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Wait until the service's models say so; False where they did not come to it."""
    with trio.move_on_after(patience):
        while not true():
            await trio.sleep(0.005)
        return True
    return False
