"""Arguments as people mistype them, to the program itself in this process, asked of a real log."""

import contextlib
import io
import os
import shlex
import sys
from pathlib import Path
from typing import Final

import trio

from es_power.cli import main
from tests.acceptance.night import write_night
from tests.torture.inputs import Kind

_LINES: Final = (
    "status web-1 --as-of '2026-11-22 03:12:05' --known-at 12 -o json", "history web-1 -S -1h -U now -n 5 -o yaml",
    "timeline -S 2026-11-22 -U 2026-11-22T04:00:00Z --buckets 10 -o csv", "uptime --month 2026-11", "why web-1 --utc",
    "uptime -S '2 days ago' web-1", "diff -S 3 -U 60", "gaps -o jsonl", "commands list --open --host kvm-07",
    "commands show 7f1c", "export -S 3 -U '2026-11-22 03:00' web-1 -o cloudevents", "anomalies -S 2026-11-22 -o table",
    "policy table nova-2013", "replay --whatif nova-2026", "log info", "as-of @1700000000 kvm-07/web-1", "holds",
    "policy decide --policy nova-2013", "audit verify", "audit proof 12", "--help", "--version",
)  # fmt: skip

_HARMLESS: Final = frozenset(shlex.split(line)[0] for line in _LINES)
"""Commands that only read: what a damaged line calls must not serve, act or write where tests run."""

_LONGEST: Final = 1100  # characters of a line of complaint


def command_line(folder: Path) -> Kind:
    """Make the log that is asked, in a folder of its own."""
    folder.mkdir()
    log = folder / "log.db"
    trio.run(write_night, log)

    def read(data: bytes) -> None:
        try:
            arguments = shlex.split(data.decode(errors="surrogateescape").replace("\0", ""))
        except ValueError:
            return  # a shell's own complaint
        if not arguments or arguments[0] not in _HARMLESS or "--rebuild" in arguments:
            return
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _machine(folder, log):
            code = main(arguments)
        err.flush()
        said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
        assert code in range(6), (arguments, code)
        assert code in {0, 4} or said.startswith("es-power: "), (arguments, said[:300])
        assert all(len(line) < _LONGEST for line in said.splitlines()), (arguments, said[:300])

    return Kind(
        read=read, samples=lambda: [line.encode() for line in _LINES], words=[b" ", b" -S ", b"'", b" -o ", b"--"]
    )


@contextlib.contextmanager
def _machine(folder: Path, log: Path):
    before, stdin = dict(os.environ), sys.stdin
    for name in [name for name in os.environ if name.startswith("ES_POWER_")]:
        del os.environ[name]
    os.environ |= {"ES_POWER_LOG": str(log), "HOME": str(folder), "TZ": "UTC"}
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.stdin = stdin
