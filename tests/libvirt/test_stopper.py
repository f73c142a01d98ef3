"""Stopping guests by libvirt: what is done to them, and what is said of it where it cannot be done or known."""

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest
import trio

from es_power.dispatch import hypervisor
from es_power.dispatch.hypervisor import HypervisorStopper
from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.domain.libvirt_numbers import reason_name, state_name
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import PATIENCE, Libvirtd
from tests.rigs.machines import real_vm

pytestmark = pytest.mark.libvirt

TEST = InstanceId(UUID("6695eb01-f6a4-8304-79aa-97f2502e193f"))
"""The VM that a test driver has from the beginning; it obeys."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often at a guest that shuts down, and tell it often."""
    monkeypatch.setattr(hypervisor, "POLL", 0.05)
    monkeypatch.setattr(hypervisor, "TELL_AGAIN", 0.5)


@asynccontextmanager
async def acting(uri: str) -> AsyncIterator[Any]:
    """A connection that tells, and puts back, what a test driver's VM is like."""
    raw = await trio.to_thread.run_sync(libvirt.open, uri)
    vm = raw.lookupByUUID(TEST.bytes)
    try:
        if not vm.isActive():
            vm.create()
        yield vm
    finally:
        raw.close()


def state_of(vm: Any) -> str:
    state, reason = vm.state()
    return f"{state_name(state)}/{reason_name(state, reason)}"


async def yes() -> float:
    return 2.0


async def no() -> float:
    return 0.0


async def threads_end(stopper: HypervisorStopper) -> None:
    """Wait until nothing that a stopper began is under way any more."""
    with trio.fail_after(PATIENCE):
        while stopper._limiter.borrowed_tokens:
            await trio.sleep(0.01)


# -------------------------------------------------------------------------------------------- what is said of it


@pytest.mark.parametrize(("verb", "state"), [(StopVerb.STOP, "SHUTDOWN"), (StopVerb.FORCE_STOP, "DESTROYED")])
async def test_a_guest_is_stopped_as_the_rule_says(loop: None, daemon: Libvirtd, verb: StopVerb, state: str) -> None:
    async with acting(daemon.uri()) as vm:
        result = await HypervisorStopper(daemon.uri()).stop(TEST, verb, within=2.0, still_wanted=no)

        assert result.outcome is Outcome.ACCEPTED
        assert state_of(vm) == f"SHUTOFF/{state}"


async def test_a_guest_is_looked_at_when_its_time_is_up(
    loop: None, daemon: Libvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is before the first look would be due."""
    monkeypatch.setattr(hypervisor, "POLL", 10.0)
    async with acting(daemon.uri()):
        stopper = HypervisorStopper(daemon.uri(), shutdown_timeout=0.1)
        result = await stopper.stop(TEST, StopVerb.STOP, within=2.0, still_wanted=no)

    assert result == Result(outcome=Outcome.ACCEPTED)


@pytest.mark.parametrize("verb", StopVerb)
async def test_a_guest_that_is_off_is_left_so(loop: None, daemon: Libvirtd, verb: StopVerb) -> None:
    async with acting(daemon.uri()) as vm:
        vm.destroy()
        result = await HypervisorStopper(daemon.uri()).stop(TEST, verb, within=2.0, still_wanted=yes)

    assert result == Result(outcome=Outcome.ACCEPTED, reason="it is off already")


async def test_a_guest_that_libvirt_does_not_know_is_refused(loop: None, daemon: Libvirtd) -> None:
    result = await HypervisorStopper(daemon.uri()).stop(
        InstanceId(uuid4()), StopVerb.STOP, within=2.0, still_wanted=yes
    )

    assert result == Result(outcome=Outcome.REFUSED, reason="libvirt does not know the guest")


@pytest.mark.parametrize("verb", StopVerb)
async def test_a_connection_that_may_only_read_is_refused_with_what_to_do(
    loop: None, daemon: Libvirtd, monkeypatch: pytest.MonkeyPatch, verb: StopVerb
) -> None:
    """A session's libvirtd has no socket of its own for those who may only read, so the connection says it is one."""
    async with acting(daemon.uri()) as vm:
        monkeypatch.setattr(libvirt, "open", libvirt.openReadOnly)
        result = await HypervisorStopper(daemon.uri()).stop(TEST, verb, within=2.0, still_wanted=yes)

        assert result.outcome is Outcome.REFUSED
        assert "read only access prevents" in result.reason
        assert "usermod -aG libvirt" in result.reason
        assert state_of(vm).startswith("RUNNING/")


async def test_a_daemon_that_is_gone_got_nothing(loop: None, daemon: Libvirtd) -> None:
    daemon.kill()
    try:
        result = await HypervisorStopper(daemon.uri()).stop(TEST, StopVerb.STOP, within=2.0, still_wanted=yes)
    finally:
        daemon.start()

    assert result.outcome is Outcome.NOT_DELIVERED
    assert "is libvirtd running there?" in result.reason


async def test_what_a_daemon_that_hung_was_not_told_in_time_it_is_never_told(loop: None, daemon: Libvirtd) -> None:
    stopper = HypervisorStopper(daemon.uri(), deadline=0.3)
    async with acting(daemon.uri()) as vm:
        daemon.hang()
        try:
            result = await stopper.stop(TEST, StopVerb.FORCE_STOP, within=2.0, still_wanted=yes)
            under_way = stopper._limiter.borrowed_tokens
        finally:
            daemon.wake()
        await threads_end(stopper)

        assert result.outcome is Outcome.NOT_DELIVERED
        assert "within 0.3 s" in result.reason
        assert under_way == 1
        assert state_of(vm).startswith("RUNNING/")


async def test_what_takes_longer_than_the_window_is_not_ordered(loop: None, daemon: Libvirtd) -> None:
    stopper = HypervisorStopper(daemon.uri())
    async with acting(daemon.uri()) as vm, trio.open_nursery() as nursery:
        daemon.hang()

        async def wake() -> None:
            await trio.sleep(0.5)
            daemon.wake()

        nursery.start_soon(wake)
        result = await stopper.stop(TEST, StopVerb.FORCE_STOP, within=0.3, still_wanted=yes)

        assert result == Result(
            outcome=Outcome.NOT_DELIVERED, reason="libvirt took too long to be asked; nothing was done"
        )
        assert state_of(vm).startswith("RUNNING/")


async def test_a_caller_that_is_cancelled_orders_nothing_later(loop: None, daemon: Libvirtd) -> None:
    stopper = HypervisorStopper(daemon.uri())
    async with acting(daemon.uri()) as vm:
        daemon.hang()
        try:
            with trio.move_on_after(0.2):
                await stopper.stop(TEST, StopVerb.FORCE_STOP, within=2.0, still_wanted=yes)
        finally:
            daemon.wake()
        await threads_end(stopper)

        assert state_of(vm).startswith("RUNNING/")


@pytest.fixture
def in_mid_act(monkeypatch: pytest.MonkeyPatch) -> "InMidAct":
    """Have something happen between the moment at which an order is let through, and the order."""
    passes = hypervisor._Gate.passes

    def have(happen: Callable[[], None]) -> None:
        def passes_and(gate: Any) -> bool:
            passed = passes(gate)
            happen()
            return passed

        monkeypatch.setattr(hypervisor._Gate, "passes", passes_and)

    return have


InMidAct = Callable[[Callable[[], None]], None]


async def test_a_daemon_that_dies_in_mid_act_leaves_the_outcome_unknown(
    loop: None, daemon: Libvirtd, in_mid_act: InMidAct
) -> None:
    in_mid_act(daemon.kill)
    try:
        result = await HypervisorStopper(daemon.uri()).stop(TEST, StopVerb.FORCE_STOP, within=2.0, still_wanted=yes)
    finally:
        daemon.start()

    assert result.outcome is Outcome.UNKNOWN


async def test_a_daemon_that_hangs_in_mid_act_may_do_it_later(
    loop: None, daemon: Libvirtd, in_mid_act: InMidAct
) -> None:
    stopper = HypervisorStopper(daemon.uri(), deadline=0.5)
    async with acting(daemon.uri()) as vm:
        in_mid_act(daemon.hang)
        try:
            result = await stopper.stop(TEST, StopVerb.FORCE_STOP, within=2.0, still_wanted=yes)
        finally:
            daemon.wake()
        await threads_end(stopper)

        assert result.outcome is Outcome.UNKNOWN
        assert state_of(vm) == "SHUTOFF/DESTROYED"


async def test_a_guest_that_goes_off_in_mid_act_is_off(loop: None, daemon: Libvirtd, in_mid_act: InMidAct) -> None:
    async with acting(daemon.uri()) as vm:
        in_mid_act(vm.destroy)
        result = await HypervisorStopper(daemon.uri()).stop(TEST, StopVerb.FORCE_STOP, within=2.0, still_wanted=yes)

    assert result == Result(outcome=Outcome.ACCEPTED, reason="it went off by itself")


async def test_nothing_that_could_act_stays_open(loop: None, daemon: Libvirtd, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    ends: list[int] = []
    async with acting(daemon.uri()):
        monkeypatch.setattr(libvirt, "open", _kept(libvirt.open, opened, ends))
        await HypervisorStopper(daemon.uri()).stop(TEST, StopVerb.STOP, within=2.0, still_wanted=yes)

    assert len(opened) == 1
    assert ends == opened


def _kept(open_: Callable[[str], Any], opened: list[Any], ends: list[int]) -> Callable[[str], Any]:
    """Note the thread that opens, and that closes."""

    def kept(uri: str) -> Any:
        raw = open_(uri)
        close = raw.close
        opened.append(threading.get_ident())

        def noted() -> int:
            ends.append(threading.get_ident())
            return close()

        raw.close = noted
        return raw

    return kept


# --------------------------------------------------------------------------------------------------- real guests

_GUESTS = {
    "obeys": {},
    "deaf": {"kernel": "acpi=off"},
    "asleep": {"act": "s3"},
    "panicked": {"act": "panic", "on_crash": "preserve"},
}
_PAUSED = ("spared", "reborn")


class Guests:
    """Real ones, of one daemon, each as its name says; those that are paused are deaf too, and cost nothing."""

    def __init__(self, raw: Any, uri: str, directory: Path) -> None:
        self.raw = raw
        self.uri = uri
        self.directory = directory

    def vm(self, name: str) -> Any:
        return self.raw.lookupByName(name)

    async def stop(self, name: str, verb: StopVerb = StopVerb.STOP, *, patience: float = 2.0, **how: Any) -> Result:
        instance = InstanceId(UUID(self.vm(name).UUIDString()))
        stopper = HypervisorStopper(self.uri, shutdown_timeout=patience)
        return await stopper.stop(instance, verb, **({"within": 2.0, "still_wanted": yes} | how))

    async def until(self, wanted: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not wanted():
                await trio.sleep(0.05)

    async def up(self, name: str) -> None:
        """Wait until a guest's own programs run."""
        console = self.directory / f"{name}.console"
        await self.until(lambda: console.exists() and "GUEST none" in console.read_text(errors="replace"))


@pytest.fixture
async def guests(loop: None, daemon: Libvirtd, guest: Guest) -> AsyncIterator[Guests]:
    uri, directory = daemon.uri("qemu", "/session"), daemon.directory / "guest"
    raw = await trio.to_thread.run_sync(libvirt.open, uri)
    for name, how in (_GUESTS | {name: {} for name in _PAUSED}).items():
        flags = libvirt.VIR_DOMAIN_START_PAUSED if name in _PAUSED else 0
        raw.defineXML(real_vm(name, guest, console=directory / f"{name}.console", **how)).createWithFlags(flags)
    yield Guests(raw, uri, directory)
    for vm in raw.listAllDomains():
        if vm.isActive():
            vm.destroy()
        vm.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    raw.close()


@pytest.mark.qemu
async def test_real_guests_are_stopped_gently_and_else_by_force(guests: Guests) -> None:
    """All at once, since each mostly waits."""
    results: dict[str, Result] = {}
    states: dict[str, str] = {}

    async def obeys() -> None:
        # From its first moment on, in which it cannot listen.
        results["obeys"] = await guests.stop("obeys", patience=PATIENCE)

    async def deaf() -> None:
        await guests.up("deaf")
        with _slow_save(guests, "deaf"):
            await guests.until(lambda: guests.vm("deaf").jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
            results["deaf, while saved"] = await guests.stop("deaf", StopVerb.FORCE_STOP)
            states["deaf, while saved"] = state_of(guests.vm("deaf"))
        results["deaf"] = await guests.stop("deaf")

    async def spared() -> None:
        results["spared"] = await guests.stop("spared", still_wanted=no)

    async def reborn() -> None:
        async def start_again() -> float:
            guests.vm("reborn").destroy()
            guests.vm("reborn").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            return await yes()

        results["reborn"] = await guests.stop("reborn", patience=0.5, still_wanted=start_again)

    async def asleep() -> None:
        await guests.until(lambda: state_of(guests.vm("asleep")) == "PMSUSPENDED/UNKNOWN")
        results["asleep"] = await guests.stop("asleep")

    async def panicked() -> None:
        await guests.until(lambda: state_of(guests.vm("panicked")) == "CRASHED/PANICKED")
        results["panicked"] = await guests.stop("panicked", patience=PATIENCE)

    async with trio.open_nursery() as nursery:
        for story in (obeys, deaf, spared, reborn, asleep, panicked):
            nursery.start_soon(story)

    late = "it did not shut down within"
    assert {name: (result.outcome, result.reason) for name, result in results.items()} == {
        "obeys": (Outcome.ACCEPTED, ""),
        "deaf": (Outcome.ACCEPTED, f"{late} 2 s; it was destroyed"),
        "spared": (Outcome.ACCEPTED, f"{late} 2 s; it is left on, since nothing calls for it now"),
        "reborn": (Outcome.ACCEPTED, f"{late} 0.5 s; it went off, and was started again since"),
        "asleep": (Outcome.ACCEPTED, f"{late} 2 s; it was destroyed"),
        "panicked": (Outcome.ACCEPTED, "it was destroyed"),
        "deaf, while saved": (Outcome.NOT_DELIVERED, "the guest is being migrated, saved or copied; nothing was done"),
    }
    assert states | {vm.name(): state_of(vm) for vm in guests.raw.listAllDomains()} == {
        "obeys": "SHUTOFF/SHUTDOWN",
        "deaf": "SHUTOFF/DESTROYED",
        "spared": "PAUSED/USER",
        "reborn": "PAUSED/USER",
        "asleep": "SHUTOFF/DESTROYED",
        "panicked": "SHUTOFF/DESTROYED",
        "deaf, while saved": "PAUSED/SAVE",
    }


@contextmanager
def _slow_save(guests: Guests, name: str) -> Iterator[None]:
    """Have a guest saved into a pipe that nobody empties, so that it is being saved until the block ends."""
    pipe = guests.directory / f"{name}.pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def save() -> None:
        raw = libvirt.open(guests.uri)
        with suppress(libvirt.libvirtError):  # it comes to nothing
            raw.lookupByName(name).save(str(pipe))
        raw.close()

    thread = threading.Thread(target=save)
    thread.start()
    try:
        yield
    finally:
        guests.vm(name).abortJob()
        os.close(end)
        thread.join()
