"""The frame itself: counts, lines of results, and the page that is made of them."""

import json
import runpy
from pathlib import Path

import pytest

from tests.torture import frame
from tests.torture.frame import CHECKOUT, FAULTS, RESULTS, SEED, TIER


def line(**other: object) -> str:
    values = {"fault": "kills", "date": "2026-11-26T09:00:00Z", "machine": "a machine", "commit": "abc", "seconds": 10}
    counts = {"tried": 4_000, "held": 4_000, "promised": 10_000, "seed": 1, "control": "a control", "detail": ""}
    return json.dumps({**values, **counts, **other}) + "\n"


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch):
    """The row of the kills on a page of these results."""
    monkeypatch.syspath_prepend(CHECKOUT / "scripts")
    page = runpy.run_path(str(CHECKOUT / "scripts" / "reliability.py"))["page"]

    def row(*results: str) -> list[str]:
        [found] = [each for each in page("".join(results)).splitlines() if each.startswith("| kill -9")]
        return [cell.strip() for cell in found.strip("|").split("|")]

    row.page = page
    return row


@pytest.mark.parametrize(
    ("wanted", "counts"),
    [
        ({}, (40, 0)),
        ({TIER: "full"}, (10_000, 1)),
        ({TIER: "500"}, (500, 1)),
        ({TIER: "0.1"}, (1_000, 1)),
        ({TIER: "1.0"}, (10_000, 1)),
        ({TIER: "20000"}, (10_000, 1)),
    ],
)
def test_a_tier_says_how_many_of_each_are_tried(wanted: dict[str, str], counts: tuple[int, int]) -> None:
    tier = frame.Tier.of(wanted)

    assert (tier.count(40, 10_000), tier.count(0, 1)) == counts


def test_a_tier_that_makes_no_sense_ends_the_run() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        frame.Tier.of({TIER: "all"})


def test_the_quick_tier_draws_the_same_every_time_and_the_full_one_never() -> None:
    assert frame.bench({}).seed == frame.bench({}).seed == 0
    assert frame.bench({TIER: "full"}).seed != frame.bench({TIER: "full"}).seed
    assert frame.bench({TIER: "full", SEED: "7"}).seed == 7


def test_a_fault_that_is_not_tried_quickly_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="make torture"):
        frame.bench({}).count(0, 1)


def test_what_was_seen_is_a_line_also_where_it_did_not_hold(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    bench = frame.bench({TIER: "20", RESULTS: str(results)})
    count = bench.count(40, 10_000)
    bench.report("kills", tried=count, held=20, control="a broken one: 3 of 5 lost")
    with pytest.raises(AssertionError, match="1 of 20 did not hold"):
        bench.report("kills", tried=count, held=19, control="a broken one: 3 of 5 lost")
    first, second = map(json.loads, results.read_text().splitlines())

    assert (first["fault"], first["tried"], first["held"], first["promised"]) == ("kills", 20, 20, 10_000)
    assert first["machine"]
    assert first["commit"]
    assert second["held"] == 19


def test_a_test_tries_what_is_promised_and_has_its_positive_control() -> None:
    bench = frame.bench({})
    bench.count(4, 10)

    with pytest.raises(AssertionError, match=r"faults\.toml promises \(40, 10000\) of kills"):
        bench.report("kills", tried=4, held=4, control="a control")
    bench.count(40, 10_000)
    with pytest.raises(AssertionError, match="which broken variant"):
        bench.report("kills", tried=4, held=4, control="")
    with pytest.raises(AssertionError, match="0 of 0"):
        bench.report("kills", tried=0, held=0, control="a control")
    bench.report("kills", tried=4, held=4, control="a control")


def test_the_page_says_what_was_promised_before_anything_was_seen(row) -> None:
    promise = FAULTS["kills"]

    assert row() == [promise["fault"], promise["holds"], "40", "- of 10,000", "-", "-", "10,000"]


def test_the_page_adds_up_what_was_seen_and_says_what_is_owed(row) -> None:
    seen = row(line(), line(fault="power_cuts"), line(date="2026-11-27T09:00:00Z", commit="def", control="another"))

    assert seen[3:] == [
        "8,000 of 10,000",
        "2026-11-27 at `def` on A<br>2 runs, 20 s in all",
        "another",
        "2,000",
    ]
    assert row(line(tried=10_000, held=10_000))[-1] == "nothing"


def test_what_did_not_hold_stays_on_the_page_and_starts_the_count_anew(row) -> None:
    bad = line(held=3_999, note="what was wrong")
    page = row.page(line() + bad)

    assert row(line(), bad)[3:] == ["- of 10,000", "-", "-", "10,000"]
    assert row(line(), bad, line())[3] == "4,000 of 10,000"
    assert "- 2026-11-26 at `abc`, kills, seed 1: 1 of 4,000: what was wrong" in page


def test_cases_that_are_the_same_in_every_run_do_not_add_up(row) -> None:
    two = [line(fault="bits", tried=300, held=300, promised=800)] * 2
    [bits] = [
        each
        for each in row.page("".join(two)).splitlines()
        if each.startswith("| single bits of a log of 1,000 events |")
    ]

    assert "| 300 of 800 |" in bits
    assert bits.endswith("| 500 |")
