"""A log that refuses for a while: whoever must go on waits for it, and each thing is stored once in the end."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from es_power.domain.events import Position
from es_power.domain.ports import Append, Tracking, Write
from es_power.errors import ConcurrentAppendError, LogFullError, LogUnavailableError
from es_power.log.patience import REMIND, SLOW, PatientLog
from es_power.testing.facts import Facts, vm
from es_power.testing.memory import MemoryLog

QUESTIONS: dict[str, Callable[[PatientLog], Awaitable[Any]]] = {
    "head": lambda log: log.head(),
    "read": lambda log: log.read(after=Position(0)),
    "read_stream": lambda log: log.read_stream("s"),
    "version": lambda log: log.version("s"),
    "find": lambda log: log.find(FACT.key),
    "tracked": lambda log: log.tracked("manager"),
    "labels": lambda log: log.labels([1]),
    "wait_beyond": lambda log: log.wait_beyond(Position(1)),
}


class MoodyLog(MemoryLog):
    """Refuses so many calls; `stores` says whether it keeps what it refuses, as a commit of unknown outcome may."""

    def __init__(self, refusals: int = 0, *, stores: bool = False) -> None:
        super().__init__()
        self.refusals = refusals
        self._stores = stores

    def __getattribute__(self, name: str) -> Any:
        answer = super().__getattribute__(name)
        if name not in QUESTIONS:
            return answer

        async def moody(*args: Any, **kwargs: Any) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise LogUnavailableError("it is in a mood")
            return await answer(*args, **kwargs)

        return moody

    async def append(self, append: Append) -> Position:
        if self.refusals:
            self.refusals -= 1
            if self._stores:
                await super().append(append)
            raise LogUnavailableError("it is in a mood")
        return await super().append(append)


def fact() -> Append:
    event = Facts().announce(vm(1), 5, 0).event
    return Append(writes=[Write(stream="s", expected=0, events=[event])])


FACT = fact()


@pytest.mark.parametrize("stores", [True, False])
async def test_what_was_refused_is_stored_once(stores: bool, autojump_clock: trio.testing.MockClock) -> None:
    log, told = MoodyLog(6, stores=stores), list[LogUnavailableError]()
    patient = PatientLog(log)
    patient.refused = told.append

    await patient.append(FACT)

    assert len(log.records) == 1
    assert len(told) == 6


async def test_an_append_that_may_not_be_tried_waits_as_one_that_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, told = MoodyLog(), list[LogUnavailableError]()
    patient = PatientLog(log)
    patient.refused, patient.admits = told.append, lambda _: len(told) == 3

    assert await patient.append(FACT) == 1
    assert [type(each) for each in told] == 3 * [LogFullError]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_is_asked_until_it_is_answered(question: str, autojump_clock: trio.testing.MockClock) -> None:
    log = MoodyLog()
    patient = PatientLog(log)
    if question != "wait_beyond":
        await patient.append(FACT)
    wanted = await QUESTIONS[question](patient)
    log.refusals = 5

    assert await QUESTIONS[question](patient) == wanted
    assert log.refusals == 0
    assert trio.current_time() > 10


async def test_a_conflict_is_not_waited_for() -> None:
    log = PatientLog(MoodyLog())
    await log.append(FACT)

    with pytest.raises(ConcurrentAppendError):
        await log.append(fact())


async def test_tracking_without_records_that_was_stored_unnoticed_is_no_conflict(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = PatientLog(MoodyLog(1, stores=True))
    append = Append(writes=(), tracking=Tracking(name="manager", position=Position(7)))

    assert await log.append(append) == 0
    with pytest.raises(ConcurrentAppendError):
        await log.append(append)


async def test_an_outage_says_since_when_and_why_and_ends_with_the_first_append(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    log = MoodyLog(10**6)
    patient = PatientLog(log, waiting=lambda: 7)

    with capture_logs() as lines:
        nursery.start_soon(patient.append, FACT)
        await trio.sleep(2.5 * REMIND)
        outage = patient.outages["written"]
        log.refusals = 0
        await trio.sleep(10)

    assert outage.reason == "it is in a mood"
    assert patient.outages == {}
    events = [line["event"] for line in lines]
    assert events == [*3 * ["the log cannot be written; trying on"], "the log is written again"]
    assert {line["since"] for line in lines[:-1]} == {lines[-1]["refused_since"]}
    assert {line["events_waiting"] for line in lines[:-1]} == {7}


async def test_a_log_that_takes_only_what_is_small_does_not_fill_the_service_s_own_log(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = MoodyLog()
    patient = PatientLog(log)

    with capture_logs() as lines:
        for version in range(20):
            log.refusals = 1
            event = Facts().announce(vm(1), 5, 0).event
            await patient.append(Append(writes=[Write(stream="s", expected=version, events=[event])]))

    assert len(lines) == 2


async def test_a_log_that_does_not_answer_at_all_is_an_outage_too(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    class HangingLog(MemoryLog):
        answers = trio.Event()

        async def append(self, append: Append) -> Position:
            await self.answers.wait()
            return await super().append(append)

    patient = PatientLog(HangingLog())
    nursery.start_soon(patient.watch)
    await trio.sleep(10 * SLOW)
    assert patient.outages == {}

    nursery.start_soon(patient.append, FACT)
    await trio.sleep(SLOW - 1)
    assert patient.outages == {}
    await trio.sleep(2)
    assert patient.outages["written"].reason == "it has not answered for 10 s"
    HangingLog.answers.set()
    await trio.testing.wait_all_tasks_blocked()

    assert patient.outages == {}
    nursery.cancel_scope.cancel()
