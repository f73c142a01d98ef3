"""Forgetting, backup and restore as they are typed."""

from pathlib import Path

from tests.unit.cli.conftest import Ask
from tests.unit.story import WEB


def test_what_is_to_be_forgotten_is_shown_first_and_stays_without_a_yes(ask: Ask, log: Path) -> None:
    shown = ask("forget", "web-1", "--log", log, "-o", "json")

    assert [(row["text"], row["what"], row["vm"]) for row in shown.rows] == [
        ("web-1", "name of InstanceNamed", str(WEB))
    ]
    assert shown.err == "es-power: nothing was erased; with --yes this text will be, for good\n"
    assert b"web-1" in log.read_bytes()


def test_what_is_forgotten_reads_so_and_copies_are_named(ask: Ask, log: Path) -> None:
    copy = log.parent / "log.db.bak-1"
    copy.write_bytes(log.read_bytes())
    done = ask("forget", "WEB-1", "--yes", "--log", log)

    assert done.code == 0
    assert done.err.splitlines() == [
        "es-power: 1 erased, as position 22 of the log says",
        f"es-power: {copy} is a copy that was made before; forget there too (--log), or delete it",
    ]
    assert b"web-1" not in b"".join(each.read_bytes() for each in log.parent.iterdir() if each != copy)
    assert {row["name"] for row in ask("status", "--log", log, "-o", "json").rows} == {"(forgotten)", "db-1"}
    assert ask("replay", "--verify", "--log", log).code == 0


def test_who_is_named_nowhere_cannot_be_forgotten(ask: Ask, log: Path) -> None:
    for whom in ("nobody", "web", "%", "\x1b[2J"):
        answer = ask("forget", whom, "--yes", "--log", log)

        assert answer.code == 3
        assert answer.err.startswith("es-power: no text in the log names ")
        assert "\x1b" not in answer.err
    assert ask("forget", " ", "--log", log).code == 2
    assert ask("forget", "alice", "--yes", "--log", log.parent / "no.db").code == 3


def test_what_another_log_told_is_forgotten_too(ask: Ask, log: Path) -> None:
    other, lines = log.parent / "other.db", log.parent / "lines"
    lines.write_text(ask("export", "--log", log).out)
    assert ask("import", "jsonl", lines, "--create", "--log", other).code == 0
    assert ask("forget", "a/web-1", "--yes", "--log", other).code == 0
    assert b"web-1" not in other.read_bytes()
    assert b"alice" in other.read_bytes()


def test_a_backup_is_put_back(ask: Ask, log: Path) -> None:
    backup = log.parent / "backup.db"
    made = ask("backup", backup, "--log", log)
    assert made.code == 0
    assert made.out.startswith(f"{backup}: {backup.stat().st_size} bytes, up to position 21, whose hash is ")
    done = ask("restore", backup, "--log", log)

    [aside] = log.parent.glob("log.db.replaced-*")
    assert (done.code, done.err) == (0, f"es-power: what was replaced is {aside}\n")
    assert done.out.splitlines() == [
        "the log goes on after position 21 (it had gone up to 21), as position 22 says",
        "commands are held on a: `es-power release HOST --why ...` lets them go on",
    ]
    [hold] = ask("holds", "--log", log, "-o", "json").rows
    assert (hold["host"], hold["why"].split(":")[0]) == ("a", "the log was restored")


def test_what_cannot_be_backed_up_or_put_back_says_why(ask: Ask, log: Path) -> None:
    text = log.parent / "text"
    text.write_text("no log\n" * 1000)
    answers = {
        ask("backup", text, "--log", log): (1, f"es-power: {text} is there already; name another file, or a directory"),
        ask("backup", log.parent / "no" / "b", "--log", log): (1, f"there is no directory {log.parent / 'no'}"),
        ask("backup", f"{log.parent}/no/", "--log", log): (1, f"there is no directory {log.parent}/no/; make it first"),
        ask("backup", log.parent, "--log", log.parent / "no.db"): (3, "there is no log at"),
        ask("restore", text, "--log", log): (3, "is a file of another kind, not a log"),
        ask("restore", log.parent / "nothing", "--log", log): (3, "there is no log at"),
        ask("restore", log, "--log", log): (1, "is the log itself"),
        ask("restore", "--log", log): (2, "give either a backup or --accept-rewind"),
        ask("restore", text, "--accept-rewind", "--log", log): (2, "give either a backup or --accept-rewind"),
        ask("restore", "--accept-rewind", "--log", log): (1, "did not go back"),
        ask("restore", "--accept-rewind", "--log", log.parent / "no.db"): (3, "there is no log at"),
        ask("restore", log, "--log", "postgresql://nobody@localhost/nothing"): (1, "put back by its own means"),
    }

    for answer, (code, said) in answers.items():
        assert (answer.code, answer.out) == (code, "")
        assert len(answer.err.splitlines()) == 1
        assert said in answer.err
