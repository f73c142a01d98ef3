"""Why, asked of a log that has no more than the import of another one's export: it says what that one says."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
import trio

from es_power.domain.cause_table import Cause
from es_power.domain.decisions import Approved, Route, Sent, StopVerb
from es_power.domain.events import GapReason
from es_power.domain.streams import actor, command, imported, observer
from es_power.testing.facts import stop_requested, vm
from tests.acceptance.night import write_night
from tests.unit.cli.conftest import Ask
from tests.unit.cli.test_imports import digests
from tests.unit.night import imported_night
from tests.unit.projections.test_why import CRASHED, DESTROYED, NEW_BOOT, OLD_BOOT, SAVED, Life
from tests.unit.story import DB, OFF, RUNNING, WEB, Story

SAID = ("cause", "confidence", "from_state", "to_state", "at", "not_before", "host", "pid", "process", "signal")


def life(*, read: bool = True) -> Life:
    """web-1 was seen running an hour ago, and again in the sweeps since."""
    tale = Life()
    tale.begin(read=read)
    tale.run()
    for _ in range(6):
        tale.sweep({WEB: RUNNING, DB: OFF})
        tale.wait(600)
    return tale


def killed() -> Life:
    tale = life()
    tale.killed()
    tale.stop(side=2)
    tale.ended("shutdown")
    tale.wait(600)
    tale.sweep({WEB: OFF, DB: OFF})
    return tale


def powered_off() -> Life:
    tale = life()
    tale.stop()
    tale.ended("shutdown")
    return tale


def missed() -> Life:
    tale = life(read=False)
    tale.sweep({WEB: RUNNING, DB: OFF})
    tale.gap()
    tale.wait(1200)
    tale.seen_again()
    tale.sweep({WEB: OFF, DB: OFF})
    return tale


def missed_and_told() -> Life:
    tale = life()
    tale.gap()
    tale.wait(600)
    tale.killed()
    tale.ended("shutdown")
    tale.wait(600)
    tale.seen_again()
    tale.sweep({WEB: OFF, DB: OFF})
    return tale


def crashed() -> Life:
    tale = life()
    tale.announce(WEB, 3, 0)
    tale.announce(WEB, 8, 0)
    tale.announce(WEB, 5, 2)
    tale.observe(WEB, *CRASHED)
    return tale


def qemu_failed() -> Life:
    tale = life()
    tale.stop(detail=5, side=None, state=(5, 6))
    tale.ended("crashed")
    return tale


def saved() -> Life:
    tale = life()
    tale.announce(WEB, 3, 0)
    tale.announce(WEB, 5, 4)
    tale.observe(WEB, *SAVED)
    return tale


def destroyed_and_undefined() -> Life:
    tale = life()
    tale.stop(side=2, detail=1, state=DESTROYED)
    tale.observe(WEB, None)
    return tale


def ran_again() -> Life:
    tale = powered_off()
    tale.wait(60)
    tale.run()
    return tale


def migrated() -> Life:
    tale = life()
    tale.begin(host="b", read=False)
    tale.wait(60)
    tale.announce(WEB, 2, 1, "b")
    tale.announce(WEB, 3, 1)
    tale.announce(WEB, 4, 1, "b")
    tale.announce(WEB, 5, 3)
    tale.observe(WEB, None)
    return tale


def host_went_down() -> Life:
    tale = Life()
    tale.begin()
    tale.boot(OLD_BOOT, {WEB: RUNNING, DB: RUNNING, vm(4): RUNNING})
    tale.wait(700)
    for instance in (DB, vm(4)):
        tale.announce(instance, 6, 1)
        tale.announce(instance, 5, 0)
    tale.gap(reason=GapReason.CRASH)
    tale.wait(300)
    tale.seen_again()
    tale.boot(NEW_BOOT, {WEB: (5, 0), DB: (5, 0), vm(4): (5, 0)})
    return tale


def commanded() -> Life:
    tale = life()
    common = {"observed_at": tale.now, "instance": WEB, "command": UUID(int=9)}
    requested = stop_requested(WEB, UUID(int=9), observed_at=tale.now)
    acting = {"actor": actor(observer("a", "qemu")), "epoch": 1}
    approved = Approved(**common, **acting, by=tale.label("carol"), why=tale.label("agreed"))
    tale.extend(command(UUID(int=9)), [requested, approved])
    tale.record(command(UUID(int=9)), Sent(**common, **acting, route=Route.HYPERVISOR, verb=StopVerb.STOP))
    tale.stop()
    return tale


TALES = {
    "HOST_KILLED": killed,
    "GUEST_SHUTDOWN": powered_off,
    "GUEST_SHUTDOWN, missed": missed,
    "HOST_KILLED, missed": missed_and_told,
    "GUEST_CRASHED": crashed,
    "QEMU_FAILED": qemu_failed,
    "SAVED": saved,
    "DESTROYED": destroyed_and_undefined,
    "GUEST_SHUTDOWN, running again": ran_again,
    "MIGRATED": migrated,
    "HOST_SHUTDOWN": host_went_down,
    "PLATFORM_REQUESTED_SHUTDOWN": commanded,
    "GUEST_SHUTDOWN, one night": imported_night,
}


@pytest.fixture
def brought(ask: Ask, tmp_path: Path) -> Callable[[Path], Path]:
    """Export a log, and import that into one of its own."""

    def bring(log: Path, into: str = "other.db") -> Path:
        (tmp_path / "facts.jsonl").write_text(ask("export", "--log", log).out)
        assert ask("import", "jsonl", tmp_path / "facts.jsonl", "--create", "--log", tmp_path / into).code == 0
        return tmp_path / into

    return bring


def _answer(ask: Ask, log: Path, vm: str = "web-1", *options: str) -> dict:
    [answer] = ask("why", vm, "--log", log, "-o", "json", *options).rows
    return answer


def _weighed(answer: dict) -> list[tuple[str, ...]]:
    """The evidence but for where it stands, and for what other logs' commands are called."""
    return [(each["weight"], each["kind"], each["what"], each["at"]) for each in answer["evidence"]]


@pytest.mark.parametrize("name", TALES)
def test_an_export_that_was_imported_gives_the_cause_that_its_own_log_gives(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path], name: str
) -> None:
    log = trio.run(TALES[name]().write, tmp_path / "log.db")
    ours, theirs = _answer(ask, log), _answer(ask, brought(log))

    assert ours["cause"] == Cause[name.partition(",")[0]]
    assert {key: theirs[key] for key in SAID} == {key: ours[key] for key in SAID}
    if ours["actor"] is None:
        assert _weighed(theirs) == _weighed(ours)
    else:
        assert theirs["actor"] == f"{ours['actor']}, as another log tells"
    assert theirs["power_state"] is None


def test_the_evidence_stands_where_the_import_put_it(ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]) -> None:
    log = trio.run(killed().write, tmp_path / "log.db")
    story = Story()
    story.start("z")
    trio.run(story.write, tmp_path / "other.db")
    other = brought(log)
    history = {row["position"]: row["what"] for row in ask("history", "web-1", "--log", other, "-o", "json").rows}
    placed = [each for each in _answer(ask, other)["evidence"] if each["position"] is not None]

    assert [history[each["position"]] for each in placed] == [each["what"] for each in placed]
    assert len(placed) == 5


def test_the_night_of_the_readme_is_told_by_its_export(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    trio.run(write_night, tmp_path / "log.db")
    other = brought(tmp_path / "log.db")

    for name in ("web-1", "old-4", "ci-9"):
        ours, theirs = _answer(ask, tmp_path / "log.db", name), _answer(ask, other, name)
        assert {key: theirs[key] for key in SAID} == {key: ours[key] for key in SAID}
        assert _weighed(theirs) == _weighed(ours)


def test_an_older_part_that_is_imported_last_is_still_the_older_one(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    log = trio.run(ran_again().write, tmp_path / "log.db")
    lines = ask("export", "--log", log).out.splitlines(keepends=True)
    for number, part in enumerate((lines[12:], lines[:12])):
        (tmp_path / f"{number}.jsonl").write_text("".join(part))
        ask("import", "jsonl", tmp_path / f"{number}.jsonl", "--create", "--log", tmp_path / "other.db")
    ours, theirs = _answer(ask, log), _answer(ask, tmp_path / "other.db")

    assert {key: theirs[key] for key in SAID} == {key: ours[key] for key in SAID}


def test_what_another_log_heard_tells_why_we_found_it_off(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    tale = life(read=False)
    tale.gap()
    tale.wait(1200)
    tale.seen_again()
    tale.sweep({WEB: OFF, DB: OFF})
    log = trio.run(tale.write, tmp_path / "log.db")
    theirs = life()
    theirs.wait(300)
    theirs.killed()
    theirs.stop(side=2)
    theirs.ended("shutdown")
    before = _answer(ask, log)
    brought(trio.run(theirs.write, tmp_path / "theirs.db"), "log.db")
    after = _answer(ask, log)

    assert (before["cause"], before["confidence"]) == (Cause.GUEST_SHUTDOWN, "low")
    assert (after["cause"], after["confidence"], after["pid"]) == (Cause.HOST_KILLED, "high", 4711)
    assert _answer(ask, log, "web-1", "--known-at", str(len(tale.records)))["cause"] == Cause.GUEST_SHUTDOWN


def test_a_log_that_takes_in_what_another_recorded_of_the_same_answers_as_before(ask: Ask, tmp_path: Path) -> None:
    log = trio.run(commanded().write, tmp_path / "log.db")
    before, of_it = _answer(ask, log), digests(log)
    theirs = tmp_path / "facts.jsonl"
    theirs.write_text(ask("export", "--log", log).out.replace('0Z", "type"', '7Z", "type"'))
    assert ask("import", "jsonl", theirs, "--log", log).code == 0
    after = _answer(ask, log)

    assert after == before | {"position": after["position"]}
    assert digests(log) == of_it


def test_lines_of_ours_are_evidence_for_what_another_log_saw(
    ask: Ask, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    tale = life(read=False)
    tale.stop(side=2)
    theirs = Life()
    theirs.passed = tale.passed + (len(tale.records) - 1) * 10**9
    theirs.killed(stream=imported("qemu-log", "a"))
    trio.run(theirs.write, tmp_path / "other.db")
    answer = _answer(ask, brought(trio.run(tale.write, tmp_path / "log.db")))

    assert (answer["cause"], answer["process"]) == (Cause.HOST_KILLED, "bash")
