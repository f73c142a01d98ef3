"""The page's built files, as they are served: nothing is read but once, and nothing but what was built is there.

`make web` builds them from `web/`. A name with a dash tells what is in the file: a browser may keep it for ever.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

INDEX: Final = "index.html"

_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One file."""

    content: bytes
    #: The same, for whoever takes it compressed.
    zipped: bytes
    media_type: str
    etag: str


@cache
def built() -> Mapping[str, Built]:
    """All files by their names; empty in a checkout where they were not built."""
    folder = files(__package__) / "static"
    found = {each.name: each.read_bytes() for each in folder.iterdir()} if folder.is_dir() else {}
    return {
        name: Built(
            content=content,
            zipped=gzip.compress(content, mtime=0),
            media_type=_TYPES[name.rpartition(".")[2]],
            etag=f'"{sha256(content).hexdigest()[:20]}"',
        )
        for name, content in found.items()
    }
