"""What `es-power why` prints, and what its rows say of each cause."""

import csv
import io
import json
from pathlib import Path

import pytest
import trio

from es_power.answers.why import EVIDENCE, WHY, why_row
from es_power.domain.cause_table import Cause
from es_power.domain.causes import judge
from es_power.domain.events import Position
from es_power.domain.libvirt_numbers import STOPPED
from es_power.domain.states import PowerState
from es_power.domain.time import rfc3339
from es_power.output import Format, write
from es_power.projections.why import Why
from es_power.testing.facts import T0
from tests.unit.cli.conftest import Ask
from tests.unit.domain.cases import WEB as THEIRS, gap
from tests.unit.domain.test_causes import ALL, KILLED, _case
from tests.unit.story import RUNNING, WEB, Story

KEYS = {
    *("instance", "name", "host", "cause", "confidence", "sentence", "at", "not_before", "from_state", "to_state"),
    *("actor", "request_id", "pid", "process", "signal", "out_of_band", "power_state", "position", "evidence", "notes"),
    "next",
}


def test_why_has_the_keys_that_machines_rely_on(ask: Ask) -> None:
    [row] = ask("why", "web-1", "-o", "json").rows

    assert row.keys() == KEYS
    assert (row["instance"], row["name"], row["host"]) == (str(WEB), "web-1", "a")
    assert (row["cause"], row["confidence"], row["out_of_band"]) == ("Destroyed", "medium", True)
    assert (row["from_state"], row["to_state"], row["power_state"]) == ("RUNNING", "SHUTDOWN", "SHUTDOWN")
    assert row["at"].endswith("Z")
    first = row["evidence"][0]
    assert first.keys() >= {"weight", "kind", "at", "until", "position", "index", "host", "what", "event", "said"}
    assert (first["weight"], first["what"], first["said"]["detail"]) == ("+", "event STOPPED (DESTROYED)", "DESTROYED")
    # What libvirt answered then says otherwise, and two things are missing.
    assert [each["position"] for each in row["evidence"] if each["weight"] == "-"] == [19, None, None]


def test_a_table_is_a_verdict_its_evidence_and_what_to_type_next(ask: Ask) -> None:
    lines = ask("why", "web-1", "--utc").out.splitlines()

    assert lines[0] == "web-1: Destroyed, confidence medium"
    assert lines[1].startswith("RUNNING -> SHUTDOWN at 2027-01-15 08:00:")
    assert " UTC on a. Somebody had libvirt end it" in lines[1]
    assert lines[3].startswith("EVIDENCE")
    assert lines[4].split() == ["WEIGHT", "AT", "(UTC)", "POSITION", "HOST", "WHAT"]
    assert [line[0] for line in lines[5:9]] == ["+", "-", "-", "-"]
    assert "NEXT" in lines
    assert f"es-power history {WEB}" in lines[-1]


def test_csv_yaml_and_json_lines_have_it_too(ask: Ask) -> None:
    [row] = csv.DictReader(io.StringIO(ask("why", "web-1", "-o", "csv").out))
    line = json.loads(ask("why", "web-1", "-o", "jsonl").out)

    assert row.keys() >= KEYS
    assert json.loads(row["evidence"]) == line["evidence"]
    assert ask("why", "web-1", "-o", "yaml").out.startswith('- instance: "')


def test_as_of_a_time_or_a_position_is_why_it_was_so_then(ask: Ask) -> None:
    [then] = ask("why", "web-1", "--as-of", "9", "-o", "json").rows
    [same] = ask("why", "web-1", "--as-of", rfc3339(T0)[:17] + "08.5Z", "-o", "json").rows

    assert (then["cause"], then["to_state"], then["position"]) == ("Unknown", "RUNNING", 9)
    assert (same["cause"], same["to_state"]) == ("Unknown", "RUNNING")
    assert then["power_state"] is None, "what came later was not known there"


def test_before_anything_was_known_it_says_so(ask: Ask) -> None:
    [row] = ask("why", "web-1", "--as-of", "2020-01-01", "-o", "json").rows

    assert (row["cause"], row["confidence"], row["evidence"], row["at"]) == ("Unknown", "low", [], None)
    out = ask("why", "web-1", "--as-of", "2020-01-01").out
    assert out.endswith(": Nothing is known of its state at that moment.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("no-such-vm",), 3, "no VM 'no-such-vm' is known"),
        (("web-1", "--as-of", "soon"), 2, "'soon' is no time"),
        (("web-1", "--as-of", "99999"), 2, "the log ends at position"),
        ((), 2, "Missing argument 'VM'"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(ask: Ask, arguments: tuple[str, ...], code: int, words: str) -> None:
    answer = ask("why", *arguments)

    assert answer.code == code
    assert words in answer.err
    assert answer.out == ""
    assert answer.err.count("\n") == 1


def test_a_hostile_name_stays_text_and_is_in_no_command_to_paste(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "$(reboot)\x1b[31m\u202e<b>" + "x" * 100_000
    story = Story()
    story.start()
    story.name(WEB, name)
    story.sweep({WEB: RUNNING})
    story.announce(WEB, STOPPED, 5)
    trio.run(story.write, tmp_path / "hostile.db")
    monkeypatch.setenv("ES_POWER_LOG", str(tmp_path / "hostile.db"))
    out = ask("why", str(WEB), "--utc").out
    [row] = ask("why", str(WEB), "-o", "json").rows

    assert out.startswith(r"$(reboot)\x1b[31m\u202e<b>xxx")
    assert len(out.splitlines()[0]) < 120
    assert row["cause"] == "QemuFailed"
    assert not any("reboot" in line for line in row["next"])


# --------------------------------------------------------------------------------------------------- every cause


def answer(name: str) -> Why:
    verdict = judge(ALL[name][0]())
    return Why(instance=THEIRS, name="web-1", host="a", verdict=verdict, now=PowerState.RUNNING, position=Position(99))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", Format)
def test_every_cause_can_be_told_in_every_format(name: str, form: Format) -> None:
    row, out = why_row(answer(name)), io.StringIO()
    write([row], WHY, form, out)
    write(row["evidence"], EVIDENCE, form, out)  # type: ignore[arg-type]

    assert row.keys() == KEYS
    assert str(row["cause"]) in out.getvalue()
    assert isinstance(row["sentence"], str)
    assert row["sentence"].endswith(".")


def test_each_cause_says_what_to_look_at_next() -> None:
    first = {str(why_row(answer(name))["cause"]): why_row(answer(name))["next"][0].split()[0] for name in ALL}  # type: ignore[index]

    assert first.keys() == {str(cause) for cause in Cause}
    assert set(first.values()) <= {"journalctl", "es-power", "virsh", "openstack"}


def test_a_killer_is_in_the_sentence_and_in_the_command_to_type() -> None:
    named, nameless = (
        why_row(answer("a process that kills qemu")),
        why_row(answer("one that was gone before it was named")),
    )

    assert "process 4711 (bash) on the host ended qemu with signal 15" in str(named["sentence"])
    assert "process 4711 (which was gone" in str(nameless["sentence"])
    assert str(named["next"]).startswith('[\'journalctl _PID=4711 --since "2027-01-15 07:59:00 UTC"')


def test_a_gap_says_how_long_it_was() -> None:
    for until, words in ((0.5, "nobody saw the host (connection lost), 1.0 s"), (None, "connection lost), still")):
        verdict = judge(_case(*KILLED, blind=[gap(-0.5, until)])())
        why = Why(instance=THEIRS, name=None, host="a", verdict=verdict, now=None, position=Position(9))
        assert words in str(why_row(why)["evidence"])
