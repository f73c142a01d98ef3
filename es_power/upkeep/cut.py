"""Where a log may be cut: at a checkpoint that was signed before a time, and that the log still is what it signed."""

from dataclasses import dataclass

import trio

from es_power.audit.checkpoints import note_of, sealed_facts
from es_power.domain.events import Position
from es_power.domain.time import Timestamp, rfc3339
from es_power.errors import PruneError
from es_power.log import SqlLog
from es_power.log.pruned import pruned_up_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A checkpoint up to which a log can be pruned."""

    #: The last record that was signed.
    position: Position
    root: bytes
    #: The signed note.
    note: str
    signed_at: Timestamp
    #: Up to where the log was pruned before; 0 for a whole one.
    begins: Position


async def find_cut(log: SqlLog, before: Timestamp) -> Cut:
    """Find the newest checkpoint that was signed before a time; PruneError where none is, or none is newer."""
    return await trio.to_thread.run_sync(_find, log, before)


def _find(log: SqlLog, before: Timestamp) -> Cut:
    with log.database.read() as connection:
        begins = pruned_up_to(connection)
        facts = [fact for _, fact in sealed_facts(connection, log.database)]
    earlier = [fact for fact in facts if fact.observed_at < before]
    if not earlier:
        signed = f"the first was signed at {rfc3339(facts[0].observed_at)}" if facts else "none was ever signed"
        raise PruneError(
            f"a log is pruned up to a signed checkpoint, and none was signed before {rfc3339(before)} ({signed}): "
            "`es-power audit keygen` and the setting audit.key have the service sign one every hour"
        )
    newest = max(earlier, key=lambda fact: fact.size)
    if newest.size <= begins:
        raise PruneError(
            f"all that was signed before {rfc3339(before)} is pruned already: the log begins after position {begins}"
        )
    return Cut(
        position=newest.size,
        root=newest.root,
        note=str(note_of(newest)),
        signed_at=newest.observed_at,
        begins=begins,
    )
