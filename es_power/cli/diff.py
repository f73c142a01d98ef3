"""`es-power diff`: what differs between two times, or between what the log says and what a hypervisor shows."""

from typing import Annotated, Final

import trio
import typer

from es_power.answers.differences import DIFF, DRIFT, diff_row, drift_row
from es_power.cli.options import (
    ASK,
    UNDERSTOOD,
    AsOfOption,
    ConfigOption,
    KnownAtOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    ask,
    find_moment,
    place,
    take_view,
    take_view_then,
    tell_of_the_beginning,
)
from es_power.cli.serving import libvirt_hypervisor
from es_power.domain.streams import observer
from es_power.errors import HypervisorError
from es_power.ingest.clock import now
from es_power.ingest.hypervisor import Connection
from es_power.ingest.libvirt import event_loop
from es_power.log import SqlLog, open_log
from es_power.output import Format
from es_power.projections.differences import Difference, diff as ask_diff
from es_power.projections.drift import Drift, Shown, drift
from es_power.settings import Host, Settings, load

_FINDING: Final = 4  # the exit code of drift
_SOON: Final = 0.5
"""Seconds in which what the hypervisor shows already may come into the log."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=ASK)(diff)


def diff(
    *,
    vm: Annotated[
        str | None,
        typer.Argument(metavar="VM", help="Only this one: a UUID, a name, HOST/NAME, or the beginning of either."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", "-S", metavar="TIME|POSITION", help=f"From then. {UNDERSTOOD}")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", "-U", metavar="TIME|POSITION", help="To then; now unless told otherwise.")
    ] = None,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    hypervisor: Annotated[
        bool, typer.Option("--hypervisor", help="Ask libvirt: where it shows something else now; 4 where it does.")
    ] = False,
    uri: Annotated[
        list[str] | None, typer.Option(help="With --hypervisor, ask this libvirt URI; may be repeated.")
    ] = None,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """Show which VMs differ between two times, by what is known now, or was known at --known-at.

    With --as-of and --known-at: what is known now of that time, and was not known then. With --hypervisor: where
    libvirt shows something else now than the log's last word.
    """
    printer = Printer(output, utc)
    if hypervisor:
        if since or until or as_of or known_at or vm:
            raise typer.BadParameter("what a hypervisor shows is of all VMs, and of now", param_hint="'--hypervisor'")
        drifted(printer, load(config, {"observe.uri": uri, "log.path": log}))
        return
    if uri:
        raise typer.BadParameter("only --hypervisor asks libvirt", param_hint="'--uri'")
    if as_of and (since or until):
        raise typer.BadParameter("say two times by --since and --until, or one by --as-of", param_hint="'--as-of'")
    if as_of and not known_at:
        raise typer.BadParameter("say by --known-at what to compare with what is known now", param_hint="'--as-of'")
    if not (since or as_of):
        raise typer.BadParameter(
            "say since when, or --as-of and --known-at for what was learnt of one time", param_hint="'--since'"
        )

    async def question(opened: SqlLog) -> list[Difference]:
        if as_of:
            before = await take_view_then(opened, as_of, known_at, zone=printer.zone, table_only=True)
            known_now = await find_moment(opened, str(await opened.head()), "--known-at", zone=printer.zone)
            asked = await find_moment(opened, as_of, "--as-of", zone=printer.zone)
            after = await take_view(opened, as_of=asked, known_at=known_now, table_only=True)
            return await ask_diff(before, after, vm, now=now())
        assert since
        first = await find_moment(opened, since, "--since", zone=printer.zone)
        last = await find_moment(opened, until or "now", "--until", zone=printer.zone)
        known = await find_moment(opened, known_at, "--known-at", zone=printer.zone) if known_at else None
        if (last.at, last.position) < (first.at, first.position):
            raise typer.BadParameter("it is before --since", param_hint="'--until'")
        before = await take_view(opened, as_of=first, known_at=known, table_only=True)
        await tell_of_the_beginning(before, zone=printer.zone)
        after = await take_view(opened, as_of=last, known_at=known, table_only=True)
        return await ask_diff(before, after, vm, now=now())

    printer.rows([diff_row(each) for each in ask(place(log, config), question)], DIFF)


def drifted(printer: Printer, settings: Settings) -> None:
    """Print where the hypervisors show something else; exits 4 where one does, 5 where one cannot be asked."""
    found, unreachable = trio.run(_drift, settings)
    printer.rows([drift_row(each) for each in found], DRIFT)
    if unreachable:
        raise ExceptionGroup("hypervisors that could not be asked", unreachable)
    if found:
        raise typer.Exit(_FINDING)


async def _drift(settings: Settings) -> tuple[list[Drift], list[HypervisorError]]:
    found: list[Drift] = []
    unreachable: list[HypervisorError] = []
    async with open_log(settings.log.path) as log, event_loop():
        for host in settings.hosts:
            try:
                found += await _drift_of(log, host, settings)
            except HypervisorError as error:
                unreachable.append(error)
    return found, unreachable


async def _drift_of(log: SqlLog, host: Host, settings: Settings) -> list[Drift]:
    """Look; and where something differs, once more: what just happened may not be in the log yet, or in the answer."""
    hypervisor = libvirt_hypervisor(host.uri, settings)
    connection = await hypervisor.open()
    try:
        stream = observer(host.name or connection.hostname, hypervisor.driver)
        found = await drift(await take_view(log), stream, await _shown(connection))
        if not found or found[0].note:
            return found
        with trio.move_on_after(_SOON):
            await log.wait_beyond(await log.head())
        differing = {each.instance for each in found}
        again = await drift(await take_view(log), stream, await _shown(connection))
        return [each for each in again if each.instance in differing]
    finally:
        await connection.aclose()


async def _shown(connection: Connection) -> list[Shown]:
    return [Shown(**info._asdict()) for info in await connection.list_states()]
