"""Everything that es_power reads from outside: what real input of it looks like, and how it is read.

Each reader raises nothing but what `Kind.refusals` says, with one line that a person can act on; what else it raises is
a find. Readers also check what has to hold of what they do accept: that it can be written, told and folded.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog

from es_power import timewords
from es_power.answers.export import _data, fact_row
from es_power.api import pages
from es_power.api.listen import address_of
from es_power.api.problems import ProblemError
from es_power.audit import offline
from es_power.audit.keys import Signer, VerifierKey
from es_power.audit.notes import Checkpoint, find_notes, in_one_line, read_checkpoint, read_note
from es_power.cli.policy import _answer
from es_power.dispatch.door import read_wish
from es_power.domain.events import Event, InstanceId, Label, Position, Recorded
from es_power.domain.libvirt_numbers import EVENT_IDS
from es_power.domain.logged import FactImported
from es_power.domain.policy import get_policy
from es_power.domain.streams import host_of, imported, stream_id, told_host
from es_power.domain.time import Timestamp, moment, rfc3339
from es_power.errors import EsPowerError, NoteError
from es_power.ingest.callbacks import EventCallbacks
from es_power.ingest.hypervisor import Announcement
from es_power.ingest.importing import identity
from es_power.ingest.jsonl import JsonlReader
from es_power.ingest.log_files import PIECE, NovaLogReader, QemuLogReader, Reader, oldest_first, vm_name
from es_power.ingest.naming import driver_of, is_local
from es_power.ingest.opening import UNREADABLE, opened
from es_power.log.codec import Codec, recordable
from es_power.log.database import parse_place
from es_power.log.labels import make_label
from es_power.nova.records import read_actions, read_fault, read_page, read_server
from es_power.output import Column, Format, as_json, plain, write
from es_power.projections.readmodels import ReadModels
from es_power.settings import load
from es_power.testing.facts import T0
from tests.acceptance.night import CI_LOG

REAL_STREAM: Final = Path(__file__).parents[1] / "property" / "real_stream.jsonl"
VM: Final = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
CODEC: Final = Codec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of input."""

    read: Callable[[bytes], object]
    samples: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    #: What reading may raise; an EsPowerError always.
    refusals: tuple[type[Exception], ...] = field(default=())


# -------------------------------------------------------------------------------------------------------- records


def _sample(hint: Any) -> Any:
    """A value of a field's type."""
    if get_origin(hint) in (Union, UnionType):
        return _sample(next(each for each in get_args(hint) if each is not NoneType))
    if get_origin(hint) is tuple:
        return tuple(_sample(each) for each in get_args(hint) if each is not Ellipsis)
    hint = getattr(hint, "__supertype__", hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    known = {int: T0, float: 600.0, str: "observer/a/qemu", bytes: b"\1\1\5\0", bool: True, UUID: UUID(VM)}
    return Label(id=1, digest=b"somebody") if hint is Label else known[hint]


def an_event(kind: type[Event]) -> Event:
    """An event of this kind, with every field filled."""
    hints = get_type_hints(kind)
    event = kind(**{each.name: _sample(hints[each.name]) for each in fields(kind)})
    if isinstance(event, FactImported):
        topic, state = CODEC.encode(_swept())
        event = replace(event, topic=topic, state=state, told=((InstanceId(UUID(VM)), 1, 1),))
    return event


def _swept() -> Event:
    return an_event(next(each for each in recordable() if each.__name__ == "HostSwept"))


@cache
def _records() -> Sequence[bytes]:
    """What is stored, as topic, line end and state: of every kind, and what a real libvirt led to."""
    made = [CODEC.encode(an_event(kind)) for kind in recordable()]
    real = [msgspec.json.decode(line) for line in REAL_STREAM.read_text().splitlines()]
    pairs = [*made, *((each["topic"], bytes.fromhex(each["state"])) for each in real)]
    return [topic.encode() + b"\n" + state for topic, state in pairs]


def _read_record(data: bytes) -> Event:
    topic, _, state = data.partition(b"\n")
    name = topic.decode(errors="replace")
    bare = CODEC.raw(name, state)
    event = CODEC.decode(name, state)
    assert CODEC.build(*bare) == event
    # What is read can be written again, or a backup or an export would stumble over it.
    CODEC.encode(event)
    return event


class _Fold:
    """Read models that damaged records are folded into one after another; renewed now and then."""

    LIFE: Final = 500

    def __init__(self) -> None:
        self._models, self._count = ReadModels(), 0

    def read(self, data: bytes) -> None:
        if self._count % self.LIFE == 0:
            self._models = ReadModels()
            for sample in _records():
                self._fold(_read_record(sample))
        self._fold(_read_record(data))

    def _fold(self, event: Event) -> None:
        self._count += 1
        streams = ("observer/a/qemu", imported("jsonl", "a"), "command/x", "declarations", "actor/a/qemu")
        recorded = Recorded(
            position=Position(self._count),
            stream=streams[self._count % 3 if isinstance(event, FactImported) else self._count % len(streams)],
            version=self._count,
            recorded_at=T0,
            event=event,
        )
        self._models.apply([recorded])
        as_json(plain(fact_row(recorded, _data(event, {})), [Column("recorded_at", time=True)]))


# ------------------------------------------------------------------------------------------------------ imported logs


def _pieces(reader: Callable[[], Reader], data: bytes) -> None:
    """Feed a file whole, and cut in the middle: both tell the same."""
    whole, cut = reader(), reader()
    told = whole.feed(data) + whole.finish()
    half = len(data) // 2
    facts = (cut.feed(data[:half]) + cut.feed(data[half:]) + cut.finish()).facts
    assert [identity(each) for each in facts] == [identity(each) for each in told.facts]
    assert (whole.unparsed, whole.unknown, whole.ambiguous) == (cut.unparsed, cut.unknown, cut.ambiguous)
    for event in told.facts:
        CODEC.decode(*CODEC.encode(event))
    for text in [*told.names.values(), *(label.text for label in told.labels)]:
        text.encode()  # or no database would take it
        assert "\0" not in text


@cache
def _exported() -> Sequence[bytes]:
    """Lines of an export, one of each kind."""
    lines: list[bytes] = []
    for number, sample in enumerate(_records(), 1):
        event = _read_record(sample)
        if isinstance(event, FactImported):
            continue
        recorded = Recorded(
            position=Position(number), stream="observer/a/qemu", version=number, recorded_at=T0, event=event
        )
        row = plain(fact_row(recorded, _data(event, {1: "somebody"})), [Column("recorded_at", time=True)])
        lines.append(as_json(row).encode() + b"\n")
    return [*lines, b"".join(lines[:10])]


def _read_export(data: bytes) -> None:
    _pieces(JsonlReader, data)
    models = ReadModels()
    reader = JsonlReader()
    for version, event in enumerate((reader.feed(data) + reader.finish()).facts, 1):
        assert isinstance(event, FactImported)
        stream = imported("jsonl", host_of(event.stream) or "")
        at = Position(version)
        models.apply([Recorded(position=at, stream=stream, version=version, recorded_at=T0, event=event)])
    assert not models.fleet.quarantined, models.fleet.quarantined


_QEMU: Final = (
    CI_LOG.encode(),
    b"2026-11-22 03:10:00.123+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4 (Debian), qemu version: 7.2\n"
    b"LC_ALL=C \\\nPATH=/usr/bin \\\n/usr/bin/qemu-system-x86_64 \\\n-name 'guest=web-1,debug-threads=on' \\\n"
    + f"-uuid {VM} \\\n-msg timestamp=on\n".encode()
    + b"2026-11-22T03:12:07.391442Z qemu-system-x86_64: terminating on signal 15 from pid 4711 (bash)\n"
    b"2026-11-22 03:12:09.020+0000: shutting down, reason=shutdown\n",
    f"2014-01-01 00:00:00.000+0000: starting up\nLC_ALL=C /usr/bin/kvm -name old -uuid {VM} -S\n".encode()
    + b"2014-01-02 00:00:00.000+0000: shutting down\n",
)
_NOVA_HEAD: Final = b"2026-11-22 03:12:22.412 1234 INFO nova.compute.manager "
_NOVA: Final = (
    _NOVA_HEAD + f"[-] [instance: {VM}] VM Stopped (Lifecycle Event)\n".encode(),
    _NOVA_HEAD + f"[None req-7 5e0c 77aa - - default default] [instance: {VM}] Terminating instance\n".encode(),
    _NOVA_HEAD
    + f"[-] [instance: {VM}] During sync_power_state the instance has a pending task (spawning). Skip.\n".encode(),
    (
        b"2026-10-25 02:30:00.000 1234 WARNING nova.compute.manager [req-1 - - - - -] While synchronizing "
        b"instance power states, found 3 instances in the database and 2 instances on the hypervisor.\n"
    ),
)
_BERLIN: Final = ZoneInfo("Europe/Berlin")


def _compressed() -> Sequence[bytes]:
    text = b"".join(_QEMU)
    return [
        gzip.compress(text, mtime=0),
        bz2.compress(text),
        lzma.compress(text),
        gzip.compress(b"", mtime=0) * 3,
        text,
    ]


def _read_compressed(data: bytes) -> None:
    with opened(io.BufferedReader(io.BytesIO(data))) as text:  # type: ignore[arg-type]
        while piece := text.read1(PIECE):
            assert len(piece) <= PIECE


def _read_file_name(data: bytes) -> None:
    name = data.decode(errors="surrogateescape").replace("\0", "") or "x"
    path = Path(name)
    assert oldest_first([path, path]) == [path]
    vm_name(path.name)


# ---------------------------------------------------------------------------------------------------------- settings

_SETTINGS: Final = (
    b'[observe]\nuri = ["qemu:///system", "test:///default"]\n[sweep]\nspacing = "10m"\njitter = 0.1\n',
    b'[[host]]\nname = "kvm-07"\nuri = "qemu+ssh://root@kvm-07:22/system?no_tty=1"\n[bridge]\ncapacity = 10000\n',
    b'[policy]\nname = "nova-2013"\nmode = "auto"\nmodes = {"kvm-07" = "approve"}\n[log]\npath = "~/log.db"\n',
    b'[act]\nsettle = 15.0\nwindow = 2\noperators = ["root", "@ops"]\n[qemu_log]\nenabled = true\n',
    b'[api]\nlisten = "127.0.0.1:8420"\nhosts = ["kvm.example"]\nrate = 100\n[metrics]\nlisten = "[::1]:9420"\n',
    b'# \xc3\xa9\n[log]\npath = """postgresql://es@db.example:5432/es"""\n[nova]\ncloud = "prod"\n',
    (
        b"ES_POWER_SWEEP_SPACING=10m\nES_POWER_OBSERVE_URI=qemu:///system test:///default\n"
        b"ES_POWER_POLICY_MODES=a=auto b=approve\n"
    ),
)


class _Settings:
    """Settings out of a file, or (lines of NAME=VALUE) out of the environment."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

    def read(self, data: bytes) -> None:
        if data.startswith(b"ES_POWER_"):
            lines = data.replace(b"\0", b"").decode(errors="surrogateescape").splitlines()
            environ = dict(line.partition("=")[::2] for line in lines if "=" in line)
            settings = load(None, environ={**environ, "HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder)})
        else:
            file = self._folder / "config.toml"
            file.write_bytes(data)
            settings = load(file, environ={"HOME": str(self._folder)})
        for host in settings.hosts:
            _read_uri(host.uri)
        parse_place(settings.log.path)
        for place in filter(None, (settings.api.listen, settings.metrics.listen)):
            address_of(place, "[api] listen")


def _read_uri(uri: str) -> None:
    driver_of(uri)
    is_local(uri)


_PLACES: Final = (
    b"/var/lib/es-power/log.db", b"sqlite:///log.db", b"sqlite://", b":memory:", b"postgres://h/d", b"mysql://x",
    b"postgresql://es:secret@[fe80::1%25eth0]:5432/es?sslmode=require&application_name=x",
)  # fmt: skip


def _read_place(data: bytes) -> None:
    text = data.decode(errors="surrogateescape").replace("\0", "")
    str(parse_place(text))


# ------------------------------------------------------------------------------------------------- what people write

_TIMES: Final = (
    b"now", b"yesterday", b"-1h", b"+5s", b"2 days ago", b"10:30", b"2026-11-22", b"2026-11-22 03:12:05.123456789",
    b"2026-11-22T03:12:05Z", b"2026-11-22T03:12:05+02:00", b"@1700000000.5", b"2026-11", b"1h 30min", b"90", b"12",
    b"2026-11-22 03:12 UTC", b"0001-01-01 00:00:00+23:59", b"9999-12-31 23:59:59.999999999-23:59", b"1.5 weeks",
)  # fmt: skip


def _read_times(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for read in (_time, timewords.month, _span):
        for zone in (None, _BERLIN):
            try:
                read(text, now=T0, zone=zone)
            except ValueError as error:
                _one_line(str(error))


def _time(text: str, *, now: Timestamp, zone: ZoneInfo | None) -> None:
    at = timewords.parse(text, now=now, zone=zone)
    # Whatever is read can be shown.
    moment(at).astimezone(zone)
    rfc3339(at)


def _span(text: str, *, now: Timestamp, zone: ZoneInfo | None) -> None:
    timewords.span(text)


_ROW: Final = (
    b"web-1\n1800000000000000000\nRUNNING",
    b"=HYPERLINK(1)\n-5\n\xe2\x80\xae\x1b[31m",
    b"a;rm -rf /,'\"\n0\n[b]",
)


def _write_row(data: bytes) -> None:
    """Names as their owners chose them, as every output writes them."""
    name, at, state = ([*data.decode(errors="replace").split("\n", 2), "", ""])[:3]
    time = Timestamp(int(at)) if at.isascii() and at.isdecimal() and len(at) < 19 else T0
    row = {"name": name, "at": time, "why": state, "nested": {"at": time, "text": [state, None, 1.5, True]}}
    for form in Format:
        out = io.StringIO()
        write([row, row], [Column("name"), Column("at", time=True), Column("why", limit=None)], form, out, environ={})
        if form is not Format.CSV:
            assert all(char.isprintable() or char == "\n" for char in out.getvalue()), (form, out.getvalue())


_CURSORS: Final = tuple(pages.cursor(key).encode() for key in (("web-1", VM), (48211, 3), (1,), ("", "")))


def _read_cursor(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for like in (("a", "b"), (1, 2), (1,)):
        pages.after(text, like)


# ------------------------------------------------------------------------------------------------- other programs

_SERVER: Final = (
    f'{{"id": "{VM}", "name": "web", "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": null, '
    '"OS-EXT-STS:power_state": 1, "OS-EXT-SRV-ATTR:host": "kvm-07", "created": "2026-01-01T00:00:00Z"}'
)
_NOVA_ANSWERS: Final = (
    f'{{"servers": [{_SERVER}, {_SERVER}], "servers_links": [{{"rel": "next", "href": "http://n/v2.1?marker={VM}"}}]}}'.encode(),
    f'{{"server": {_SERVER}}}'.encode(),
    (
        b'{"instanceActions": [{"action": "stop", "request_id": "req-1", "user_id": null, "project_id": null, '
        b'"start_time": "2026-11-22T03:12:05.000000", "message": null}]}'
    ),
    b'{"conflictingRequest": {"code": 409, "message": "Cannot \'stop\' instance"}}',
)


def _read_answer(data: bytes) -> None:
    for read in (read_page, read_server, read_actions, read_fault):
        try:
            read(data)
        except EsPowerError as error:
            _one_line(str(error))


_WISHES: Final = (
    f'{{"type": "Hold", "why": "x", "host": null, "instance": "{VM}", "until": 1}}\n'.encode(),
    f'{{"type": "Approve", "why": "\u00e9", "by": "alice", "command": "{VM}"}}\n'.encode(),
    b'{"type": "CloseBreaker", "why": "x", "host": "kvm-07"}\n',
)
_SITUATIONS: Final = (
    (
        b'{"vm_state": "active", "task_state": null, "db_power_state": "RUNNING", "driver_power_state": "SHUTDOWN", '
        b'"host_matches": true}\n'
    ),
    (
        b'{"vm_state": null, "task_state": "spawning", "db_power_state": null, "driver_power_state": "NOTFOUND", '
        b'"host_matches": false}\n'
    ),
)


def _read_situation(data: bytes) -> None:
    answer = _answer(get_policy("nova-2013"), data)
    assert answer.keys() in ({"error"}, {"power_state", "command", "reason"})


class _Guest:
    """What libvirt's callbacks are given of a VM."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name

    def UUID(self) -> bytes:  # noqa: N802
        return UUID(VM).bytes


def _hear(data: bytes) -> None:
    """Have libvirt announce whatever numbers, words and names a C library can give."""
    one, other, third = struct.unpack("3i", data[:12].ljust(12, b"\0"))
    name, _, reason = data[12:].replace(b"\0", b"").decode(errors="replace").partition(" ")
    heard: list[Announcement] = []
    callbacks = EventCallbacks(connection=1, announce=heard.append, clock=lambda: T0, call_soon=lambda now: now())
    given: Mapping[str, tuple[object, ...]] = {
        "LIFECYCLE": (one, other),
        "WATCHDOG": (one,),
        "IO_ERROR_REASON": (reason, reason, one, reason),
        "MEMORY_FAILURE": (one, other, third),
        "PMSUSPEND": (one,),
        "REBOOT": (),
    }
    for kind, details in given.items():
        callbacks.by_event_id()[EVENT_IDS[kind]](None, _Guest(name), *details, EVENT_IDS[kind])
    models = ReadModels()
    for version, announcement in enumerate(heard, 1):
        event = CODEC.decode(*CODEC.encode(announcement.event))
        assert event == announcement.event
        at = Position(version)
        models.apply([Recorded(position=at, stream="observer/a/qemu", version=version, recorded_at=T0, event=event)])
        make_label(announcement.name)[1].text.encode()
    assert len(heard) == len(given)
    assert not models.fleet.quarantined


# ----------------------------------------------------------------------------------------------------------- the seal

_SIGNER: Final = Signer("kvm-07.example.org/es-power", bytes(range(32)))
_CHECKPOINT: Final = Checkpoint(origin="kvm-07.example.org/es-power", size=48102, root=bytes(range(32)), extensions=())
_NOTE: Final = _SIGNER.sign(_CHECKPOINT.text)


def _read_notes(data: bytes) -> None:
    """Whatever the file holds, nothing is signed that was not."""
    text = data.decode(errors="surrogateescape")
    notes, _ = find_notes(text)
    for note in notes:
        assert str(read_note(str(note))) == str(note)
        if _SIGNER.verifier.signed(note):
            assert note.text == _NOTE.text
            assert read_checkpoint(note) == _CHECKPOINT
    note = read_note(text)
    assert str(note) == text
    assert not _SIGNER.verifier.signed(note) or note.text == _NOTE.text
    read_checkpoint(note)


def _read_keys(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        Signer.parse(text).verifier.id.hex()
    except NoteError:
        key = VerifierKey.read(text)
        assert VerifierKey.read(str(key)) == key


@cache
def _proof() -> dict[str, Any]:
    """What proves that a record is the first one of a log that was signed then."""
    topic, state = CODEC.encode(_swept())
    proof: dict[str, Any] = {
        "position": 1,
        "stream": "observer/kvm-07/qemu",
        "stream_id": stream_id("observer/kvm-07/qemu").hex,
        "version": 1,
        "recorded_at_ns": T0,
        "topic": topic,
        "state": state.hex(),
        "previous": bytes(32).hex(),
        "size": 2,
        "path": [bytes(32).hex()],
    }
    leaf = offline.record_hash(proof)
    root = offline.root_of(0, 2, leaf, [bytes(32)])
    note = _SIGNER.sign(Checkpoint(origin=_CHECKPOINT.origin, size=2, root=root, extensions=()).text)
    return {**proof, "hash": leaf.hex(), "note": str(note)}


def _read_proof(data: bytes) -> None:
    """Whoever changed a proof proves nothing else by it."""
    try:
        proof = json.loads(data)
        offline.check(proof, str(_SIGNER.verifier))
    except (*offline.NO_PROOF, offline.BadProofError):
        return
    said = {name: proof[name] for name in _proof() if name not in {"note", "path", "previous", "state", "stream_id"}}
    assert said == {name: _proof()[name] for name in said}
    assert bytes.fromhex(proof["state"]) == bytes.fromhex(_proof()["state"])


# ---------------------------------------------------------------------------------------------------------- all of it

KINDS: Final[Mapping[str, Kind]] = {
    "records": Kind(read=_read_record, samples=_records),
    "folds": Kind(read=_Fold().read, samples=_records),
    "exports": Kind(read=_read_export, samples=_exported, words=(b'"forgotten":"00"', b'"index":1,', b'"told":[]')),
    "qemu logs": Kind(
        read=lambda data: _pieces(lambda: QemuLogReader("web-1.log"), data),
        samples=lambda: _QEMU,
        words=(b": starting up", b": shutting down, reason=", b" -uuid ", b"-name guest=", b"+0000", b"'"),
    ),
    "Nova logs": Kind(
        read=lambda data: _pieces(lambda: NovaLogReader("nova-compute.log", _BERLIN), data),
        samples=lambda: _NOVA,
        words=(b"(Lifecycle Event)", b"[instance: ", b"pending task (", b"req-"),
    ),
    "compressed logs": Kind(read=_read_compressed, samples=_compressed, refusals=UNREADABLE),
    "file names": Kind(
        read=_read_file_name, samples=lambda: (b"web-1.log", b"web-1.log.2.gz", b"nova.log-20261122.xz", b"-")
    ),
    "settings": Kind(
        read=_Settings().read, samples=lambda: _SETTINGS, words=(b"qemu://[", b"://", b"[[host]]\n", b"inf")
    ),
    "places": Kind(read=_read_place, samples=lambda: _PLACES, words=(b"://", b"[", b"]", b"%", b"@", b"?")),
    "times": Kind(read=_read_times, samples=lambda: _TIMES, words=(b" ago", b"-", b"+", b"@", b"UTC", b"T", b":")),
    "rows": Kind(read=_write_row, samples=lambda: _ROW),
    "cursors": Kind(read=_read_cursor, samples=lambda: _CURSORS, refusals=(ProblemError,)),
    "answers of Nova": Kind(read=_read_answer, samples=lambda: _NOVA_ANSWERS, words=(b"marker=", b"http://[", b"null")),
    "announcements of libvirt": Kind(
        read=_hear, samples=lambda: (struct.pack("3i", 5, 1, 0) + b"web-1 enospc", struct.pack("3i", -1, 2**31 - 1, 7))
    ),
    "wishes": Kind(read=read_wish, samples=lambda: _WISHES, words=(b'"type":', b'"x":'), refusals=(ValueError,)),
    "situations": Kind(read=_read_situation, samples=lambda: _SITUATIONS),
    "notes": Kind(
        read=_read_notes,
        samples=lambda: (str(_NOTE).encode(), in_one_line(_NOTE).encode(), (str(_NOTE) + "\n" + str(_NOTE)).encode()),
        words=("\N{EM DASH} ".encode(), b"\n\n", b"checkpoint: ", b"=", b"+"),
    ),
    "proofs": Kind(read=_read_proof, samples=lambda: [json.dumps(_proof()).encode()]),
    "keys": Kind(
        read=_read_keys, samples=lambda: (_SIGNER.encoded().encode(), str(_SIGNER.verifier).encode()), words=(b"+",)
    ),
}


def find(kind: Kind, data: bytes) -> Exception | None:
    """Read one input; give what was raised that nobody expects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(data)
    except (EsPowerError, *kind.refusals) as error:
        try:
            if isinstance(error, EsPowerError):
                _one_line(str(error))
        except AssertionError as unclear:
            return unclear
    except Exception as error:  # noqa: BLE001 (it is what is looked for)
        return error
    return None


def _one_line(text: str) -> None:
    assert text.strip(), "a refusal without a word"


def quiet() -> None:
    """Have log lines made and thrown away, but for errors."""
    structlog.configure(processors=[_made], logger_factory=lambda *_: io.StringIO(), cache_logger_on_first_use=False)


def _made(_: object, level: str, event: Any) -> Any:
    text = str(event)
    if level in {"error", "critical", "exception"}:
        MISTAKES.append(text)
    raise structlog.DropEvent


MISTAKES: Final[list[str]] = []
"""What was logged as an error since `quiet`: somebody caught what nobody expected."""


__all__ = ["CODEC", "KINDS", "Kind", "an_event", "find", "told_host"]
