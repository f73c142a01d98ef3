"""What differs between two views of a log: of two times, or of one time by what was known at two."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from es_power.domain.events import InstanceId
from es_power.domain.time import Timestamp
from es_power.errors import InstanceNotFoundError
from es_power.projections.queries import Status, View, find, status

__all__ = ["Difference", "What", "diff"]


class What(StrEnum):
    """In what a VM differs."""

    APPEARED = "appeared"
    GONE = "gone"
    RENAMED = "renamed"
    MOVED = "moved"
    POWER_STATE = "power_state"
    VM_STATE = "vm_state"
    #: The same power_state, but another time since when: it was something else in between.
    SINCE = "since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A VM that is not what it was."""

    instance: InstanceId
    what: tuple[What, ...]
    #: Its rows, more than one where several hosts show it on; none where it was not there, or gone.
    before: tuple[Status, ...]
    after: tuple[Status, ...]


async def diff(before: View, after: View, vm: str | None = None, *, now: Timestamp) -> list[Difference]:
    """The VMs that differ, or that one if it does, in the order of their names.

    Raises as `find` does, where neither view knows the VM.
    """
    if vm is None:
        left, right = _by_vm(await status(before, now=now)), _by_vm(await status(after, now=now))
    else:
        instance = await _find(before, after, vm)
        left, right = await _one(before, instance, now), await _one(after, instance, now)
    found = [
        Difference(instance=instance, what=what, before=left.get(instance, ()), after=right.get(instance, ()))
        for instance in left | right
        if (what := tuple(_what(left.get(instance, ()), right.get(instance, ()))))
    ]
    return sorted(found, key=lambda each: ((each.after or each.before)[0].name or "", each.instance))


async def _find(before: View, after: View, vm: str) -> InstanceId:
    try:
        return await find(after, vm)
    except InstanceNotFoundError:
        with suppress(InstanceNotFoundError):
            return await find(before, vm)
        raise


async def _one(view: View, instance: InstanceId, now: Timestamp) -> dict[InstanceId, tuple[Status, ...]]:
    try:
        return _by_vm(await status(view, str(instance), now=now))
    except InstanceNotFoundError:
        return {}


def _by_vm(rows: Sequence[Status]) -> dict[InstanceId, tuple[Status, ...]]:
    present = sorted((each for each in rows if not each.row.gone), key=lambda each: each.row.instance)
    return {instance: tuple(some) for instance, some in groupby(present, key=lambda each: each.row.instance)}


def _what(before: Sequence[Status], after: Sequence[Status]) -> Iterator[What]:
    if not (before and after):
        if after:
            yield What.APPEARED
        elif before:
            yield What.GONE
        return
    then, now = before[0], after[0]
    if then.name != now.name:
        yield What.RENAMED
    if {each.row.host for each in before} != {each.row.host for each in after}:
        yield What.MOVED
    if then.row.power_state != now.row.power_state:
        yield What.POWER_STATE
    elif then.row.since != now.row.since:
        yield What.SINCE
    if (then.row.vm_state, then.row.task_state) != (now.row.vm_state, now.row.task_state):
        yield What.VM_STATE
