"""An actor killed with -9 at every step of a command's life, and started again: at most one act, and none unasked."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from es_power.domain.decisions import ActingStarted, Approved, CommandEvent, Route, Sent, StopRequested
from es_power.domain.events import InstanceId, LifecycleEvent, Position, RecordDeclared, Recorded, StateObserved
from es_power.domain.libvirt_numbers import POWER_STATES
from es_power.domain.policy import Situation, decide, get_policy
from es_power.domain.states import VmState
from es_power.log import open_log
from es_power.testing import vm
from tests.crash.house import OFF, ON, PROBE, WEB, Guests, Run, line_of
from tests.rigs.forks import Forks, forks

KILLED = -9
AT_ONCE = 6

NOTHING, MEANT, WENT_OFF, STARTED = (
    "nothing",
    "it is meant to be on now",
    "it went off",
    "somebody started it again",
)
MEANWHILE = {NOTHING: (None, None), MEANT: (VmState.ACTIVE, ON), WENT_OFF: (None, OFF), STARTED: (None, ON)}
"""What may befall WEB between a crash and the next start: what a person says of it, and what it becomes."""


class Houses:
    """Processes that run what they are told, so many at once."""

    def __init__(self, processes: list[Forks]) -> None:
        self._send, self._receive = trio.open_memory_channel[Forks](len(processes))
        for process in processes:
            self._send.send_nowait(process)

    async def play(self, run: Run) -> int:
        """Play one, and give what its process ended with."""
        process = await self._receive.receive()
        try:
            status = await trio.to_thread.run_sync(process.play, line_of(run))
        finally:
            self._send.send_nowait(process)
        expected = KILLED if run.dies else 0
        output = Path(run.place) / "output"
        assert status in {expected, 0}, f"{run}\n{output.read_text()}"
        return status


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Forks]]:
    with ExitStack() as stack:
        yield [stack.enter_context(forks("tests.crash.house")) for _ in range(AT_ONCE)]


@pytest.fixture
def houses(processes: list[Forks]) -> Houses:
    return Houses(processes)


async def facts(place: Path) -> list[Recorded]:
    async with open_log(place / "log.db") as log:
        return list(await log.read(after=Position(0)))


async def acts_on_web(place: Path) -> int:
    """Check what has to be true of every act and of every order in a log, and count the acts on WEB."""
    records, guests = await facts(place), Guests(place)
    sent = [each for each in records if isinstance(each.event, Sent)]
    acted: list[Position] = []
    for act in guests.acts:
        instance, head = vm(act["vm"]), act["head"]
        acted.append(max(each.position for each in sent if each.position <= head and each.event.instance == instance))
        assert _is_called_for(records, instance, act["state"], head), act
    assert len(acted) == len(set(acted)), "one command was acted upon twice"
    for each in sent:
        assert _may_be_sent(records, each), each
    return sum(act["vm"] == 1 for act in guests.acts)


def _is_called_for(records: list[Recorded], instance: InstanceId, state: int, head: int) -> bool:
    """Decide anew, on what was true at the moment of the act."""
    said = [
        each.event
        for each in records
        if isinstance(each.event, RecordDeclared) and each.event.instance == instance and each.position <= head
    ][-1]
    situation = Situation(
        vm_state=said.vm_state,
        task_state=said.task_state,
        db_power_state=None,
        driver=POWER_STATES.get(state) or "ERROR",
        host_matches=True,
    )
    return decide(get_policy("nova-2013"), situation).verb is not None


def _may_be_sent(records: list[Recorded], sent: Recorded) -> bool:
    """Whether it was approved since the start of the actor that sent it; by itself only what was requested since."""
    assert isinstance(sent.event, Sent)
    before = [each for each in records if each.position < sent.position]
    started = max(each.position for each in before if isinstance(each.event, ActingStarted))
    life = [
        each for each in before if isinstance(each.event, CommandEvent) and each.event.command == sent.event.command
    ]
    approvals = [each for each in life if isinstance(each.event, Approved) and each.position > started]
    return any(each.event.by is not None or life[0].position > started for each in approvals)


def is_sent(records: list[Recorded]) -> bool:
    return any(isinstance(each.event, Sent) and each.event.instance == WEB for each in records)


async def go_on_after(houses: Houses, run: Run, meanwhile: Sequence[str]) -> None:
    """Go on with each of several copies of what a run left, in which something else happens."""
    async with trio.open_nursery() as nursery:
        for number, what in enumerate(meanwhile):
            copy = Path(f"{run.place}-{number}")
            shutil.copytree(run.place, copy)
            nursery.start_soon(go_on, houses, copy, run, what)


async def go_on(houses: Houses, place: Path, run: Run, meanwhile: str) -> None:
    """Let something happen after a crash, start again, and see what was made of it."""
    wish, state = MEANWHILE[meanwhile]
    before, acted = await facts(place), await acts_on_web(place)
    if state is not None:
        Guests(place).become(WEB, state)
    is_on = Guests(place).states[WEB] == ON
    await houses.play(replace(run, place=str(place), story="recover", append=None, when=None, wish=wish))

    total, after = await acts_on_web(place), await facts(place)
    if (was_done_and_seen(before) or marks(before)) and meanwhile == STARTED:
        assert acted <= total <= acted + 1  # what was done is over; this is another disagreement, and another command
        return
    was_asked = any(isinstance(each.event, StopRequested) and each.event.instance == WEB for each in after)
    # What was sent is never repeated; what is not called for any more is not begun; the rest is done, once.
    is_open = is_on and wish is None and not run.off and was_asked and not is_sent(before)
    assert total == (1 if is_open else acted), (run, meanwhile)
    assert marks(after) == (0 if is_on and not marks(before) else marks(after) and 1), (run, meanwhile)


def marks(records: list[Recorded]) -> int:
    """How often an actor declared WEB to be stopped, since its guest was off."""
    return sum(
        isinstance(each.event, Sent) and each.event.instance == WEB and each.event.route is Route.RECORD
        for each in records
    )


def was_done_and_seen(records: list[Recorded]) -> bool:
    """Whether WEB was seen to be off since it was sent."""
    sent = [each.position for each in records if isinstance(each.event, Sent) and each.event.instance == WEB]
    return bool(sent) and any(
        each.position > sent[-1]
        and each.event.instance == WEB
        and (each.event.event if isinstance(each.event, LifecycleEvent) else each.event.state) == OFF
        for each in records
        if isinstance(each.event, LifecycleEvent | StateObserved)
    )


LIFE = Run(place="", story="live")


@pytest.mark.parametrize(
    ("life", "when", "meanwhile"),
    [
        (LIFE, "after", list(MEANWHILE)),
        # The log is as after the append before it, and what comes of that was seen; only the moment is another.
        (LIFE, "before", [NOTHING]),
        (replace(LIFE, mode="approve"), "after", [NOTHING]),
        (replace(LIFE, off=True), "after", [NOTHING, STARTED]),
    ],
    ids=["after, auto", "before, auto", "after, approved by a person", "after, a record to be changed"],
)
async def test_killed_at_any_append_a_command_is_acted_upon_once_at_most(
    houses: Houses, tmp_path: Path, life: Run, when: str, meanwhile: list[str]
) -> None:
    whole = replace(life, place=str(tmp_path / "whole"))
    Path(whole.place).mkdir()
    await houses.play(whole)
    count = int((tmp_path / "whole" / "count").read_text())
    assert await acts_on_web(tmp_path / "whole") == (0 if life.off else 1)
    killed: list[int] = []

    async def kill(number: int) -> None:
        place = tmp_path / f"{number}"
        place.mkdir()
        run = replace(whole, place=str(place), append=number, when=when)
        if await houses.play(run) == KILLED:
            killed.append(number)
        await go_on_after(houses, run, meanwhile)

    async with trio.open_nursery() as nursery:
        for number in range(1, count + 1):
            nursery.start_soon(kill, number)
    assert len(killed) >= count - 2  # the same life may take an append more or less


@pytest.mark.parametrize("when", ["before", "ordered", "after"])
async def test_killed_around_the_act_nothing_is_repeated(houses: Houses, tmp_path: Path, when: str) -> None:
    place = tmp_path / "first"
    place.mkdir()
    run = Run(place=str(place), story="live", when=when)
    assert await houses.play(run) == KILLED
    assert is_sent(await facts(place))
    acted = await acts_on_web(place)
    assert acted == (0 if when == "before" else 1)

    await go_on_after(houses, run, list(MEANWHILE))


async def test_a_log_restored_to_before_the_act_acts_on_nothing(houses: Houses, tmp_path: Path) -> None:
    """The copy holds Approved and no Sent; what was sent is known to nobody, and the guest was started again since."""
    place, backup = tmp_path / "place", tmp_path / "backup"
    place.mkdir()
    run = Run(place=str(place), story="live")
    assert await houses.play(replace(run, append="Sent", when="before")) == KILLED
    steps = {type(each.event) for each in await facts(place) if isinstance(each.event, CommandEvent)}
    assert steps == {StopRequested, Approved}
    shutil.copytree(place, backup)
    await houses.play(replace(run, story="recover"))
    assert await acts_on_web(place) == 1

    for file in place.glob("log.db*"):
        file.unlink()
    for file in backup.glob("log.db*"):
        shutil.copy(file, place)
    acts = Guests(place).acts
    (place / "acts.jsonl").unlink()
    Guests(place).become(WEB, ON)
    Guests(place).become(PROBE, ON)
    await houses.play(replace(run, story="probe"))

    assert len(acts) == 2
    assert [act["vm"] for act in Guests(place).acts] == [2]
    sent = [each.event.instance for each in await facts(place) if isinstance(each.event, Sent)]
    assert sent == [PROBE]
