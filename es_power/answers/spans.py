"""Answers about time as rows: segments of timelines and their marks, uptimes, anomalies."""

from typing import Final

from es_power.answers.rows import POWER_STYLES
from es_power.answers.words import words
from es_power.domain.time import SECOND
from es_power.output import Column, Row
from es_power.projections.anomalies import Anomaly
from es_power.projections.marks import Mark, MarkKind
from es_power.projections.spans import Segment
from es_power.projections.timeline import Timeline
from es_power.projections.uptime import Uptime

# -------------------------------------------------------------------------------------------------- timelines

SEGMENTS: Final = (
    Column("name"),
    Column("since", time=True),
    Column("until", time=True),
    Column("power_state", styles=POWER_STYLES),
    Column("seconds"),
    Column("host"),
    Column("source"),
    Column("why_unknown", limit=None),
    Column("position"),
    Column("shares"),
    Column("instance"),
)


def segment_row(timeline: Timeline, segment: Segment) -> Row:
    """One segment of `es-power timeline`; `power_state` is null while it did not exist."""
    return {
        "instance": segment.instance,
        "name": timeline.name,
        "since": segment.since,
        "until": segment.until,
        "power_state": segment.state,
        "why_unknown": segment.why_unknown or None,
        "host": segment.host,
        "source": segment.source,
        "position": segment.position,
        "seconds": _seconds(segment.duration),
        "shares": {state: _seconds(share) for state, share in segment.shares.items()},
    }


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / SECOND


# ------------------------------------------------------------------------------------------------------ marks

MARKS: Final = (
    Column("at", time=True),
    Column("kind"),
    Column("what", limit=None),
    Column("position"),
    Column("index", in_table=False),
    Column("instance"),
)


GROWTH: Final = (
    Column("at", time=True),
    Column("position"),
)
"""Where the log stood at some times."""


def mark_row(mark: Mark) -> Row:
    """One mark of a VM's lane."""
    entry = mark.line.entry
    return {
        "instance": mark.instance,
        "at": entry.observed_at,
        "kind": mark.kind,
        "position": entry.position,
        "index": entry.index,
        "what": f"{words(mark.line)}{_UNSEEN if mark.unseen else _MISSED if mark.kind is MarkKind.MISSED else ''}",
    }


_MISSED: Final = ", which no event announced"
_UNSEEN: Final = ": it changed while nobody saw its host"


# ---------------------------------------------------------------------------------------------------- uptimes

UPTIMES: Final = (
    Column("name"),
    Column("since", time=True, in_table=False),
    Column("until", time=True, in_table=False),
    Column("known_up_s"),
    Column("known_down_s"),
    Column("known_paused_s"),
    Column("unknown_s"),
    Column("existed_s"),
    Column("availability_min"),
    Column("availability_max"),
    Column("instance", in_table=False),
)

_DIGITS: Final = 10**9


def uptime_row(uptime: Uptime) -> Row:
    """One VM of `es-power uptime`; the availabilities are rounded outwards, so that the range holds the truth."""
    up, existed = uptime.up, uptime.existed
    return {
        "name": uptime.name,
        "instance": uptime.instance,
        "since": uptime.since,
        "until": uptime.until,
        "existed_s": _seconds(existed),
        "known_up_s": _seconds(up),
        "known_down_s": _seconds(uptime.down),
        "known_paused_s": _seconds(uptime.paused),
        "unknown_s": _seconds(uptime.unknown),
        "availability_min": up * _DIGITS // existed / _DIGITS if existed else None,
        "availability_max": -(-(up + uptime.unknown) * _DIGITS // existed) / _DIGITS if existed else None,
    }


# -------------------------------------------------------------------------------------------------- anomalies

ANOMALIES: Final = (
    Column("since", time=True),
    Column("until", time=True),
    Column("kind"),
    Column("name"),
    Column("host"),
    Column("count"),
    Column("positions"),
    Column("instance", in_table=False),
)


def anomaly_row(anomaly: Anomaly) -> Row:
    """One line of `es-power anomalies`; `instance` is null where it is about the host."""
    return {
        "kind": anomaly.kind,
        "host": " and ".join(anomaly.hosts),
        "instance": anomaly.instance,
        "name": anomaly.name,
        "since": anomaly.since,
        "until": anomaly.until,
        "count": anomaly.count,
        "positions": list(anomaly.positions),
    }
