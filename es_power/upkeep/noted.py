"""How far a log went by the checkpoints that were kept outside of it, which no older copy takes back."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from es_power.audit.checkpoints import read_checkpoints, sealed_facts
from es_power.audit.notes import Checkpoint, read_checkpoint
from es_power.audit.places import FilePlace, FolderPlace, parse_place
from es_power.domain.events import START, Position
from es_power.errors import NoteError
from es_power.log.database import Database

_NEWEST: Final = 100  # files of a directory, which several logs may share


def noted(database: Database, places: Sequence[str]) -> Position:
    """The largest checkpoint of a log in files and directories; 0 where there is none.

    A key signs one log, as C2SP has it: what bears the name by which this one was signed is this one's.
    """
    with database.read() as connection:
        origins = {fact.origin for _, fact in sealed_facts(connection, database)}
    sizes = (each.size for place in places for each in _kept(place) if each.origin in origins)
    return Position(max(sizes, default=START))


def _kept(place: str) -> Iterator[Checkpoint]:
    """The checkpoints in a place, as far as they can be read; of a directory those with the largest sizes."""
    match parse_place(place):
        case FilePlace(path=path):
            files = [path]
        case FolderPlace(path=path):
            files = sorted(path.glob("*.checkpoint"))[-_NEWEST:]
        case _:
            return
    for file in files:
        with suppress(NoteError):
            for note in read_checkpoints(file):
                with suppress(NoteError):
                    yield read_checkpoint(note)
