"""The demo on a terminal: a service of its own with its page, the story's lines, a live table, a summary at the end."""

import errno
import io
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

import structlog
import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from es_power import telemetry
from es_power.api.house import House
from es_power.api.routes_session import offer_link
from es_power.api.serving import Sockets, answering
from es_power.audit.keys import Signer, write_key
from es_power.cli.declare import login_user
from es_power.cli.drawing import Drawing
from es_power.cli.run import observing
from es_power.cli.serving import libvirt_hypervisor
from es_power.demo.guests import URI, Guests
from es_power.demo.story import Stage, Story
from es_power.demo.telling import Teller
from es_power.demo.wire import Wire
from es_power.domain.access import Role
from es_power.domain.states import UNKNOWN
from es_power.domain.time import Timestamp, moment
from es_power.ingest.clock import now
from es_power.log import SqlLog, open_log
from es_power.projections.follower import Follower
from es_power.projections.power_state import digest, power_rows
from es_power.projections.queries import View
from es_power.projections.reader import read_models
from es_power.projections.store import Store
from es_power.projections.timeline import timeline
from es_power.service import Service
from es_power.settings import Api, Audit, Host, Log, Metrics, Settings

_ROWS: Final = 12
"""VMs that the live table shows."""

_REFRESH: Final = 0.25
"""Seconds between two drawings of the live table."""

_STYLES: Final = {"RUNNING": "green", "PAUSED": "yellow", "SHUTDOWN": "dim", "CRASHED": "red", UNKNOWN: "magenta"}


class _Console(Console):
    """Rich's console, which leaves it to the program to end where nobody reads on."""

    def on_broken_pipe(self) -> NoReturn:
        """Say so, instead of ending the interpreter from within."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


async def stage(place: str, duration: float, vms: int, keep: bool) -> None:
    """Play the demo into a log at this place; with `keep`, go on after it until somebody stops it."""
    console = _Console()
    telemetry.configure_logging()
    # What the service says of itself is in the facts that are told anyway.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print_line = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    teller = Teller((lambda _: None) if console.is_terminal else print_line)
    print_line(f"the log is {place}")
    with TemporaryDirectory(prefix="es-power-demo-") as made:
        folder = Path(made)
        write_key(folder / "audit.key", Signer.generate("es-power-demo/log"), log=None)
        settings = Settings(
            log=Log(path=place),
            hosts=(Host(uri=URI),),
            api=Api(listen="127.0.0.1:0"),
            metrics=Metrics(enabled=False),
            audit=Audit(key=str(folder / "audit.key")),
        )
        wire, houses = Wire(libvirt_hypervisor(URI, settings)), []
        with closing(Sockets.open(settings)) as sockets:

            @asynccontextmanager
            async def answered(opened: SqlLog, store: Store, follower: Follower) -> AsyncIterator[House]:
                async with answering(settings, sockets, opened, store, follower) as house:
                    houses.append(house)
                    yield house

            async with observing(settings, [(None, wire)], listen=teller.hear, answering=answered) as service:
                [house] = houses
                assert house.sealer is not None
                set_up = Stage(
                    service=service,
                    sealer=house.sealer,
                    guests=Guests(vms, folder),
                    wire=wire,
                    teller=teller,
                    say=_Clock(print_line),
                    show=partial(_show, print_line),
                    folder=folder,
                )
                link = await offer_link(house, login_user(), Role.ADMIN)
                print_line(f"the page is {house.url}{link}")
                await _play(set_up, console, duration=duration, keep=keep, place=place)
    await _summary(place, teller, console)


class _Clock:
    """Tells what happens, and how long after the beginning that was."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self._began = trio.current_time()

    def __call__(self, line: str) -> None:
        minutes, seconds = divmod(int(trio.current_time() - self._began), 60)
        self._print_line(f"{minutes}:{seconds:02}  {line}")


async def _show(print_line: Callable[[str], None], view: View, name: str, since: Timestamp) -> None:
    """Draw the two lanes of one VM."""
    until = now()
    drawing = Drawing(since=since, until=until, zone=None)
    for title, last_report_wins in ((name, False), ("last report wins", True)):
        for line in await timeline(
            view, [name], since=since, until=until, now=until, last_report_wins=last_report_wins
        ):
            drawing.add(replace(line, name=title))
    drawn = _Drawn()
    drawing.write(drawn)
    for each in drawn.getvalue().splitlines():
        print_line(f"      {each}")


class _Drawn(io.StringIO):
    """Text for standard output, with the signs that it has."""

    encoding = sys.stdout.encoding


async def _play(stage: Stage, console: Console, *, duration: float, keep: bool, place: str) -> None:
    story = Story(stage, duration=duration)
    # Before the first line: whoever has read it may stop the story in good order.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, nursery.cancel_scope)
            if console.is_terminal:
                nursery.start_soon(_draw, stage.service, stage.teller, console)
            await story.play()
            if keep:
                cut_at = moment(story.cut_at).astimezone()
                stage.say(f"on the page, drag the slider back to {cut_at:%H:%M:%S}, when the wire was cut")
                stage.say(f"it goes on until Ctrl-C; another link: {_command_name()} ui --log {shlex.quote(place)}")
                await story.play_on()
            nursery.cancel_scope.cancel()


async def _stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _draw(service: Service, teller: Teller, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(service, teller), refresh=True)
            await trio.sleep(_REFRESH)


def _table(service: Service, teller: Teller) -> Table:
    """How many VMs are in which state, the ones that changed last, and the newest facts."""
    fleet = service.models.fleet
    rows = sorted(power_rows(fleet, now=now()), key=lambda row: (-row.since, teller.names.get(row.instance, "~")))
    numbers = Counter(row.power_state for row in rows).most_common()
    title = Text(f"#{fleet.position}")
    for state, number in numbers:
        title.append(f"   {number} {state}", style=_STYLES.get(state, ""))
    table = Table(title=title, title_style="", expand=True)
    for heading in ("changed last", "power_state", "vm_state", "policy", ""):
        table.add_column(heading)
    for row in rows[:_ROWS]:
        table.add_row(
            Text(teller.names.get(row.instance, "test")),
            Text(row.power_state + (" ?" if row.provisional else ""), style=_STYLES.get(row.power_state, "")),
            str(row.vm_state or "-"),
            row.policy,
            Text(row.note),
        )
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
