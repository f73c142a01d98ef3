"""What differs, as rows: between two times, and between the log and a hypervisor."""

from collections.abc import Sequence
from typing import Final

from es_power.answers.rows import POWER_STYLES
from es_power.domain.libvirt_numbers import reason_name, state_name
from es_power.domain.states import UNKNOWN
from es_power.output import Column, Row
from es_power.projections.differences import Difference
from es_power.projections.drift import Drift
from es_power.projections.queries import Status

DIFF: Final = (
    Column("name"),
    Column("host"),
    Column("what"),
    Column("power_state_then", styles=POWER_STYLES),
    Column("power_state", styles=POWER_STYLES),
    Column("since", time=True),
    Column("vm_state_then"),
    Column("vm_state"),
    Column("note", limit=None),
    Column("instance", in_table=False),
    Column("name_then", in_table=False),
    Column("host_then", in_table=False),
    Column("since_then", time=True, in_table=False),
    Column("task_state_then", in_table=False),
    Column("task_state", in_table=False),
    Column("note_then", in_table=False),
    Column("position_then", in_table=False),
    Column("position", in_table=False),
)


def diff_row(difference: Difference) -> Row:
    """One VM of `es-power diff`: what was said of it then, and what is said of it at the later time."""
    return {
        "instance": difference.instance,
        "what": ", ".join(difference.what),
        **{f"{name}_then": value for name, value in _side(difference.before).items()},
        **_side(difference.after),
    }


def _side(rows: Sequence[Status]) -> Row:
    if not rows:
        return dict.fromkeys(("name", "host", "power_state", "since", "vm_state", "task_state", "note", "position"))
    row = rows[0].row
    return {
        "name": rows[0].name,
        "host": " ".join(each.row.host for each in rows),
        "power_state": row.power_state,
        "since": row.since,
        "vm_state": row.vm_state,
        "task_state": row.task_state,
        "note": row.note,
        "position": row.position,
    }


DRIFT: Final = (
    Column("name"),
    Column("host"),
    Column("what"),
    Column("power_state", styles=POWER_STYLES),
    Column("hypervisor", styles=POWER_STYLES),
    Column("since", time=True),
    Column("note", limit=None),
    Column("instance", in_table=False),
    Column("state", in_table=False),
    Column("state_number", in_table=False),
    Column("reason", in_table=False),
    Column("reason_number", in_table=False),
    Column("position", in_table=False),
)


def drift_row(drift: Drift) -> Row:
    """One VM of `es-power diff --hypervisor`."""
    known, shown = drift.known, drift.shown
    number, reason = (shown.state, shown.reason) if shown else (None, None)
    power_state = shown.power_state if shown else None
    return {
        "instance": drift.instance,
        "name": drift.name,
        "host": drift.host,
        "what": drift.kind,
        "power_state": known and known.power_state,
        "hypervisor": power_state or (None if shown is None else UNKNOWN),
        "since": known.since if known else None,
        "note": drift.note,
        "state": None if number is None else state_name(number),
        "state_number": number,
        "reason": None if number is None or reason is None else reason_name(number, reason),
        "reason_number": reason,
        "position": known.position if known else None,
    }
