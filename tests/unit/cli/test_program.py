"""How every command ends: exit codes, and errors as lines on standard error."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import typer

import es_power
from es_power.cli import main, program
from es_power.errors import HypervisorUnavailableError, LogUnavailableError, SettingsError
from es_power.testing.facts import vm
from tests.unit.cli.conftest import Ask
from tests.unit.story import RUNNING, Story


def failing(error: BaseException) -> typer.Typer:
    made = typer.Typer()

    @made.command()
    def fail() -> None:
        raise error

    return made


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LogUnavailableError("no room"), 5, "es-power: no room\n"),
        (SettingsError(["one", "two"]), 2, "es-power: one\nes-power: two\n"),
        (ExceptionGroup("g", [HypervisorUnavailableError("away")]), 5, "es-power: away\n"),
        (ExceptionGroup("g", [ExceptionGroup("h", [LogUnavailableError("x")])] * 2), 5, "es-power: x\n"),
        (OSError(28, "No space left on device"), 1, "es-power: the output: No space left on device\n"),
        (PermissionError(13, "Permission denied", "f"), 1, "es-power: f: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130, ""),
        (LogUnavailableError("a\x1b[2Jb"), 5, "es-power: a\\x1b[2Jb\n"),
    ],
    ids=str,
)
def test_an_error_of_ours_is_a_line_and_an_exit_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "_command", lambda: failing(error))
    monkeypatch.setattr(os, "dup2", lambda *_: None)

    assert main([]) == code
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("error", [ZeroDivisionError(), ExceptionGroup("g", [LogUnavailableError(), KeyError()])])
def test_a_mistake_of_ours_is_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_command", lambda: failing(error))
    with pytest.raises(type(error)):
        main([])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hist"], "No such command 'hist'. Did you mean 'history'?"),
        (["history"], "Missing argument 'VM'"),
        (["history", "web-1", "--follw"], "No such option: --follw"),
        (["status", "-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml', 'csv', 'jsonl'"),
        (["status", "--as-of", "25:99"], "is no time"),
        (["status", "--as-of", "999"], "the log ends at position 21"),
        (["history", "web-1", "-f", "-r"], "--reverse"),
        (["replay", "--until", "5", "--verify"], "'--until'"),
        (["replay", "--policy", "follow", "--rebuild"], "'--policy'"),
        (["replay", "--policy", "nova-2025"], "did you mean nova-2026?"),
        (["policy", "table", "folow"], "did you mean follow?"),
        (["declare", "web-1", "--vm-state", "stoped", "--why", "x"], "did you mean stopped?"),
        (["declare", "web-1", "--vm-state", "42", "--why", "x"], "there are active, building"),
        (["declare", "web-1", "--vm-state", "active", "--why", " "], "say why"),
        (["declare", "web-1", "--vm-state", "active"], "Missing option '--why'"),
        (["declare", "web-1", "--why", "x"], "either --vm-state or --clear"),
        (["declare", "web-1", "--clear", "--task-state", "x", "--why", "x"], "goes with --vm-state"),
        (["declare", "web-1", "--vm-state", "active", "--task-state", "Powering Off", "--why", "x"], "powering-off"),
        (["history", "web-1", "-S", "20", "-U", "4"], "'--until': it ends before it begins"),
        (["history", "web-1", "-S", "-1h", "-U", "-2h"], "'--until': it ends before it begins"),
        (["export", "-S", "20", "-U", "4"], "'--until': it ends before it begins"),
        (["export", "-S", "-1h", "-U", "-2h"], "'--until': it ends before it begins"),
        (["backup", ""], "'DEST': it is empty"),
        (["replay", "--policy", ""], "'--policy': it is empty"),
        (["replay", "--policy", "follow", "--against", ""], "'--against': it is empty"),
        (["status", "--log", ""], "'--log': it is empty"),
        (["run", "--uri", ""], "'--uri': it is empty"),
        (["history", ""], "'VM': it is empty"),
        (["history", "web-1", "--since", ""], "'--since' / '-S': it is empty"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_in_the_arguments_is_one_line_and_exit_code_2(ask: Ask, arguments: list[str], said: str) -> None:
    answer = ask(*arguments)

    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


def test_a_log_that_is_not_there_is_not_found_and_not_created(ask: Ask, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "log.db"
    for command in (
        ["status"],
        ["declare", "web-1", "--clear", "--why", "x"],
        ["replay", "--rebuild"],
        ["act", "--uri", "test:///default"],
        ["import", "jsonl", "facts.jsonl"],
        ["import", "qemu-log", "web-1.log"],
        ["import", "nova-log", "--tz", "UTC", "nova-compute.log"],
    ):
        answer = ask(*command, "--log", nowhere)

        assert (answer.code, "there is no log at" in answer.err) == (3, True)
        assert not nowhere.parent.exists()


def test_settings_with_mistakes_are_refused_with_each_of_them(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[sweep]\nspacng = 1\n[polcy]\n")
    answer = ask("status", "--config", config)

    assert answer.code == 2
    assert answer.err.count("did you mean") == 2


def test_without_a_command_the_help_lists_them_in_groups(ask: Ask) -> None:
    answer = ask()

    assert answer.code == 0
    for panel in ("Run", "Ask the log", "Decide", "Keep records and the log"):
        assert f"─ {panel} ─" in answer.out


def test_a_wrong_choice_is_told_with_the_right_ones(ask: Ask) -> None:
    answer = ask("policy", "list", "-o", "xml")

    assert answer.code == 2
    assert "'-o': 'xml' is not one of 'table', 'json'" in answer.err


def test_a_group_without_a_command_shows_its_help_and_is_a_usage_error(ask: Ask) -> None:
    answer = ask("commands")

    assert (answer.code, answer.err) == (2, "")
    assert "list" in answer.out


def test_the_version_is_printed(ask: Ask) -> None:
    assert ask("--version").out.startswith("es-power ")


def test_names_that_the_terminal_cannot_encode_do_no_harm(told: Path, tmp_path: Path) -> None:
    story = Story()
    story.start()
    story.name(vm(1), "naïve-☃")
    story.sweep({vm(1): RUNNING})
    place = trio.run(story.write, tmp_path / "log.db")
    done = run("status", "--log", place, PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"na\xefve-\u2603" in done.stdout


def test_a_closed_pipe_ends_it_quietly(told: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("history", "web-1", "--log", told, stdout=writing)
    os.close(writing)

    assert done.stderr == b""


def test_a_full_disk_under_the_output_is_one_line(told: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("status", "--log", told, stdout=full)

    assert done.returncode == 1
    assert done.stderr == b"es-power: the output: No space left on device\n"


def test_ctrl_c_ends_following_quietly_with_130(told: Path) -> None:
    # Tests in the background are deaf to it, and so would be who follows: a handler of ours is not inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    following = subprocess.Popen(
        [sys.executable, "-m", "es_power", "history", "web-1", "-f", "-n", "1", "--log", told],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    signal.signal(signal.SIGINT, before)
    assert following.stdout
    following.stdout.readline()
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=20)

    assert (following.returncode, err) == (130, b"")


def test_ctrl_c_while_the_program_is_loaded_ends_it_quietly_with_130(tmp_path: Path) -> None:
    # A part of the command line that takes long to load.
    (tmp_path / "typer.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loading = subprocess.Popen(
        [sys.executable, "-m", "es_power", "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(es_power.__file__).parents[1]}"},
    )
    signal.signal(signal.SIGINT, before)
    assert loading.stdout
    assert loading.stdout.readline() == b"loading\n"
    loading.send_signal(signal.SIGINT)
    _, err = loading.communicate(timeout=20)

    assert (loading.returncode, err) == (130, b"")


def run(*arguments: object, stdout=subprocess.PIPE, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "es_power", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environ,
        check=False,
    )
