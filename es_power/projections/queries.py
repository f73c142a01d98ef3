"""The questions people ask, answered from the read models of a log at one position.

Rules of this file:
1. Every answer is true at its view's position; several questions to one view are asked at the same moment of the log.
2. Nothing here reads a clock: whoever asks says what time it is.
3. A VM's name is its owner's choice, so a message shows it as Python would, with nothing in it that a terminal obeys.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final
from uuid import UUID

import trio

from es_power.domain.events import (
    Event,
    HostSwept,
    InstanceId,
    Label,
    Position,
    Recorded,
)
from es_power.domain.host import Host
from es_power.domain.streams import observed_host, told_host
from es_power.domain.time import Timestamp
from es_power.errors import AmbiguousNameError, InstanceNotFoundError, SealBrokenError
from es_power.log import SqlLog
from es_power.log.labels import shown
from es_power.projections.as_of import Moment, Then, bounds, commands_as_of, fold_as_of
from es_power.projections.beginning import beginning_of
from es_power.projections.fleet import Fleet
from es_power.projections.lean import fold_fleet
from es_power.projections.power_state import PowerRow, power_rows, rows_of
from es_power.projections.reader import read_models
from es_power.projections.readmodels import ReadModels, Step
from es_power.projections.store import Store
from es_power.projections.told import retold, told_states

__all__ = [
    "FORGOTTEN",
    "Status",
    "View",
    "find",
    "hosts",
    "known_fleet",
    "look",
    "status",
    "texts",
]

FORGOTTEN: Final = "(forgotten)"
"""Shown for a text that was erased on somebody's request."""

_CANDIDATES: Final = 5  # that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The read models of a log at one position, and where their facts are read."""

    log: SqlLog
    store: Store
    models: ReadModels
    #: What the tables do not have: everything after `rest.since`.
    rest: Step
    #: Which facts count, where the view is of another time than now; the fleet is folded from those.
    then: Then | None = None

    @property
    def fleet(self) -> Fleet:
        """Every VM on every host."""
        return self.models.fleet

    @property
    def hosts(self) -> frozenset[str]:
        """The names of all hosts that the log knows."""
        return frozenset(observed_host(stream) or stream for stream in self.fleet.places)

    @property
    def position(self) -> Position:
        """The position of the log that every answer is true at: nothing after it bears on one."""
        return self.then.known if self.then else self.models.fleet.position

    def has(self, recorded: Recorded) -> bool:
        """Whether a fact counts in it."""
        if self.then is not None:
            return self.then.has(recorded.position, recorded.event.observed_at)
        return recorded.position <= self.position

    def at(self, now: Timestamp) -> Timestamp:
        """What time it is in this view."""
        return self.then.at if self.then else now


async def look(
    log: SqlLog,
    *,
    until: Position | None = None,
    table_only: bool = False,
    as_of: Moment | None = None,
    known_at: Moment | None = None,
    present: "View | None" = None,
    progress: Callable[[Position], None] = lambda _: None,
) -> View:
    """Take a view of a log as it is now, or as it was at a position.

    Or of what was true `as_of` a moment, by what is known now or was `known_at` another (`as_of.read_moment` reads
    one): such a view says itself what time it is in it, and is good for `status`, `find`, `history` and `diff`.

    Who has a view of the `present` that knows as much gives it, so that the tables need not be read for it.

    With `table_only` it is good for `status` and `find` alone, and sooner there where the tables are beyond `until`.
    The fold behind that believes what it reads, so a log whose hashes are not right is not folded by it.
    """
    store = Store(log.database)
    if as_of is not None or known_at is not None:
        then = await bounds(log, as_of=as_of, known_at=known_at)
        models, rest = ReadModels(await fold_as_of(log, then, progress=progress)), Step(since=then.known)
        if not table_only:
            # A history as of then is what is kept of the history now, without what does not count.
            if present is not None and present.position >= then.known:
                now, rest = present.models, present.rest
            else:
                now, rest = await read_models(log, store, progress=progress)
            models.commands = await commands_as_of(log, then, now.commands)
        return View(log=log, store=store, models=models, rest=rest, then=then)
    if table_only and until is not None and until < await trio.to_thread.run_sync(store.checkpoint):
        with suppress(SealBrokenError):
            beginning = await beginning_of(log)
            await log.require_kept(until)
            fleet = await fold_fleet(log, start=beginning.fleet, until=until, chain=beginning.chain, progress=progress)
            return View(log=log, store=store, models=ReadModels(fleet), rest=Step(since=until))
    models, rest = await read_models(log, store, until=until, progress=progress)
    return View(log=log, store=store, models=models, rest=rest)


async def texts(log: SqlLog, labels: Iterable[Label | None]) -> Callable[[Label | None], str | None]:
    """Look up labels at once; what comes back gives the text of each, None for none."""
    ids = list({label.id for label in labels if label})
    known = await log.labels(ids) if ids else {}
    return lambda label: known.get(label.id, FORGOTTEN) if label else None


# ------------------------------------------------------------------------------------------------- which VM


async def find(view: View, text: str) -> InstanceId:
    """Find the VM that a person means: by UUID, by the name it has now, as HOST/NAME, or by the beginning of either.

    A VM that is gone does not have its name any more, but where no other has it, it is meant. Raises
    InstanceNotFoundError, and AmbiguousNameError where several fit.
    """
    try:
        return await _find(view, view.fleet, text)
    except InstanceNotFoundError:
        if view.then is None or view.then.position == view.then.known:
            raise
        # A VM may be asked for by what it is known as, of a time before it was.
        return await _find(view, await known_fleet(view, view.then), text)


async def _find(view: View, fleet: Fleet, text: str) -> InstanceId:
    instance = _as_uuid(text)
    if instance in fleet.seen_on or instance in fleet.told:
        return instance
    kept = shown(text)  # of a very long name the log keeps no more
    if found := _among(kept, await _named(view.log, fleet, {text, kept} - {"", FORGOTTEN})):
        return found
    told = [name for streams in fleet.told.values() for name in streams.values()]
    name_of = await texts(view.log, [*(known.name for _, _, known in fleet), *told])
    # Among ten thousand names that takes its time, in which others are answered too.
    return await trio.to_thread.run_sync(lambda: _search(view, fleet, text, name_of))


async def _named(log: SqlLog, fleet: Fleet, names: Collection[str]) -> list["_Bearer"]:
    """The bearers of one of these names, without reading all others."""
    known_as = await log.labelled([name for name in names if _is_storable(name)])
    if not known_as:
        return []
    bearers = [
        _Bearer(instance, told_host(stream) or stream, known_as[name.id], present=False)
        for instance, streams in fleet.told.items()
        for stream, name in streams.items()
        if name is not None and name.id in known_as
    ]
    return bearers + [
        _Bearer(instance, observed_host(stream) or stream, known_as[known.name.id], present=not known.gone)
        for stream, place in fleet.places.items()
        for instance, known in place.instances.items()
        if known.name is not None and known.name.id in known_as
    ]


def _is_storable(text: str) -> bool:
    """Whether a database could hold it: no name that the log keeps equals one that none could."""
    return "\0" not in text and text.encode(errors="replace").decode() == text


def _among(text: str, fitting: Sequence["_Bearer"]) -> InstanceId | None:
    """The one VM that is meant where some fit; those that are there are meant before those that are gone."""
    for some in ([bearer for bearer in fitting if bearer.present], fitting):
        if found := {bearer.instance for bearer in some}:
            return _only(text, found, some)
    return None


def _search(view: View, fleet: Fleet, text: str, name_of: Callable[[Label | None], str | None]) -> InstanceId:
    kept = shown(text)
    bearers = [
        _Bearer(instance, told_host(stream) or stream, name_of(name) or "", present=False)
        for instance, streams in fleet.told.items()
        for stream, name in streams.items()
    ]
    bearers += [
        _Bearer(instance, observed_host(stream) or stream, name_of(known.name) or "", present=not known.gone)
        for instance, stream, known in fleet
    ]
    fits: Sequence[Callable[[_Bearer], bool]] = (
        lambda bearer: bearer.name in {text, kept},
        lambda bearer: text.startswith(f"{bearer.host}/") and shown(text[len(bearer.host) + 1 :]) == bearer.name,
        lambda bearer: bearer.name.startswith(text) or str(bearer.instance).startswith(text.lower()),
    )
    for fit in fits if text else ():
        if found := _among(kept, [bearer for bearer in bearers if fit(bearer)]):
            return found
    close = get_close_matches(kept, {bearer.name for bearer in bearers}, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`es-power status --all` lists those that are"
    raise InstanceNotFoundError(f"no VM {kept!r} is known to the log at position {view.position}; {hint}")


@dataclass(frozen=True, slots=True)
class _Bearer:
    """A VM under the name it has on one host."""

    instance: InstanceId
    host: str
    name: str
    present: bool


def _as_uuid(text: str) -> InstanceId | None:
    try:
        return InstanceId(UUID(text))
    except ValueError:
        return None


def _only(text: str, found: Collection[InstanceId], bearers: Sequence[_Bearer]) -> InstanceId:
    if len(found) == 1:
        return next(iter(found))
    listed = ", ".join(f"{bearer.instance} ({bearer.host}/{bearer.name!r})" for bearer in bearers[:_CANDIDATES])
    more = f" and {len(bearers) - _CANDIDATES} more" if len(bearers) > _CANDIDATES else ""
    raise AmbiguousNameError(f"{len(found)} VMs fit {text!r}: {listed}{more}; say which by UUID or HOST/NAME")


# ---------------------------------------------------------------------------------------------------- hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One observed host under one driver."""

    host: str
    stream: str
    known: Host
    #: How many VMs it knows now.
    vms: int


def hosts(view: View) -> list[Observed]:
    """All observed hosts, by their streams."""
    return [
        Observed(
            host=observed_host(stream) or stream,
            stream=stream,
            known=place.host,
            vms=sum(not known.gone for known in place.instances.values()),
        )
        for stream, place in sorted(view.fleet.places.items())
    ]


# -------------------------------------------------------------------------------------------------- status


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A row of the power_state table, and the VM's name in plain text."""

    name: str | None
    row: PowerRow


async def status(view: View, vm: str | None = None, *, now: Timestamp, everything: bool = False) -> list[Status]:
    """What is said of one VM, or of all in the order of their names, at the time `now`, or that of the view.

    With `everything`, of each on each host that ever showed it, gone ones included. Raises as `find` does.
    """
    if view.then is not None:
        return await _status_then(view, view.then, vm, everything=everything)
    if vm is None:
        # Ten thousand rows take their time, in which others are answered too.
        rows = await trio.to_thread.run_sync(lambda: list(power_rows(view.fleet, now=now, everything=everything)))
    else:
        rows = list(rows_of(view.fleet, await find(view, vm), now=now, everything=everything))
    name_of = await texts(view.log, (row.name for row in rows))
    return _sorted(Status(name=name_of(row.name), row=row) for row in rows)


async def _status_then(view: View, then: Then, vm: str | None, *, everything: bool) -> list[Status]:
    """The same of another time: what nobody of ours can say, other programs' logs may tell."""
    told = await told_states(view.log, then)
    if vm is None:
        rows = list(power_rows(view.fleet, now=then.at, everything=everything))
    else:
        instance = await find(view, vm)
        told = {instance: told[instance]} if instance in told else {}
        rows = list(rows_of(view.fleet, instance, now=then.at, everything=everything))
    rows = list(retold(rows, view.fleet, told))
    if vm is not None and not rows:
        raise InstanceNotFoundError(f"nothing is known of {shown(vm)!r} as of then: the log begins to tell of it later")
    names = {row.instance: row.name for row in rows}
    if nameless := [row.instance for row in rows if row.name is None]:
        # Who bears no name yet bears the one that it had later.
        later = await known_fleet(view, then)
        names |= {instance: label_of(later, instance) for instance in nameless}
    text_of = await texts(view.log, names.values())
    return _sorted(
        Status(name=text_of(names[row.instance]), row=row if row.name else replace(row, name=names[row.instance]))
        for row in rows
    )


def _sorted(rows: Iterable[Status]) -> list[Status]:
    return sorted(rows, key=lambda each: (each.name or "", each.row.instance, each.row.host))


async def known_fleet(view: View, then: Then) -> Fleet:
    """All that was known, of any time."""
    return await fold_as_of(view.log, replace(then, position=then.known))


# --------------------------------------------------------------------------------------------------- parts


def said_by(event: Event | None) -> tuple[Label | None, Label | None]:
    """Who said a fact, and why; (None, None) for one that no person said."""
    return getattr(event, "by", None), getattr(event, "why", None)


def part(recorded: Recorded, sweep: HostSwept, index: int, instance: InstanceId) -> Recorded:
    """Read a sweep as what it says of one VM."""
    return replace(recorded, event=sweep.answer(index, instance), index=index)


def label_of(fleet: Fleet, instance: InstanceId) -> Label | None:
    """The name of a VM on the host whose word counts, else on the one that showed it last."""
    hosts = fleet.hosts_of(instance)
    owner = fleet.owner(instance).host
    known = hosts[owner] if owner else max(hosts.values(), key=lambda known: known.position, default=None)
    if known is not None:
        return known.name
    told = fleet.told_by(instance)
    return told[1] if told else None
