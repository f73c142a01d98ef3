"""Checkpoints against the tree of a log: which hold, and between which two somebody wrote the log anew."""

from collections.abc import Mapping, Sequence
from typing import Final

from es_power.audit.checkpoints import Claim
from es_power.audit.verdict import Compared, Damage, Kind
from es_power.domain.events import Position

BREAKS: Final = frozenset(
    {Kind.EDITED, Kind.MISSING, Kind.DUPLICATED, Kind.SWAPPED, Kind.INSERTED, Kind.STREAMS, Kind.PAGES}
)
"""Damage for which records were not read to their end, or may not have been."""


def compare(
    claims: Sequence[Claim], roots: Mapping[int, bytes], *, begin: Position, end: Position | None
) -> tuple[Sequence[Compared], Sequence[Damage]]:
    """Give what became of each checkpoint, and the first damage that they show.

    `roots` are those of the tree over so many records; `begin` is where the log begins, `end` where it ends, None where
    it could not be read so far.
    """
    compared: list[Compared] = []
    damage: list[Damage] = []
    held = begin
    for claim in sorted(claims, key=lambda each: (each.size, not each.outside)):
        root = roots.get(claim.size)
        holds = None if root is None else root == claim.root
        if root is None and end is not None and claim.size > end:
            holds = False
        if found := _damage(claim, held, end, holds=holds):
            damage.append(found)
        elif holds:
            held = Position(claim.size)
        compared.append(
            Compared(origin=claim.origin, size=claim.size, outside=claim.outside, holds=holds, signed=claim.signed)
        )
    return compared, damage[:1]


def _damage(claim: Claim, held: Position, end: Position | None, *, holds: bool | None) -> Damage | None:
    if claim.forged:
        return Damage(kind=Kind.FORGED, position=claim.position, detail=claim.forged)
    if holds is not False:
        return None
    size = Position(claim.size)
    if end is not None and size > end:
        return Damage(
            kind=Kind.TRUNCATED,
            position=Position(end + 1),
            until=size,
            detail=f"{claim.origin} signed {size} records, and the log ends at {end}",
        )
    return Damage(
        kind=Kind.FORGED,
        position=Position(held + 1),
        until=size,
        detail=f"the first {size} records are not those that {claim.origin} signed, though all their hashes fit",
    )
