"""Processes that are made to be killed: ``python -m tests.torture.victims`` forks one for each line (`rigs.forks`).

A line is a `Victim` as JSON. What a victim is given to store, and what was acknowledged, it says into a file: `ledger`.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import trio

from es_power.cli.run import observing
from es_power.cli.serving import libvirt_hypervisor
from es_power.domain.states import VmState
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import open_log
from es_power.settings import Host, Log, Settings
from es_power.testing import vm
from tests.rigs.forks import quietly, serve
from tests.torture import ledger, writer

PATIENCE: Final = 120
"""Seconds in which a process that lives has said what is waited for, on any machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """What one process does until it is killed."""

    #: Where its log is.
    log: str
    #: Where it says what was acknowledged, and what it printed: another file system than the log's may be cut.
    place: str
    seed: int = 0
    #: The libvirt that it observes, as `es-power run` does; where there is none, it writes as fast as it can.
    uri: str = ""
    #: FULL; another is a broken variant.
    synchronous: str = "FULL"
    #: Another broken variant: it acknowledges before it commits.
    hasty: bool = False

    @property
    def said(self) -> Path:
        """The file of what was acknowledged."""
        return Path(self.place) / "said"

    @property
    def lines(self) -> int:
        """How many lines it and those before it have said there."""
        return self.said.read_bytes().count(b"\n") if self.said.exists() else 0

    def await_lines(self, lines: int, process: int) -> None:
        """Wait until so many lines are said, while the process lives."""
        end = monotonic() + PATIENCE
        while self.lines < lines:
            if not is_alive(process) or monotonic() > end:
                output = (Path(self.place) / "output").read_text()
                raise AssertionError(f"it said {self.lines} of {lines} lines within {PATIENCE} s and then: {output}")
            sleep(0.001)  # nothing but looking tells

    @property
    def line(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> "Victim":
        return cls(**json.loads(line))


def is_alive(process: int) -> bool:
    """Whether a process of the test's runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def live(victim: Victim) -> None:
    """Do it."""
    ledger.tell(ledger.appender(victim.said), hasty=victim.hasty)
    if victim.synchronous != "FULL":
        writer.weaken(f"synchronous={victim.synchronous}")
    trio.run(_observe if victim.uri else _write, victim)


async def _observe(victim: Victim) -> None:
    """Observe as `es-power run` does, without its HTTP; two VMs are meant to be on, so that commands are planned."""
    if not Path(victim.log).exists():
        async with open_log(victim.log, mode="write") as log:
            meant = [(vm(number), VmState.ACTIVE, None) for number in (1, 2)]
            await declare(log, meant, by="ann", why="so it is meant to be", at=now())
    settings = Settings(log=Log(path=victim.log), hosts=(Host(uri=victim.uri),))
    async with observing(settings, [(None, libvirt_hypervisor(victim.uri, settings))]):
        await trio.sleep_forever()


async def _write(victim: Victim) -> None:
    async with open_log(victim.log, mode="write") as log:
        await writer.write(log, seed=victim.seed)


if __name__ == "__main__":
    import alembic.command  # noqa: F401 (else each of them would import it, to create its log)

    quietly()
    serve(lambda line: live(Victim.of(line)), lambda line: Path(Victim.of(line).place))
