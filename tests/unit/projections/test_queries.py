"""Questions to a log: who is meant, what is said of it, when nobody looked, what was planned and why."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.decisions import StopRequested, Withdrawn
from es_power.domain.events import GapReason, Position, Recorded, StateObserved
from es_power.domain.states import VmState
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import AmbiguousNameError, CommandNotFoundError, InstanceNotFoundError
from es_power.log import open_log
from es_power.log.schema import LABELS, RECORDS
from es_power.projections.explain import command, commands
from es_power.projections.gaps import gaps
from es_power.projections.queries import FORGOTTEN, View, find, look, status
from es_power.testing.facts import T0, vm
from tests.unit.story import DB, OFF, OLD, RUNNING, WEB, Story, one_host

NOW = Timestamp(T0 + 60 * SECOND)


@asynccontextmanager
async def looking(story: Story, path: Path, *, tables: int | None = None) -> AsyncIterator[View]:
    await story.write(path / "log.db", tables=tables)
    async with open_log(path / "log.db") as log:
        yield await look(log)


# ------------------------------------------------------------------------------------------------- which VM


@pytest.mark.parametrize("text", [str(WEB), WEB.hex, str(WEB).upper(), "web-1", "a/web-1", "web", "w"])
async def test_a_vm_is_found_by_uuid_name_host_and_name_or_the_beginning_of_either(tmp_path: Path, text: str) -> None:
    async with looking(one_host(), tmp_path) as view:
        assert await find(view, text) == WEB


async def test_the_beginning_of_a_uuid_is_enough_where_it_is_one_vms_alone(tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.sweep({vm(0x10): RUNNING, vm(0x20): RUNNING})
    async with looking(story, tmp_path) as view:
        assert await find(view, str(vm(0x10))[:-1]) == vm(0x10)
        with pytest.raises(AmbiguousNameError, match="2 VMs fit 'e5'"):
            await find(view, "e5")


async def test_a_name_belongs_to_the_vm_that_has_it_now(tmp_path: Path) -> None:
    story = one_host()
    story.seen_again()
    story.name(vm(4), "old-1")
    story.sweep({WEB: OFF, DB: OFF, vm(4): RUNNING})
    async with looking(story, tmp_path) as view:
        assert await find(view, "old-1") == vm(4)
        assert await find(view, str(OLD)) == OLD


async def test_a_name_that_only_a_gone_vm_had_still_means_it(tmp_path: Path) -> None:
    async with looking(one_host(), tmp_path) as view:
        assert await find(view, "old-1") == OLD


async def test_a_name_that_two_present_vms_bear_is_refused_with_both_uuids(tmp_path: Path) -> None:
    story = one_host()
    story.start("b")
    story.name(vm(4), "web-1", "b")
    story.sweep({vm(4): RUNNING}, "b")
    async with looking(story, tmp_path) as view:
        with pytest.raises(AmbiguousNameError) as refused:
            await find(view, "web-1")
        assert await find(view, "b/web-1") == vm(4)

    assert str(WEB) in str(refused.value)
    assert str(vm(4)) in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("text", ["x" * 100_000, "a/" + "x" * 100_000])
async def test_a_vm_is_found_by_a_name_that_is_longer_than_what_is_kept_of_it(tmp_path: Path, text: str) -> None:
    story = one_host()
    story.name(DB, "x" * 100_000)
    async with looking(story, tmp_path) as view:
        assert await find(view, text) == DB
        with pytest.raises(InstanceNotFoundError) as raised:
            await find(view, "y" * 100_000)

    assert len(str(raised.value)) < 1_000


@pytest.mark.parametrize(("text", "hint"), [("wbe-1", "'web-1'"), ("", "status --all"), (str(vm(9)), "status --all")])
async def test_what_is_not_known_is_not_found_and_a_near_name_is_suggested(
    tmp_path: Path, text: str, hint: str
) -> None:
    async with looking(one_host(), tmp_path) as view:
        with pytest.raises(InstanceNotFoundError, match="at position") as refused:
            await find(view, text)

    assert hint in str(refused.value)


async def test_a_message_shows_nothing_of_a_hostile_name_that_a_terminal_obeys(tmp_path: Path) -> None:
    story = Story()
    story.start()
    for number in (1, 2):
        story.name(vm(number), "x\x1b[2J\nroot#")
    story.sweep({vm(1): RUNNING, vm(2): RUNNING})
    async with looking(story, tmp_path) as view:
        with pytest.raises(AmbiguousNameError) as refused:
            await find(view, "x")

    assert str(refused.value).isprintable()


# --------------------------------------------------------------------------------------------------- status


@pytest.mark.parametrize("tables", [0, 7, 12, None])
async def test_the_answer_is_the_same_however_far_the_tables_are(tmp_path: Path, tables: int | None) -> None:
    async with looking(one_host(), tmp_path, tables=tables) as view:
        rows = await status(view, now=NOW)

    assert [(each.name, each.row.power_state, each.row.vm_state, each.row.note) for each in rows] == [
        ("db-1", "UNKNOWN", VmState.STOPPED, "blind: connection lost"),
        ("web-1", "UNKNOWN", VmState.STOPPED, "blind: connection lost"),
    ]


async def test_a_gone_vm_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    async with looking(one_host(), tmp_path) as view:
        [asked] = await status(view, "old-1", now=NOW)
        everything = await status(view, now=NOW, everything=True)

    assert asked.row.gone
    assert [each.name for each in everything] == ["db-1", "old-1", "web-1"]


async def test_as_of_a_position_the_log_answers_what_it_knew_there(tmp_path: Path) -> None:
    story = one_host()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view = await look(log, until=Position(8))
        [web] = await status(view, "web-1", now=NOW)

    assert (view.position, web.row.power_state, web.row.policy) == (8, "RUNNING", "follow")


async def test_as_of_every_position_the_table_alone_says_what_the_whole_view_says(tmp_path: Path) -> None:
    story = one_host()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        for position in range(len(story.records) + 1):
            whole = await look(log, until=Position(position))
            alone = await look(log, until=Position(position), table_only=True)

            assert await status(whole, now=NOW, everything=True) == await status(alone, now=NOW, everything=True)
            assert whole.position == alone.position


async def test_as_of_a_position_of_a_log_that_was_changed_what_can_be_read_is_said(tmp_path: Path) -> None:
    story = one_host()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with log.database.write() as connection:
            connection.execute(sa.update(RECORDS).where(RECORDS.c.position == 3).values(state=b"nothing"))
        view = await look(log, until=Position(8), table_only=True)
        rows = await status(view, now=NOW)

    assert list(view.fleet.quarantined) == [3]
    assert len(rows) == 3


async def test_a_time_is_the_last_position_recorded_not_after_it(tmp_path: Path) -> None:
    story = one_host()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        fourth = story.records[3].recorded_at
        assert await log.position_at(fourth) == 4
        assert await log.position_at(Timestamp(fourth - 1)) == 3
        assert await log.position_at(Timestamp(T0 - 1)) == 0


async def test_a_name_that_was_forgotten_says_so(tmp_path: Path) -> None:
    await one_host().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with log.database.write() as connection:
            connection.execute(sa.delete(LABELS).where(LABELS.c.text == "web-1"))
        view = await look(log)
        rows = await status(view, now=NOW)

    assert [each.name for each in rows] == [FORGOTTEN, "db-1"]


# ----------------------------------------------------------------------------------------- gaps and commands


@pytest.mark.parametrize("tables", [0, None])
async def test_a_gap_is_open_until_it_is_closed(tmp_path: Path, tables: int | None) -> None:
    story = one_host()
    opened = story.records[-1]
    closed = story.seen_again()
    story.start("b")
    story.gap("b", GapReason.OVERFLOW)
    async with looking(story, tmp_path, tables=tables) as view:
        first, second = await gaps(view)

    assert (first.host, first.until, first.position) == ("a", closed.event.observed_at, opened.position)
    assert (second.host, second.until, second.reason) == ("b", None, GapReason.OVERFLOW)


async def test_a_gap_that_opens_twice_is_one_gap(tmp_path: Path) -> None:
    story = one_host()
    story.gap(reason=GapReason.KEEPALIVE)
    async with looking(story, tmp_path) as view:
        [only] = await gaps(view)

    assert only.reason is GapReason.CONNECTION_LOST


async def test_a_command_comes_with_what_was_seen_and_what_was_said(tmp_path: Path) -> None:
    async with looking(one_host(), tmp_path) as view:
        [only] = await commands(view)
        same = await command(view, str(only.row.requested.command)[:6])

    assert only == replace(same, life=())
    assert [type(step.recorded.event) for step in same.life] == [StopRequested, Withdrawn]
    assert (only.name, only.by, only.why, only.row.state) == ("web-1", "alice", "not needed", "Withdrawn")
    assert isinstance(only.observation, Recorded)
    assert isinstance(only.observation.event, StateObserved)
    assert (only.observation.event.state, only.observation.event.reason) == RUNNING


async def test_an_observation_in_a_sweep_is_shown_as_that_vms_part(tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.vouch(DB, VmState.STOPPED)
    story.sweep({WEB: OFF, DB: PAUSED_BY_USER})
    story.plan()
    async with looking(story, tmp_path) as view:
        [only] = await commands(view)

    assert only.observation is not None
    assert isinstance(only.observation.event, StateObserved)
    assert (only.observation.index, only.observation.event.state) == (1, PAUSED_BY_USER[0])
    assert only.name is None


PAUSED_BY_USER = (3, 1)


@pytest.mark.parametrize(("text", "error"), [("zz", CommandNotFoundError), ("", CommandNotFoundError)])
async def test_a_command_that_is_not_there_is_not_found(tmp_path: Path, text: str, error: type[Exception]) -> None:
    async with looking(one_host(), tmp_path) as view:
        with pytest.raises(error, match="commands list"):
            await command(view, text)


async def test_an_id_that_two_commands_begin_with_is_refused(tmp_path: Path) -> None:
    story = Story()
    story.start()
    wanted = 20
    for number in range(wanted):
        story.vouch(vm(number), VmState.STOPPED)
    story.sweep({vm(number): RUNNING for number in range(wanted)})
    story.plan()
    async with looking(story, tmp_path) as view:
        firsts = [str(each.row.requested.command)[0] for each in await commands(view)]
        twice = next(first for first in firsts if firsts.count(first) > 1)
        with pytest.raises(AmbiguousNameError, match="stop commands begin with"):
            await command(view, twice)
