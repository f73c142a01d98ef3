"""Whatever was recorded: once its beginning was pruned, an answer about the time since is the same, or is refused."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import trio
from hypothesis import given, settings, strategies as st

from es_power.audit.verifying import verify as audit
from es_power.domain.custody import CheckpointSealed, LabelsForgotten
from es_power.domain.events import Position
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.errors import PruneError, RecordPrunedError
from es_power.log import SqlLog, open_log
from es_power.projections.as_of import moment_of
from es_power.projections.queries import look
from es_power.replay import verify
from es_power.testing.facts import SOMEBODY
from es_power.upkeep import remaining
from tests.property.logs import LOGS, Act
from tests.unit.story import Story
from tests.unit.upkeep.sealed import prune_before, questions, seal, write


def story(parts: list[list[Act]]) -> Story:
    """A log that was sealed after each part."""
    told = Story()
    # What people say in drawn logs has no text.
    told.record(AUDIT, LabelsForgotten(observed_at=told.now, labels=(SOMEBODY.id,), by=SOMEBODY))
    told.start("a")
    told.start("b")
    for part in parts:
        for act in part:
            act(told)
            told.plan()
        seal(told)
    return told


async def answers(log: SqlLog, cut: Position, end: Position) -> dict[str, object]:
    then, head = await moment_of(log, cut), await moment_of(log, end)
    seen = sorted((await look(log, until=end)).fleet.seen_on)
    found: dict[str, object] = {}
    for name, question in (await questions(log, then, head, histories=seen, reasons=seen)).items():
        try:
            found[name] = await question()
        except RecordPrunedError as error:
            found[name] = type(error)
    return found


async def pruned_is_as_whole(told: Story, folder: Path) -> None:
    end = Position(len(told.records))
    [first, *_] = [each for each in told.records if isinstance(each.event, CheckpointSealed)]
    await write(told, folder / "whole")
    shutil.copy(folder / "whole", folder / "log")
    async with open_log(folder / "log", mode="write") as log:
        try:
            done = await prune_before(log, Timestamp(first.event.observed_at + 1), folder / "archive")
        except PruneError as error:
            if "nothing of what was observed" not in str(error):
                raise
            assert (await audit(log)).pruned is None
            return
        verdict = await audit(log)
        assert (list(verdict.damage), verdict.pruned) == ([], first.position - 1)
        assert list((await verify(log))[1]) == []
        found = await answers(log, Position(first.position - 1), end)
    async with open_log(folder / "whole") as log:
        whole = await answers(log, Position(first.position - 1), end)

    assert done.archive.file.exists()
    for name, answer in found.items():
        assert (name, answer) == (name, whole[name]) or answer is RecordPrunedError, name


@settings(max_examples=10, deadline=None)
@given(st.lists(LOGS, min_size=2, max_size=2))
def test_what_is_answered_after_a_prune_is_what_was_answered_before(parts: list[list[Act]]) -> None:
    with TemporaryDirectory() as folder, mock.patch.object(remaining, "NEAR", 1):
        trio.run(pruned_is_as_whole, story(parts), Path(folder))
