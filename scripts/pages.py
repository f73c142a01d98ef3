"""What the scripts share that write pages of docs/: tables, and the command line that writes or checks."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_or_check(
    arguments: Sequence[str] | None,
    *,
    script: str,
    description: str | None,
    pages: Mapping[str, Callable[[], str]],
    folder: Path = FOLDER,
) -> int:
    """Write `pages` (a file's name: what makes its text), or with ``--check`` compare them; 1 where one is stale."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    parser.add_argument("--folder", type=Path, default=folder, help="where the pages are (default: %(default)s)")
    options = parser.parse_args(arguments)
    stale = 0
    for name, page in pages.items():
        file = options.folder / name
        if not options.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page(), encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != page():
            print(f"{file} is stale; run scripts/{Path(script).name}", file=sys.stderr)
            stale = 1
    return stale
