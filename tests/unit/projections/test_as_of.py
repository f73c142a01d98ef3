"""What was true at one moment, by what was known at another."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_power.domain.events import Position
from es_power.domain.states import VmState
from es_power.domain.time import Timestamp
from es_power.errors import InstanceNotFoundError
from es_power.log import SqlLog, open_log
from es_power.log.schema import RECORDS
from es_power.projections import store
from es_power.projections.as_of import Moment, moment_at, moment_of, read_moment
from es_power.projections.gaps import gaps
from es_power.projections.narrative import Line, history
from es_power.projections.queries import Status, look, status
from tests.unit.night import Night, at, blind_night, ended, imported_night, started
from tests.unit.story import DB, RUNNING, WEB, Story, one_host

NOW = at("05:00")


async def asked(
    log: SqlLog, as_of: str | None = None, known_at: str | None = None, vm: str | None = "web-1"
) -> list[Status]:
    view = await look(
        log,
        as_of=await moment_at(log, at(as_of)) if as_of else None,
        known_at=await moment_at(log, at(known_at)) if known_at else None,
    )
    return await status(view, vm, now=NOW)


async def said(story: Story, path: Path, as_of: str | None = None, known_at: str | None = None) -> tuple[str, str]:
    await story.write(path / "log.db")
    async with open_log(path / "log.db") as log:
        [web] = await asked(log, as_of, known_at)
    return web.row.power_state, web.row.note


# ------------------------------------------------------------------------------------------------- two times


@pytest.mark.parametrize(
    ("story", "as_of", "known_at", "expected"),
    [
        (blind_night(), "03:13", "03:13", ("UNKNOWN", "blind: connection lost")),
        (blind_night(), "03:13", None, ("UNKNOWN", "blind: connection lost")),
        (imported_night(), "03:13", None, ("SHUTDOWN", "told by the imported qemu-log; blind: connection lost")),
        (imported_night(), "03:13", "03:13", ("UNKNOWN", "blind: connection lost")),
        (imported_night(), "03:13", "03:30", ("UNKNOWN", "blind: connection lost")),
        (imported_night(), "03:12", None, ("UNKNOWN", "blind: connection lost")),
        (imported_night(), "03:06", None, ("RUNNING", "")),
        (imported_night(), "03:21", None, ("SHUTDOWN", "")),
        (imported_night(), "02:00", None, ("RUNNING", "told by the imported qemu-log; not observed then")),
    ],
)
async def test_a_stop_that_nobody_saw_is_known_once_its_log_is_imported(
    tmp_path: Path, story: Night, as_of: str, known_at: str | None, expected: tuple[str, str]
) -> None:
    assert expected == await said(story, tmp_path, as_of, known_at)


@pytest.mark.parametrize(
    ("known_at", "expected"),
    [
        ("03:13", ("RUNNING", "")),
        ("03:20", ("UNKNOWN", "blind: crash")),
        (None, ("SHUTDOWN", "told by the imported qemu-log; blind: crash")),
    ],
)
async def test_that_nobody_looked_is_known_only_after_the_crash(
    tmp_path: Path, known_at: str | None, expected: tuple[str, str]
) -> None:
    assert expected == await said(imported_night(crash=True), tmp_path, "03:13", known_at)


@pytest.mark.parametrize(
    ("as_of", "known_at", "expected"),
    [
        ("03:12:07.405", None, "SHUTDOWN"),
        ("03:12:07.405", "03:12:07.405", "RUNNING"),
        ("03:12:07.401", None, "RUNNING"),
        ("03:12:07.410", "03:12:07.410", "SHUTDOWN"),
    ],
)
async def test_an_event_that_was_recorded_a_little_late_was_true_when_it_came(
    tmp_path: Path, as_of: str, known_at: str | None, expected: str
) -> None:
    night = Night()
    night.start()
    night.name(WEB, "web-1")
    night.sweep({WEB: RUNNING})
    night.clock = at("03:12:07.410")
    night.late(night.announce(WEB, 5, 0), at("03:12:07.402"))

    assert (await said(night, tmp_path, as_of, known_at))[0] == expected


async def test_what_was_known_at_a_time_is_aged_to_the_time_that_is_asked_for(tmp_path: Path) -> None:
    night = blind_night()
    await night.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        [soon] = await asked(log, "03:09", "03:06")
        [late] = await asked(log, "03:26", "03:06")

    assert (soon.row.power_state, late.row.power_state, late.row.note) == (
        "RUNNING",
        "UNKNOWN",
        "not seen for two spacings",
    )


async def test_what_was_known_at_a_time_is_of_that_time_unless_told_otherwise(tmp_path: Path) -> None:
    assert await said(imported_night(), tmp_path, None, "03:06") == ("RUNNING", "")


async def test_as_of_a_position_is_what_the_log_knew_there(tmp_path: Path) -> None:
    night = imported_night()
    await night.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        gap = await moment_of(log, Position(7))
        [there] = await status(await look(log, as_of=gap), "web-1", now=NOW)
        head = await moment_of(log, await log.head())
        [since] = await status(await look(log, as_of=gap, known_at=head), "web-1", now=NOW)

    assert (gap.at, there.row.note) == (at("03:10"), "blind: connection lost")
    assert (since.row.power_state, since.row.note) == ("UNKNOWN", "blind: connection lost")


async def test_an_older_line_tells_nothing_against_what_we_saw_later(tmp_path: Path) -> None:
    night = blind_night()
    night.told(ended(night, at("03:04")))

    assert await said(night, tmp_path, "03:13") == ("UNKNOWN", "blind: connection lost")


async def test_of_a_vm_that_went_elsewhere_its_log_tells_no_state(tmp_path: Path) -> None:
    night = blind_night()
    night.told(ended(night, at("03:12"), "migrated"))

    assert await said(night, tmp_path, "03:13") == ("UNKNOWN", "blind: connection lost")


async def test_what_a_person_vouches_for_stays_where_a_log_tells_the_state(tmp_path: Path) -> None:
    night = Night()
    night.vouch(WEB, VmState.ACTIVE)
    night.start()
    night.name(WEB, "web-1")
    night.sweep({WEB: RUNNING})
    night.clock = at("03:10")
    night.gap()
    night.clock = at("04:00")
    night.told(ended(night, at("03:12")))
    await night.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        [web] = await asked(log, "03:13")

    assert (web.row.power_state, web.row.vm_state, web.row.policy) == ("SHUTDOWN", VmState.ACTIVE, "nova-2013")


# ------------------------------------------------------------------------------------------------- who is meant


async def test_a_vm_that_only_a_log_tells_of_has_the_name_that_it_has_now_or_there(tmp_path: Path) -> None:
    night = imported_night()
    night.told(replace(started(night, at("01:30")), instance=DB), name="db-1")
    await night.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        rows = await asked(log, "02:00", vm=None)
        [by_name] = await asked(log, "02:00", vm="db-1")
        [by_uuid] = await asked(log, "02:00", vm=str(DB))
        with pytest.raises(InstanceNotFoundError, match="nothing is known of 'web-1' as of then"):
            await asked(log, "00:30")
        with pytest.raises(InstanceNotFoundError, match="no VM 'web-2' is known"):
            await asked(log, "02:00", "03:10", vm="web-2")

    assert [(row.name, row.row.power_state, row.row.host) for row in rows] == [
        ("db-1", "RUNNING", "a"),
        ("web-1", "RUNNING", "a"),
    ]
    assert rows[:1] == [by_name] == [by_uuid]


# -------------------------------------------------------------------------------------------------- moments


async def test_a_moment_is_a_position_or_a_time(tmp_path: Path) -> None:
    night = imported_night()
    await night.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        assert await read_moment(log, "7", now=NOW, zone=None) == Moment(
            position=Position(7), at=at("03:10"), by_position=True
        )
        assert await read_moment(log, "-110min", now=NOW, zone=None) == Moment(position=Position(7), at=at("03:10"))
        assert (await read_moment(log, "0", now=NOW, zone=None)).position == 0
        for text in ("999", "9" * 30_000):
            with pytest.raises(ValueError, match="the log ends at position 11"):
                await read_moment(log, text, now=NOW, zone=None)
        with pytest.raises(ValueError, match="is no time"):
            await read_moment(log, "noon", now=NOW, zone=None)


async def test_a_moment_of_a_record_that_cannot_be_read_has_the_time_before_it(tmp_path: Path) -> None:
    await imported_night().write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with log.database.write() as connection:
            connection.execute(sa.update(RECORDS).where(RECORDS.c.position == 7).values(topic="Nothing:1"))

        assert (await moment_of(log, Position(7))).at == at("03:05")


# ---------------------------------------------------------------------------------------- what helps to be fast


async def test_a_fold_begins_at_a_snapshot_and_checks_the_hashes_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EVERY", 8)
    story = one_host()
    await story.write(tmp_path / "log.db", tables=9)
    async with open_log(tmp_path / "log.db", mode="write") as log:
        soon = story.records[11].recorded_at
        before = await status(await look(log, until=Position(12)), now=soon, everything=True)
        with log.database.write() as connection:
            connection.execute(sa.update(RECORDS).where(RECORDS.c.position < 6).values(topic="Nothing:1"))
        after = await look(log, as_of=await moment_of(log, Position(12)))

        assert before == await status(after, now=NOW, everything=True)


# ------------------------------------------------------------------------------------------------------ history


async def told(log: SqlLog, as_of: str | None = None, known_at: str | None = None) -> list[tuple[str, int, Timestamp]]:
    view = await look(
        log,
        as_of=await moment_at(log, at(as_of)) if as_of else None,
        known_at=await moment_at(log, at(known_at)) if known_at else None,
    )
    lines = await history(view, "web-1")
    return [(line.entry.kind, line.entry.count, line.entry.last_observed_at) for line in lines]


@pytest.mark.parametrize("tables", [0, 9, None])
async def test_a_history_as_of_a_time_has_what_is_known_of_it_now(tmp_path: Path, tables: int | None) -> None:
    await imported_night(crash=True).write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        assert await told(log, "03:13", "03:13") == [("StateObserved", 1, at("03:05"))]
        assert await told(log, "03:13", "03:30") == [
            ("StateObserved", 1, at("03:05")),
            ("GapOpened", 1, at("03:20")),
        ]
        assert await told(log, "03:13") == [
            ("QemuStarted", 1, at("01:00")),
            ("StateObserved", 1, at("03:05")),
            ("QemuEnded", 1, at("03:12:07")),
            ("GapOpened", 1, at("03:20")),
        ]
        assert await told(log, "02:00") == [("QemuStarted", 1, at("01:00"))]


@pytest.mark.parametrize("tables", [12, None])
async def test_a_history_known_at_a_position_is_what_it_was_there(tmp_path: Path, tables: int | None) -> None:
    story = one_host()
    await story.write(tmp_path / "log.db", tables=tables)
    async with open_log(tmp_path / "log.db") as log:
        for position in range(8, len(story.records) + 1):
            was = await look(log, until=Position(position))
            now = await look(log, known_at=await moment_of(log, Position(position)))
            for opened in (False, True):
                before = await history(was, "web-1", opened=opened)
                after = await history(now, "web-1", opened=opened)

                assert shown(before) == shown(after)


def shown(lines: list[Line]) -> list[tuple[object, ...]]:
    """All that is said of lines; whether a run goes on is not."""
    return [(replace(line.entry, open=False, sweeps=None), line.event, line.host, line.is_run) for line in lines]


async def test_gaps_and_commands_known_at_a_position_are_what_they_were_there(tmp_path: Path) -> None:
    story = one_host()
    story.seen_again()
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        for position in range(1, len(story.records) + 1):
            was = await look(log, until=Position(position))
            now = await look(log, known_at=await moment_of(log, Position(position)), present=await look(log))

            assert await gaps(was) == await gaps(now)
            assert was.models.commands.rows == now.models.commands.rows


async def test_a_gap_is_one_of_the_time_since_when_nobody_saw(tmp_path: Path) -> None:
    await blind_night(crash=True).write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        now = await look(log, as_of=await moment_at(log, at("03:13")))
        then = await look(log, as_of=await moment_at(log, at("03:13")), known_at=await moment_at(log, at("03:13")))

        assert [(gap.since, gap.until) for gap in await gaps(now)] == [(at("03:10"), None)]
        assert await gaps(then) == []
