"""`es-power policy`: the decision tables, to read and to ask; no log is needed."""

import sys
from typing import Annotated, Final

import msgspec
import typer

from es_power.cli.options import OutputOption, Printer
from es_power.domain.policy import (
    POLICIES,
    Policy,
    Situation,
    decide as decide_by,
    driver_answer,
    get_policy,
    policy_table,
)
from es_power.domain.states import PowerState, VmState
from es_power.output import Column, Format, Row, write

_LIST: Final = (Column("name"), Column("version"), Column("description", limit=None))
_TABLE: Final = (Column("vm_state"), *(Column(state.value) for state in PowerState))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Read the decision tables, and ask them what they would order.")
    group.command(name="list")(_list)
    group.command(name="table")(_table)
    group.command(name="decide")(_decide)
    app.add_typer(group, name="policy", rich_help_panel="Decide")


def _list(output: OutputOption = Format.TABLE) -> None:
    """List the policies."""
    rows = [{"name": each.name, "version": each.version, "description": each.description} for each in POLICIES.values()]
    Printer(output, utc=True).rows(rows, _LIST)


def _table(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Its name: see `es-power policy list`.")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Show a policy's table: by vm_state and power_state, what it orders, with the rule in brackets, or why nothing."""
    Printer(output, utc=True).rows(policy_table(get_policy(policy)), _TABLE)


def _decide(policy: Annotated[str, typer.Option("--policy", help="The policy that decides.")]) -> None:
    """Read situations as JSON lines from standard input, and answer each with one line, in the same order.

    In: {"vm_state": "active", "task_state": null, "db_power_state": "RUNNING", "driver_power_state": "SHUTDOWN",
    "host_matches": true}; driver_power_state may also be "NOTFOUND" or "ERROR". Out: {"power_state": what is saved, or
    null, "command": "stop", "force_stop" or null, "reason": why}. A line that cannot be read is answered by one with
    "error", and makes the exit code 1.
    """
    chosen, wrong = get_policy(policy), False
    for line in sys.stdin.buffer:
        answer = _answer(chosen, line)
        wrong |= "error" in answer
        write([answer], (), Format.JSONL, sys.stdout)
        sys.stdout.flush()
    raise typer.Exit(1 if wrong else 0)


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    """One line of standard input; every field is required, since a default could order a stop."""

    vm_state: VmState | None
    task_state: str | None
    db_power_state: PowerState | None
    driver_power_state: str
    host_matches: bool

    def __post_init__(self) -> None:
        """Refuse what some programs write for null: read as a task, it would hide a stop."""
        if self.task_state is not None and not self.task_state.strip():
            raise ValueError("task_state is blank; where no task is under way it is null")


_READ: Final = msgspec.json.Decoder(_Question).decode


def _answer(policy: Policy, line: bytes) -> Row:
    try:
        asked = _READ(line)
        situation = Situation(
            vm_state=asked.vm_state,
            task_state=asked.task_state,
            db_power_state=asked.db_power_state,
            driver=driver_answer(asked.driver_power_state),
            host_matches=asked.host_matches,
        )
    except (ValueError, RecursionError) as error:
        return {"error": str(error)}
    decision = decide_by(policy, situation)
    return {"power_state": decision.power_state, "command": decision.verb, "reason": decision.reason}
