"""`es-power demo`: the service on libvirt's test driver, with a summary and questions to paste at the end."""

import errno
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Annotated, Final, NoReturn

import structlog
import trio
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from es_power import telemetry
from es_power.cli.run import observing
from es_power.cli.serving import libvirt_hypervisor
from es_power.demo.guests import URI, Guests
from es_power.demo.story import Story
from es_power.demo.telling import Teller
from es_power.demo.wire import CuttableHypervisor
from es_power.domain.states import UNKNOWN
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import open_log
from es_power.projections.power_state import digest, power_rows
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.service import Service
from es_power.settings import Host, Log, Settings

_ROWS: Final = 20
"""VMs that the live table shows; the demo of more than that says how many it leaves out."""

_REFRESH: Final = 0.25
"""Seconds between two drawings of the live table."""

_STYLES: Final = {"RUNNING": "green", "PAUSED": "yellow", "SHUTDOWN": "dim", "CRASHED": "red", UNKNOWN: "magenta"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run")(demo)


def demo(
    *,
    duration: Annotated[float, typer.Option(min=1, help="Seconds that it takes.")] = 60,
    vms: Annotated[int, typer.Option(min=1, max=5000, help="How many VMs.")] = 12,
    log: Annotated[
        str | None, typer.Option(help="The log: a path, or a postgresql:// URL. Default: a new one.")
    ] = None,
) -> None:
    """Watch real libvirt events become a log, a power_state table and dry-run commands; needs no hypervisor."""
    place = log or str(Path(mkdtemp(prefix="es-power-demo-")) / "log.db")
    settings = Settings(log=Log(path=place), hosts=(Host(uri=URI),))
    trio.run(_demo, settings, duration, vms)


class _Console(Console):
    """Rich's console, which leaves it to the program to end where nobody reads on."""

    def on_broken_pipe(self) -> NoReturn:
        """Say so, instead of ending the interpreter from within."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


async def _demo(settings: Settings, duration: float, vms: int) -> None:
    console = _Console()
    live = console.is_terminal
    telemetry.configure_logging()
    # What the service says of itself is in the facts that are told anyway.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    teller = Teller(
        (lambda _: None) if live else (lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    )
    teller.say(f"the log is {settings.log.path}")
    wire = CuttableHypervisor(libvirt_hypervisor(URI, settings))
    with TemporaryDirectory(prefix="es-power-demo-") as folder:
        async with observing(settings, [(None, wire)], listen=teller.hear) as service:
            await _play(service, Guests(vms, Path(folder)), wire, teller, console, duration=duration)
    await _summary(settings.log.path, teller, console)


async def _play(
    service: Service, guests: Guests, wire: CuttableHypervisor, teller: Teller, console: Console, *, duration: float
) -> None:
    story = Story(guests, wire, duration=duration, say=teller.say)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        if console.is_terminal:
            nursery.start_soon(_draw, service, teller, console)
        teller.say(f"{len(guests.names)} VMs of libvirt's test driver boot")
        instances = await guests.boot()
        teller.names = {instance: name for name, instance in instances.items()}
        records = [(instances[name], vm_state, None) for name, vm_state in story.vouched(instances).items()]
        teller.say(f"{len(records)} of them are vouched for, the others follow what libvirt says")
        await declare(service.log, records, by="es-power demo", why="the demo vouches for it", at=now())
        await story.play()
        nursery.cancel_scope.cancel()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _draw(service: Service, teller: Teller, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(service, teller), refresh=True)
            await trio.sleep(_REFRESH)


def _table(service: Service, teller: Teller) -> Table:
    fleet = service.models.fleet
    rows = sorted(power_rows(fleet, now=now()), key=lambda row: teller.names.get(row.instance, "~"))
    table = Table(title=f"power_state at #{fleet.position}", expand=True)
    for heading in ("VM", "power_state", "vm_state", "policy", ""):
        table.add_column(heading)
    for row in rows[:_ROWS]:
        table.add_row(
            Text(teller.names.get(row.instance, "test")),
            Text(row.power_state + (" ?" if row.provisional else ""), style=_STYLES.get(row.power_state, "")),
            str(row.vm_state or "-"),
            row.policy,
            Text(row.note),
        )
    if len(rows) > _ROWS:
        table.add_row(f"and {len(rows) - _ROWS} more", "", "", "", "")
    table.add_section()
    table.caption = Text("\n".join(teller.lines), justify="left")
    return table


async def _summary(place: str, teller: Teller, console: Console) -> None:
    async with open_log(place) as log:
        live, _ = await read_models(log, Store(log.database))
        replayed, _ = await read_models(log, Store(log.database), tables=False)
    counts = teller.counts
    ours = _command_name()
    some = next((name for name in teller.names.values()), "test")
    same = "the same" if digest(live.fleet) == digest(replayed.fleet) else "DIFFERENT"
    totals = (
        f"{counts['events']} events, {counts['observations']} observations ({counts['sweeps']} sweeps), "
        f"{counts['gaps']} gaps, {counts['commands']} commands planned, {counts['withdrawn']} withdrawn"
    )
    for line in (
        "",
        totals,
        f"live      {digest(live.fleet)}",
        f"replayed  {digest(replayed.fleet)}  {same}",
        "",
        "Ask the log:",
        *(
            f"  {ours} {question} --log {shlex.quote(place)}"
            for question in ("status", f"history {some}", f"why {some}", "gaps", "commands list", "replay --verify")
        ),
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _command_name() -> str:
    """How this program was called, so that the lines work where they are pasted."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m es_power"
    return called.name if shutil.which(called.name) else shlex.quote(str(called))
