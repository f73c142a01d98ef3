"""Where a hypervisor shows something else than the log's last word."""

from pathlib import Path

import pytest

from es_power.domain.streams import observer
from es_power.log import open_log
from es_power.projections.drift import DriftKind, Shown, drift
from es_power.projections.queries import look
from es_power.testing.facts import vm
from tests.unit.story import DB, OFF, OLD, RUNNING, WEB, Story

A = observer("a", "qemu")


def shown(number: int, state: int, reason: int = 1) -> Shown:
    return Shown(instance=vm(number), name=f"vm-{number}", state=state, reason=reason)


async def drifted(story: Story, path: Path, *what: Shown, stream: str = A) -> list[tuple[str | None, DriftKind, str]]:
    await story.write(path / "log.db")
    async with open_log(path / "log.db") as log:
        found = await drift(await look(log), stream, what)
    return [(each.name, each.kind, each.note) for each in found]


def running() -> Story:
    story = Story()
    story.start()
    story.name(WEB, "web-1")
    story.name(DB, "db-1")
    story.sweep({WEB: RUNNING, DB: OFF})
    return story


async def test_what_is_as_the_log_says_is_no_drift(tmp_path: Path) -> None:
    assert await drifted(running(), tmp_path, shown(1, 1), shown(2, 5)) == []


async def test_a_gap_alone_is_no_drift(tmp_path: Path) -> None:
    story = running()
    story.gap()

    assert await drifted(story, tmp_path, shown(1, 1), shown(2, 5)) == []


async def test_vms_that_are_unknown_missing_or_in_another_state_drift(tmp_path: Path) -> None:
    story = running()
    story.gap()

    assert await drifted(story, tmp_path, shown(1, 5), shown(3, 1)) == [
        ("db-1", DriftKind.MISSING, "blind: connection lost"),
        ("vm-1", DriftKind.STATE, "blind: connection lost"),
        ("vm-3", DriftKind.UNKNOWN, "blind: connection lost"),
    ]


async def test_one_that_is_gone_is_not_missed_and_is_unknown_where_it_is_shown(tmp_path: Path) -> None:
    story = running()
    story.observe(OLD, None)

    assert await drifted(story, tmp_path, shown(1, 1), shown(2, 5)) == []
    assert await drifted(story, tmp_path / "again", shown(1, 1), shown(2, 5), shown(3, 5)) == [
        ("vm-3", DriftKind.UNKNOWN, "")
    ]


@pytest.mark.parametrize(("state", "expected"), [(99, 0), (1, 1)])
async def test_a_state_that_we_do_not_know_is_compared_as_it_came(tmp_path: Path, state: int, expected: int) -> None:
    story = running()
    story.observe(WEB, 99, 0)

    assert len(await drifted(story, tmp_path, shown(1, state), shown(2, 5))) == expected


async def test_of_a_host_that_the_log_does_not_know_all_is_unknown(tmp_path: Path) -> None:
    assert await drifted(running(), tmp_path, shown(1, 1), stream=observer("b", "qemu")) == [
        ("vm-1", DriftKind.UNKNOWN, "the log has nothing of this host")
    ]
