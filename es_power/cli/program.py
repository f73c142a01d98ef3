"""All commands under one name, and how they end: exit codes, and errors as lines that a person can act on.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 finding, 5 unreachable; 130 after Ctrl-C, but for what runs until
somebody stops it. Nothing that es_power raises on purpose shows a traceback; what does show one is a mistake of ours.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Annotated, Any

import typer
from typer.main import get_command

from es_power.cli import (
    act,
    anomalies,
    as_of,
    audit,
    backup,
    breaker,
    commands,
    declare,
    demo,
    diff,
    doctor,
    export,
    forget,
    gaps,
    history,
    hold,
    imports,
    log,
    policy,
    prune,
    quarantine,
    replay,
    run,
    status,
    timeline,
    token,
    uptime,
    why,
)
from es_power.cli.options import one_line
from es_power.errors import EsPowerError
from es_power.identity import package_version

__all__ = ["app", "main"]

_INTERRUPTED = 128 + 2  # as a shell says it of SIGINT


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"es-power {package_version()}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 (its callback does it)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep the power state of libvirt VMs true, and say afterwards what happened, who knew it when, and what followed.

    Facts are in one log that is only ever appended to; every answer is read from it. Only `act` stops a VM.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), nl=False)


def _app() -> typer.Typer:
    made = typer.Typer(
        callback=_root,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    past = (as_of, history, diff, timeline, uptime, anomalies, gaps)
    asking = (status, why, *past, quarantine, export, commands, replay, policy)
    upkeep = (log, audit, token, forget, backup, prune)
    for module in (run, act, demo, doctor, *asking, hold, breaker, declare, imports, *upkeep):
        module.register(made)
    return made


app = _app()


@cache
def _command() -> Callable[..., object]:
    """Make out of the functions what reads a command line: once, since that takes longer than to read many."""
    made = get_command(app)
    _refuse_empty(made)
    return made


def _refuse_empty(command: Any) -> None:
    """Have no argument and no option of a command take an empty text: that is a shell's variable which is not set."""
    for each in getattr(command, "commands", {}).values():
        _refuse_empty(each)
    for parameter in command.params:
        parameter.process_value = partial(_process, parameter, parameter.process_value)


def _process(parameter: Any, process: Callable[..., object], ctx: Any, value: object) -> object:
    if value == "" or (isinstance(value, list | tuple) and "" in value):
        raise typer.BadParameter("it is empty", ctx=ctx, param=parameter)
    return process(ctx, value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name may hold what the terminal's encoding has not.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _command()(arguments, prog_name="es-power", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 (what is not for us is raised again)
        return _end(error)
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    """Open the standard streams that were closed by whoever started this (`>&-`), on nothing.

    Else the next file that is opened takes such a number, and is written to by every library that prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _end(error: BaseException) -> int:
    """Say what was wrong and give the exit code; raise again what we did not raise on purpose."""
    causes = list(dict.fromkeys(_causes(error)))
    expected = [cause for cause in causes if isinstance(cause, EsPowerError | typer.TyperException | OSError)]
    if len(expected) < sum(not isinstance(cause, KeyboardInterrupt) for cause in causes):
        raise error
    for cause in expected:
        for line in _text(cause).splitlines():
            _complain(line)
    if any(isinstance(cause, OSError) for cause in expected):
        # What is left for standard output may not get there either, and the interpreter tries once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return getattr(expected[0], "exit_code", 1) if expected else _INTERRUPTED


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Take exception groups apart: what is raised in a nursery comes in one."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


def _text(error: EsPowerError | typer.TyperException | OSError) -> str:
    """What to tell: nothing where the reader of a pipe has seen enough, or where the help was shown instead."""
    match error:
        case EsPowerError():
            return str(error)
        case BrokenPipeError():
            return ""
        case OSError():
            return f"{error.filename or 'the output'}: {error.strerror}"
        case _:
            context = getattr(error, "ctx", None)
            where = context.command_path if context else "es-power"
            # Typer's words for a wrong choice begin with those of the library that it checks values with.
            said = error.format_message().rstrip(".").replace(": Value error, ", ": ")
            return f"{said}; see `{where} --help`" if said else ""


def _complain(line: str) -> None:
    """Write one line to standard error, without anything that a terminal would obey."""
    with contextlib.suppress(BrokenPipeError):
        print(f"es-power: {one_line(line)}", file=sys.stderr)  # noqa: T201
