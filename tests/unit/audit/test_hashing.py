"""Another process hashes as this one does, and where it cannot, this one does it."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from hashlib import sha256

import pytest

from es_power.audit import hashing
from es_power.audit.hashing import hashed_beside
from es_power.audit.stored import Tree, grow
from es_power.audit.tree import block_roots
from es_power.errors import SealBrokenError
from tests.unit.audit.rigs import insider, write_log

MANY = 1 << 20
HASHES = b"".join(sha256(b"%d" % number).digest() for number in range(512))


@pytest.fixture
def begun(monkeypatch):
    """The processes that are begun."""
    found = []

    def begin(*arguments, **how):
        found.append(subprocess.Popen(*arguments, **how))
        return found[-1]

    monkeypatch.setattr(hashing, "Popen", begin)
    return found


def test_another_process_gives_the_same_roots_and_ends_with_the_block(begun):
    with hashed_beside(MANY) as roots:
        asked = roots(HASHES), roots(HASHES[:8192]), roots(b"")
        assert [*map(list, asked)] == [block_roots(HASHES), block_roots(HASHES)[:1], []]
        [process] = begun

    assert process.returncode == -signal.SIGKILL


def test_a_few_records_are_worth_no_process(begun):
    with hashed_beside(100) as roots:
        assert roots is block_roots
    assert begun == []


def test_where_the_process_is_gone_the_roots_are_the_same(begun):
    with hashed_beside(MANY) as roots:
        os.kill(begun[0].pid, signal.SIGKILL)
        begun[0].wait()

        assert [*roots(HASHES)] == [*roots(HASHES)] == block_roots(HASHES)
        assert [*roots(b"")] == []


@pytest.mark.parametrize("executable", ["", "/no/such/python"])
def test_where_none_can_be_begun_the_roots_are_the_same(monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    with hashed_beside(MANY) as roots:
        assert roots is block_roots


def test_a_log_grows_by_it_to_the_same_root(tmp_path, monkeypatch, begun):
    with closing(write_log(tmp_path / "log.db", 600)) as database:
        alone = grow(database).root()
        monkeypatch.setattr(hashing, "WORTH", 1)
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM tree")

        assert grow(database).root() == alone
        assert len(begun) == 1
        with database.read() as connection:
            assert Tree(connection).edge(600).root() == alone


@pytest.mark.parametrize("done", ["DELETE FROM records", "UPDATE records SET hash = X'00'"])
def test_what_is_missing_or_no_hash_is_not_signed(tmp_path, done):
    with closing(write_log(tmp_path / "log.db", 300)) as database:
        with insider(tmp_path / "log.db") as connection:
            connection.execute(f"{done} WHERE position = 77")

        with pytest.raises(SealBrokenError, match="record 77"):
            grow(database)
