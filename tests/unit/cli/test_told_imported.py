"""States of another time, asked of a log that has the import of another one's export: told as far as that one saw."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from es_power.domain.states import UNKNOWN
from es_power.domain.time import Timestamp, rfc3339
from tests.acceptance.night import write_night
from tests.unit.cli.conftest import Ask
from tests.unit.cli.test_why_imported import brought, destroyed_and_undefined, migrated

__all__ = ["brought"]


@pytest.mark.parametrize("tables", [False, True])
def test_a_state_of_then_is_told_by_the_import_as_far_as_that_log_saw_it(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path], *, tables: bool
) -> None:
    trio.run(write_night, tmp_path / "log.db")
    other = brought(tmp_path / "log.db")
    if tables:
        assert ask("replay", "--rebuild", "--log", other).code == 0

    def states(log: Path, time: str) -> dict[str, tuple[str, str]]:
        rows = ask("status", "--as-of", f"2026-11-22T{time}Z", "--log", log, "-o", "json").rows
        return {row["name"]: (row["power_state"], row["note"]) for row in rows}

    told = "told by the imported jsonl; not observed then"
    assert {time: states(other, time) for time in ("01:25:00", "01:30:30", "02:45:00", "03:20:30")} == {
        time: {
            name: (state, told) for name, (state, _) in states(tmp_path / "log.db", time).items() if state != UNKNOWN
        }
        for time in ("01:25:00", "01:30:30", "02:45:00", "03:20:30")
    }
    assert states(other, "01:30:30") == {}, "that log was blind"
    assert states(other, "02:45:00")["old-4"] == ("RUNNING", told)
    assert states(other, "03:20:30")["web-1"] == ("SHUTDOWN", told)
    assert states(other, "04:00:00") == {}, "that log ended long before"
    assert ask("status", "--log", other, "-o", "json").rows == []


def test_a_vm_that_migrated_or_was_undefined_has_no_state_of_then(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    moved, gone = migrated(), destroyed_and_undefined()
    for name, tale in (("moved", moved), ("gone", gone)):
        log = trio.run(tale.write, tmp_path / f"{name}.db")
        other = brought(log, f"{name}-other.db")
        end = rfc3339(Timestamp(tale.records[-1].event.observed_at + 10**9))
        rows = ask("as-of", end, "--log", other, "-o", "json").rows
        states = {row["name"]: (row["host"], row["power_state"]) for row in rows}
        assert states.get("web-1") == (("b", "RUNNING") if name == "moved" else None)
