"""Signing the log as it is, every so often: each signature leaves the machine's log before it is written down there.

Rules of this file:
1. A place that fails is told of and tried again with the next checkpoint; it never stops the service.
2. What was signed is a fact of the log afterwards (`CheckpointSealed`), which is not part of what was signed.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import trio

from es_power.audit.keys import Signer, VerifierKey, beside_log, read_key
from es_power.audit.notes import Checkpoint, Note
from es_power.audit.places import Beside, Place, beside, parse_place
from es_power.audit.stored import grow
from es_power.audit.tree import Edge
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import Event, Position
from es_power.domain.ports import Clock
from es_power.domain.streams import AUDIT
from es_power.errors import LogError, SettingsError
from es_power.log import SqlLog
from es_power.log.shared import append_shared
from es_power.settings import Audit

_PATIENCE: Final = 10.0  # seconds that a place may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A checkpoint that was signed."""

    checkpoint: Checkpoint
    note: Note
    #: Of the fact that says so.
    position: Position
    #: The places that did not take it, and why.
    failed: Mapping[str, str]


class Sealer:
    """Signs one log, with one key."""

    def __init__(
        self,
        log: SqlLog,
        signer: Signer,
        places: Sequence[str],
        *,
        clock: Clock,
        beside: Callable[[], Sequence[Event]] = tuple,
    ) -> None:
        """`beside` gives further facts to be appended with each checkpoint, of the same moment."""
        self._log = log
        self._signer = signer
        self._places: dict[str, Place] = {text: parse_place(text) for text in places}
        #: A place that hangs keeps its own thread, and takes none of those that trio has for everybody.
        self._threads = {text: trio.CapacityLimiter(1) for text in places}
        self._clock = clock
        self._beside = beside
        self._edge: Edge | None = None
        self._turn = trio.Lock()
        #: The last one; None before the first.
        self.last: Sealed | None = None
        #: Why the last try came to none; empty where it came to one.
        self.failure = ""

    @property
    def verifier(self) -> VerifierKey:
        """The key that its signatures are checked with; it may be given away."""
        return self._signer.verifier

    @property
    def near(self) -> Mapping[str, Beside]:
        """The places that are near the log, and how near."""
        return near_places(self._log.database.place.path, tuple(self._places))

    @property
    def is_fine(self) -> bool:
        """Whether the last try came to a checkpoint that all places took."""
        return not self.failure and not (self.last and self.last.failed)

    async def seal(self) -> Sealed:
        """Sign the log as it is, send that to all places, and record it; LogError where the log refuses."""
        async with self._turn:
            # One that failed half-way may have grown beyond the nodes that were stored: then they are read again.
            before, self._edge = self._edge, None
            edge = self._edge = await trio.to_thread.run_sync(grow, self._log.database, before)
            checkpoint = Checkpoint(origin=self._signer.verifier.name, size=edge.size, root=edge.root())
            note = self._signer.sign(checkpoint.text)
            failed = {text: said for text in self._places if (said := await self._put(text, note))}
            position = await self._say(checkpoint, note, tuple(failed))
            self.last = Sealed(checkpoint=checkpoint, note=note, position=position, failed=failed)
            self.failure = ""
            return self.last

    async def run(self, every: float) -> None:
        """Seal the log every so many seconds, until cancelled."""
        while True:
            await self.try_to_seal()
            await trio.sleep(every)

    async def try_to_seal(self) -> None:
        """Seal the log, or say loudly why not."""
        try:
            sealed = await self.seal()
        except LogError as error:
            self.failure = str(error)
            structlog.get_logger().error("the log was not sealed", error=str(error))
        else:
            for place, said in sealed.failed.items():
                structlog.get_logger().error("a checkpoint was not taken", place=place, error=said)
            structlog.get_logger().info("sealed", size=sealed.checkpoint.size, key=self._signer.verifier.id.hex())

    async def _put(self, place: str, note: Note) -> str:
        """Give why a place did not take it; empty where it did. One that hangs is left to itself."""
        with trio.move_on_after(_PATIENCE):
            try:
                await trio.to_thread.run_sync(
                    self._places[place].put, note, abandon_on_cancel=True, limiter=self._threads[place]
                )
            except OSError as error:
                return error.strerror or str(error)
            return ""
        return f"it did not answer within {_PATIENCE:g} s"

    async def _say(self, checkpoint: Checkpoint, note: Note, missed: Sequence[str]) -> Position:
        [signature] = note.signatures
        fact = CheckpointSealed(
            observed_at=self._clock(),
            size=Position(checkpoint.size),
            root=checkpoint.root,
            origin=checkpoint.origin,
            key=signature.key,
            signature=signature.signature,
            missed=tuple(missed),
        )
        return await append_shared(self._log, AUDIT, (fact, *self._beside()))


def sealer_of(
    log: SqlLog, audit: Audit, *, clock: Clock, beside: Callable[[], Sequence[Event]] = tuple
) -> Sealer | None:
    """Who seals a log as the settings say, or None where they name no key.

    KeyFileError where that cannot be read, SettingsError where it or a place is in the folder of the log.
    """
    if not audit.key:
        return None
    near = near_places(log.database.place.path, audit.places)
    refused = [text for text, nearness in near.items() if nearness is Beside.FOLDER]
    problems = [f"[audit] places: {text} is {Beside.FOLDER}; name one elsewhere" for text in refused]
    if said := beside_log(Path(audit.key), log.database.place.path):
        problems.append(f"[audit] key: {said}")
    if problems:
        raise SettingsError(problems)
    return Sealer(log, read_key(Path(audit.key)), audit.places, clock=clock, beside=beside)


def near_places(log: Path | None, places: Sequence[str]) -> Mapping[str, Beside]:
    """The places that are near the log, which is a file, and how near."""
    if log is None:
        return {}
    found = {text: beside(parse_place(text), log) for text in places}
    return {text: nearness for text, nearness in found.items() if nearness}


@asynccontextmanager
async def sealing(sealer: Sealer, every: float) -> AsyncIterator[None]:
    """Seal the log while the block runs, every so many seconds from now on, and once more at its end."""
    for place, nearness in sealer.near.items():
        structlog.get_logger().warning("a place for checkpoints is near the log", place=place, problem=str(nearness))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sealer.run, every)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _PATIENCE):
                await sealer.try_to_seal()
