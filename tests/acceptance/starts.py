"""The console program without a start: ``python -m tests.acceptance.starts`` forks one for each command line.

To import the program takes a second of a processor, and these tests run a hundred commands. Services, pipes, and what
is about the start itself are processes of their own (`program.Machine`).
"""

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import es_power.__main__
from es_power.cli import main
from tests.rigs.forks import Forks, forks, serve

_FREE: list[Forks] = []
_LOCK = threading.Lock()
_OPEN = ExitStack()
atexit.register(_OPEN.close)


def run(arguments: Sequence[str], environment: Mapping[str, str], home: Path) -> tuple[int, str, str]:
    """Run a command to its end, and give its exit code, and what it said on standard output and standard error."""
    with _LOCK:
        program = _FREE.pop() if _FREE else _OPEN.enter_context(forks(__name__))
    with TemporaryDirectory() as place:
        start = {"arguments": arguments, "environment": dict(environment), "home": str(home), "place": place}
        code = program.play(json.dumps(start))
        out, err = ((Path(place) / name).read_bytes().decode() for name in ("out", "err"))
    with _LOCK:
        _FREE.append(program)
    return code, out, err


def _play(line: str) -> None:
    start = json.loads(line)
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, f"{start['place']}/out", os.O_WRONLY | os.O_CREAT),
        (2, f"{start['place']}/err", os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(name, flags, 0o600), number)
    os.environ.clear()
    os.environ.update(start["environment"])
    time.tzset()
    os.chdir(start["home"])
    sys.argv = [es_power.__main__.__file__, *start["arguments"]]
    raise SystemExit(main())


if __name__ == "__main__":
    serve(_play, lambda line: Path(json.loads(line)["place"]))
