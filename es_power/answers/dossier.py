"""A part of the log for an auditor: facts, their proofs, blind times, what is known of the clock, and how to check it.

It needs neither the log nor es_power to be checked: the verifier is in it too.
"""

import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import trio

from es_power.answers.export import FACTS, Exporter, fact_row, fact_rows, label_ids
from es_power.answers.rows import GAPS, gap_row
from es_power.audit import offline
from es_power.audit.checkpoints import KeptCheckpoints
from es_power.audit.labelled import read_labels
from es_power.audit.layout import layout
from es_power.audit.proving import prove
from es_power.domain.events import START, ClockJumped, HostSwept, InstanceId, Position, Recorded, ServiceStarted
from es_power.domain.ports import LabelText
from es_power.domain.time import rfc3339
from es_power.errors import DossierError, NotSealedError, UnknownEventError
from es_power.log import SqlLog
from es_power.output import Column, Row, as_json, plain
from es_power.projections.gaps import gaps
from es_power.projections.queries import View

_README: Final = """\
# A part of the log of es_power

Records {first} to {last} of the log, as far as they are about what was asked for{about}.

- `events.jsonl`: the facts, to be read: one on a line, with texts in the place of labels; `forgotten` is a text that is
  gone. `record` is where the fact's record stands in this log; what was imported says where it stood in its own.
- `proofs.json`: the records as they are stored, byte for byte, each with the proof that it is in the log of {size}
  records that was signed. Sweeps and inventories are whole there: they name other VMs of the host by their UUIDs.
- `layout.json`: how the bytes of a record are read as a fact. `labels.json`: the salt of each text.
- `checkpoint`: the signed note (c2sp.org/tlog-checkpoint) that the proofs lead to.
- `gaps.jsonl`: when nobody could see a host, and why. What happened then, the log does not know.
- `clock.jsonl`: what the service knew of its clock whenever it said so, and when the clock was set.
- `manifest.json`: what was asked for, and the SHA-256 of each of these files.

Check it with Python alone, and with the verifier key that you were given by another way than this directory:

    python3 -I verify.py --key VERIFIER_KEY .

Take `verify.py` from a copy of es_power that you trust (es_power/audit/offline.py) rather than from here. Then

- each line of `events.jsonl` is what a record says that was in the log when it was signed: the fact is read again from
  the record's own bytes, every field of it, and each text is the one that it was recorded with;
- no record of `proofs.json` lacks its line, no sweep that of a VM that was asked for, and no line is there twice or in
  another order; `checkpoint` is the note of the proofs;
- where the verifier says `all between them`, no record from the first to the last that it names was left out.

It names these records, and the VMs that it is about: compare them with what you asked for. It does not show that no
record before, after, or about another VM was left out, nor one that is not in `proofs.json` either where it says
`some between them were not exported`: `es-power audit verify` reads the whole log. A text that is said to be forgotten
may have been left out. `gaps.jsonl` and `clock.jsonl` are told from the whole log, and proved as far as their facts are
in `events.jsonl` too. In `manifest.json` only the number of facts and the range are compared with the records, and its
hashes show damage on the way, since whoever changes a file can change it too. And nothing shows that what a record says
was true.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """Files by name, and how many facts are in them."""

    facts: int
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write the files into a directory; DossierError unless it is new or empty."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise DossierError(f"{folder} holds something already; name a directory that is new or empty")
            for name, text in self.files.items():
                (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise DossierError(f"{folder} cannot be written: {error.strerror}") from error

    def zipped(self, folder: str) -> bytes:
        """Give the files as a ZIP with one directory; it takes a moment."""
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
            for name, text in self.files.items():
                # The same log gives the same bytes: no time of today stands in them.
                archive.writestr(ZipInfo(f"{folder}/{name}"), text.encode(), ZIP_DEFLATED)
        return buffer.getvalue()


async def make_dossier(
    view: View,
    *,
    after: Position,
    until: Position,
    signed: Position,
    instances: Collection[InstanceId] = (),
    checkpoints: KeptCheckpoints | None = None,
    most: int | None = None,
) -> Dossier:
    """Gather it; NotSealedError for what came after the last checkpoint, DossierError for more than `most` facts.

    `signed`: up to where the newest checkpoint signed the log, as `newest_size` says.
    """
    log, exporter = view.log, Exporter(view, instances)
    if START < signed <= after:
        raise NotSealedError(
            f"nothing after record {after} is signed yet: the last checkpoint is over {signed} records; "
            "`es-power audit checkpoint` signs what is there now"
        )
    rows: list[Row] = []
    clock: list[Row] = []
    labels: set[int] = set()
    async with aclosing(exporter.facts(after=after, until=until)) as batches:
        async for batch in batches:
            if most is not None and len(rows) + len(batch) > most:
                raise DossierError(
                    f"there are more than {most:,} facts in it; ask for less, or `es-power audit export`"
                )
            records = exporter.positions[len(rows) :]
            said = await fact_rows(log, batch, fact_row)
            rows += [{"record": record, **row} for record, row in zip(records, said, strict=True)]
            clock += [row for each in batch if (row := _clock_row(each))]
            labels.update(label_ids(batch))
    read_by = [position for each in exporter.inventories if (position := await _position(log, *each))]
    positions = sorted({*exporter.positions, *read_by})
    proofs = await trio.to_thread.run_sync(prove, log.database, positions, checkpoints)
    salts = await trio.to_thread.run_sync(_salts, log, sorted(labels))
    blind = [gap_row(gap) for gap in await gaps(view)]
    about = f": {', '.join(map(str, sorted(instances)))}" if instances else ""
    size = proofs[0].size if proofs else 0
    files = {
        "events.jsonl": _lines(rows, FACTS),
        "proofs.json": json.dumps([each.as_row() for each in proofs], indent=1) + "\n",
        "layout.json": layout(),
        "labels.json": json.dumps([_salt(each) for each in salts], indent=1) + "\n",
        "checkpoint": str(proofs[0].note) if proofs else "",
        "gaps.jsonl": _lines(blind, GAPS),
        "clock.jsonl": _lines(clock, ()),
        "README.md": _README.format(first=after + 1, last=until, about=about, size=size),
        "verify.py": inspect.getsource(offline),
    }
    manifest = {
        "facts": len(rows),
        "after": after,
        "until": until,
        "instances": sorted(map(str, instances)),
        "unreadable": dict(exporter.unreadable),
        "sha256": {name: sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    return Dossier(facts=len(rows), files={**files, "manifest.json": json.dumps(manifest, indent=1) + "\n"})


async def _position(log: SqlLog, stream: str, version: int) -> Position | None:
    """Where a record of a stream stands that was read before; None where it could not be."""
    with suppress(UnknownEventError):
        for recorded in await log.read_stream(stream, after=version - 1, limit=1):
            return recorded.position
    return None


def _salts(log: SqlLog, labels: Sequence[int]) -> list[LabelText]:
    with log.database.read() as connection:
        return list(read_labels(connection, labels))


def _salt(label: LabelText) -> Row:
    """A label's row without its text, which is in the fact."""
    return {"id": label.id, "salt": label.salt.hex(), "whole": None if label.whole is None else label.whole.hex()}


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
