"""libvirt's per-VM log, read: lines as real libvirt and qemu wrote them, and whatever else a file may hold."""

import random
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from es_power.domain.events import InstanceId
from es_power.ingest.lines import LINE, Lines
from es_power.ingest.qemu_log import Ending, QemuLine, QemuLogParser, Starting, Terminating

WEB = InstanceId(UUID("141d0bb1-0909-41bc-8d15-2f1b6bcef40e"))
OLD = InstanceId(UUID("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"))

# As libvirt 9.0 with qemu 7.2 wrote it; of the command, what matters and what may be taken for it.
REAL = r"""2026-11-26 05:11:34.376+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4+deb12u2, hostname: vm
LC_ALL=C \
XDG_CACHE_HOME='/var/lib/libvirt/qemu/domain-7-web,1=x é/.cache' \
/usr/bin/qemu-system-x86_64 \
-name 'guest=web,,1=x é,debug-threads=on' \
-S \
-object '{"qom-type":"secret","id":"masterKey0","format":"raw"}' \
-uuid 141d0bb1-0909-41bc-8d15-2f1b6bcef40e \
-append 'console=ttyS0 -uuid 00000000-0000-0000-0000-000000000000 ' \
-msg timestamp=on
char device redirected to /dev/pts/1 (label charserial0)
2026-11-26T05:11:36.067125Z qemu-system-x86_64: terminating on signal 15 from pid 11328 (sleep)
2026-11-26 05:11:37.476+0000: shutting down, reason=shutdown
""".encode()

OF_OLD = rb"""2014-03-01 10:00:00.000+0000: starting up
LC_ALL=C PATH=/usr/sbin /usr/bin/kvm -name old -S -m 1024 -uuid 4dea22b3-1d52-d8f3-2516-782e98ab3fa0 -nographic
2014-03-02 10:00:00.000+0000: shutting down
"""


def read(data: bytes, *, step: int | None = None) -> tuple[list[QemuLine], int]:
    parser = QemuLogParser()
    step = step or max(1, len(data))
    facts = [fact for start in range(0, len(data), step) for fact in parser.feed(data[start : start + step])]
    return [*facts, *parser.finish()], parser.unparsed


def at(text: str) -> int:
    [fact] = QemuLogParser().feed(f"{text}: shutting down, reason=saved\n".encode())
    return fact.at


def test_what_a_real_log_tells_of_a_start_a_kill_and_an_end() -> None:
    facts, unparsed = read(REAL)

    first_line = REAL.index(b"\n") + 1
    assert facts == [
        Starting(at=at("2026-11-26 05:11:34.376+0000"), offset=first_line, instance=WEB, name="web,1=x é"),
        Terminating(
            at=at("2026-11-26 05:11:36.067125+0000"),
            offset=REAL.index(b"(sleep)\n") + 8,
            instance=WEB,
            name="web,1=x é",
            signal=15,
            pid=11328,
            process="sleep",
        ),
        Ending(
            at=at("2026-11-26 05:11:37.476+0000"), offset=len(REAL), instance=WEB, name="web,1=x é", reason="shutdown"
        ),
    ]
    assert unparsed == 0


def test_an_old_libvirt_gave_neither_version_nor_reason_and_one_line_for_the_command() -> None:
    facts, _ = read(OF_OLD)

    assert [(type(fact).__name__, fact.instance, fact.name) for fact in facts] == [
        ("Starting", OLD, "old"),
        ("Ending", OLD, "old"),
    ]
    assert isinstance(facts[1], Ending)
    assert facts[1].reason == ""


@pytest.mark.parametrize(
    ("words", "pid", "process"),
    [
        ("terminating on signal 15 from pid 4711 (bash)", 4711, "bash"),
        ("terminating on signal 15 from pid 4711 (.venv/bin/python)", 4711, ".venv/bin/python"),
        ("terminating on signal 15 from pid 4711 (a (b) c)", 4711, "a (b) c"),
        ("terminating on signal 15 from pid 4711 (<unknown process>)", 4711, None),
        ("terminating on signal 15 from pid 4711 ()", 4711, None),
        ("terminating on signal 15 from pid 4711", 4711, None),
        ("terminating on signal 2", 0, None),
    ],
)
def test_who_sent_the_signal(words: str, pid: int, process: str | None) -> None:
    [[fact], unparsed] = read(f"2026-11-22T03:12:07.391Z qemu-system-x86_64: {words}\n".encode())

    assert isinstance(fact, Terminating)
    assert (fact.pid, fact.process) == (pid, process)
    assert unparsed == 0


def test_a_name_is_used_by_one_vm_after_another() -> None:
    facts, _ = read(OF_OLD + REAL)

    assert [fact.instance for fact in facts] == [OLD, OLD, WEB, WEB, WEB]


def test_what_stands_before_the_first_command_is_of_no_vm_that_the_file_told() -> None:
    facts, _ = read(b"2026-11-22 03:12:09.020+0000: shutting down, reason=destroyed\n" + REAL)

    assert [fact.instance for fact in facts] == [None, WEB, WEB, WEB]


def test_a_start_whose_command_was_lost_is_of_the_vm_before_it() -> None:
    facts, _ = read(REAL + b"2026-11-27 00:00:00.000+0000: starting up\n")

    assert isinstance(facts[-1], Starting)
    assert facts[-1].instance == WEB


def test_a_reader_goes_on_where_another_ended() -> None:
    place = REAL.index(b"2026-11-26T")
    parser = QemuLogParser(offset=place, instance=WEB, name="web")
    facts = parser.feed(REAL[place:])

    assert [fact.offset for fact in facts] == [fact.offset for fact in read(REAL)[0][1:]]
    assert [fact.instance for fact in facts] == [WEB, WEB]


def test_a_half_line_waits_and_only_whole_lines_count_for_the_offset() -> None:
    parser = QemuLogParser()

    assert parser.feed(b"passed over\n2026-11-22 03:12:09.020+0000: shutting down, reason=des") == []
    assert parser.offset == 12
    [fact] = parser.feed(b"troyed\nand so")
    assert isinstance(fact, Ending)
    assert (fact.reason, fact.offset, parser.offset) == ("destroyed", 74, 74)


END = b"2026-11-22 03:12:09.020+0000: shutting down, reason=destroyed"
KILL = b"2026-11-22T03:12:07.391Z qemu: terminating on signal 15 from pid 4711 (bash)"


@pytest.mark.parametrize("line", [END, KILL])
def test_a_last_line_without_its_end_is_read_where_it_is_whole(line: bytes) -> None:
    whole, unparsed = read(line)

    assert (len(whole), unparsed) == (1, 0)
    assert all(not read(line[:cut])[0] for cut in range(len(line)))


@pytest.mark.parametrize(
    "line",
    [
        b"2026-13-45 03:12:09.020+0000: shutting down, reason=destroyed",
        b"9999-12-31 23:59:59.000+0000: shutting down, reason=destroyed",
        b"1066-10-14 09:00:00.000+0000: starting up",
        b"qemu: terminating on signal 15 from pid 1",  # as qemu wrote it before it told the time
        b"2026-11-22T03:12:07.391Z qemu: terminating on signal 15 from pid -1 (bash)",
        b"2026-11-22 03:12:09.020+0000: shutting down, reason=<b>",
        b"\x00\x01\x02",
        b"\xff\xfe\xfd",
        b"x" * (LINE + 1),
    ],
)
def test_a_line_that_cannot_be_read_is_counted(line: bytes) -> None:
    assert read(line + b"\n") == ([], 1)


def test_a_process_with_a_name_that_is_no_text_is_told_all_the_same() -> None:
    [[fact], _] = read(b"2026-11-22T03:12:07.391Z qemu: terminating on signal 15 from pid 7 (\xff\x1b[31m)\n")

    assert isinstance(fact, Terminating)
    assert fact.process == "\\xff\x1b[31m"


def test_a_hundred_megabytes_without_a_line_are_one_line_that_memory_does_not_hold() -> None:
    lines = Lines()
    held = 0
    for _ in range(100):
        assert not list(lines.feed(b"x" * 2**20))
        held = max(held, len(lines._half))

    assert held <= LINE
    assert list(lines.feed(b"\nshort\n")) == [(None, 100 * 2**20 + 1), (b"short", 100 * 2**20 + 7)]


LINES = [*REAL.splitlines(keepends=True), *OF_OLD.splitlines(keepends=True), b"\0\n", b"\xff\n", b"\r\n", b"-uuid '\n"]


@given(st.lists(st.sampled_from(LINES), max_size=30).map(b"".join), st.integers(1, 200))
def test_pieces_of_any_size_tell_the_same(data: bytes, step: int) -> None:
    assert read(data, step=step) == read(data)


@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_no_bytes_raise(garbage: bytes, seed: int) -> None:
    dice = random.Random(seed)
    place = dice.randrange(len(REAL))
    read(REAL[:place] + garbage + REAL[place + dice.randrange(20) :])
    read(garbage)
