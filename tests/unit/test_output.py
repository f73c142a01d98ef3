import csv
import io
import json
import time
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from es_power.domain.states import PowerState
from es_power.domain.time import Timestamp, timestamp
from es_power.output import NAME_LIMIT, Column, Format, write

BERLIN = ZoneInfo("Europe/Berlin")
INSTANCE = UUID("0b5ba1de-0e5f-4a1e-9f4e-0c3b6a1d2e3f")
SINCE = Timestamp(timestamp(datetime(2026, 11, 22, 2, 12, 7, 412_000, tzinfo=UTC)) + 5)
ROW = {
    "instance": INSTANCE,
    "name": "db-2",
    "power_state": PowerState.SHUTDOWN,
    "since": SINCE,
    "position": 48_103,
    "until": None,
    "open": True,
    "justification": {"since": SINCE, "records": (1, 2)},
}
COLUMNS = [
    Column("instance", in_table=False),
    Column("name"),
    Column("power_state", styles={"SHUTDOWN": "red"}),
    Column("since", time=True),
    Column("position"),
    Column("until", time=True),
    Column("open"),
]
NAME = [Column("name")]

HOSTILE = "\x1b[31m\n\t\u202e\N{ZERO WIDTH JOINER}\x9b\N{NO-BREAK SPACE}\N{LINE SEPARATOR}"
SHOWN = r"\x1b[31m\n\t\u202e\u200d\x9b\xa0\u2028"

texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=6,
)
rows = st.lists(st.dictionaries(texts, values))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(rows, columns, fmt, out=None, **options) -> str:
    out = out or io.StringIO()
    write(rows, columns, fmt, out, **{"zone": BERLIN, "environ": {}} | options)
    return out.getvalue()


# ------------------------------------------------------------------------------------------------------ machines


def test_json_is_an_array_of_whole_rows_with_times_in_utc_at_any_depth():
    assert json.loads(written([ROW], COLUMNS, Format.JSON)) == [
        {
            "instance": "0b5ba1de-0e5f-4a1e-9f4e-0c3b6a1d2e3f",
            "name": "db-2",
            "power_state": "SHUTDOWN",
            "since": "2026-11-22T02:12:07.412000005Z",
            "position": 48_103,
            "until": None,
            "open": True,
            "justification": {"since": "2026-11-22T02:12:07.412000005Z", "records": [1, 2]},
        }
    ]


def test_json_lines_are_one_object_a_line():
    lines = written([ROW, {"name": "two\nlines"}], COLUMNS, Format.JSONL).splitlines()

    assert len(lines) == 2
    assert [json.loads(line)["name"] for line in lines] == ["db-2", "two\nlines"]


def test_yaml_is_a_sequence_of_mappings():
    assert written([ROW, {"name": "=1+1", "on": "no"}, {}], COLUMNS, Format.YAML) == (
        '- instance: "0b5ba1de-0e5f-4a1e-9f4e-0c3b6a1d2e3f"\n'
        '  name: "db-2"\n'
        '  power_state: "SHUTDOWN"\n'
        '  since: "2026-11-22T02:12:07.412000005Z"\n'
        "  position: 48103\n"
        "  until: null\n"
        "  open: true\n"
        '  justification: {"since": "2026-11-22T02:12:07.412000005Z", "records": [1, 2]}\n'
        '- name: "=1+1"\n'
        '  "on": "no"\n'
        "- {}\n"
    )


def test_yaml_escapes_a_character_of_a_higher_plane_as_one():
    assert written([{"name": "\U000e0001"}], NAME, Format.YAML) == '- name: "\\U000e0001"\n'


def test_csv_has_every_column_and_a_header():
    assert written([ROW], COLUMNS, Format.CSV).splitlines() == [
        '"instance","name","power_state","since","position","until","open"',
        '"0b5ba1de-0e5f-4a1e-9f4e-0c3b6a1d2e3f","db-2","SHUTDOWN","2026-11-22T02:12:07.412000005Z",48103,"","true"',
    ]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv(first):
    _, (cell,) = csv.reader(io.StringIO(written([{"name": f"{first}1+1"}], NAME, Format.CSV), newline=""))

    assert cell == f"'{first}1+1"


def test_a_negative_number_is_a_number_in_csv():
    assert written([{"name": -5}, {"name": -0.5}], NAME, Format.CSV) == '"name"\n-5\n-0.5\n'


def test_what_is_nested_is_json_in_csv_and_in_a_table():
    for fmt in (Format.CSV, Format.TABLE):
        assert '"records"' in written([ROW], [Column("justification")], fmt).replace('""', '"')


@pytest.mark.parametrize(
    ("fmt", "expected"),
    [
        (Format.JSON, "[]\n"),
        (Format.JSONL, ""),
        (Format.YAML, "[]\n"),
        (Format.CSV, '"name","since"\n'),
        (Format.TABLE, "NAME  SINCE\n"),
    ],
)
def test_no_rows_are_written_as_none(fmt, expected):
    assert written([], [Column("name"), Column("since", time=True)], fmt) == expected


def test_without_a_header_the_rows_go_on_where_an_earlier_call_ended():
    assert written([{"name": "db-2"}], NAME, Format.CSV, header=False) == '"db-2"\n'
    assert written([{"name": "db-2"}], NAME, Format.TABLE, header=False) == "db-2\n"


@pytest.mark.parametrize("fmt", Format)
def test_a_value_without_a_plain_form_is_refused(fmt):
    with pytest.raises(TypeError, match="name holds a bytes, which has no plain form"):
        written([{"name": b"db-2"}], NAME, fmt)


@pytest.mark.parametrize("fmt", [Format.JSON, Format.JSONL, Format.YAML])
def test_text_of_any_script_is_readable_and_nothing_unprintable_is_written(fmt):
    text = written([{"name": f"Müller-数据库 {HOSTILE}"}], NAME, fmt)

    assert "Müller-数据库" in text
    assert text.replace("\n", "").isprintable()


@given(rows)
def test_json_gives_back_what_went_in(rows):
    assert json.loads(written(rows, NAME, Format.JSON)) == rows
    assert [json.loads(line) for line in written(rows, NAME, Format.JSONL).splitlines()] == rows


@given(st.lists(st.dictionaries(st.from_regex(r"k[a-z_]{0,9}", fullmatch=True), texts, min_size=1)))
def test_yaml_gives_back_what_went_in(rows):
    read: list[dict[str, str]] = []
    for line in written(rows, NAME, Format.YAML).splitlines():
        if line.startswith("- k"):
            read.append({})
        if line != "[]":
            key, _, value = line[2:].partition(": ")
            # JSON has no \U; what YAML means by it is the one character.
            read[-1][key] = json.loads(_without_long_escapes(value))

    assert read == rows


def _without_long_escapes(quoted: str) -> str:
    pieces = quoted.split("\\\\")
    for index, piece in enumerate(pieces):
        head, *rest = piece.split("\\U")
        pieces[index] = head + "".join(json.dumps(chr(int(tail[:8], 16)))[1:-1] + tail[8:] for tail in rest)
    return "\\\\".join(pieces)


@given(st.lists(st.fixed_dictionaries({"name": texts, "note": texts})))
def test_csv_gives_back_what_went_in_but_for_the_apostrophe(rows):
    text = written(rows, [Column("name"), Column("note")], Format.CSV)

    _, *read = csv.reader(io.StringIO(text, newline=""))

    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [row["name"].removeprefix("'"), row["note"].removeprefix("'")] for row in rows
    ]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in read for cell in row)


# -------------------------------------------------------------------------------------------------------- people


def test_a_table_shows_local_times_with_the_zone_in_the_header():
    assert written([ROW], COLUMNS, Format.TABLE) == (
        "NAME  POWER STATE  SINCE (CET)              POSITION  UNTIL  OPEN\n"
        "db-2  SHUTDOWN     2026-11-22 03:12:07.412     48103  -      yes\n"
    )


def test_a_table_in_utc_says_so():
    assert "SINCE (UTC)" in written([ROW], COLUMNS, Format.TABLE, zone=UTC)


def test_without_a_zone_a_table_is_in_the_machines_own(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        text = written([ROW], COLUMNS, Format.TABLE, zone=None)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert "SINCE (IST)" in text
    assert "2026-11-22 07:42:07.412" in text


def test_times_from_before_and_after_a_change_of_clocks_each_bear_their_zone():
    summer = timestamp(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    winter = timestamp(datetime(2026, 10, 25, 1, 30, tzinfo=UTC))

    assert written([{"at": summer}, {"at": winter}], [Column("at", time=True)], Format.TABLE) == (
        "AT (CEST/CET)\n2026-10-25 02:30:00.000 CEST\n2026-10-25 02:30:00.000 CET\n"
    )


def test_hostile_text_is_shown_escaped_in_a_table():
    assert written([{"name": HOSTILE}], NAME, Format.TABLE) == f"NAME\n{SHOWN}\n"


def test_what_a_table_shows_has_one_reading():
    lines = written([{"name": r"a\nb"}, {"name": "a\nb"}], NAME, Format.TABLE).splitlines()

    assert lines == ["NAME", r"a\\nb", r"a\nb"]


def test_markup_in_a_name_means_nothing():
    name = "[bold red]web[/] :smile: [link=file:///etc]x"

    assert written([{"name": name}], NAME, Format.TABLE) == f"NAME\n{name}\n"


def test_a_long_name_is_cut_in_a_table_and_nowhere_else():
    row = {"name": "x" * 100_000}

    assert written([row], NAME, Format.TABLE) == "NAME\n" + "x" * (NAME_LIMIT - 1) + "…\n"
    assert written([{"name": "x" * NAME_LIMIT}], NAME, Format.TABLE) == "NAME\n" + "x" * NAME_LIMIT + "\n"
    assert all(row["name"] in written([row], NAME, fmt) for fmt in Format if fmt is not Format.TABLE)


def test_a_sentence_is_not_cut():
    sentence = "It should be active and is SHUTDOWN. " * 10

    assert sentence.strip() in written([{"name": sentence}], [Column("name", limit=None)], Format.TABLE)


def test_what_goes_into_a_pipe_is_not_folded():
    row = {"name": "x" * 60, "note": "y" * 60, "host": "z" * 60}

    _, line = written([row], [Column(name) for name in row], Format.TABLE, environ={"COLUMNS": "40"}).splitlines()

    assert line == "  ".join(row.values())


def on_terminal(rows, columns, width, fmt=Format.TABLE):
    return written(rows, columns, fmt, Terminal(), environ={"COLUMNS": str(width), "NO_COLOR": "1"})


NARROW = [Column("name"), Column("since", time=True), Column("note", limit=None)]
NOTED = {"name": "db-2", "since": SINCE, "note": "not seen since the service stopped"}


def test_a_terminal_that_is_wide_enough_gets_each_row_on_one_line():
    assert on_terminal([NOTED], NARROW, 68) == (
        "NAME  SINCE (CET)              NOTE\n"
        "db-2  2026-11-22 03:12:07.412  not seen since the service stopped\n"
    )  # fmt: skip


def test_a_narrower_one_folds_the_sentence_first_and_everything_between_words():
    assert on_terminal([NOTED], NARROW, 56) == (
        "NAME  SINCE (CET)              NOTE\n"
        "db-2  2026-11-22 03:12:07.412  not seen since the\n"
        "                               service stopped\n"
    )
    assert on_terminal([NOTED], NARROW, 46) == (
        "NAME  SINCE (CET)   NOTE\n"
        "db-2  2026-11-22    not seen since the service\n"
        "      03:12:07.412  stopped\n"
    )  # fmt: skip


def test_where_no_table_fits_each_row_is_a_block_of_lines():
    assert on_terminal([NOTED, NOTED | {"name": "web-1"}], NARROW, 26) == (
        "NAME         db-2\n"
        "SINCE (CET)  2026-11-22\n"
        "             03:12:07.412\n"
        "NOTE         not seen\n"
        "             since the\n"
        "             service\n"
        "             stopped\n"
        "\n"
        "NAME         web-1\n"
        "SINCE (CET)  2026-11-22\n"
        "             03:12:07.412\n"
        "NOTE         not seen\n"
        "             since the\n"
        "             service\n"
        "             stopped\n"
        "\n"
    )


@given(st.lists(st.from_regex(r"[a-z]{0,30}", fullmatch=True), min_size=1), st.integers(1, 120))
def test_no_terminal_is_too_narrow_to_show_everything(names, width):
    columns = [Column("name"), Column("note", limit=None), Column("host")]
    rows = [{"name": name, "note": f"{name} {name}", "host": name} for name in names]

    text = on_terminal(rows, columns, width)

    assert sum(map(text.count, "abcdefghijklmnopqrstuvwxyz")) == sum(4 * len(name) for name in names)


def test_nothing_is_heads_alone_however_narrow_the_terminal():
    heads = on_terminal([], NARROW, 12)

    assert sorted("".join(heads.split())) == sorted("NAMESINCENOTE")


def test_csv_on_a_terminal_shows_what_a_table_would():
    text = on_terminal([{"name": f"=1 {HOSTILE}", "n": 5}], [*NAME, Column("n")], 80, Format.CSV)

    assert text.replace("\n", "").isprintable()
    assert text.splitlines()[1].startswith("\"'=1 ")
    assert text.endswith(",5\n")


def test_a_terminal_is_given_colours():
    text = written([ROW], COLUMNS, Format.TABLE, Terminal(), environ={"TERM": "xterm", "COLUMNS": "120"})

    assert "\x1b[31mSHUTDOWN" in text


@pytest.mark.parametrize(
    ("out", "environ"),
    [
        (Terminal(), {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}),
        (Terminal(), {"TERM": "dumb", "COLUMNS": "120"}),
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}),
    ],
)
def test_nothing_else_is_given_colours(out, environ):
    assert "\x1b" not in written([ROW], COLUMNS, Format.TABLE, out, environ=environ)


@given(texts)
def test_any_name_takes_one_printable_line_of_a_table(name):
    lines = written([{"name": name, "end": "."}], [*NAME, Column("end")], Format.TABLE).splitlines()

    assert len(lines) == 2
    assert lines[1].isprintable()
    assert lines[1].endswith(".")


@pytest.mark.parametrize("fmt", [each for each in Format if each is not Format.TABLE])
def test_what_programs_read_is_utf_8_whatever_the_terminal_has(fmt):
    data = io.BytesIO()
    out = io.TextIOWrapper(data, encoding="ascii", errors="backslashreplace")
    write([{"name": "café ☕"}], [Column("name")], fmt, out)
    out.flush()

    assert "café ☕" in data.getvalue().decode()
