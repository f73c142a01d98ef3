"""A part of the log for an auditor: facts, their proofs, blind times, what is known of the clock, and how to check it.

Everything is in one directory, and needs neither the log nor es_power to be checked: the verifier is in it too.
"""

import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio

from es_power.answers.export import FACTS, Exporter, fact_row, fact_rows
from es_power.answers.rows import GAPS, gap_row
from es_power.audit import offline
from es_power.audit.proving import prove
from es_power.domain.events import ClockJumped, HostSwept, InstanceId, Position, Recorded, ServiceStarted
from es_power.domain.time import rfc3339
from es_power.errors import DossierError
from es_power.output import Column, Row, as_json, plain
from es_power.projections.gaps import gaps
from es_power.projections.queries import View

_README: Final = """\
# A part of the log of es_power

Records {first} to {last} of the log, as far as they are about what was asked for{about}.

- `events.jsonl`: the facts, to be read: one on a line, with texts in the place of labels; `forgotten` is a text that is
  gone.
- `proofs.json`: their records as they are stored, byte for byte, each with the proof that it is in the log
  of {size} records that was signed.
- `checkpoint`: the signed note (c2sp.org/tlog-checkpoint) that the proofs lead to.
- `gaps.jsonl`: when nobody could see a host, and why. What happened then, the log does not know.
- `clock.jsonl`: what the service knew of its clock whenever it said so, and when the clock was set.
- `manifest.json`: the SHA-256 of each of these files.

Check it with Python alone, and with the verifier key that you were given by another way than this directory:

    python3 -I verify.py --key VERIFIER_KEY proofs.json

Take `verify.py` from a copy of es_power that you trust (es_power/audit/offline.py) rather than from here. The proofs
show that the records in `proofs.json` were in the log when it was signed. They do not show that `events.jsonl` says the
same, since whoever changes it can change `manifest.json` too: where it matters, read the record's own `state`, a
msgpack array of the fact's fields (es_power/log/codec.py). They do not show that no record was left out of this
directory, for which `es-power audit verify` has the whole log read, nor that what a record says was true.
"""


async def write_dossier(
    view: View, folder: Path, *, after: Position, until: Position, instances: Collection[InstanceId] = ()
) -> int:
    """Write it into a directory that is new or empty, and give the number of records.

    DossierError where the directory holds something; NotSealedError where records came after the last checkpoint.
    """
    log, exporter = view.log, Exporter(view, instances)
    rows: list[Row] = []
    clock: list[Row] = []
    async for batch in exporter.facts(after=after, until=until):
        rows += await fact_rows(log, batch, fact_row)
        clock += [row for each in batch if (row := _clock_row(each))]
    positions = exporter.positions
    proofs = await trio.to_thread.run_sync(lambda: prove(log.database, positions))
    blind = [gap_row(gap) for gap in await gaps(view)]
    size = proofs[0].size if proofs else 0
    about = f": {', '.join(map(str, sorted(instances)))}" if instances else ""
    files = {
        "events.jsonl": _lines(rows, FACTS),
        "proofs.json": json.dumps([each.as_row() for each in proofs], indent=1) + "\n",
        "checkpoint": str(proofs[0].note) if proofs else "",
        "gaps.jsonl": _lines(blind, GAPS),
        "clock.jsonl": _lines(clock, ()),
        "README.md": _README.format(first=after + 1, last=until, about=about, size=size),
        "verify.py": inspect.getsource(offline),
    }
    manifest = {
        "records": len(positions),
        "after": after,
        "until": until,
        "instances": sorted(map(str, instances)),
        "unreadable": dict(exporter.unreadable),
        "sha256": {name: sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    files["manifest.json"] = json.dumps(manifest, indent=1) + "\n"
    await trio.to_thread.run_sync(_write, folder, files)
    return len(positions)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DossierError(f"{folder} holds something already; name a directory that is new or empty")
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DossierError(f"{folder} cannot be written: {error.strerror}") from error


def _clock_row(recorded: Recorded) -> Row | None:
    event = recorded.event
    said: dict[str, object]
    match event:
        case ServiceStarted() | HostSwept():
            said = {
                "synchronised": event.clock_synchronised,
                "offset_ns": event.clock_offset,
                "error_ns": event.clock_error,
            }
        case ClockJumped():
            said = {"expected": rfc3339(event.expected)}
        case _:
            return None
    where = {"position": recorded.position, "stream": recorded.stream, "observed_at": rfc3339(event.observed_at)}
    return {**where, "fact": type(event).__name__, **said}


def _lines(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    return "".join(f"{as_json(plain(row, columns))}\n" for row in rows)
