"""What timeline and uptime print, and what is refused."""

import csv
import io
from pathlib import Path

import pytest
import trio

from es_power.cli.drawing import Drawing
from es_power.domain.time import SECOND, Timestamp, rfc3339, timestamp
from es_power.ingest import clock
from es_power.output import Format
from es_power.projections.spans import Segment
from es_power.projections.timeline import Timeline
from es_power.testing.facts import T0, vm
from tests.unit.cli.conftest import Ask
from tests.unit.story import DB, RUNNING, WEB, Story

DAY = rfc3339(T0)[:10]
SINCE, UNTIL = ("-S", rfc3339(T0)), ("-U", rfc3339(Timestamp(T0 + 20 * SECOND)))


@pytest.fixture(autouse=True)
def _it_is_a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time_ns", lambda: T0 + 60 * SECOND)


# ---------------------------------------------------------------------------------------------------- timeline


def test_a_timeline_for_machines_has_the_keys_that_they_rely_on(ask: Ask) -> None:
    rows = ask("timeline", *SINCE, *UNTIL, "web-1", "-o", "json").rows

    assert [(row["power_state"], row["seconds"], row["why_unknown"]) for row in rows] == [
        (None, 7.0, None),
        ("RUNNING", 10.0, None),
        ("SHUTDOWN", 3.0, None),
    ]
    assert rows[1] == {
        "instance": str(WEB),
        "name": "web-1",
        "since": rfc3339(Timestamp(T0 + 7 * SECOND)),
        "until": rfc3339(Timestamp(T0 + 17 * SECOND)),
        "power_state": "RUNNING",
        "why_unknown": None,
        "host": "a",
        "source": "live",
        "position": 8,
        "seconds": 10.0,
        "shares": {},
    }


@pytest.mark.parametrize("output", Format)
def test_every_output_tells_of_all_vms_once(ask: Ask, output: Format) -> None:
    out = ask("timeline", *SINCE, *UNTIL, "-o", output).out

    assert [out.count(name) > 0 for name in ("web-1", "db-1", "old-1")] == [True] * 3
    if output is Format.CSV:
        assert len(list(csv.DictReader(io.StringIO(out)))) == len(ask("timeline", *SINCE, *UNTIL, "-o", "json").rows)


def test_lanes_are_drawn_with_an_axis_and_what_the_signs_mean(ask: Ask) -> None:
    lines = ask("timeline", *SINCE, *UNTIL, "--utc").out.splitlines()

    assert [line.split(" ")[0] for line in lines[:3]] == ["db-1", "old-1", "web-1"]
    assert [len(line) for line in lines[:3]] == [100, 72, 100]
    assert lines[0].lstrip("db-1 ").strip("█") == "·" * lines[0].count("·")
    assert lines[4].split()[0] == rfc3339(T0)[11:19]
    assert lines[5] == f"{DAY} {rfc3339(T0)[11:19]} to {DAY} {UNTIL[1][11:19]} UTC"
    assert lines[6] == "█ running  · off  blank: not there"


def test_buckets_bound_what_is_told_of_each_vm(ask: Ask) -> None:
    rows = ask("timeline", *SINCE, *UNTIL, "web-1", "--buckets", "2", "-o", "json").rows

    assert [(row["power_state"], row["shares"]) for row in rows] == [
        ("MIXED", {"NONE": 7.0, "RUNNING": 3.0}),
        ("MIXED", {"RUNNING": 7.0, "SHUTDOWN": 3.0}),
    ]


def test_what_was_known_at_a_time_ends_there(ask: Ask) -> None:
    rows = ask("timeline", *SINCE, "web-1", "--known-at", "9", "-o", "json").rows
    ahead = ask("timeline", "-S", UNTIL[1], "web-1", "--known-at", "9")

    assert [(row["power_state"], row["seconds"]) for row in rows] == [(None, 7.0), ("RUNNING", 1.0)]
    assert (ahead.code, ahead.out) == (2, "")
    assert "nothing is known of a time after what was known then" in ahead.err


def test_without_a_time_it_is_the_last_day(ask: Ask) -> None:
    rows = ask("timeline", "-o", "json").rows

    assert {row["since"] for row in rows if row["power_state"] is None and row["position"] is None} == {
        rfc3339(Timestamp(T0 + 60 * SECOND - 86_400 * SECOND))
    }
    assert ask("timeline", "-S", "2020-01-01", "-U", "2021-01-01", "-o", "json").rows == []
    assert ask("timeline", "-S", "2020-01-01", "-U", "2021-01-01").out == (
        "No VM is known to have existed in that time.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("timeline", *UNTIL, "-S", "2099-01-01"), 2, "it ends before it begins"),
        (("timeline", "-S", "2099-01-01"), 2, "nothing is known of a time after now"),
        (("timeline", "-S", "soon"), 2, "'soon' is no time"),
        (("timeline", "-U", "0000-00-00"), 2, "is no time"),
        (("timeline", *SINCE, *UNTIL, "web-9"), 3, "'web-9'"),
        (("timeline", *SINCE, "--buckets", "0"), 2, "--buckets"),
        (("uptime", "--month", "2026-13"), 2, "'2026-13' is no month such as 2026-10"),
        (("uptime", "--month", "Oktober"), 2, "'Oktober' is no month such as 2026-10"),
        (("uptime", "--month", "9999-12"), 2, "9999-12"),
        (("uptime", "--month", "2099-01"), 2, "nothing is known of a time after now"),
        (("uptime", "--month", "2026-10", *SINCE), 2, "say a month or --since, not both"),
        (("uptime", *UNTIL), 2, "say --since too"),
        (("uptime", *SINCE, "-U", "2000-01-01"), 2, "it ends before it begins"),
        (("uptime", *SINCE, *UNTIL, "web-9"), 3, "'web-9'"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(ask: Ask, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = ask(*arguments)

    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


# ------------------------------------------------------------------------------------------------------ uptime


def test_an_uptime_has_the_keys_that_machines_rely_on(ask: Ask) -> None:
    db, _, web = ask("uptime", *SINCE, *UNTIL, "-o", "json").rows

    assert web == {
        "name": "web-1",
        "instance": str(WEB),
        "since": SINCE[1],
        "until": UNTIL[1],
        "existed_s": 13.0,
        "known_up_s": 10.0,
        "known_down_s": 3.0,
        "known_paused_s": 0.0,
        "unknown_s": 0.0,
        "availability_min": 0.769230769,
        "availability_max": 0.769230770,
    }
    assert (db["instance"], db["known_up_s"]) == (str(DB), 5.0)


def test_the_range_of_an_availability_holds_what_nobody_knows(ask: Ask) -> None:
    [web] = ask("uptime", *SINCE, "-U", rfc3339(Timestamp(T0 + 30 * SECOND)), "web-1", "-o", "json").rows

    assert (web["known_up_s"], web["known_down_s"], web["unknown_s"]) == (10.0, 3.0, 10.0)
    assert (web["availability_min"], web["availability_max"]) == (0.434782608, 0.869565218)


def test_a_vm_that_was_never_there_has_no_availability(ask: Ask) -> None:
    [web] = ask("uptime", "-S", "2020-01-01", "-U", "2020-02-01", "web-1", "-o", "json").rows

    assert (web["existed_s"], web["availability_min"], web["availability_max"]) == (0.0, None, None)


def test_a_month_is_that_of_the_zone_and_the_present_one_by_default(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    month = DAY[:7]
    [web] = ask("uptime", "--month", month, "web-1", "-o", "json").rows

    assert web["since"].startswith(f"{month}-01T00:00:00")
    assert ask("uptime", "-o", "json").code == 0


# ----------------------------------------------------------------------------------------------------- drawing


class Written(io.StringIO):
    """A stream of some encoding, which is a terminal or not."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


SIGNS = "█▒·╳z░"  # noqa: RUF001 (a cross is meant)
STATES = ("RUNNING", "PAUSED", "SHUTDOWN", "CRASHED", "SUSPENDED", "UNKNOWN", None)
HOUR = 3600 * SECOND


def drawn(out: Written, *, name: str | None = "web", environ: dict[str, str] | None = None) -> list[str]:
    begin = timestamp_of("2026-10-25T00:00:00+00:00")
    segments = tuple(
        Segment(
            instance=vm(1),
            since=Timestamp(begin + place * HOUR),
            until=Timestamp(begin + (place + 1) * HOUR),
            state=state,
        )
        for place, state in enumerate(STATES)
    )
    drawing = Drawing(since=begin, until=Timestamp(begin + len(STATES) * HOUR), zone=None)
    drawing.add(Timeline(instance=vm(1), name=name, segments=segments))
    drawing.write(out, environ=environ or {"COLUMNS": "40", "TERM": "xterm"})
    return out.getvalue().splitlines()


def timestamp_of(text: str) -> Timestamp:
    from datetime import datetime

    return timestamp(datetime.fromisoformat(text))


@pytest.mark.parametrize(("encoding", "signs"), [("utf-8", SIGNS), ("ascii", "#=.Xz?"), ("no-such", "#=.Xz?")])
def test_signs_are_those_that_the_encoding_has(encoding: str, signs: str) -> None:
    lines = drawn(Written(encoding))

    assert "".join(dict.fromkeys(lines[0].removeprefix("web "))) == signs
    assert all(f"{sign} " in lines[-1] for sign in signs)


def test_on_a_terminal_there_is_colour_and_its_width_unless_it_is_not_wanted() -> None:
    colour = drawn(Written("utf-8", terminal=True))
    plain = drawn(Written("utf-8", terminal=True), environ={"COLUMNS": "40", "TERM": "xterm", "NO_COLOR": "1"})

    assert "\x1b[" in colour[0]
    assert "\x1b" not in plain[0]
    assert len(plain[0]) == 35


def test_a_hostile_name_is_only_a_text() -> None:
    lines = drawn(Written("utf-8"), name="[red]\x1b[2J\u202e" + "x" * 100_000)
    nameless = drawn(Written("ascii"), name=None)

    assert lines[0].startswith(r"[red]\x1b[2J\u202exxxxx… █")
    assert nameless[0].startswith(str(vm(1))[:23] + ">")


def test_several_states_in_one_place_show_the_one_that_matters_most() -> None:
    begin = T0
    times = [0, 500, 501, 502, 503, 1000]
    segments = tuple(
        Segment(instance=vm(1), since=Timestamp(begin + a), until=Timestamp(begin + b), state=state)
        for a, b, state in zip(times, times[1:], ["RUNNING", "PAUSED", "CRASHED", "UNKNOWN", "RUNNING"], strict=False)
    )
    drawing = Drawing(since=begin, until=Timestamp(begin + 1000), zone=None)
    drawing.add(Timeline(instance=vm(1), name="x", segments=segments))
    out = Written("utf-8")
    drawing.write(out)

    assert out.getvalue().splitlines()[0].count(SIGNS[3]) == 1


@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 1, 90, 4000, 86_400, 86_400 * 40, 86_400 * 4000, 86_400 * 365 * 2000])
def test_any_length_of_time_has_an_axis(seconds: float) -> None:
    end = Timestamp(timestamp_of("2026-10-25T00:30:00+00:00"))
    begin = Timestamp(end - max(int(seconds * SECOND), 1))
    drawing = Drawing(since=begin, until=end, zone=None)
    segment = Segment(instance=vm(1), since=begin, until=end, state="RUNNING")
    drawing.add(Timeline(instance=vm(1), name="x", segments=(segment,)))
    out = Written("utf-8")
    drawing.write(out)

    assert "█" * 98 in out.getvalue()


def test_many_vms_are_told_chunk_by_chunk_with_one_header(ask: Ask, tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.sweep({vm(number): RUNNING for number in range(600)})
    log = trio.run(story.write, tmp_path / "log.db")
    out = ask("timeline", *SINCE, *UNTIL, "--log", log, "-o", "csv").out
    one = ask("timeline", *SINCE, *UNTIL, "--log", log, "-o", "json").rows

    assert out.count('"instance"') == 1
    assert len(out.splitlines()) == len(one) + 1 == 1201
