"""Pages of long lists: a cursor names the last row that was shown, never how many there were.

So rows that come or go meanwhile shift nothing. A cursor is opaque: a client follows the Link header.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request

from es_power.api.problems import CURSOR, ProblemError

T = TypeVar("T")
Key = tuple[str | int, ...]

DEFAULT: Final = 100
MOST: Final = 1000
"""Rows of a page."""

_NUMBERS: Final = range(-(2**63), 2**63)  # that a database can be asked for


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and the path of those that follow; None where none do."""

    items: Sequence[T]
    next: str | None


def cursor(key: Key) -> str:
    """Write the place after a row."""
    return urlsafe_b64encode(json.dumps(key, separators=(",", ":"), ensure_ascii=False).encode()).rstrip(b"=").decode()


def after(text: str | None, like: Key) -> Key | None:
    """Read a cursor, whose key has parts of the same types as `like`; None where none is given."""
    if text is None:
        return None
    try:
        key: Any = json.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
        if [type(part) for part in key] == [type(part) for part in like] and all(map(_is_askable, key)):
            return tuple(key)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass
    raise ProblemError(CURSOR, "it was not made here, or for another list")


def _is_askable(part: str | int) -> bool:
    return isinstance(part, str) or part in _NUMBERS


def page(request: Request, rows: Sequence[T], limit: int, start: Key | None, key: Callable[[T], Key]) -> Page[T]:
    """Cut one page out of all rows, which are in the order of their keys."""
    rest = [row for row in rows if start is None or key(row) > start]
    return some(request, rest[: limit + 1], limit, key)


def some(request: Request, rows: Sequence[T], limit: int, key: Callable[[T], Key]) -> Page[T]:
    """Make a page of rows that were asked for with one to spare, which says that there is a next page."""
    if len(rows) <= limit:
        return Page(rows, None)
    shown = rows[:limit]
    return Page(shown, link(request, cursor=cursor(key(shown[-1]))))


def link(request: Request, **changed: str | int | None) -> str:
    """The path that was asked for, with other parameters, and without those that are None."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    added = [(name, value) for name, value in changed.items() if value is not None]
    return f"{path_of(request)}?{urlencode([*kept, *added])}"


def path_of(request: Request) -> str:
    """The path that was asked for, as it stands in a URL: what it was decoded to may not be sent back in a header."""
    # A slash inside a part was put away as a character that no name has (`gate.SLASH`).
    return quote(request.scope["path"]).replace("%00", "%2F")
