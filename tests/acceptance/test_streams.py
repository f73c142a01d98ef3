"""Standard streams that are closed, or read by somebody who has seen enough: no traceback."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.acceptance.program import Machine

ES_POWER = f"{shlex.quote(sys.executable)} -m es_power"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("closed", ["<&-", "</dev/null >&-", "</dev/null 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("policy decide --policy nova-2013", 0), ("status --log none.db", 3)])
def test_a_closed_stream_is_a_stream_on_nothing(machine: Machine, command: str, code: int, closed: str) -> None:
    assert machine.shell(f"{ES_POWER} {command} {closed}").code == code


def test_an_answer_that_nobody_can_be_given_is_no_traceback(machine: Machine) -> None:
    assert machine.shell(f"{ES_POWER} policy list >&-").code == 0


def test_a_demo_whose_reader_has_seen_enough_ends(machine: Machine) -> None:
    done = machine.shell(f"{ES_POWER} demo --duration 2 --vms 2 | head -1")

    assert done.out.startswith("the log is")
    assert done.complaints == []
