"""What is counted as out of the ordinary: each definition as a story."""

from pathlib import Path

import pytest

from es_power.domain.events import LifecycleEvent
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections.anomalies import Anomaly, anomalies
from es_power.projections.queries import look
from es_power.testing.facts import T0, vm
from tests.unit.projections.test_timeline import MIGRATED, PAUSED_MIGRATION, Timed
from tests.unit.story import DB, OFF, RUNNING, WEB

Told = tuple[str, str | None, float, float, int]


async def found(
    story: Timed, path: Path, *vms: str, since: float = 0, until: float = 100_000, tables: int | None = None
) -> list[Anomaly]:
    await story.write(path / "log.db", tables=tables)
    async with open_log(path / "log.db") as log:
        view, end = await look(log), Timestamp(T0 + int(until * SECOND))
        return await anomalies(view, vms or None, since=Timestamp(T0 + int(since * SECOND)), until=end, now=end)


def told(some: list[Anomaly]) -> list[Told]:
    return [
        (
            each.kind,
            " and ".join(each.hosts) if each.instance is None or len(each.hosts) > 1 else each.name,
            (each.since - T0) / SECOND,
            (each.until - T0) / SECOND,
            each.count,
        )
        for each in some
    ]


def named() -> Timed:
    story = Timed()
    story.name(WEB, "web-1")
    story.name(DB, "db-1")
    return story


@pytest.mark.parametrize("tables", [0, 11, None])
async def test_a_change_that_no_event_announced_is_a_missed_event(tmp_path: Path, tables: int | None) -> None:
    story = named()
    for n in range(2):
        story.at(600 * n).sweep({WEB: RUNNING, DB: OFF})
    finding = story.at(1200).sweep({WEB: OFF, DB: OFF})
    some = await found(story, tmp_path, tables=tables)

    assert told(some) == [("missed event", "web-1", 600, 1200, 1)]
    assert (some[0].hosts, some[0].instance, some[0].positions) == (("a",), WEB, (finding.position,))


async def test_what_changed_out_of_sight_is_told_apart(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).blind(100)
    story.at(200).seen_again()
    story.at(200).sweep({WEB: OFF})

    assert told(await found(story, tmp_path)) == [("unseen change", "web-1", 0, 200, 1)]


async def test_what_was_announced_first_seen_gone_or_back_is_nothing_out_of_the_ordinary(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: OFF})
    story.at(100).announce(WEB, 2, 0)
    story.at(100.1).observe(WEB, *RUNNING)
    story.at(200).announce(WEB, 5, 0)
    story.at(200.1).observe(WEB, None)
    story.at(900).observe(WEB, *OFF)

    assert await found(story, tmp_path) == []


async def test_one_that_ran_and_is_gone_or_runs_again_was_missed(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING})
    story.at(600).observe(WEB, None)
    story.at(900).observe(WEB, *RUNNING)

    assert told(await found(story, tmp_path)) == [
        ("missed event", "web-1", 0, 600, 1),
        ("missed event", "web-1", 600, 900, 1),
    ]


async def test_six_changes_in_ten_minutes_are_flapping_until_it_is_calm(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING, DB: RUNNING})
    for n in range(8):
        story.at(1000 + 100 * n).announce(WEB, *((5, 0) if n % 2 == 0 else (2, 0)))
    for n in range(5):
        story.at(2000 + 100 * n).announce(DB, *((5, 0) if n % 2 == 0 else (2, 0)))
    some = await found(story, tmp_path)

    assert told(some) == [("flapping", "web-1", 1000, 1700, 8)]
    assert len(some[0].positions) == 2


async def test_a_hundred_events_of_a_host_in_ten_seconds_are_a_storm(tmp_path: Path) -> None:
    story = named()
    for n in range(120):
        story.at(10 + n / 20).announce(vm(n + 10), 2, 0)
    for n in range(99):
        story.at(500 + n / 20).announce(vm(n + 10), 5, 0, "b")
    await story.write(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db") as log:
        view, end = await look(log), Timestamp(T0 + 1000 * SECOND)
        some = await anomalies(view, since=T0, until=end, now=end)
        of_one = await anomalies(view, [str(vm(10))], since=T0, until=end, now=end)

    assert told(some) == [("storm", "a", 10, 15.95, 120)]
    assert some[0].positions[1] - some[0].positions[0] == 119
    assert of_one == []


async def test_reports_that_were_refused_as_stale_are_counted_together(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING})
    for second in (100, 200, 5000):
        story.at(second).announce(WEB, 3, 0)
        story.at(second + 1).observe(WEB, *RUNNING, number=0)

    assert told(await found(story, tmp_path)) == [
        ("stale report", "web-1", 101, 201, 2),
        ("stale report", "web-1", 5001, 5001, 1),
    ]


async def test_two_hosts_that_show_it_on_are_a_conflict_and_a_migration_is_none(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING, DB: RUNNING})
    story.at(100).sweep({WEB: RUNNING}, "b")
    story.at(150).announce(WEB, 5, 0, "b")
    story.at(200).announce(DB, 2, 1, "b")
    story.at(200.1).observe(DB, *PAUSED_MIGRATION, "b")
    story.at(230).announce(DB, 4, 1, "b")
    story.at(230.1).announce(DB, *MIGRATED)
    some = await found(story, tmp_path)

    assert told(some) == [("conflict", "a and b", 100, 150, 1)]
    assert some[0].hosts == ("a", "b")


async def test_only_the_time_that_is_asked_for_counts(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING})
    story.at(600).sweep({WEB: OFF})
    story.at(1200).sweep({WEB: RUNNING})

    assert told(await found(story, tmp_path, since=700, until=1300)) == [("missed event", "web-1", 600, 1200, 1)]


async def test_an_imported_line_makes_no_anomaly(tmp_path: Path) -> None:
    story = named()
    story.at(0).sweep({WEB: RUNNING})
    for n in range(20):
        story.at(100 + n).qemu("destroyed" if n % 2 else None)

    assert await found(story, tmp_path) == []


async def test_times_that_run_backwards_are_counted_all_the_same(tmp_path: Path) -> None:
    story = Timed()
    for n in range(120):
        story.at(500 - n / 100).record(
            observer("a", "qemu"),
            LifecycleEvent(observed_at=story.now, instance=WEB, connection=1, number=n + 1, event=4, detail=0),
        )
    some = await found(story, tmp_path)

    assert [(each.kind, each.count, each.since <= each.until) for each in some] == [("storm", 120, True)]
