"""`es-power doctor`: what keeps a service from seeing and storing what happens, each with its mend."""

import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Final

import sqlalchemy as sa
import trio
import typer

from es_power.audit.places import Beside
from es_power.audit.sealing import near_places
from es_power.cli.checks import Check, Result, failed
from es_power.cli.nova_checks import NOVA_CONF, Observed, nova_checks, read_nova_conf
from es_power.cli.qemu_log_checks import qemu_log_checks
from es_power.cli.serving import libvirt_hypervisor
from es_power.domain.streams import observer
from es_power.errors import HypervisorError, LogError
from es_power.ingest.clock import clock_synchronised
from es_power.ingest.libvirt import event_loop
from es_power.log.database import Database, parse_place, tables_in
from es_power.log.overgrown import LONG, MEND
from es_power.log.schema import CURRENT, HEAD
from es_power.log.upgrade import check_schema, stored_schema
from es_power.output import Column, Format, write
from es_power.projections.store import Store
from es_power.settings import Host, Settings, load

_COLUMNS: Final = (
    Column("check"),
    Column("result", styles={"ok": "green", "finding": "yellow", "failed": "red"}),
    Column("found", limit=None),
    Column("mend", limit=None),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run")(doctor)


def doctor(
    *,
    uri: Annotated[list[str] | None, typer.Option(help="Examine this libvirt URI; may be repeated.")] = None,
    log: Annotated[str | None, typer.Option(help="The log: a path, or a postgresql:// URL.")] = None,
    config: Annotated[Path | None, typer.Option(help="Read this settings file instead of the usual ones.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to print it.")] = Format.TABLE,
) -> None:
    """Examine what `run` needs; exits 4 where something is to be mended, 5 where a host cannot be reached."""
    settings = load(config, {"observe.uri": uri, "log.path": log})
    checks = trio.run(_examine, settings)
    rows = [{name: str(getattr(check, name)) for name in Check.__slots__} for check in checks]
    write(rows, _COLUMNS, output, sys.stdout)
    unreachable = any(check.result is Result.FAILED and check.check.startswith("libvirt") for check in checks)
    healthy = all(check.result is Result.OK for check in checks)
    raise typer.Exit(0 if healthy else 5 if unreachable else 4)


async def _examine(settings: Settings) -> list[Check]:
    checks: list[Check] = []
    observed: list[Observed] = []
    async with event_loop():
        for host in settings.hosts:
            checks += [check async for check in _host(host, settings, observed)]
            checks += await trio.to_thread.run_sync(lambda: list(qemu_log_checks(host, settings)))  # noqa: B023 (at once)
    checks += [check async for check in nova_checks(settings, observed)]
    checks.append(await trio.to_thread.run_sync(_log, settings.log.path))
    checks += await trio.to_thread.run_sync(lambda: list(_checkpoint_places(settings)))
    checks.append(_clock())
    return checks


async def _host(host: Host, settings: Settings, observed: list[Observed]) -> AsyncIterator[Check]:
    hypervisor = libvirt_hypervisor(host.uri, settings)
    try:
        connection = await hypervisor.open()
    except HypervisorError as error:
        yield failed(f"libvirt {host.uri}", error)
        return
    try:
        found = await connection.list_states()
        name = host.name or connection.hostname
        observed.append(Observed(name=name, stream=observer(name, hypervisor.driver), vms=len(found)))
        yield Check(f"libvirt {host.uri}", Result.OK, f"{connection.hostname} answers, read-only, {len(found)} VMs")
        await connection.subscribe(connection=0, announce=lambda _: None)
        yield Check(
            f"events {host.uri}", Result.OK, "libvirt took the registration; none can be caused by who may only read"
        )
    except HypervisorError as error:
        yield failed(f"events {host.uri}", error)
    finally:
        await connection.aclose()
    yield _host_name(host, connection.hostname)


def _host_name(host: Host, hostname: str) -> Check:
    """Compare the name that facts will bear with the one that Nova uses ([DEFAULT] host, else the host's own)."""
    nova, source = _nova_host()
    name = host.name or hostname
    if name == nova:
        return Check("host name", Result.OK, f"{name}, as {source} has it")
    return Check(
        "host name",
        Result.FINDING,
        f"facts will say {name}, and {source} says {nova}",
        f'if Nova runs here, write [[host]] with name = "{nova}" and uri = "{host.uri}" into the settings',
    )


def _nova_host() -> tuple[str, str]:
    config = read_nova_conf()
    if config is not None and config.has_option("DEFAULT", "host"):
        return config.get("DEFAULT", "host"), str(NOVA_CONF)
    return socket.gethostname(), "this machine"


def _log(path: str) -> Check:
    place = parse_place(path)
    if place.path and not place.path.exists():
        return _new_log(place.path)
    try:
        database = Database(path, mode="write")
        try:
            return _old_log(database)
        finally:
            database.close()
    except LogError as error:
        return failed("log", error)


def _old_log(database: Database) -> Check:
    """Judge a database that is there; it is left as it was."""
    place = database.place
    with database.read() as connection:
        schema = stored_schema(connection, place)
        if schema == 0 and not tables_in(connection):
            return Check("log", Result.OK, f"{place} is empty; `es-power run` will create the log in it")
    check_schema(database)
    with database.write() as connection:
        # Only who may write hears nothing; a lock alone is given to others too.
        connection.execute(sa.update(HEAD).values(position=HEAD.c.position))
        connection.rollback()
    if schema < CURRENT and not database.is_sqlite:
        found = f"{place} has schema {schema}, and `es-power run` needs {CURRENT}"
        return Check("log", Result.FAILED, found, "make a backup, then run `es-power log upgrade`")
    if (waiting := database.wal_bytes()) > LONG:
        found = f"{place} can be written, but {waiting >> 20} MiB wait beside it to be moved into it"
        return Check("log", Result.FINDING, found, MEND)
    if asides := Store(database).set_aside():
        found = f"{place} can be written; {asides} of its records could not be read or applied"
        mend = "`es-power quarantine` lists them; upgrade es_power, or restore a backup that is whole"
        return Check("log", Result.FINDING, found, mend)
    return Check("log", Result.OK, f"{place} can be written")


def _new_log(path: Path) -> Check:
    """Judge the place where a log would be created."""
    folder = next(parent for parent in path.parents if parent.exists())
    try:
        # The only question whose answer holds: permissions, a read-only mount and a full disk all say no here.
        probe = folder / f".es-power-doctor-{socket.gethostname()}"
        probe.write_bytes(b"?")
        probe.unlink()
    except OSError as refused:
        mend = f"make {folder} writable for this user, or name another place by --log"
        return Check("log", Result.FAILED, f"{path} cannot be created: {refused.strerror}", mend)
    return Check("log", Result.OK, f"{path} is not there yet; `es-power run` will create it")


def _checkpoint_places(settings: Settings) -> Iterator[Check]:
    """Judge where checkpoints are kept, if they are: near the log, they vouch for little."""
    if not settings.audit.key or not settings.audit.places:
        return
    near = near_places(parse_place(settings.log.path).path, settings.audit.places)
    for place in settings.audit.places:
        match near.get(place):
            case None:
                yield Check("checkpoints", Result.OK, f"{place} is not near the log")
            case nearness:
                result = Result.FAILED if nearness is Beside.FOLDER else Result.FINDING
                yield Check(
                    "checkpoints", result, f"{place} is {nearness}", "name a place on another mount, or syslog:"
                )


def _clock() -> Check:
    match clock_synchronised():
        case True:
            return Check("clock", Result.OK, "the kernel calls it synchronised")
        case False:
            return Check(
                "clock",
                Result.FINDING,
                "the kernel says that nothing synchronises it; times in the log may be wrong, their order is not",
                "start chrony or systemd-timesyncd",
            )
        case None:
            return Check("clock", Result.FINDING, "whether it is synchronised cannot be asked here", "")
