"""What a person wants of an actor: said at its door, from the command line."""

import os
from pathlib import Path

import trio
import typer

from es_power.dispatch.door import AnyWish, door_path, wish_at
from es_power.settings import load


def wish(said: AnyWish, log: str | None, config: Path | None) -> None:
    """Have the actor of these settings do something, and print what it says was done."""
    settings = load(config, {"log.path": log})
    path = door_path(settings.act.socket, settings.log.path, os.environ)
    typer.echo(trio.run(wish_at, path, said))
