"""The seal: what signing costs those who append, and how fast a log is verified."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time_ns

from benchmarks.figures import ROUNDS, Figure, amount, at_least, at_most, in_turn
from benchmarks.logs import hosts, lifecycle as lifecycles, write
from es_power.audit.keys import Signer
from es_power.audit.notes import Checkpoint
from es_power.audit.stored import grow
from es_power.audit.verifying import examine
from es_power.domain.time import Timestamp
from es_power.log.append import Appender, prepare
from es_power.log.codec import Codec
from es_power.log.database import Database
from es_power.log.upgrade import ensure_schema
from es_power.testing.log_contract import append_of, lifecycle

_COMMIT = 1_000
_EVERY = 1.0  # seconds between two seals here, of which a service takes one an hour


def measure(*, quick: bool = False) -> list[Figure]:
    events, rounds = (2_000, 1) if quick else (200_000, ROUNDS)
    with TemporaryDirectory() as directory:
        here = Path(directory)
        counts = iter(range(1_000_000))
        plain, sealed = in_turn(
            rounds,
            lambda: _append(here / f"plain-{next(counts)}.db", events, seal=False),
            lambda: _append(here / f"sealed-{next(counts)}.db", events, seal=True),
        )
        log = write(here / "events.db", lifecycles(events, hosts(20, 50)))
        (verified,) = in_turn(rounds, lambda: _verify(log))
    return [
        Figure(
            name="Append of 1,000 events a commit, what sealing every second costs",
            target=at_most(10, "%"),
            seen=[100 * (1 - b / a) for a, b in zip(plain, sealed, strict=True)],
            unit="%",
            detail=f"{amount(max(plain))} events/s without, {amount(max(sealed))} with; a service seals once an hour",
        ),
        Figure(
            name="Verification, hashes, tree, labels and pages",
            target=at_least(250, "thousand records/s"),
            seen=[each / 1_000 for each in verified],
            unit="k/s",
            detail=f"{amount(events)} lifecycle events of 20 hosts",
        ),
    ]


def _append(path: Path, events: int, *, seal: bool) -> float:
    """Events a second, all of them sealed where they are: the last seal is part of the time."""
    database, codec = Database(path), Codec()
    ensure_schema(database)
    appender = Appender(database, lambda: Timestamp(time_ns()))
    facts = [lifecycle(number) for number in range(_COMMIT)]
    ended = threading.Event()
    sealing = threading.Thread(target=_seal, args=(database, ended))
    begin = perf_counter()
    if seal:
        sealing.start()
    for version in range(0, events, _COMMIT):
        appender.commit([prepare(append_of("observer/kvm-07/qemu", version, *facts), codec)])
    if seal:
        ended.set()
        sealing.join()
    took = perf_counter() - begin
    database.close()
    return events / took


def _seal(database: Database, ended: threading.Event) -> None:
    signer, edge = Signer.generate("bench"), None

    while True:
        last = ended.wait(_EVERY)
        edge = grow(database, edge)
        signer.sign(Checkpoint(origin="bench", size=edge.size, root=edge.root()).text)
        if last:
            return


def _verify(path: Path) -> float:
    """Records a second."""
    database = Database(path, mode="read")
    begin = perf_counter()
    verdict = examine(database)
    took = perf_counter() - begin
    database.close()
    assert verdict.is_intact, verdict.damage
    return verdict.records / took
