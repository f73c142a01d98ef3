"""What a verification comes to: the kinds of damage, where it begins, and what vouches for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from es_power.domain.events import Position


class Kind(StrEnum):
    """What was done to a log, or befell it."""

    #: A record, or its hash, is not as it was written.
    EDITED = "edited"
    #: A record is gone, and others that were written after it are there.
    MISSING = "missing"
    #: A record stands there a second time.
    DUPLICATED = "duplicated"
    #: Two records stand in each other's place.
    SWAPPED = "swapped"
    #: A record stands there that was not written there.
    INSERTED = "inserted"
    #: The log ends before its end.
    TRUNCATED = "truncated"
    #: All hashes fit, and yet it is not the log that was signed: somebody wrote it anew, hashes and all.
    FORGED = "forged"
    #: The row that says where the log ends.
    HEAD = "head altered"
    #: The table that names the streams and says where each ends.
    STREAMS = "stream table altered"
    #: A text beside the log is not the one that its record was written with.
    LABELS = "labels altered"
    #: The nodes of the tree that are kept beside the log; none of the log itself is lost by that.
    TREE = "tree altered"
    #: What is said of the records that were pruned does not go with the checkpoint there.
    PRUNED = "pruned prefix altered"
    #: The database's own structure, by the database's own check.
    PAGES = "database pages damaged"
    #: The database holds something that would change the log by itself.
    SCHEMA = "database schema altered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong."""

    kind: Kind
    #: The first bad record, and the last one that may be bad; None where it is outside of records, or cannot be told.
    position: Position | None = None
    until: Position | None = None
    #: The page of the database's file; None where that is not known.
    page: int | None = None
    #: What was found, for a person.
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A checkpoint, and whether the log is still the one that was signed."""

    origin: str
    size: int
    #: Whether it was kept outside of the log; else it is a fact of the log, which whoever rewrites the log can remove.
    outside: bool
    #: Whether the tree over so many records has the root that was signed; None where the log could not be read so far,
    #: or its beginning was pruned beyond it.
    holds: bool | None
    #: Whether the signature was checked with a key that was given.
    signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found of a log."""

    #: The last record that was checked, and fits all before it.
    position: Position
    #: How many were.
    records: int
    #: The root of the tree over all records up to `position`.
    root: bytes
    damage: Sequence[Damage] = ()
    #: By size.
    checkpoints: Sequence[Compared] = ()
    #: All records up to this one were pruned; the checkpoint there stands for them. None where the log is whole.
    pruned: Position | None = None
    #: The first record that says what was kept of these; None where none says so.
    pruned_said: Position | None = None
    #: Texts that are as they were written, texts that are gone (forgotten), and texts that nobody can check.
    labels: int = 0
    labels_gone: int = 0
    labels_unchecked: int = 0
    #: Records that this version cannot read: their hashes were checked, the labels that they may name were not.
    unread: int = 0
    streams: int = 0

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found to be wrong."""
        return not self.damage

    @property
    def vouched(self) -> Position:
        """Up to here a checkpoint from outside says that nothing was changed since it was signed; 0: none does."""
        return Position(max((each.size for each in self.checkpoints if each.outside and each.holds), default=0))

    @property
    def remains_vouched(self) -> bool | None:
        """Whether a checkpoint from outside covers the fact that says what was kept of the records that were pruned.

        Each record that is there is proved by the checkpoint at the cut. That none more was taken out, and what every
        fold begins with, is said by that fact alone. None where the log is whole.
        """
        if self.pruned is None:
            return None
        return self.pruned_said is not None and self.pruned_said <= self.vouched
