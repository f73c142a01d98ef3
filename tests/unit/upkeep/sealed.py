"""Stories that are signed on the way, written into real logs with tables; and the same logs pruned."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from es_power.audit.notes import Checkpoint
from es_power.audit.stored import grow
from es_power.domain.custody import CheckpointSealed
from es_power.domain.events import InstanceId, Position, Recorded
from es_power.domain.ports import Append, Write
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.log import SqlLog, open_log
from es_power.projections.anomalies import anomalies
from es_power.projections.as_of import Moment
from es_power.projections.differences import diff
from es_power.projections.explain import commands
from es_power.projections.gaps import gaps
from es_power.projections.narrative import history
from es_power.projections.queries import look, status
from es_power.projections.timeline import timeline
from es_power.projections.uptime import uptime
from es_power.projections.why import why
from es_power.replay import rebuild
from es_power.upkeep.cut import find_cut
from es_power.upkeep.pruning import Done, prune
from tests.unit.audit.rigs import SIGNER
from tests.unit.story import OFF, RUNNING, WEB, Story, one_host

LATER = Timestamp(1_900_000_000_000_000_000)


def seal(story: Story) -> Recorded:
    """Have all so far signed, here in the story; root and signature come when it is written."""
    signed = CheckpointSealed(
        observed_at=story.now,
        size=Position(len(story.records)),
        root=b"",
        origin=SIGNER.verifier.name,
        key=SIGNER.verifier.id,
        signature=b"",
    )
    return story.record(AUDIT, signed)


def signed() -> Story:
    """A VM that comes and goes, signed before it comes for the last time."""
    story = one_host()
    for state in (RUNNING, OFF) * 3:
        story.sweep({WEB: state})
        story.plan()
    seal(story)
    story.sweep({WEB: RUNNING})
    story.plan()
    return story


async def write(story: Story, place: Path | str) -> None:
    """Write a story, sign it where it says so, and make its tables."""
    times = iter([recorded.recorded_at for recorded in story.records])
    async with open_log(place, mode="write", clock=lambda: next(times)) as log:
        for recorded in story.records:
            event = recorded.event
            if isinstance(event, CheckpointSealed):
                edge = grow(log.database)
                note = SIGNER.sign(Checkpoint(origin=event.origin, size=edge.size, root=edge.root()).text)
                event = replace(event, root=edge.root(), signature=note.signatures[0].signature)
            labels = story.texts if recorded.position == 1 else ()
            written = Write(stream=recorded.stream, expected=recorded.version - 1, events=[event])
            await log.append(Append(writes=[written], labels=labels))
        await rebuild(log)


async def prune_before(log: SqlLog, time: Timestamp, folder: Path) -> Done:
    """Prune a log as far as was signed before a time."""
    cut = await find_cut(log, time)
    archive = folder / f"until-{cut.position}" if folder.is_dir() else folder
    return await prune(log, cut, archive, by="root", at=LATER)


async def questions(
    log: SqlLog, then: Moment, head: Moment, *, histories: Iterable[InstanceId], reasons: Iterable[InstanceId]
) -> dict[str, Callable[[], Awaitable[object]]]:
    """What can be asked of the time between two positions, by what was known at the later one."""
    at, now = await look(log, as_of=then, known_at=then), await look(log, until=head.position)
    later = await look(log, as_of=then, known_at=head)
    span = {"since": then.at, "until": head.at, "now": head.at}
    return {
        "status then": lambda: status(at, now=then.at),
        "status now": lambda: status(now, now=head.at),
        "as of": lambda: status(later, now=then.at),
        "timeline": lambda: timeline(now, **span),
        "uptime": lambda: uptime(now, **span),
        "anomalies": lambda: anomalies(now, **span),
        "gaps": lambda: gaps(now),
        "commands": lambda: commands(now),
        "diff": lambda: diff(at, now, now=head.at),
        **{f"history {each}": partial(history, now, str(each), after=then.position) for each in histories},
        **{f"why {each}": partial(why, now, str(each)) for each in reasons},
    }
