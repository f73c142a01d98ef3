"""The pages that problems' types name."""

from collections.abc import Iterable
from html import escape
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from es_power.api.problems import CATALOGUE, PROBLEM_NOT_FOUND, Kind, ProblemError

router = APIRouter(tags=["Problems"], include_in_schema=False)

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>
{body}
</body></html>
"""


@router.get("/problems")
async def all_kinds() -> Response:
    """List all of them."""
    return _page("Problems of the es-power API", CATALOGUE.values())


@router.get("/problems/{name}")
async def one_kind(name: Annotated[str, Path()]) -> Response:
    """Explain one."""
    if name not in CATALOGUE:
        raise ProblemError(PROBLEM_NOT_FOUND, f"{name!r} is none")
    return _page(CATALOGUE[name].title, [CATALOGUE[name]])


def _page(title: str, kinds: Iterable[Kind]) -> Response:
    parts = [
        f'<h2 id="{kind.name}">{escape(kind.title)}</h2>\n<p><code>{kind.type}</code>, status {kind.status}</p>\n'
        f"<p>{escape(kind.meaning)}</p>"
        for kind in kinds
    ]
    return Response(_PAGE.format(title=escape(title), body="\n".join(parts)), media_type="text/html; charset=utf-8")
