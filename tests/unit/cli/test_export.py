"""`es-power export`, and `import jsonl` of what it wrote."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
import trio

from es_power.log import open_log
from tests.unit.cli.conftest import Ask
from tests.unit.cli.test_imports import digests, end, records, start
from tests.unit.story import DB, OFF, RUNNING, WEB, Story


@pytest.fixture
def exported(ask: Ask, tmp_path: Path) -> Path:
    """The story's log, as lines."""
    path = tmp_path / "facts.jsonl"
    path.write_text(ask("export").out)
    return path


def test_an_export_has_every_fact_oldest_first_and_texts_for_labels(ask: Ask, told: Path, exported: Path) -> None:
    lines = [json.loads(line) for line in exported.read_text().splitlines()]

    assert [line["position"] for line in lines] == [each.position for each in records(told)]
    assert [line["type"] for line in lines] == [type(each.event).__name__ for each in records(told)]
    assert [line["data"]["name"] for line in lines if line["type"] == "InstanceNamed"] == ["web-1", "db-1", "old-1"]
    assert lines[0]["recorded_at"].endswith("Z")


def test_what_was_exported_is_imported_and_exported_as_it_was(ask: Ask, tmp_path: Path, exported: Path) -> None:
    other = tmp_path / "other.db"
    first = ask("import", "jsonl", exported, "--create", "--log", other, "-o", "json")
    again = ask("import", "jsonl", exported, "--log", other, "-o", "json")

    assert (first.rows[0]["new"], again.rows[0]["new"]) == (len(exported.read_text().splitlines()), 0)
    assert ask("export", "--log", other).out == exported.read_text()


def test_what_was_imported_from_an_export_is_told_and_nothing_follows(
    ask: Ask, log: Path, tmp_path: Path, exported: Path
) -> None:
    other = tmp_path / "other.db"
    ask("import", "jsonl", exported, "--create", "--log", other)
    before = digests(log)
    exported.write_text("".join(f"{json.dumps(each)}\n" for each in elsewhere(exported)))
    found = ask("import", "jsonl", exported, "--log", log, "-o", "json")
    told = ask("history", "db-1", "--log", other, "-o", "json").rows

    assert (digests(log), found.rows[0]["new"]) == (before, len(elsewhere(exported)))
    assert ask("commands", "list", "--log", other, "-o", "json").rows == []
    assert ask("status", "--log", other, "-o", "json").rows == []
    assert [row["what"] for row in told] == [
        "observed RUNNING (BOOTED)",
        "event STOPPED (SHUTDOWN)",
        "observed SHUTOFF (SHUTDOWN)",
        "not seen from here on: connection lost",
    ]
    assert {row["host"] for row in told} == {"a"}
    assert {row["imported"] for row in told} == {"jsonl"}


def elsewhere(exported: Path) -> list[dict[str, object]]:
    """The same facts, as a log has them that recorded each at another time."""
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    return [line | {"recorded_at": f"{line['recorded_at'][:-2]}7Z"} for line in lines]


def test_a_history_shows_what_came_by_an_import(ask: Ask, log: Path, exported: Path) -> None:
    before = ask("history", "db-1", "--log", log)
    exported.write_text("".join(f"{json.dumps(each)}\n" for each in elsewhere(exported)))
    ask("import", "jsonl", exported, "--log", log)
    after = ask("history", "db-1", "--log", log)
    told = ask("history", "db-1", "--log", log, "-o", "json").rows
    title, *lines = after.out.splitlines()

    assert "IMPORTED" not in before.out
    assert "IMPORTED" in title
    assert ["jsonl" in line for line in lines] == [row["imported"] == "jsonl" for row in told]
    assert {row["imported"] for row in told} == {None, "jsonl"}


def test_a_log_is_not_imported_into_itself(ask: Ask, log: Path, exported: Path) -> None:
    before = records(log)
    refused = ask("import", "jsonl", exported, "--log", log, "-o", "json")

    assert (refused.code, refused.rows[0]["new"]) == (1, 0)
    assert refused.rows[0]["note"] == "is an export of this very log: nothing of it is another's"
    assert records(log) == before
    assert "export of this very log" in ask("import", "jsonl", exported, "--log", log).out


def test_what_is_of_this_log_in_another_s_export_is_left_out(
    ask: Ask, log: Path, tmp_path: Path, exported: Path
) -> None:
    other = trio.run(another().write, tmp_path / "other.db")
    theirs = len(records(other))
    ask("import", "jsonl", exported, "--log", other)
    both = tmp_path / "both.jsonl"
    both.write_text(ask("export", "--log", other).out)
    found = ask("import", "jsonl", both, "--log", log, "-o", "json")
    ours = len(exported.read_text().splitlines())

    assert (found.code, found.rows[0]["new"], found.rows[0]["known"]) == (0, theirs, ours)
    assert found.rows[0]["note"] == f"{ours} facts are this log's own, and left out"

    again = ask("import", "jsonl", both, "--log", log, "-o", "json")
    assert (again.code, again.rows[0]["new"], again.rows[0]["known"]) == (0, 0, theirs + ours)


def another() -> Story:
    """Another host's log."""
    story = Story()
    story.start("z")
    return story


def test_an_inventory_that_is_not_in_the_file_leaves_its_sweeps_untold(
    ask: Ask, tmp_path: Path, exported: Path
) -> None:
    lines = [line for line in exported.read_text().splitlines() if "InventoryRecorded" not in line]
    exported.write_text("\n".join(lines))
    other = tmp_path / "other.db"
    found = ask("import", "jsonl", exported, "--create", "--log", other, "-o", "json")

    assert found.rows[0]["new"] == len(lines)
    assert "observed SHUTOFF (SHUTDOWN)" in {
        row["what"] for row in ask("history", "db-1", "--log", other, "-o", "json").rows
    }


def test_imports_of_other_logs_are_exported_and_imported_too(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "imp-1.log").write_text(start(1) + end(2))
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    ask("import", "qemu-log", tmp_path / "imp-1.log", "--host", "kvm-07", "--create", "--log", one)
    (tmp_path / "one.jsonl").write_text(ask("export", "--log", one).out)
    ask("import", "jsonl", tmp_path / "one.jsonl", "--create", "--log", two)

    assert ask("export", "--log", two).out == (tmp_path / "one.jsonl").read_text()
    told = ask("history", "imp-1", "--log", two, "-o", "json").rows
    assert [row["kind"] for row in told] == ["QemuStarted", "QemuTerminated", "QemuEnded"]
    assert {row["host"] for row in told} == {"kvm-07"}


def test_a_forgotten_text_stays_forgotten(ask: Ask, log: Path, tmp_path: Path) -> None:
    with sqlite3.connect(log) as connection:
        connection.execute("DELETE FROM labels WHERE text = 'web-1'")
    text = ask("export", "--log", log).out
    (tmp_path / "facts.jsonl").write_text(text)
    ask("import", "jsonl", tmp_path / "facts.jsonl", "--create", "--log", tmp_path / "other.db")

    assert '"forgotten"' in text
    assert ask("export", "--log", tmp_path / "other.db").out == text


def test_only_one_vm_has_the_parts_of_sweeps_that_are_its_own(ask: Ask, tmp_path: Path) -> None:
    text = ask("export", "web-1").out
    lines = [json.loads(line) for line in text.splitlines()]
    (tmp_path / "web.jsonl").write_text(text)
    ask("import", "jsonl", tmp_path / "web.jsonl", "--create", "--log", tmp_path / "other.db")

    assert {line["data"]["instance"] for line in lines} == {str(WEB)}
    assert [line["index"] for line in lines if "index" in line] == [0, 0, 0]
    assert ask("export", "--log", tmp_path / "other.db").out == text


def test_a_part_that_has_not_begun_is_empty_and_that_is_said(ask: Ask) -> None:
    for question in (("export",), ("history", "web-1")):
        answer = ask(*question, "-S", "tomorrow")

        assert answer.code == 0
        assert answer.err.startswith("es-power: --since lies in the future: ")
        assert answer.err.count("\n") == 1


def test_a_part_of_the_log_by_position(ask: Ask) -> None:
    lines = [json.loads(line) for line in ask("export", "-S", "4", "-U", "6").out.splitlines()]

    assert [line["position"] for line in lines] == [4, 5, 6]


def test_csv_has_a_row_for_each_fact_and_no_formula(ask: Ask, tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.name(DB, "=1+1")
    story.sweep({DB: RUNNING})
    story.sweep({DB: OFF})
    path = trio.run(story.write, tmp_path / "story.db")
    text = ask("export", "-o", "csv", "--log", path).out
    rows = list(csv.DictReader(io.StringIO(text)))

    assert len(rows) == len(records(path))
    assert json.loads(rows[0]["data"])["host"] == "a"
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_cloud_events_are_of_version_one(ask: Ask) -> None:
    events = [json.loads(line) for line in ask("export", "-o", "cloudevents").out.splitlines()]
    stopped = next(event for event in events if event["type"] == "org.es-power.vm.stopped.v1")

    for event in events:
        assert {"specversion", "id", "source", "type", "time", "data"} <= event.keys()
        assert event["specversion"] == "1.0"
    assert (stopped["source"], stopped["subject"]) == ("/hosts/a", str(DB))
    assert len({event["id"] for event in events}) == len(events)


@pytest.mark.parametrize("output", ["jsonl", "csv", "cloudevents"])
def test_an_empty_part_is_no_error(ask: Ask, output: str) -> None:
    answer = ask("export", "-S", "5", "-U", "5", "db-1", "-o", output)

    assert (answer.code, answer.err) == (0, "")


def test_a_record_that_cannot_be_read_is_left_out_and_told(ask: Ask, log: Path) -> None:
    with sqlite3.connect(log) as connection:
        connection.execute("UPDATE records SET topic = 'Nonsense:1' WHERE position = 5")
    answer = ask("export", "--log", log)

    assert answer.code == 4
    assert "record 5 cannot be read" in answer.err
    assert '"position": 6' in answer.out


BROKEN = [
    "not json",
    "[" * 100_000,
    '{"position": 1}',
    '{"position": 1, "stream": "s", "version": 1, "recorded_at": "yesterday", "type": "ServiceStopped", "data": {}}',
    '{"position":1,"stream":"s","version":1,"recorded_at":"2027-01-15T08:00:00.000000000Z","type":"Nonsense","data":{}}',
    '{"position":1,"stream":"s","version":1,"recorded_at":"2027-01-15T08:00:00.000000000Z","type":"GapOpened","data":{}}',
    '{"position":1e99,"stream":"s","version":1,"recorded_at":"2027-01-15T08:00:00.000000000Z","type":"x","data":{}}',
    "\udcff",
]


def test_lines_that_cannot_be_read_are_counted(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes("\n".join(BROKEN).encode(errors="surrogateescape") + b"\n\n")
    answer = ask("import", "jsonl", path, "--create", "--log", tmp_path / "other.db", "-o", "json")

    assert answer.code == 0
    assert (answer.rows[0]["new"], answer.rows[0]["unparsed"]) == (0, len(BROKEN))


def test_imported_facts_survive_the_tables(ask: Ask, tmp_path: Path, exported: Path) -> None:
    other = tmp_path / "other.db"
    ask("import", "jsonl", exported, "--create", "--log", other)
    before = ask("history", "web-1", "--log", other, "-o", "json").rows
    ask("replay", "--rebuild", "--log", other)

    async def tables() -> int:
        async with open_log(other) as opened:
            return await opened.head()

    assert trio.run(tables) == len(exported.read_text().splitlines())
    assert ask("history", "web-1", "--log", other, "-o", "json").rows == before


def test_what_another_log_saw_is_drawn_and_its_blind_time_is_not(ask: Ask, tmp_path: Path, exported: Path) -> None:
    past = exported.read_text().replace("2027-01-15", "2026-01-15")
    exported.write_text(past)
    other = tmp_path / "other.db"
    ask("import", "jsonl", exported, "--create", "--log", other)
    span = ("-S", "2026-01-15T08:00:07Z", "-U", "2026-01-15T08:00:30Z", "--log", other)
    for _ in range(2):
        rows = ask("timeline", "db-1", *span, "-o", "csv").out.splitlines()[1:]
        assert [row.split(",")[3] for row in rows] == ['"RUNNING"', '"SHUTDOWN"', '"UNKNOWN"']
        ask("replay", "--rebuild", "--log", other)
