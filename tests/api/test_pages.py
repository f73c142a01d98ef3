"""Long lists, read page by page: nothing is left out, and a cursor that was not made here is refused."""

from pathlib import Path
from typing import Final

import pytest

from es_power.api.pages import cursor
from es_power.domain.events import START, InstanceId
from es_power.domain.time import SECOND, Timestamp, rfc3339
from es_power.testing.facts import T0, vm
from tests.api.house import Running, running
from tests.api.test_answers import follow_pages, get, items
from tests.unit.story import OFF, RUNNING, Story

SPAN: Final = f"since={rfc3339(T0)}"


async def test_all_that_one_sweep_found_of_several_vms_is_listed_over_pages(tmp_path: Path) -> None:
    several: list[InstanceId] = [vm(number) for number in range(1, 6)]
    story = Story()
    story.start()
    for state in (RUNNING, OFF):
        story.sweep(dict.fromkeys(several, state))
    await story.write(tmp_path / "log.db")
    async with running(tmp_path / "log.db", now=Timestamp(T0 + 60 * SECOND)) as api:
        whole = await items(api, f"/v1/anomalies?{SPAN}")

        pages = await follow_pages(api, f"/v1/anomalies?{SPAN}&limit=2")

    assert {(row["kind"], row["instance"]) for row in whole} == {("missed event", str(each)) for each in several}
    assert [row for page in pages for row in page] == whole
    assert [len(page) for page in pages] == [2, 2, 1]


PLACES: Final = ("/v1/vms/web-1/history?", "/v1/marks?since=2026-11-22T00:00:00Z&")


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("place", [2**63, -(2**63) - 1, 10**40])
async def test_a_place_that_no_log_reaches_is_a_bad_cursor(api: Running, path: str, place: int) -> None:
    for key in ((place, 0), (START, place)):
        answer = await get(api, f"{path}cursor={cursor(key)}")

        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/bad-cursor")


@pytest.mark.parametrize("path", PLACES)
async def test_the_last_place_of_all_is_a_cursor(api: Running, path: str) -> None:
    for place in (2**63 - 1, -(2**63)):
        assert (await get(api, f"{path}cursor={cursor((place, place))}")).status_code == 200
