"""What was done to the log itself: the facts by which a later reader can tell whether it is whole.

They bear on no power_state and on no command.
"""

from dataclasses import dataclass

from es_power.domain.events import Event, Label, Position

# ------------------------------------------------------------------------------------------------ the log itself


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSealed(Event):
    """The log was signed as it was up to `size`, and the signed note sent to the places outside of the log.

    This record is not part of what was signed. From its fields the note can be written again, byte for byte.
    """

    #: How many records are signed: all up to this position.
    size: Position
    #: RFC 6962's root of the Merkle tree over the hashes of these records.
    root: bytes
    #: The note's first line, which is the key's name too; the key's id, four bytes; and the signature.
    origin: str
    key: bytes
    signature: bytes
    #: The places outside of the log that did not take the note.
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRead(Event):
    """How far the clock could be trusted when the log was signed; it stands behind its CheckpointSealed."""

    #: As in ServiceStarted.
    clock_synchronised: bool | None = None
    clock_offset: int | None = None
    clock_error: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsForgotten(Event):
    """Texts were erased at somebody's word: the records that bear these labels stand, the texts are gone."""

    #: The ids of the labels; never a text.
    labels: tuple[int, ...]
    by: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPruned(Event):
    """What was observed up to a position was taken out of the log, after an archive of it was read and found whole.

    What was said, decided and done stands, and so does each observation that something kept refers to.
    """

    #: The last record of the checkpoint up to which the log was pruned.
    position: Position
    #: That checkpoint's root: the tree over all records up to there, as they were.
    root: bytes
    #: SHA-256 over what stands for them now: the read models there, each stream's end, and the single records kept.
    state: bytes
    #: How many records were taken out.
    count: int
    #: Where the archive was written to.
    archive: Label
    by: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRestored(Event):
    """The log goes on from an earlier point: what was recorded after that is not in it."""

    #: The last record that came with what was put back; this fact follows on it.
    position: Position
    #: How far the log is known to have gone before; None where nothing tells.
    replaced: Position | None
    #: The backup; None where the log had been put back by other means, and a person says that it is meant so.
    source: Label | None
    by: Label
