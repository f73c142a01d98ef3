"""A record is proved to be in a signed log, and one file of Python is enough to check that."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eventsourcing.persistence import StoredEvent

from es_power.audit import offline
from es_power.audit.proving import prove
from es_power.audit.sealing import Sealer
from es_power.domain.time import Timestamp
from es_power.errors import NotSealedError, RecordNotFoundError, RecordPrunedError
from es_power.log import open_log
from es_power.log.database import Database
from es_power.log.recorder import LogAggregateRecorder
from es_power.log.upgrade import ensure_schema
from tests.unit.audit.rigs import SIGNER, pruned_at, write_log

RECORDS = 700
KEY = str(SIGNER.verifier)


@pytest.fixture
async def path(tmp_path):
    path = tmp_path / "log.db"
    write_log(path, RECORDS).close()
    async with open_log(path, mode="write") as log:
        await Sealer(log, SIGNER, [], clock=lambda: Timestamp(7)).seal()
    return path


def proofs(path, *positions):
    with closing(Database(path, mode="read")) as database:
        return [each.as_row() for each in prove(database, positions)]


async def test_records_are_proved_byte_for_byte(path):
    for row in proofs(path, 1, 2, 3, 256, 257, 512, 513, RECORDS):
        assert offline.check(row, KEY) == RECORDS


async def test_no_proof_holds_for_anything_else(path):
    [row] = proofs(path, 300)
    other = str(type(SIGNER).generate(SIGNER.verifier.name).verifier)
    with pytest.raises(offline.BadProofError, match="not signed"):
        offline.check(row, other)
    for name, wrong in {
        "state": "00",
        "topic": "Other:1",
        "version": 1,
        "position": 301,
        "recorded_at_ns": 1,
        "previous": "00" * 32,
        "stream": "observer/another/qemu",
        "stream_id": "00" * 16,
        "hash": "00" * 32,
        "size": 5,
        "path": row["path"][1:],
        "note": row["note"].replace("\n700\n", "\n701\n"),
    }.items():
        with pytest.raises(offline.BadProofError):
            offline.check({**row, name: wrong}, KEY)
    for name in ("state", "previous", "stream_id"):
        with pytest.raises(offline.BadProofError):
            offline.check({**row, name: f"{row[name]} "}, KEY)
    with pytest.raises(offline.BadProofError, match="a number is none"):
        offline.check({**proofs(path, 1)[0], "position": True}, KEY)  # to struct, true is 1
    for path_ in (
        [*row["path"], "00" * 32],
        ["00" * 32, *row["path"][1:]],
        ["00"],
        [f"{row['path'][0]} ", *row["path"][1:]],
    ):
        with pytest.raises(offline.BadProofError):
            offline.check({**row, "path": path_}, KEY)


async def test_the_verifier_is_one_file_that_needs_nothing_but_python(path, tmp_path):
    copied = tmp_path / "verify.py"
    copied.write_bytes(Path(offline.__file__).read_bytes())
    (tmp_path / "good.json").write_text(json.dumps(proofs(path, 1, RECORDS)))
    (tmp_path / "bad.json").write_text(json.dumps({**proofs(path, 1)[0], "state": "00"}))
    (tmp_path / "none.json").write_text("{}")

    def run(*names):
        return subprocess.run(
            [sys.executable, "-I", "-S", copied, "--key", KEY, *names],
            cwd=tmp_path,
            env={},
            capture_output=True,
            text=True,
            check=False,
        )

    good = run("good.json")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[0] == ("good.json: record 1 of 'observer/kvm-0/qemu' is in the log of 700 records")
    assert run("good.json", "bad.json").returncode == 4
    assert run("none.json").returncode == 1


def test_its_signatures_are_those_of_rfc_8032():
    """The test vectors of section 7.1, and what `cryptography` signs."""
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert offline.is_signed(public, b"", signature)
    assert not offline.is_signed(public, b"x", signature)
    for number in range(8):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public, message = key.public_key().public_bytes_raw(), bytes([number]) * number
        signed = key.sign(message)
        assert offline.is_signed(public, message, signed)
        for wrong in (signed[:-1], bytes(64), signed[:32] + b"\xff" * 32, b"\xff" * 32 + signed[32:]):
            assert not offline.is_signed(public, message, wrong)
    assert not offline.is_signed(b"\xff" * 32, b"", signature)


async def test_what_cannot_be_proved_says_why(path, tmp_path):
    with pytest.raises(RecordNotFoundError, match="no record 9000"):
        proofs(path, 9000)
    with pytest.raises(NotSealedError, match="record 701 came after the last checkpoint, which is over 700"):
        proofs(path, 701)
    write_log(tmp_path / "unsealed.db", 3).close()
    with pytest.raises(NotSealedError, match="no checkpoint"):
        proofs(tmp_path / "unsealed.db", 1)


async def test_records_of_a_pruned_log_are_proved_from_its_edge_on(path):
    with closing(Database(path)) as database:
        pruned_at(database, 301)
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM tree")
        for proof in prove(database, [302, 303, 304, 513, RECORDS]):
            assert offline.check(proof.as_row(), KEY) == RECORDS
        with pytest.raises(RecordPrunedError, match="up to position 301 was pruned"):
            prove(database, [297])


async def test_a_record_of_a_stream_that_is_called_by_its_id_is_proved(tmp_path):
    place = tmp_path / "log.db"
    with closing(Database(place)) as database:
        ensure_schema(database)
        event = StoredEvent(originator_id=uuid4(), originator_version=1, topic="Thing:1", state=b"{}")
        LogAggregateRecorder(database).insert_events([event])
    async with open_log(place, mode="write") as log:
        await Sealer(log, SIGNER, [], clock=lambda: Timestamp(7)).seal()
    [row] = proofs(place, 1)

    assert row["stream"] == str(event.originator_id)
    assert offline.check(row, KEY) == 1
    with pytest.raises(offline.BadProofError):
        offline.check({**row, "stream": str(uuid4())}, KEY)
