"""`es-power declare`: a person says what a VM is meant to be."""

import os
import pwd
import re
from difflib import get_close_matches
from typing import Annotated, Final

import typer

from es_power.cli.options import KEEP, ConfigOption, LogOption, VmArgument, WhyOption, act, place
from es_power.domain.states import VmState
from es_power.errors import NovaVouchesError
from es_power.ingest.clock import now
from es_power.ingest.declarations import clear as say_nothing_more, declare as say
from es_power.log import SqlLog
from es_power.projections.queries import find, label_of, look, texts

_TASK: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=KEEP)(declare)


def _vm_state(text: str) -> VmState:
    try:
        return VmState(text)
    except ValueError:
        close = get_close_matches(text.lower(), list(VmState), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(VmState)}"
        raise typer.BadParameter(f"{text!r} is no vm_state of Nova's; {hint}") from None


def _task_state(text: str) -> str:
    if _TASK.fullmatch(text):
        return text
    raise typer.BadParameter(f"{text!r} is no task_state; they are words such as powering-off or rebooting")


def declare(
    vm: VmArgument,
    *,
    why: WhyOption,
    vm_state: Annotated[
        VmState | None,
        typer.Option(
            "--vm-state",
            parser=_vm_state,
            metavar="VM_STATE",
            autocompletion=lambda: list(VmState),
            help=f"What it is meant to be, in Nova's words: {', '.join(VmState)}.",
        ),
    ] = None,
    task_state: Annotated[
        str | None,
        typer.Option(
            "--task-state",
            parser=_task_state,
            metavar="TASK_STATE",
            help="What is under way, such as powering-off; while something is, nothing is ordered.",
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Nobody vouches for it any more.")] = False,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Vouch for a VM: say what it is meant to be, or that nobody says so any more.

    A running service looks at the VM at once, and plans a stop command where its policy calls for one. An instance that
    Nova vouches for is Nova's to change.
    """
    if clear == (vm_state is not None):
        raise typer.BadParameter("give either --vm-state or --clear", param_hint="'--vm-state'")
    if clear and task_state:
        raise typer.BadParameter("it goes with --vm-state", param_hint="'--task-state'")

    async def work(opened: SqlLog) -> str:
        view = await look(opened)
        instance = await find(view, vm)
        label = label_of(view.fleet, instance)
        name = (await texts(opened, [label]))(label)
        called = f"{name!r} ({instance})" if name else str(instance)
        said = view.fleet.vouched.get(instance)
        if said is not None and said.is_novas:
            # Its next word would take the place of a person's, and what was ordered in between would be wrong.
            raise NovaVouchesError(
                f"Nova vouches for {called}, and calls it {said.vm_state}; change that in Nova, and keep commands back "
                "by `es-power hold`"
            )
        by = login_user()
        if vm_state is not None:
            await say(opened, [(instance, vm_state, task_state)], by=by, why=why, at=now())
            doing = f", {task_state} under way" if task_state else ""
            return f"{called} is declared {vm_state}{doing} by {by}; a running service looks at it at once"
        if said is None:
            return f"nobody vouches for {called}; there is nothing to clear"
        await say_nothing_more(opened, instance, by=by, why=why, at=now())
        return f"nobody vouches for {called} any more; a running service looks at it at once"

    typer.echo(act(place(log, config), work))


def login_user() -> str:
    """Name who is logged in on this terminal, also behind sudo; without a terminal, whom the process runs as."""
    try:
        return os.getlogin()
    except OSError:
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())
