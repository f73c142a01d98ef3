"""Replay: what comes out again, what differs, what a rebuild may and may not do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.decisions import StopRequested
from es_power.domain.events import Position
from es_power.domain.policy import get_policy
from es_power.domain.states import VmState
from es_power.domain.streams import command
from es_power.errors import LogRewoundError, ReplayDivergedError, SealBrokenError
from es_power.log import open_log
from es_power.log.schema import HEAD, RECORDS
from es_power.projections.queries import look, status
from es_power.projections.store import Store
from es_power.projections.tables import HISTORY, POWER_STATE, STOP_COMMANDS
from es_power.replay import Replay, rebuild, replay, verify
from tests.unit.story import RUNNING, WEB, Story, one_host, track


async def replayed(place: Path, *, until: int | None = None, policy: str | None = None) -> Replay:
    async with open_log(place) as log:
        return await replay(
            log, until=None if until is None else Position(until), policy=get_policy(policy) if policy else None
        )


async def compared(place: Path) -> Sequence[ReplayDivergedError]:
    async with open_log(place) as log:
        return (await verify(log))[1]


async def damage(place: Path, statement: sa.Executable) -> None:
    async with open_log(place, mode="write") as log:
        with log.database.write() as connection:
            connection.execute(statement)


async def test_a_replay_counts_what_the_log_holds(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")

    assert (await replayed(place)).counts == {
        "records": 21,
        "events": 2,
        "observations": 12,
        "sweeps": 3,
        "gaps": 1,
        "commands": 1,
        "set_aside": 0,
    }


async def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    heard: list[Position] = []
    async with open_log(place) as log:
        await replay(log, progress=heard.append)

    assert heard[-1] == 21


async def test_two_replays_have_the_same_digests_and_another_end_has_others(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")

    assert (await replayed(place)).digests == (await replayed(place)).digests
    assert (await replayed(place)).digests != (await replayed(place, until=20)).digests
    assert (await replayed(place, until=20)).position == 20


async def test_an_empty_log_replays_to_nothing(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", mode="write"):
        pass

    assert (await replayed(tmp_path / "log.db")).position == 0
    assert await compared(tmp_path / "log.db") == []


async def test_a_replay_beyond_the_end_is_refused(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    with pytest.raises(LogRewoundError):
        await replayed(place, until=22)


# ------------------------------------------------------------------------------------------- what is not as written


async def test_a_record_that_was_changed_is_found_where_it_stands(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    await damage(place, sa.update(RECORDS).where(RECORDS.c.position == 9).values(recorded_at=1))
    with pytest.raises(SealBrokenError) as found:
        await replayed(place)

    assert found.value.position == 9


async def test_records_that_are_missing_at_the_end_are_found(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    await damage(place, sa.delete(RECORDS).where(RECORDS.c.position > 19))
    with pytest.raises(SealBrokenError) as found:
        await replayed(place)

    assert found.value.position == 20


async def test_an_end_that_was_cut_off_with_the_head_is_found_by_the_streams(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    await damage(place, sa.delete(RECORDS).where(RECORDS.c.position > 19))
    await damage(place, sa.update(HEAD).values(position=19))
    with pytest.raises(SealBrokenError, match="table of streams"):
        await replayed(place)


async def test_a_record_of_a_newer_version_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    from es_power.log.chain import link
    from es_power.log.schema import STREAMS

    place = await one_host().write(tmp_path / "log.db")
    async with open_log(place, mode="write") as log:
        with log.database.write() as connection:
            last = connection.execute(sa.select(RECORDS).where(RECORDS.c.position == 21)).one()
            before = connection.execute(
                sa.select(RECORDS.c.hash).where(RECORDS.c.stream == last.stream, RECORDS.c.version == last.version - 1)
            ).scalar_one()
            stream = connection.execute(sa.select(STREAMS).where(STREAMS.c.no == last.stream)).one()
            topic = "Prophesied:1"
            hashed = link(before, stream.id, last.version, 21, last.recorded_at, topic, last.state)
            connection.execute(sa.update(RECORDS).where(RECORDS.c.position == 21).values(topic=topic, hash=hashed))
            connection.execute(sa.update(STREAMS).where(STREAMS.c.no == last.stream).values(hash=hashed))

    result = await replayed(place)

    assert (result.position, result.counts["records"], result.counts["set_aside"]) == (21, 21, 1)
    assert "Prophesied" in result.models.fleet.quarantined[Position(21)].reason


# ------------------------------------------------------------------------------------------------- live and replayed


@pytest.mark.parametrize("tables", [0, 9, 17, None])
async def test_what_was_kept_live_is_what_a_replay_says(tmp_path: Path, tables: int | None) -> None:
    place = await one_host().write(tmp_path / "log.db", tables=tables)

    assert await compared(place) == []


@pytest.mark.parametrize(
    ("projection", "change"),
    [
        ("power_state", sa.update(POWER_STATE).values(since=1)),
        ("history", sa.update(HISTORY).where(HISTORY.c.position == 8).values(count=1)),
        ("stop_commands", sa.delete(STOP_COMMANDS)),
    ],
)
async def test_a_table_that_was_changed_differs(tmp_path: Path, projection: str, change: sa.Executable) -> None:
    place = await one_host().write(tmp_path / "log.db")
    await damage(place, change)

    assert [str(each) for each in await compared(place) if projection in str(each)] != []
    assert all(each.exit_code == 4 for each in await compared(place))


async def test_a_command_that_nothing_calls_for_differs(tmp_path: Path) -> None:
    story = one_host()
    planned = next(each.event for each in story.records if isinstance(each.event, StopRequested))
    story.record(command(WEB), replace(planned, command=WEB))
    place = await story.write(tmp_path / "log.db")
    [only] = await compared(place)

    assert (only.position, only.derived) == (22, "nothing there")


async def test_a_command_recorded_otherwise_than_it_is_derived_differs(tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.sweep({WEB: RUNNING})
    story.vouch(WEB, VmState.STOPPED)
    story.observe(WEB, *RUNNING)
    story.plan()
    planned = story.records.pop()
    assert isinstance(planned.event, StopRequested)
    story._versions.clear()
    story.record(planned.stream, replace(planned.event, reason="because I say so"))
    place = await story.write(tmp_path / "log.db")
    [only] = await compared(place)

    assert "because I say so" in only.recorded
    assert "It should be stopped" in only.derived


async def test_a_command_that_was_never_appended_differs_once_its_process_manager_went_on(tmp_path: Path) -> None:
    story, origin = owing()
    place = await story.write(tmp_path / "log.db")

    assert await compared(place) == []

    await track(place, origin)
    [only] = await compared(place)

    assert (only.position, only.recorded) == (origin, "nothing that follows")


def owing() -> tuple[Story, int]:
    """A log whose process manager died before it appended what follows from the record of that position."""
    story = Story()
    story.start()
    story.name(WEB, "web-1")
    story.sweep({WEB: RUNNING})
    story.vouch(WEB, VmState.STOPPED)
    origin = story.sweep({WEB: RUNNING}).position
    story.sweep({WEB: RUNNING})
    return story, origin


# ----------------------------------------------------------------------------------------------- what if, and rebuild


async def test_a_what_if_shows_what_another_policy_would_have_asked_for_and_how_it_ended(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    [only] = (await replayed(place, policy="nova-2026")).commands

    assert (only.requested.verb, only.requested.policy, only.state) == ("force_stop", "nova-2026", "Withdrawn")
    assert (await replayed(place, policy="follow")).commands == []


async def test_rebuilt_tables_are_those_of_the_replay(tmp_path: Path) -> None:
    place = await one_host().write(tmp_path / "log.db")
    await damage(place, sa.update(POWER_STATE).values(since=1))
    async with open_log(place, mode="write") as log:
        await rebuild(log)
        assert Store(log.database).checkpoint() == 21

    assert await compared(place) == []


async def test_a_rebuild_leaves_to_the_next_service_what_is_still_to_be_appended(tmp_path: Path) -> None:
    story, origin = owing()
    place = await story.write(tmp_path / "log.db", tables=0)
    async with open_log(place, mode="write") as log:
        await rebuild(log)

        assert Store(log.database).checkpoint() == origin - 1
        [web] = await status(await look(log), "web-1", now=story.now)

    assert web.row.position == len(story.records)


def test_the_library_has_the_names_it_promises() -> None:
    import es_power

    assert all(hasattr(es_power, name) for name in es_power.__all__)
    assert es_power.replay is replay
