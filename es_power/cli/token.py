"""`es-power token` and `es-power ui`: who is let in over HTTP."""

import os
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from es_power.cli.declare import login_user
from es_power.cli.options import (
    KEEP,
    ConfigOption,
    LogOption,
    OutputOption,
    Printer,
    UtcOption,
    act,
    ask,
    note,
    place,
)
from es_power.dispatch.door import door_path
from es_power.domain.access import Role
from es_power.domain.streams import ACCESS
from es_power.errors import ServiceUnavailableError, TokenNotFoundError
from es_power.ingest.access import Issued, issue_token, revoke_token
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.output import Column, Format, Row
from es_power.projections.access import Token, Tokens
from es_power.projections.queries import texts
from es_power.settings import load

TOKENS: Final = (
    Column("name"),
    Column("role"),
    Column("issued_at", time=True),
    Column("by"),
    Column("id"),
)

RoleOption = Annotated[Role, typer.Option(help="What it may: read; operate (approve and reject too); admin.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Let programs ask over HTTP, and let them no longer.")
    group.command(name="add")(_add)
    group.command(name="list")(_list)
    group.command(name="revoke")(_revoke)
    app.add_typer(group, name="token", rich_help_panel=KEEP)
    app.command(rich_help_panel=KEEP)(ui)


def _add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: who or what will use it.")],
    *,
    role: RoleOption = Role.READ,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it, once: the log has only its SHA-256. A running service knows it within a second."""
    if not name.strip():
        raise typer.BadParameter("say who or what will use it", param_hint="NAME")

    async def work(opened: SqlLog) -> Issued:
        return await issue_token(opened, name=name, role=role, by=login_user(), at=now())

    issued = act(place(log, config), work)
    note(f"es-power: token {issued.token}, for {role}; this is shown only now:")
    typer.echo(issued.secret)


def _list(
    *,
    log: LogOption = None,
    config: ConfigOption = None,
    output: OutputOption = Format.TABLE,
    utc: UtcOption = False,
) -> None:
    """List the tokens that let somebody in."""

    async def question(opened: SqlLog) -> list[Row]:
        tokens = await _standing(opened)
        text_of = await texts(opened, [label for each in tokens for label in (each.name, each.by)])
        return [
            {
                "name": text_of(each.name),
                "role": each.role,
                "issued_at": each.issued_at,
                "by": text_of(each.by),
                "id": each.id,
            }
            for each in tokens
        ]

    Printer(output, utc).rows(ask(place(log, config), question), TOKENS)


def _revoke(
    token: Annotated[UUID, typer.Argument(metavar="ID", help="Its id, as `es-power token list` shows it.")],
    *,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Let nobody in by a token any more; a running service knows it within a second."""

    async def work(opened: SqlLog) -> None:
        if token not in {each.id for each in await _standing(opened)}:
            raise TokenNotFoundError(f"no token {token} stands; `es-power token list` has those that do")
        await revoke_token(opened, token, by=login_user(), at=now())

    act(place(log, config), work)
    typer.echo(f"token {token} is revoked")


async def _standing(log: SqlLog) -> list[Token]:
    tokens = Tokens()
    tokens.apply(await log.read_stream(ACCESS))
    return list(tokens)


def ui(
    *,
    role: Annotated[Role, typer.Option(help="What the browser may do, at most what you may.")] = Role.OPERATE,
    log: LogOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a link that opens the running service in a browser, once, within five minutes."""
    settings = load(config, {"log.path": log})
    path = door_path(settings.api.socket, settings.log.path, os.environ, name="api")
    made = _post(path, f"/v1/links?role={role}")
    if not made.get("url"):
        raise ServiceUnavailableError("the service listens at no address that a browser reaches: set [api] listen")
    typer.echo(made["url"])


class _Local(HTTPConnection):
    """A connection by a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _post(path: Path, target: str) -> dict[str, Any]:
    connection = _Local(path)
    try:
        connection.request("POST", target)
        response = connection.getresponse()
        body: dict[str, Any] = msgspec.json.decode(response.read())
    except (OSError, msgspec.DecodeError) as error:
        hint = "may this user connect?" if isinstance(error, PermissionError) else "is `es-power run` running?"
        raise ServiceUnavailableError(f"no service answers at {path} ({error}); {hint}") from error
    finally:
        connection.close()
    if response.status >= 400:  # noqa: PLR2004 (what HTTP calls an error)
        raise ServiceUnavailableError(f"the service at {path} says: {body.get('detail', body)}")
    return body
