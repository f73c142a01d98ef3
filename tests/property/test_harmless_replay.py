"""A replay appends nothing and sends nothing, whatever the log holds."""

from collections.abc import Sequence
from unittest import mock

from hypothesis import given, settings

from es_power.domain.decisions import CommandEvent, Sent
from es_power.domain.events import Recorded
from es_power.domain.policy import get_policy
from es_power.domain.ports import Append, Write
from es_power.domain.streams import command
from es_power.log import SqlLog, open_log
from es_power.log.database import Database
from es_power.projections.readmodels import ReadModels
from es_power.projections.store import Store
from es_power.replay import compare, replay, verify
from es_power.testing.facts import Facts
from tests.property.logs import LOGS, Act, write

OLD, NEW = get_policy("nova-2013"), get_policy("nova-2026")


def with_commands(facts: Facts) -> Sequence[Recorded]:
    """The facts, and behind them what they lead to, as a process manager that comes late appends it."""
    for each in ReadModels().apply(facts.records).derived:
        assert isinstance(each.event, CommandEvent)
        facts.record(command(each.event.command), each.event)
    return facts.records


async def every_replay(log: SqlLog) -> None:
    await replay(log)
    await replay(log, policy=NEW)
    await verify(log)
    await compare(log, OLD, NEW)
    await compare(log, "recorded", NEW)
    await compare(log, OLD, "nova")


@settings(max_examples=30, deadline=None)
@given(LOGS)
async def test_a_replay_of_any_log_appends_nothing(acts: list[Act]) -> None:
    async with open_log(":memory:", mode="write") as log:
        for recorded in with_commands(write(acts)):
            written = Write(stream=recorded.stream, expected=recorded.version - 1, events=[recorded.event])
            await log.append(Append(writes=[written]))
        Store(log.database).create()
        before = await log.read(after=0, limit=10_000)
        with (
            mock.patch.object(SqlLog, "append", side_effect=AssertionError("appended")),
            mock.patch.object(Database, "write", side_effect=AssertionError("written")),
        ):
            await every_replay(log)

        assert await log.read(after=0, limit=10_000) == before
        assert not any(isinstance(recorded.event, Sent) for recorded in before)
