"""What was observed before a checkpoint goes, and every answer about the time since is the same."""

import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from es_power.audit.proving import prove
from es_power.audit.sealing import Sealer
from es_power.audit.verifying import verify as audit
from es_power.domain.custody import CheckpointSealed, LabelsForgotten, LogPruned
from es_power.domain.events import Position
from es_power.domain.policy import get_policy
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import AUDIT, DECLARATIONS
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import BackupError, PruneError, RecordPrunedError, SealBrokenError
from es_power.ingest.declarations import declare
from es_power.log import SqlLog, open_log
from es_power.projections.as_of import Moment, moment_at, moment_of
from es_power.projections.queries import look, texts
from es_power.projections.store import Store
from es_power.projections.timeline import timeline
from es_power.projections.why import why
from es_power.replay import compare, rebuild, replay, verify
from es_power.testing.facts import SOMEBODY, vm
from es_power.testing.hypervisor import FakeHypervisor
from es_power.upkeep import pruning, remaining
from es_power.upkeep.cut import Cut, find_cut
from es_power.upkeep.pruning import prune
from tests.unit.audit.rigs import SIGNER
from tests.unit.story import DB, OFF, PAUSED, RUNNING, WEB
from tests.unit.tale import Tale, every_state
from tests.unit.test_service import running, seen
from tests.unit.upkeep.sealed import LATER, prune_before, questions, seal, write


def long_story() -> Tale:
    """Two hosts, commands in every state, a gap that is open when all is signed, and what follows on that."""
    story = every_state()
    story.record(AUDIT, LabelsForgotten(observed_at=story.now, labels=(SOMEBODY.id,), by=SOMEBODY))
    story.name(WEB, "web-as-it-was")
    story.name(WEB, "web-1")
    story.start("b")
    story.sweep({WEB: RUNNING, DB: OFF}, "b")
    story.gap("b")
    for state in (OFF, RUNNING) * 6:
        story.sweep({WEB: state, DB: PAUSED})
        story.sweep({WEB: state, DB: PAUSED})
    story.wait(3600)
    seal(story)
    story.sweep({WEB: RUNNING, DB: PAUSED})
    story.seen_again("b")
    story.sweep({WEB: OFF, DB: OFF}, "b")
    story.announce(WEB, 5, 1)
    story.sweep({WEB: OFF, DB: PAUSED})
    story.plan()
    seal(story)
    story.sweep({WEB: OFF, DB: RUNNING})
    return story


STORY = long_story()
SEALS = [each for each in STORY.records if isinstance(each.event, CheckpointSealed)]
FIRST, SECOND_SEAL = (Position(each.position - 1) for each in SEALS)
AFTER_FIRST, AFTER_SECOND = (Timestamp(each.event.observed_at + 1) for each in SEALS)
HEAD = len(STORY.records)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("log") / "log.db"
    trio.run(write, STORY, place)
    return place


@pytest.fixture
def place(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of one's own; the last records before a cut go too, since a story has only so many."""
    monkeypatch.setattr(remaining, "NEAR", 1)
    (tmp_path / "here").mkdir()
    return Path(shutil.copy(written, tmp_path / "here" / "log.db"))


@pytest.fixture
async def log(place: Path) -> AsyncIterator[SqlLog]:
    async with open_log(place, mode="write") as opened:
        yield opened


async def checked(log: SqlLog) -> Position | None:
    """Check a log in both ways, and give up to where it was pruned."""
    verdict = await audit(log)
    assert list(verdict.damage) == []
    _, differences = await verify(log)
    assert list(differences) == []
    return verdict.pruned


async def answers(log: SqlLog, then: Moment, head: Moment) -> dict[str, object]:
    """What is said of the time between two positions, by what was known at the later one."""
    asked = await questions(log, then, head, histories=(WEB, DB, vm(9)), reasons=(WEB,))
    return {name: await ask() for name, ask in asked.items()}


async def test_every_answer_about_the_time_since_is_the_same(log: SqlLog, tmp_path: Path) -> None:
    whole, head = await replay(log), await moment_of(log, Position(HEAD))
    # Of what came after, and of what was said before.
    declared = [each.position for each in STORY.records[: FIRST - 1] if each.stream == DECLARATIONS]
    proved = [Position(FIRST + 2), *declared]
    proofs = prove(log.database, proved)
    moments = [await moment_of(log, position) for position in (FIRST, SECOND_SEAL)]
    before = [await answers(log, then, head) for then in moments]

    done = await prune_before(log, AFTER_FIRST, tmp_path)

    assert done.count > 15
    assert await checked(log) == FIRST
    for tables in (True, False):
        if not tables:
            Store(log.database).drop()
        for then, said in zip(moments, before, strict=True):
            for name, answer in (await answers(log, then, head)).items():
                assert (then.position, name, said[name]) == (then.position, name, answer)
    again = await replay(log, until=head.position)
    for name in ("power_state", "keeping", "stop_commands"):
        assert whole.digests[name] == again.digests[name]
    assert proofs == prove(log.database, proved)
    assert len(proofs) > 5
    Store(log.database).drop()


async def test_a_name_goes_with_the_record_that_gave_it(log: SqlLog, tmp_path: Path) -> None:
    whole = await log.labels_that(lambda _: True)

    await prune_before(log, AFTER_FIRST, tmp_path)

    left = await log.labels_that(lambda _: True)
    # What it was called first in `every_state`, and in between.
    assert {text for label, text in whole.items() if label not in left} == {"planned", "web-as-it-was"}
    assert "web-1" in left.values()


async def test_a_question_about_the_time_before_is_refused_and_names_the_archive(log: SqlLog, tmp_path: Path) -> None:
    done = await prune_before(log, AFTER_FIRST, tmp_path)
    view, early = await look(log), Timestamp(SEALS[0].recorded_at - 3700 * SECOND)

    for question in (
        lambda: moment_of(log, Position(2)),
        lambda: moment_at(log, early),
        lambda: look(log, until=Position(2)),
        lambda: look(log, until=Position(2), table_only=True),
        lambda: replay(log, until=Position(2)),
        lambda: timeline(view, since=early, until=LATER, now=LATER),
        lambda: why(view, str(DB), at=early),
        lambda: why(view, str(vm(5))),
    ):
        with pytest.raises(RecordPrunedError, match=str(done.archive.file)):
            await question()
    with pytest.raises(RecordPrunedError, match=str(done.archive.file)):
        prove(log.database, [Position(2)])
    async with open_log(done.archive.file) as archive:
        assert (await moment_of(archive, Position(2))).position == 2
        assert await checked(archive) is None


async def test_what_was_pruned_is_pruned_further_and_each_archive_is_a_log(log: SqlLog, tmp_path: Path) -> None:
    whole = await replay(log)
    first = await prune_before(log, AFTER_FIRST, tmp_path)
    with pytest.raises(PruneError, match="pruned already"):
        await find_cut(log, AFTER_FIRST)

    second = await prune_before(log, AFTER_SECOND, tmp_path)

    assert await checked(log) == SECOND_SEAL
    again = await replay(log, until=Position(HEAD))
    assert whole.digests["power_state"] == again.digests["power_state"]
    facts = [each.event for each in await log.read_stream(AUDIT) if isinstance(each.event, LogPruned)]
    assert [fact.position for fact in facts] == [FIRST, SECOND_SEAL]
    name_of = await texts(log, [facts[1].archive, facts[1].by])
    assert (name_of(facts[1].archive), name_of(facts[1].by)) == (str(second.archive.file), "root")
    assert first.archive.file != second.archive.file
    async with open_log(second.archive.file) as archive:
        assert await checked(archive) == FIRST


async def test_who_comes_second_to_the_same_cut_says_the_same_or_nothing(
    log: SqlLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[remaining.Remaining] = []

    async def of_the_first(archive: SqlLog, cut: Cut) -> remaining.Remaining:
        """As if all had made their archives before the first took anything out."""
        found.append(found[0] if found else await remaining.remaining(archive, cut))
        return found[0] if len(found) < 3 else replace(found[0], state=b"other")

    cut = await find_cut(log, AFTER_FIRST)
    monkeypatch.setattr(pruning, "remaining", of_the_first)
    for name in ("first", "second"):
        await prune(log, cut, tmp_path / name, by="root", at=LATER)
    with pytest.raises(PruneError, match=f"somebody else pruned the log meanwhile, up to {FIRST}"):
        await prune(log, cut, tmp_path / "third", by="root", at=LATER)

    assert await checked(log) == FIRST
    assert len([each for each in await log.read_stream(AUDIT) if isinstance(each.event, LogPruned)]) == 2


async def test_tables_that_are_made_anew_begin_where_the_log_does(log: SqlLog, tmp_path: Path) -> None:
    Store(log.database).drop()
    await prune_before(log, AFTER_FIRST, tmp_path)
    assert await checked(log) == FIRST
    Store(log.database).create()
    assert Store(log.database).checkpoint() == FIRST
    assert await checked(log) == FIRST

    await rebuild(log)

    assert await checked(log) == FIRST
    comparison = await compare(log, get_policy("nova-2026"), "recorded")
    assert comparison.replay.begun == FIRST


async def test_nothing_goes_without_a_checkpoint_an_archive_or_tables_that_are_as_far(
    log: SqlLog, tmp_path: Path
) -> None:
    with pytest.raises(PruneError, match="the first was signed at"):
        await find_cut(log, Timestamp(5))
    with pytest.raises(BackupError, match="there already"):
        await prune_before(log, AFTER_FIRST, log.database.place.path)
    with log.database.write() as connection:
        connection.execute(sa.text("UPDATE projections SET position = 5"))
    with pytest.raises(PruneError, match=r"position 5 only: .*--rebuild"):
        await prune_before(log, AFTER_FIRST, tmp_path)
    with log.database.write() as connection:
        connection.execute(sa.text("DROP TABLE power_state"))
    with pytest.raises(PruneError, match="power_state is missing"):
        await prune_before(log, AFTER_FIRST, tmp_path)

    assert (await audit(log)).pruned is None


async def test_a_log_that_was_never_signed_is_not_pruned(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with pytest.raises(PruneError, match="none was ever signed"):
            await find_cut(log, LATER)


async def test_a_log_of_which_nothing_that_was_observed_can_go_is_left_as_it_is(tmp_path: Path) -> None:
    story = Tale()
    story.vouch(WEB, VmState.STOPPED)
    seal(story)
    await write(story, tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        with pytest.raises(PruneError, match="nothing of what was observed up to position 1 can go"):
            await prune_before(log, LATER, tmp_path)

        assert await checked(log) is None
    assert not list(tmp_path.glob("until-*"))


async def test_a_stop_that_is_not_in_the_log_yet_keeps_what_calls_for_it(tmp_path: Path) -> None:
    story = Tale()
    story.start()
    story.vouch(WEB, VmState.STOPPED)
    story.sweep({WEB: RUNNING})
    seal(story)
    await write(story, tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", mode="write") as log:
        Store(log.database).drop()
        with pytest.raises(PruneError, match=r"follows from record 6 .*service of a"):
            await prune_before(log, LATER, tmp_path)


async def test_whoever_changes_what_a_pruned_log_begins_with_is_found(log: SqlLog, tmp_path: Path) -> None:
    await prune_before(log, AFTER_FIRST, tmp_path)
    with log.database.write() as connection:
        state = connection.scalar(sa.text("SELECT state FROM pruned"))
        connection.execute(sa.text("UPDATE pruned SET state = :state"), {"state": state.replace(b"bool", b"BOOL")})
        connection.execute(sa.text("UPDATE pruned SET kept = zeroblob(length(kept))"))

    with pytest.raises(SealBrokenError, match="what the log says of it"):
        await replay(log)
    assert not (await audit(log)).is_intact
    with log.database.write() as connection:
        connection.execute(sa.text("UPDATE pruned SET state = x'00'"))
    with pytest.raises(SealBrokenError, match="what stands for the records"):
        await replay(log)


@pytest.mark.parametrize("at", ["_delete", "cut_off", "_make_room"])
def test_killed_at_any_moment_the_log_is_as_it_was_or_as_it_will_be(place: Path, tmp_path: Path, at: str) -> None:
    killed = (
        "import os, signal, sys, trio; from pathlib import Path; from es_power.upkeep import pruning, remaining; "
        "from es_power.log import open_log; from tests.unit.upkeep.sealed import prune_before; remaining.NEAR = 1\n"
        f"pruning.{at} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "async def main():\n"
        "    async with open_log(sys.argv[1], mode='write') as log:\n"
        f"        await prune_before(log, {AFTER_FIRST}, Path(sys.argv[2]))\n"
        "trio.run(main)"
    )
    done = subprocess.run([sys.executable, "-c", killed, place, tmp_path], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")

    async def after() -> None:
        async with open_log(place, mode="write") as log:
            assert await checked(log) == (FIRST if at == "_make_room" else None)
            assert await log.head() == HEAD + (at == "_make_room")
            await prune_before(log, AFTER_SECOND, tmp_path)
            assert await checked(log) == SECOND_SEAL

    trio.run(after)


async def test_a_service_goes_on_over_a_prune_and_starts_on_a_pruned_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remaining, "NEAR", 1)
    place, host = tmp_path / "log.db", FakeHypervisor()
    guest = host.add("web-1", state=1, reason=1)
    async with open_log(place, mode="write") as log:
        async with running(log, host) as service:
            await seen(log, service, guest, PowerState.RUNNING)
            host.suspend(guest)
            await seen(log, service, guest, PowerState.PAUSED)
            host.resume(guest)
            await seen(log, service, guest, PowerState.RUNNING)
            for state in (VmState.STOPPED, VmState.ACTIVE):
                await declare(log, [(guest, state, None)], by="alice", why="", at=LATER)
            await Sealer(log, SIGNER, [], clock=lambda: Timestamp(LATER - 1)).seal()
            with trio.fail_after(10):
                while Store(log.database).checkpoint() < await log.head():
                    await trio.sleep(0.01)
            done = await prune_before(log, LATER, tmp_path)
            host.power_off(guest)
            await seen(log, service, guest, PowerState.SHUTDOWN)
        assert done.kept
        assert await checked(log) is not None
        async with running(log, host) as service:
            await seen(log, service, guest, PowerState.SHUTDOWN)
        assert await checked(log) is not None
