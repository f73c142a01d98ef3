"""What is said of the seal: rows of checkpoints, proofs and verdicts."""

from typing import Final

from es_power.audit.checkpoints import note_of
from es_power.audit.sealing import Sealed
from es_power.audit.verdict import Verdict
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import Position
from es_power.output import Column, Row

VERDICT: Final = tuple(
    Column(name)
    for name in (
        *("intact", "position", "records", "streams", "vouched", "pruned", "remains_vouched", "root"),
        *("labels", "labels_gone", "labels_unchecked", "unread", "checkpoints", "damage"),
    )
)
SEALED: Final = (Column("size"), Column("root"), Column("position"), Column("failed"), Column("note", limit=None))
CHECKPOINTS: Final = (
    Column("size"),
    Column("root"),
    Column("position"),
    Column("observed_at", time=True),
    Column("origin"),
    Column("key"),
    Column("missed"),
    Column("note", limit=None),
)
PROOF: Final = tuple(
    Column(name, limit=None)
    for name in (
        *("position", "stream", "stream_id", "version", "recorded_at_ns", "topic", "state", "previous", "hash"),
        *("size", "path", "note"),
    )
)


def checkpoint_row(kept: tuple[Position, CheckpointSealed]) -> Row:
    """A checkpoint that is a fact of the log, and the note that it tells of."""
    position, fact = kept
    return {
        "size": fact.size,
        "root": fact.root.hex(),
        "position": position,
        "observed_at": fact.observed_at,
        "origin": fact.origin,
        "key": fact.key.hex(),
        "missed": list(fact.missed),
        "note": str(note_of(fact)),
    }


def verdict_row(verdict: Verdict) -> Row:
    """What a verification came to."""
    return {
        "intact": verdict.is_intact,
        "position": verdict.position,
        "records": verdict.records,
        "streams": verdict.streams,
        "vouched": verdict.vouched,
        "pruned": verdict.pruned,
        "remains_vouched": verdict.remains_vouched,
        "root": verdict.root.hex(),
        "labels": verdict.labels,
        "labels_gone": verdict.labels_gone,
        "labels_unchecked": verdict.labels_unchecked,
        "unread": verdict.unread,
        "checkpoints": [
            {
                "size": each.size,
                "origin": each.origin,
                "outside": each.outside,
                "signed": each.signed,
                "holds": each.holds,
            }
            for each in verdict.checkpoints
        ],
        "damage": [
            {
                "kind": each.kind,
                "position": each.position,
                "until": each.until,
                "page": each.page,
                "detail": each.detail,
            }
            for each in verdict.damage
        ],
    }


def sealed_row(sealed: Sealed) -> Row:
    """A checkpoint that was signed just now."""
    return {
        "size": sealed.checkpoint.size,
        "root": sealed.checkpoint.root.hex(),
        "position": sealed.position,
        "failed": dict(sealed.failed),
        "note": str(sealed.note),
    }
