"""`es-power replay`: fold the log again from its start, and compare."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from es_power.answers.commands import COMMANDS, command_row
from es_power.answers.whatif import DIFFERENCES, difference_rows
from es_power.cli.options import (
    KEEP,
    UNDERSTOOD,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    act,
    ask,
    find_moment,
    note,
    place,
    read_time,
)
from es_power.domain.policy import Policy, get_policy
from es_power.domain.time import Timestamp
from es_power.log import SqlLog
from es_power.output import Column, Format, Row
from es_power.projections.explain import explain
from es_power.projections.queries import look
from es_power.replay import (
    Comparison,
    Progress,
    Replay,
    Side,
    compare,
    rebuild as rebuild_tables,
    replay as replay_log,
    verify as verify_log,
)

REPLAY: Final = tuple(
    Column(name)
    for name in (
        *("position", "records", "events", "observations", "sweeps", "gaps", "commands", "set_aside"),
        *("power_state", "history", "stop_commands", "verified"),
    )
)

_SHOWN: Final = 5  # records set aside that are told one by one
_FINDING: Final = 4  # the exit code, as of --verify


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=KEEP)(replay)


def replay(
    *,
    until: Annotated[
        str | None, typer.Option("--until", metavar="POSITION|TIME", help=f"Only up to then. {UNDERSTOOD}")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Show which commands this policy would have requested.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="POLICY|nova",
            help="Show where the stops of --policy, else the recorded ones, differ from those of another policy, "
            "or from those that Nova's own history shows as its own; 4 where they do.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", "-S", metavar="TIME", help="With --against: only stops that were called for from then on."
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Put what comes out in the place of the tables beside the log.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the tables and the recorded commands; 4 where they differ.")
    ] = False,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Fold the log again from its first record, every hash checked; nothing is appended and nothing is stopped.

    Ends with a digest of each projection: equal digests mean equal projections.
    """
    if (policy or against) and (rebuild or verify):
        flag = "--policy" if policy else "--against"
        raise typer.BadParameter("a what-if is not kept, nor compared with what was", param_hint=f"'{flag}'")
    if policy and policy == against:
        raise typer.BadParameter(f"{policy} cannot differ from itself", param_hint="'--against'")
    if since and not against:
        raise typer.BadParameter("it says which differences count: add --against", param_hint="'--since'")
    if until and (rebuild or verify):
        raise typer.BadParameter("tables are kept and compared at the end of the log", param_hint="'--until'")
    printer, where = Printer(output, utc), place(log, config)
    whatif = get_policy(policy) if policy else None
    if rebuild:
        rebuilt = act(where, _rebuild)
        if not verify:
            printer.one(replay_row(rebuilt, verified=None), REPLAY)
            return
    if against:
        other: Side = "nova" if against == "nova" else get_policy(against)
        begin = read_time(since, "--since", zone=printer.zone) if since else None
        if ask(where, lambda opened: _compare(opened, printer, begin, until, (whatif or "recorded", other))):
            raise typer.Exit(_FINDING)
    elif whatif is not None:
        ask(where, lambda opened: _what_if(opened, printer, until, whatif))
    else:
        ask(where, lambda opened: _replay(opened, printer, until, verify=verify))


async def _tell_of_what_is_gone(log: SqlLog) -> None:
    """Say so where the log was pruned: what is counted begins after that."""
    if pruned := await log.pruned_up_to():
        note(
            f"es-power: what was observed up to position {pruned} was pruned, and is not counted; "
            "of that its archive tells"
        )


async def _replay(log: SqlLog, printer: Printer, until: str | None, *, verify: bool) -> None:
    await _tell_of_what_is_gone(log)
    last = (await find_moment(log, until, "--until", zone=printer.zone)).position if until else None
    with _bar(await log.head() if last is None else last) as progress:
        if verify:
            replayed, differences = await verify_log(log, progress=progress)
        else:
            replayed, differences = await replay_log(log, until=last, progress=progress), ()
    printer.one(replay_row(replayed, verified=not differences if verify else None), REPLAY)
    for aside in list(replayed.models.fleet.quarantined.values())[:_SHOWN]:
        note(f"es-power: record {aside.position} was set aside: {aside.reason}")
    if differences:
        raise ExceptionGroup("live and replayed differ", differences)


async def _what_if(log: SqlLog, printer: Printer, until: str | None, policy: Policy) -> None:
    await _tell_of_what_is_gone(log)
    last = (await find_moment(log, until, "--until", zone=printer.zone)).position if until else None
    with _bar(await log.head() if last is None else last) as progress:
        replayed = await replay_log(log, until=last, policy=policy, progress=progress)
    called_for = await explain(await look(log, until=replayed.position), replayed.commands)
    printer.rows([command_row(each) for each in called_for], COMMANDS)
    recorded = replayed.counts["commands"]
    note(f"es-power: {policy.name} would have requested {len(called_for)} commands; the log has {recorded}")


async def _compare(
    log: SqlLog, printer: Printer, since: Timestamp | None, until: str | None, sides: tuple[Side, Side]
) -> bool:
    """Show where two sides differ; whether they do."""
    await _tell_of_what_is_gone(log)
    last = (await find_moment(log, until, "--until", zone=printer.zone)).position if until else None
    with _bar(await log.head() if last is None else last) as progress:
        compared = await compare(log, *sides, since=since, until=last, progress=progress)
    printer.rows(await difference_rows(log, compared), DIFFERENCES)
    if "nova" in sides:
        _tell_of_novas_history(compared)
    otherwise = f" ({compared.otherwise} of them another command)" if compared.otherwise else ""
    only = f"{compared.only_left} only in {compared.left}, {compared.only_right} only in {compared.right}"
    note(f"es-power: stops: {compared.both} in both{otherwise}, {only}")
    return bool(compared.differing)


def _tell_of_novas_history(compared: Comparison) -> None:
    if not compared.replay.nova_stops:
        note("es-power: the log tells of no stop in Nova's history, which is read where `[nova] enabled` is set")
    if compared.unseen:
        stops = "1 stop" if compared.unseen == 1 else f"{compared.unseen} stops"
        note(f"es-power: {stops} of Nova's left out: nothing was known of its VM then")


async def _rebuild(log: SqlLog) -> Replay:
    with _bar(await log.head()) as progress:
        replayed = await rebuild_tables(log, progress=progress)
    note(f"es-power: the tables were rebuilt, and are true at position {replayed.position}")
    return replayed


@contextmanager
def _bar(total: int) -> Iterator[Progress]:
    """Show on a terminal how far it is; say nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=total)
        yield lambda position: bar.update(task, completed=position)


def replay_row(replayed: Replay, *, verified: bool | None) -> Row:
    """What a replay came to: counts, and a digest of each projection."""
    return {"position": replayed.position, **replayed.counts, **replayed.digests, "verified": verified}
