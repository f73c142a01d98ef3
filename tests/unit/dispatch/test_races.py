"""A command that somebody else moves on just before its actor does: who comes second does nothing."""

from collections.abc import Awaitable, Callable
from unittest import mock

import pytest

from es_power.domain.decisions import Approved, CommandEvent, Sent, StopRequested, Withdrawn
from es_power.domain.ports import Append, Write
from es_power.domain.states import VmState
from es_power.domain.streams import command as command_stream
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.testing import FakeHypervisor
from es_power.testing.facts import SOMEBODY
from tests.unit.dispatch.conftest import house, say


def rejection(event: CommandEvent) -> Withdrawn:
    """As an actor writes it for a person; another command is not requested for as long as the disagreement lasts."""
    return Withdrawn(
        observed_at=now(),
        instance=event.instance,
        command=event.command,
        reason="a person rejected it",
        because=1,
        actor="actor/host-1/test",
        by=SOMEBODY,
        why=SOMEBODY,
    )


@pytest.mark.parametrize("step", [Approved, Sent])
async def test_what_is_rejected_just_before_a_step_goes_no_further(log: SqlLog, step: type[CommandEvent]) -> None:
    host = FakeHypervisor()
    web, db = (host.add(name, state=1, reason=1) for name in ("web-1", "db-1"))

    with mock.patch.object(log, "append", outrun(log, step)):
        async with house(log, host) as h:
            await say(log, web, VmState.STOPPED)
            await h.until(Withdrawn)
            await say(log, db, VmState.STOPPED)
            [of_db] = [each for each in await h.until(StopRequested, 2) if each.instance == db]
            await h.until(Sent)
            sent = await h.facts(Sent)

    assert [each.command for each in sent] == [of_db.command]
    assert web not in [instance for instance, _ in h.stopper.sent]


def outrun(log: SqlLog, step: type[CommandEvent]) -> Callable[[Append], Awaitable[int]]:
    """An append that lets a rejection in before the first such step."""
    append, told = log.append, []

    async def outrunning(each: Append) -> int:
        steps = [event for write in each.writes for event in write.events if isinstance(event, step)]
        if steps and not told:
            told.append(steps[0])
            stream = command_stream(steps[0].command)
            write = Write(stream=stream, expected=await log.version(stream), events=(rejection(steps[0]),))
            await append(Append(writes=(write,)))
        return await append(each)

    return outrunning
