"""The process manager beside an actor that is newer than it: what it cannot read, it leaves alone."""

from uuid import UUID

import pytest
import trio

from es_power.dispatch.process_manager import ProcessManager
from es_power.domain.decisions import Withdrawn
from es_power.domain.events import Event, Position
from es_power.domain.policy import get_policy
from es_power.domain.ports import Append, Write
from es_power.domain.streams import command, planner
from es_power.log import SqlLog
from es_power.projections.stop_commands import Derived
from es_power.testing.facts import T0, stop_requested, vm

OBSERVER = "observer/host-1/test"


def manager_of(log: SqlLog) -> ProcessManager:
    return ProcessManager(log, OBSERVER, policy=get_policy("nova-2013"), clock=lambda: T0)


async def tell(log: SqlLog, stream: str, *events: Event) -> Position:
    return await log.append(Append(writes=[Write(stream=stream, expected=await log.version(stream), events=events)]))


def make_unreadable(log: SqlLog, position: Position) -> None:
    """Let a record be of a kind that only a newer es_power knows."""
    with log.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE records SET topic = 'Foretold:1' WHERE position = {position}")


async def test_a_command_of_which_not_all_can_be_read_is_left_to_its_actor(log: SqlLog) -> None:
    manager = manager_of(log)
    await manager.begin()
    request = stop_requested(vm(1), UUID(int=7), host="host-1")
    stream = command(request.command)
    await tell(log, stream, request)
    make_unreadable(log, await tell(log, stream, request))
    head = await log.head()
    over = Withdrawn(observed_at=T0, instance=request.instance, command=request.command, reason="over", because=head)

    with trio.fail_after(10):
        await manager.append([Derived(OBSERVER, over)], head)

    assert await log.version(stream) == 2


@pytest.mark.parametrize("readable", [True, False])
async def test_it_begins_after_a_beginning_that_cannot_be_read(log: SqlLog, readable: bool) -> None:
    await manager_of(log).begin()
    if not readable:
        make_unreadable(log, await log.head())

    await manager_of(log).begin()

    assert await log.version(planner(OBSERVER)) == (1 if readable else 2)
