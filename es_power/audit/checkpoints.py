"""Checkpoints as claims about a log: those kept outside of it, those that are facts of it, and that of a pruned one."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa

from es_power.audit.keys import VerifierKey
from es_power.audit.notes import Checkpoint, Note, Signature, find_notes, read_checkpoint, read_note
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import Event, Position
from es_power.domain.streams import AUDIT, stream_id
from es_power.errors import NoteError, UnknownEventError
from es_power.log.codec import shared_codec
from es_power.log.database import Database
from es_power.log.pruned import Pruned
from es_power.log.queries import fetch_rows
from es_power.log.schema import RECORDS, STREAMS

Fact = TypeVar("Fact", bound=Event)

_LONGEST: Final = 64_000_000
"""Bytes of a file with checkpoints: an hourly one has less than 3 MB a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a checkpoint says of a log."""

    origin: str
    size: int
    root: bytes
    #: Whether it was kept outside of the log.
    outside: bool
    #: Whether its signature was checked with a key that was given, and is true.
    signed: bool
    #: Where it stands in the log; None for one from outside.
    position: Position | None = None
    #: What is wrong with its signature; empty where nothing is, or where its key was not given.
    forged: str = ""


def read_checkpoints(path: Path) -> list[Note]:
    """Read the checkpoints in a file that are whole; NoteError where there is none."""
    notes, _ = find_checkpoints(path)
    return notes


def find_checkpoints(path: Path) -> tuple[list[Note], int]:
    """Read the checkpoints in a file, and count what could not be read there; NoteError where none is whole."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise NoteError(f"{path} is longer than {_LONGEST:,} bytes; name the file that the checkpoints are in")
        text = content.decode()
    except OSError as error:
        raise NoteError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NoteError(f"{path} is no text, so no checkpoint is in it") from error
    notes, broken = find_notes(text)
    if not notes:
        raise NoteError(f"no whole checkpoint is in {path}")
    return notes, broken


def note_of(fact: CheckpointSealed) -> Note:
    """Write the note again that a fact tells of."""
    checkpoint = Checkpoint(origin=fact.origin, size=fact.size, root=fact.root)
    return Note(checkpoint.text, [Signature(fact.origin, fact.key, fact.signature)])


def claims_outside(notes: Sequence[Note], keys: Sequence[VerifierKey]) -> list[Claim]:
    """Read checkpoints from outside; NoteError where one is none, or not signed by the key of its name."""
    claims: list[Claim] = []
    for note in notes:
        checkpoint = read_checkpoint(note)
        signed = any(key.signed(note) for key in keys)
        if keys and not signed:
            asked = ", ".join(f"{key.name}+{key.id.hex()}" for key in keys)
            signers = ", ".join(f"{each.name}+{each.key.hex()}" for each in note.signatures)
            raise NoteError(
                f"the checkpoint of {checkpoint.origin} over {checkpoint.size} records is not signed by {asked}; "
                f"it says that it is by {signers}"
            )
        claims.append(
            Claim(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, outside=True, signed=signed)
        )
    return claims


def claims_inside(connection: sa.Connection, database: Database, keys: Sequence[VerifierKey]) -> Iterator[Claim]:
    """Read the checkpoints that are facts of a log; what cannot be read is left to the chain."""
    for position, fact in sealed_facts(connection, database):
        note = note_of(fact)
        own = [key for key in keys if key.of(note)]
        signed = any(key.signed(note) for key in own)
        forged = "" if signed or not own else f"the checkpoint here is not signed by {own[0].name}, though it says so"
        yield Claim(
            origin=fact.origin,
            size=fact.size,
            root=fact.root,
            outside=False,
            signed=signed,
            position=position,
            forged=forged,
        )


class KeptCheckpoints:
    """The checkpoints that are facts of one log: asked again, it reads what came since, from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        #: Oldest first.
        self._facts: list[tuple[Position, CheckpointSealed]] = []
        #: Of the stream's record that was read last.
        self._version = 0

    def read(self) -> Sequence[tuple[Position, CheckpointSealed]]:
        """Give all of them, oldest first, with their positions; it blocks."""
        with self._lock, self._database.read() as connection:
            rows = _audit_rows(connection, self._database, after=self._version)
            self._facts += _of_kind(CheckpointSealed, rows)
            self._version = max((version for version, *_ in rows if isinstance(version, int)), default=self._version)
            return tuple(self._facts)

    def newest(self) -> CheckpointSealed | None:
        """Give the one that signed most; None where there is none; it blocks."""
        return max((fact for _, fact in self.read()), key=lambda fact: fact.size, default=None)


def sealed_facts(connection: sa.Connection, database: Database) -> Iterator[tuple[Position, CheckpointSealed]]:
    """Read the facts of checkpoints, oldest first, with their positions."""
    return facts_of(CheckpointSealed, connection, database)


def facts_of(kind: type[Fact], connection: sa.Connection, database: Database) -> Iterator[tuple[Position, Fact]]:
    """Read the facts of one kind about a log, oldest first, with their positions; what cannot be read is left out."""
    return _of_kind(kind, _audit_rows(connection, database))


def _audit_rows(connection: sa.Connection, database: Database, after: int = 0) -> list[tuple[int, Position, Any, Any]]:
    """Version, position, topic and state of what was said about the log after a version."""
    numbers = connection.execute(sa.select(STREAMS.c.no).where(STREAMS.c.id == stream_id(AUDIT).bytes)).scalars().all()
    records = RECORDS.c
    query = (
        sa.select(records.version, records.position, records.topic, records.state)
        .where(records.stream == sa.bindparam("n"), records.version > sa.bindparam("v"))
        .order_by(records.version)
    )
    sql = database.compile(query, "n", "v")
    return [row for number in numbers for row in cast(list[Any], fetch_rows(connection, sql, number, after))]


def _of_kind(kind: type[Fact], rows: Iterable[tuple[int, Position, Any, Any]]) -> Iterator[tuple[Position, Fact]]:
    codec, name = shared_codec(), kind.__name__
    for _, position, topic, state in rows:
        if not isinstance(topic, str) or not topic.startswith(f"{name}:"):
            continue
        try:
            fact = codec.decode(topic, state)
        except UnknownEventError:
            continue
        if isinstance(fact, kind):
            yield Position(position), fact


def read_pruned_claim(pruned: Pruned, keys: Sequence[VerifierKey]) -> Claim | None:
    """Read the checkpoint that stands for what was pruned; None where it is none of that size, or a given key's is."""
    try:
        note = read_note(pruned.checkpoint)
        checkpoint = read_checkpoint(note)
    except NoteError:
        return None
    own = [key for key in keys if key.of(note)]
    signed = any(key.signed(note) for key in own)
    if checkpoint.size != pruned.position or (own and not signed):
        return None
    return Claim(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, outside=False, signed=signed)
