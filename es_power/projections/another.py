"""What imported exports say of one VM, folded as the log that they come from: so `why` asks it what it asks ours.

Rules of this file:
1. The facts stand in the order that they had there: as they were recorded, and by their positions.
2. Such a view is made for one answer and forgotten. Nothing of it gets into the fleet, and nothing follows from it.
3. Positions in it are its own; `Another.real` gives the places in this log, where the evidence is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from es_power.domain.events import InstanceEvent, InstanceId, LifecycleEvent, Position, Recorded
from es_power.domain.evidence import Blind, Case, Fact, Reboot
from es_power.domain.logged import FactImported
from es_power.errors import UnknownEventError
from es_power.log import SqlLog
from es_power.projections.imported import EXPORTS, unwrap
from es_power.projections.queries import View, known_fleet
from es_power.projections.readmodels import ReadModels

_BATCH: Final = 1000

_Placed = TypeVar("_Placed", Fact, Blind, Reboot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Another:
    """Another log, as far as it bears on one VM."""

    view: View
    #: By position in it: where that is in this log.
    places: Mapping[Position, Position]

    def real(self, found: _Placed) -> _Placed:
        """The same at its place in this log; a command says that it was another log's."""
        placed = replace(found, position=self.places[found.position])
        if isinstance(placed, Fact) and (actor := placed.texts.get("actor")):
            return replace(placed, texts={**placed.texts, "actor": f"{actor}, as another log tells"})
        return placed

    def real_case(self, case: Case) -> Case:
        """A case of that log, with everything in it at its place in this one."""
        return replace(
            case,
            change=self.real(case.change),
            facts=[self.real(fact) for fact in case.facts],
            blind=[self.real(blind) for blind in case.blind],
            reboot=self.real(case.reboot) if case.reboot else None,
            elsewhere=self.real(case.elsewhere) if case.elsewhere else None,
        )


async def another(view: View, instance: InstanceId, *, until: Position) -> Another | None:
    """Open what was imported of a VM out of exports up to a position; None where there is nothing.

    It reads all that was imported of the VM's hosts.
    """
    fleet = view.fleet
    if view.then is not None and view.then.position != view.then.known:
        # What was imported since is known of that time too.
        fleet = await known_fleet(view, view.then)
    streams = [stream for stream in fleet.told.get(instance, ()) if stream.startswith(EXPORTS)]
    found = [each for stream in streams for each in await _read(view, stream, instance, until)]
    if not found:
        return None
    found.sort(key=lambda each: (each[1].recorded_at, each[1].position, each[1].index or 0))
    places = {Position(number): place for number, (place, _) in enumerate(found, 1)}
    records = [replace(each, position=Position(number)) for number, (_, each) in enumerate(found, 1)]
    models = ReadModels()
    rest = models.apply(each for each in records if _is_about(each, instance))
    log = cast("SqlLog", _Records(view.log, records))  # what a view's facts are read from; nobody writes to it
    return Another(view=replace(view, log=log, models=models, rest=rest, then=None), places=places)


async def _read(view: View, stream: str, instance: InstanceId, until: Position) -> list[tuple[Position, Recorded]]:
    """What bears on a VM: facts about it and about whole hosts, and what was announced of its neighbours."""
    found: list[tuple[Position, Recorded]] = []
    version, last = 0, await view.log.version(stream)
    while version < last:
        try:
            records = await view.log.read_stream(stream, after=version, limit=_BATCH)
        except UnknownEventError:
            version += 1
            continue
        version = records[-1].version
        for recorded in records:
            if recorded.position > until:
                return found
            fact = unwrap(recorded)
            known = not isinstance(fact.event, FactImported)
            if known and (_is_about(fact, instance) or isinstance(fact.event, LifecycleEvent)):
                found.append((recorded.position, fact))
    return found


def _is_about(recorded: Recorded, instance: InstanceId) -> bool:
    return not isinstance(recorded.event, InstanceEvent) or recorded.event.instance == instance


class _Records:
    """Records that are asked for as those of a log are."""

    def __init__(self, log: SqlLog, records: Sequence[Recorded]) -> None:
        self._log = log
        self._at = {each.position: each for each in records}
        self._streams: dict[str, list[Recorded]] = {}
        for each in records:
            self._streams.setdefault(each.stream, []).append(each)

    async def read_at(self, positions: Sequence[Position]) -> dict[Position, Recorded]:
        return {position: self._at[position] for position in positions if position in self._at}

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> Sequence[Recorded]:
        found = [each for each in self._streams.get(stream, ()) if each.version > after]
        return found if limit is None else [each for each in found if each.version <= after + limit]

    async def labels(self, ids: Sequence[int]) -> dict[int, str]:
        return await self._log.labels(ids)
