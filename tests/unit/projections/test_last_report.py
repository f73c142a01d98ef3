"""What a sync would have shown that takes the last report for true: the bugs of others, as stories."""

from pathlib import Path

import pytest

from es_power.domain.events import HostSwept
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.projections.queries import look
from es_power.projections.timeline import timeline
from es_power.testing.facts import T0
from tests.unit.projections.test_timeline import Timed
from tests.unit.story import OFF, RUNNING, WEB

Lane = list[tuple[str | None, float]]


async def both(story: Timed, path: Path, *, tables: int | None = None) -> tuple[Lane, Lane]:
    """What is known, and what such a sync would have shown: states, each with the second from which it holds."""
    await story.write(path / "log.db", tables=tables)
    end = Timestamp(T0 + 1000 * SECOND)
    async with open_log(path / "log.db") as log:
        view = await look(log)
        lanes = []
        for wins in (False, True):
            [found] = await timeline(view, [str(WEB)], since=T0, until=end, now=end, last_report_wins=wins)
            lanes.append([(each.state, (each.since - T0) / SECOND) for each in found.segments])
    return lanes[0], lanes[1]


@pytest.mark.parametrize("tables", [0, None])
async def test_a_report_that_was_overtaken_stops_a_running_vm(tmp_path: Path, tables: int | None) -> None:
    """CloudStack #14206: collected before the VM started, applied after."""
    story = Timed()
    story.name(WEB, "web-1")
    story.at(0).sweep({WEB: OFF})
    story.at(100).announce(WEB, 2, 0)
    story.at(101).observe(WEB, *OFF, number=0)
    story.at(200).observe(WEB, *RUNNING)

    known, naive = await both(story, tmp_path, tables=tables)

    assert known == [("SHUTDOWN", 0), ("RUNNING", 100)]
    assert naive == [("SHUTDOWN", 0), ("RUNNING", 100), ("SHUTDOWN", 101), ("RUNNING", 200)]


async def test_a_sweep_that_was_overtaken_does_so_too(tmp_path: Path) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    swept = story.at(0).sweep({WEB: OFF})
    assert isinstance(swept.event, HostSwept)
    story.at(100).announce(WEB, 2, 0)
    late = HostSwept(
        observed_at=story.at(101).now,
        asked_at=Timestamp(T0 + 99 * SECOND),
        inventory=swept.event.inventory,
        states=swept.event.states,
        connection=swept.event.connection,
        number=0,
    )
    story.record(observer("a", "qemu"), late)

    known, naive = await both(story, tmp_path)

    assert known == [("SHUTDOWN", 0), ("RUNNING", 100)]
    assert naive == [("SHUTDOWN", 0), ("RUNNING", 100), ("SHUTDOWN", 101)]


async def test_the_host_that_a_vm_has_left_stops_it(tmp_path: Path) -> None:
    """CloudStack #3741: the old host's report after a migration."""
    story = Timed()
    story.name(WEB, "web-1")
    story.at(0).sweep({WEB: RUNNING}, "a")
    story.at(100).announce(WEB, 2, 1, "b")
    story.at(101).announce(WEB, 4, 1, "b")
    story.at(101.5).announce(WEB, 5, 3, "a")
    story.at(102).observe(WEB, None, host="a")

    known, naive = await both(story, tmp_path)

    assert {state for state, _ in known} == {"RUNNING"}
    assert naive[-1] == (None, 102)


async def test_blind_time_shows_the_last_report(tmp_path: Path) -> None:
    story = Timed()
    story.name(WEB, "web-1")
    story.at(0).sweep({WEB: RUNNING})
    story.at(100).blind(100)
    story.at(200).seen_again()
    story.at(200).sweep({WEB: OFF})

    known, naive = await both(story, tmp_path)

    assert known == [("RUNNING", 0), ("UNKNOWN", 100), ("SHUTDOWN", 200)]
    assert naive == [("RUNNING", 0), ("SHUTDOWN", 200)]
