"""What fuzzing found, each once and for ever; the words are those that are said now."""

import re
import socket
from contextlib import closing, suppress
from pathlib import Path

import pytest

import es_power
from es_power.audit import places
from es_power.audit.checkpoints import read_checkpoints
from es_power.audit.keys import VerifierKey
from es_power.audit.notes import read_note
from es_power.cli.options import note
from es_power.dispatch.door import read_wish
from es_power.errors import LogNotFoundError, NoteError, SettingsError
from es_power.ingest.jsonl import JsonlReader
from es_power.ingest.log_files import log_name
from es_power.log.database import parse_place
from es_power.settings import load
from es_power.testing.facts import T0
from es_power.timewords import parse
from tests.torture.inputs import KINDS, find


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[bridge]\ncapacity = {'9' * 5000}\n", "is not TOML: Exceeds the limit"),
        (f"[log]\npath = {'[' * 3000}\n", "has brackets in brackets without end"),
        (f'[sweep]\nspacing = "{"9" * 400}"\n', "it must be a time above zero"),
        ('[observe]\nuri = ["qemu://[abc/system"]\n', "it must be a list of libvirt URIs"),
        ('[[host]]\nname = "a"\nuri = "test://\N{ACCOUNT OF}/x"\n', "it must be a libvirt URI"),
    ],
)
def test_settings_that_no_number_or_address_can_be_made_of_are_a_problem(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)

    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "config.toml", environ={})

    [problem] = raised.value.problems
    assert said in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"LIBVIRT_DEFAULT_URI": "qemu:// system"},
        {"LIBVIRT_DEFAULT_URI": "qemu://[abc/system"},
        {"ES_POWER_OBSERVE_URI": "qemu://\udcff/system"},
    ],
)
def test_a_variable_that_is_no_uri_is_a_problem(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="URI"):
        load(environ=environ)


def test_a_place_in_bytes_that_are_no_text_is_a_path_and_never_a_url() -> None:
    assert parse_place("log\udcff.db").path == Path("log\udcff.db").absolute()
    with pytest.raises(LogNotFoundError, match="cannot be read"):
        parse_place("postgresql://user@host/\udcff")


@pytest.mark.parametrize("number", ["-1", "9223372036854775808", "-9223372036854775809", "9" * 25])
@pytest.mark.parametrize("field", ["position", "version", "index"])
def test_a_line_of_an_export_with_a_number_that_no_log_has_is_counted(field: str, number: str) -> None:
    [line, *_] = KINDS["exports"].samples()
    other = line.replace(b'{"position": 1', f'{{"index": 1, "position": 1, "{field}": {number}'.encode(), 1)
    assert other != line
    reader = JsonlReader()

    assert (reader.feed(other).facts, reader.unparsed) == ([], (1, 1))


def test_a_file_name_is_read_in_one_way_only() -> None:
    # It took for ever: each of the words could be one part of the name, or several.
    assert (
        log_name(Path("web.log" + "-20261122.xz" * 18 + "\N{SNOWMAN}!"))
        == "web.log" + "-20261122.xz" * 18 + "\N{SNOWMAN}!"
    )
    assert log_name(Path("web-1.log--2.old-20261122.gz")) == "web-1.log"


def test_a_wish_of_brackets_is_no_wish() -> None:
    with pytest.raises(ValueError, match="brackets in brackets"):
        read_wish(b'{"x":' + b"[" * 16_000)


def test_a_key_is_not_named_in_bytes_that_are_no_text() -> None:
    with pytest.raises(NoteError):
        VerifierKey.read("kvm\udcff+7d939800+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")


def test_a_file_without_an_end_is_no_file_of_checkpoints(tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(NoteError, match="is longer than"):
        read_checkpoints(tmp_path / "long")


def test_a_syslog_that_hangs_lets_the_sealing_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_PATIENCE", 0.01)
    note = KINDS["notes"].samples()[0].decode()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as hung:
        hung.bind(str(tmp_path / "log"))
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as full, suppress(BlockingIOError):
            full.setblocking(False)
            while full.sendto(b"x", str(tmp_path / "log")):
                pass
        with pytest.raises(TimeoutError):
            places.SyslogPlace(tmp_path / "log").put(read_note(note))


def test_words_for_a_person_are_a_line_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    note(f"record 7 (\x1b[2J\n{'a' * 70_000}) cannot be read")

    said = capsys.readouterr().err
    assert said.startswith(r"record 7 (\x1b[2J\naaa")
    assert len(said) < 1020


def test_nothing_here_reads_xml() -> None:
    package = Path(es_power.__file__).parent
    readers = [
        path
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) (xml|lxml|defusedxml)", path.read_text())
    ]

    assert readers == [], "then its reader is a kind of `inputs`"


def test_a_time_that_only_some_zones_could_show_is_none() -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse("9999-12-30 23:59:59.999999999-23:59", now=T0)


def test_what_is_found_is_found_by_its_kind() -> None:
    assert find(KINDS["wishes"], b'{"x":' + b"[" * 16_000) is None
