"""A process whose calls to the disk are made to fail: it appends a little, and waits where it must.

``python -m tests.torture.io_writer`` forks one for each line (`tests.rigs.forks`): a case as JSON. It begins when the
pipe ``gate`` in its directory says so, so that whoever injects the faults is there first.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from es_power.errors import LogError
from es_power.log import open_log, patience
from es_power.log.database import Database
from es_power.testing.log_contract import append_of, lifecycle
from tests.rigs.forks import quietly, serve
from tests.torture.ledger import appender, tell
from tests.torture.writer import weaken

APPENDS = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens in one process."""

    place: str
    #: The broken variants: it acknowledges before it has committed; it goes on after an error as if none had been.
    hasty: bool = False
    trusting: bool = False
    #: Seconds that it is given: a log that refuses for ever is waited for no longer.
    longest: float = 30.0


async def append(place: Path, longest: float) -> None:
    patience.RETRY_AFTER = (0.005, 0.02)  # type: ignore[misc]
    with trio.move_on_after(longest):
        async with open_log(place, mode="write") as log:
            patient = patience.PatientLog(log)
            version = await patient.version("one")
            for number in range(APPENDS):
                await patient.append(append_of("one", version + number, lifecycle(number)))


def play(line: str) -> None:
    case = Case(**json.loads(line))
    place = Path(case.place)
    weaken("wal_autocheckpoint=20")
    if case.trusting:
        Database.make_sure = lambda self, **_: setattr(self, "_doubtful", False)  # type: ignore[method-assign]
    say = appender(place / "said")
    with (place / "gate").open("rb", buffering=0) as gate:
        gate.read(len("go"))
    tell(say, hasty=case.hasty)
    with suppress(LogError):  # a clean stop
        trio.run(append, place / "log.db", case.longest)


def line_of(case: Case) -> str:
    return json.dumps(asdict(case))


if __name__ == "__main__":
    quietly()
    serve(play, lambda line: Path(json.loads(line)["place"]))
