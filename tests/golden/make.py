"""Write the golden log of this version's schema: ``python -m tests.golden.make``, once, before its release.

A golden log is never made anew: it is what that version wrote, and each later one has to read it to the same end.
"""

import lzma
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import trio

from es_power.identity import package_version
from es_power.log import open_log, schema
from es_power.log.codec import recordable
from es_power.replay import replay
from tests.golden.tale import tell

FOLDER: Final = Path(__file__).parent


async def facts_of(place: Path) -> Mapping[str, Any]:
    """What a log comes to, as it is kept beside a golden one."""
    async with open_log(place) as log:
        replayed = await replay(log)
    return {
        "digests": replayed.digests,
        "counts": replayed.counts,
        "kinds": dict(sorted(Counter(replayed.kinds).items())),
    }


def compressed(place: Path) -> bytes:
    """A log as one small file."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
    return lzma.compress(place.read_bytes(), preset=9)


async def make(folder: Path) -> Path:
    name = folder / f"schema-{schema.CURRENT}"
    if name.with_suffix(".db.xz").exists():
        raise SystemExit(f"{name}.db.xz is there already, and stays what it is")
    tale = tell()
    if untold := {kind.__name__ for kind in recordable()} - {type(each.event).__name__ for each in tale.records}:
        raise SystemExit(f"tests/golden/tale.py does not tell these kinds of facts yet: {', '.join(sorted(untold))}")
    with TemporaryDirectory() as temporary:
        place = Path(temporary) / "log.db"
        await tale.store(place)
        known = {"written_by": package_version(), "schema": schema.CURRENT, **await facts_of(place)}
        name.with_suffix(".db.xz").write_bytes(compressed(place))
    name.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n")
    return name


if __name__ == "__main__":
    sys.stdout.write(f"{trio.run(make, FOLDER)}\n")
