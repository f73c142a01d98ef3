"""Where two sides differ over the same history, as rows."""

from collections.abc import Callable
from typing import Final

from es_power.domain.events import Label
from es_power.domain.time import SECOND
from es_power.log import SqlLog
from es_power.output import Column, Row
from es_power.projections.queries import label_of, texts
from es_power.replay import Around, Comparison, Disagreement, Seen, Stop, Task

DIFFERENCES: Final = (
    Column("requested_at", time=True),
    Column("name"),
    Column("host"),
    Column("only_in"),
    Column("rule"),
    Column("command"),
    Column("then", limit=None),
    Column("position"),
    Column("instance", in_table=False),
    Column("difference", in_table=False),
    Column("power_state", in_table=False),
    Column("running_again", in_table=False),
    Column("migrating", in_table=False),
    Column("task", in_table=False),
    Column("stops", in_table=False),
    Column("at", time=True, in_table=False),
    Column("since", time=True, in_table=False),
)

COMPARISON: Final = (
    *(Column(name) for name in ("left", "right", "position", "both", "otherwise", "only_left", "only_right", "unseen")),
    Column("differences"),
    # Of the differences' own rows.
    *(column for column in DIFFERENCES if column.time),
)

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


async def comparison_row(log: SqlLog, compared: Comparison, *, limit: int | None = None) -> Row:
    """What two sides over one history came to: how many stops, and the first `limit` of those that differ."""
    return {
        "left": compared.left,
        "right": compared.right,
        "position": compared.replay.position,
        "both": compared.both,
        "otherwise": compared.otherwise,
        "only_left": compared.only_left,
        "only_right": compared.only_right,
        "unseen": compared.unseen,
        "differences": await difference_rows(log, compared, limit=limit),
    }


async def difference_rows(log: SqlLog, compared: Comparison, *, limit: int | None = None) -> list[Row]:
    """Where the sides differ, in the order in which it began; the first `limit` of them, or all."""
    fleet, differing = compared.replay.models.fleet, compared.differing[:limit]
    labels = {each.first.instance: label_of(fleet, each.first.instance) for each in differing}
    text_of = await texts(log, labels.values())
    return [_row(each, labels[each.first.instance], text_of) for each in differing]


def _row(each: Disagreement, label: Label | None, text_of: Callable[[Label | None], str | None]) -> Row:
    first, around = each.first, each.around
    assert around is not None
    requests = [stop.command.requested for stop in (*each.left, *each.right) if stop.command]
    return {
        "requested_at": first.at,
        "instance": first.instance,
        "name": text_of(label),
        "host": requests[0].host if requests else around.host,
        "only_in": each.only,
        "difference": "another command" if each.only is None else f"only in {each.only}",
        "rule": " / ".join(dict.fromkeys(request.rule for request in requests)) or None,
        "command": " / ".join(dict.fromkeys(request.verb for request in requests)) or None,
        "power_state": around.power_state,
        "then": _words(around),
        "position": first.position,
        "running_again": _seen(around.running_again),
        "migrating": _seen(around.migrating),
        "task": _task(around.task),
        "stops": [_stop(stop) for stop in (*each.left, *each.right)],
    }


def _stop(stop: Stop) -> Row:
    place = {"side": stop.side, "requested_at": stop.at, "position": stop.position}
    if stop.command is None:
        return {**place, "request_id": stop.request_id}
    request = stop.command.requested
    return {
        **place,
        "id": request.command,
        "policy": request.policy,
        "policy_version": request.policy_version,
        "rule": request.rule,
        "command": request.verb,
        "reason": request.reason,
        "state": stop.command.state,
        "observation": request.observation,
        "observation_index": request.observation_index,
        "record": request.record,
        "ended": {"position": stop.end[0], "at": stop.end[1]} if stop.end else None,
    }


def _seen(seen: Seen | None) -> Row | None:
    """A fact; `seconds` after the stop was called for, negative where it was before."""
    if seen is None:
        return None
    place = {"position": seen.position, "index": seen.index, "at": seen.at}
    return {**place, "seconds": seen.after / SECOND, "what": seen.what}


def _task(task: Task | None) -> Row | None:
    if task is None:
        return None
    pending = task.pending / SECOND
    return {"task_state": task.task_state, "position": task.position, "since": task.since, "pending_seconds": pending}


# ----------------------------------------------------------------------------------------------------- for people


def _words(around: Around) -> str:
    """What the facts say around the moment, each with the position that shows it."""
    words = [around.power_state or "nothing known"]
    if again := around.running_again:
        words.append(f"running again {_later(again.after)} ({again.position})")
    if migrating := around.migrating:
        words.append(f"migrating: {migrating.what} {_later(migrating.after)} ({migrating.position})")
    if task := around.task:
        pending = f"for {span_words(task.pending)}" if task.pending else "soon after"
        words.append(f"task {task.task_state} pending {pending} ({task.position})")
    return "; ".join(words)


def _later(nanoseconds: int) -> str:
    words = span_words(abs(nanoseconds))
    return f"{words} before" if nanoseconds < 0 else f"after {words}"


def span_words(nanoseconds: int) -> str:
    """A span of time in its two largest units: ``2 h 5 min``; under a minute in seconds and tenths."""
    if nanoseconds < 60 * SECOND:
        return f"{nanoseconds // (SECOND // 10) / 10:.1f} s"
    rest = nanoseconds // SECOND
    parts: list[str] = []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))
