"""Timelines, uptimes and anomalies as a new user asks for them: on the log that the demo makes."""

import csv
import io
import json
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from tests.acceptance.program import PROGRAM, Done, Machine


@pytest.fixture(scope="module")
def es_power(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with the demo's log."""
    machine = Machine(tmp_path_factory.mktemp("home"))
    assert machine("demo", "--duration", "3", "--vms", "8", "--log", "log.db").code == 0
    return machine


def rows(done: Done) -> list[dict[str, object]]:
    assert (done.code, done.complaints) == (0, [])
    found: list[dict[str, object]] = json.loads(done.out)
    return found


@pytest.fixture(scope="module")
def span(es_power: Machine) -> tuple[str, ...]:
    """All of the demo, whenever that was."""
    [known] = rows(es_power("log", "info", "--log", "log.db", "-o", "json"))
    times = ("-S", known["first_recorded_at"], "-U", known["last_recorded_at"])
    return (*map(str, times), "--log", f"{es_power.home}/log.db")


def test_the_demo_is_drawn_with_its_blind_time_as_unknown(es_power: Machine, span: tuple[str, ...]) -> None:
    done = es_power("timeline", *span)
    lines = done.out.splitlines()

    assert (done.code, done.complaints) == (0, [])
    assert {"demo-1", "demo-8", "test"} <= {line.split()[0] for line in lines[:9]}
    assert all("░" in line for line in lines[:9])
    assert "█ running" in lines[-1]
    assert "░ unknown" in lines[-1]


def test_what_is_summed_up_is_what_is_drawn(es_power: Machine, span: tuple[str, ...]) -> None:
    lengths: dict[object, dict[object, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows(es_power("timeline", *span, "-o", "json")):
        lengths[row["name"]][row["power_state"]] += float(str(row["seconds"]))
    table = list(csv.DictReader(io.StringIO(es_power("uptime", *span, "-o", "csv").out)))

    assert {row["name"] for row in table} == set(lengths)
    for row in table:
        told = lengths[row["name"]]
        assert float(row["known_up_s"]) == pytest.approx(told["RUNNING"])
        assert float(row["unknown_s"]) == pytest.approx(told["UNKNOWN"])
        assert float(row["existed_s"]) == pytest.approx(sum(told.values()) - told[None])
        assert 0 <= float(row["availability_min"]) <= float(row["availability_max"]) <= 1


def test_what_changed_while_the_wire_was_cut_lies_across_the_gap(es_power: Machine) -> None:
    found = rows(es_power("anomalies", "--log", "log.db", "-o", "json"))
    [gap] = rows(es_power("gaps", "--log", "log.db", "-o", "json"))

    for row in found:
        if row["kind"] == "unseen change":
            assert str(row["since"]) <= str(gap["since"]) < str(gap["until"]) <= str(row["until"])
            assert (row["count"], row["host"]) == (1, gap["host"])


def test_a_stream_without_the_shades_gets_signs_that_it_has(es_power: Machine, span: tuple[str, ...]) -> None:
    done = es_power.shell(f"PYTHONIOENCODING=ascii {shlex.join((*PROGRAM, 'timeline', *span))}")

    assert (done.code, done.complaints) == (0, [])
    assert done.out.isascii()
    assert "# running" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("timeline", "-S", "-1h", "-U", "-2h"), 2, "it ends before it begins"),
        (("uptime", "--month", "2026-13"), 2, "is no month"),
        (("anomalies", "demo-99"), 3, "'demo-99'"),
    ],
)
def test_what_makes_no_sense_is_one_line(es_power: Machine, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = es_power(*arguments, "--log", Path("log.db"))

    assert (done.code, done.out, len(done.complaints)) == (code, "", 1)
    assert words in done.complaints[0]
