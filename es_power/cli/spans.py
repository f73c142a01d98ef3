"""A time from and to, as the commands about time take it."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated

import typer

from es_power.cli.options import find_moment, take_view
from es_power.domain.time import Timestamp
from es_power.ingest.clock import now
from es_power.log import SqlLog
from es_power.projections.queries import View

SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        "-S",
        metavar="TIME",
        help="From then on. TIME is as journalctl takes it (-1h, yesterday, 2026-11-22 03:12:05).",
    ),
]
UntilOption = Annotated[str | None, typer.Option("--until", "-U", metavar="TIME", help="Up to then; else up to now.")]
VmsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="VM", help="Only these: UUIDs, names, HOST/NAME, or beginnings of either. Else all."),
]


@dataclass(frozen=True, slots=True)
class Span:
    """What was asked for: a time, what is known of it, and what time it is there."""

    view: View
    since: Timestamp
    until: Timestamp
    now: Timestamp


async def take_span(
    log: SqlLog, since: Timestamp, until: Timestamp | None, known_at: str | None, *, zone: tzinfo | None
) -> Span:
    """Take a view for a time that ends now at the latest, or where the log stood at `known_at`.

    BadParameter where it ends before it begins, or is still to come.
    """
    known = await find_moment(log, known_at, "--known-at", zone=zone) if known_at is not None else None
    present = min(now(), known.at) if known else now()
    if until is not None and until <= since:
        raise typer.BadParameter("it ends before it begins: --since is the earlier one", param_hint="'--until'")
    if since >= present:
        after = "what was known then" if known else "now"
        raise typer.BadParameter(f"nothing is known of a time after {after}", param_hint="'--since'")
    view = await take_view(log, until=known.position if known else None)
    return Span(view, since, present if until is None else until, present)
