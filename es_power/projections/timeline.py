"""What is known of each VM at each time between two times, and where nobody can know.

Rules, for one host's words about a VM, in the order of the log; times are those at the source:
1. A state lasts until the next word about it: an event that announces power, at once and without being confirmed, or an
   observation that did not lose to a newer event (`Entry.stale`).
2. Before the first word, and after libvirt said that it does not know the VM, there is nothing: no state.
3. Blind time is UNKNOWN, never the last state: from when the gap began (`GapOpened.since`, which may be before it was
   noticed) until the first word after it was closed. A service that ended in good order is blind from then on.
4. A state is relied on for two spacings after it was last seen; after that it is UNKNOWN until the next word. In a run
   of equal observations with nothing in between the state held all the time, unless they are fewer than one in two
   spacings; then it is known for two spacings after the first one.
5. Where an observation finds another state and no event announced it, the change happened somewhere between the last
   sighting of the old state and the finding: that time is UNKNOWN (a missed event). However close the two are, nobody
   knows more. A VM that was off and is gone needs no event: it was off until it was found gone.
6. A word overrules what earlier ones say of the time after it, so a clock that was set back leaves one state a time.

Between hosts:
7. The owner rule decides (`domain.instance.owner`). Two hosts on at once are a conflict: UNKNOWN. Not so a migration:
   while one of them will leave by one, or the others only just come in, the word of the one it comes from counts; and
   from when it has left until it shows up elsewhere, within two spacings, it is what it was.
8. A VM that migrated to where nobody observes is UNKNOWN while it is known where it left.

What other programs' logs tell (`domain.logged`: imported, or followed):
9. Only what is UNKNOWN is filled, conflicts left out, and the time before our first word. From its time on a line holds
   until the next word of anybody, if that follows from it: it says the same, or is itself a change. Else UNKNOWN. The
   last one, where nobody has a word after it, holds until it was read: then the log had no more.
10. What another log of ours saw (`import jsonl`) is such a line, and holds as long as that log went on and was not
   blind. What it had read in other programs' logs counts where it counts there: at times when it saw nothing itself.

After `until`, or now, there is nothing; what the log says later of the time before is counted in.
"""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from es_power.domain.events import InstanceId
from es_power.domain.streams import told_host
from es_power.domain.time import Timestamp
from es_power.projections.lanes import lane
from es_power.projections.last_report import last_report
from es_power.projections.logged_words import filled
from es_power.projections.owned import owned
from es_power.projections.queries import View, find, label_of, look, texts
from es_power.projections.spans import MIXED, Point, Segment, Source, bucketed, clipped
from es_power.projections.window import Window, everyone, windows

__all__ = ["MIXED", "Segment", "Source", "Timeline", "known", "timeline", "timelines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One VM between two times: its segments leave out nothing, and none overlaps another."""

    instance: InstanceId
    name: str | None
    segments: tuple[Segment, ...]


def known(window: Window) -> list[Point]:
    """Derive what is known of a VM, by the rules above."""
    lanes = {
        stream: lane(
            words,
            window.of_hosts.get(stream, ()),
            window.facts,
            stream=stream,
            two_spacings=window.two_spacings[stream],
        )
        for stream, words in sorted(window.words.items())
    }
    lanes = {stream: points for stream, points in lanes.items() if points}
    points = owned(lanes, two_spacings=window.two_spacings) if lanes else []
    return filled(points, window.logged)


async def timelines(
    view: View,
    vms: Collection[str] | None = None,
    *,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
    buckets: int | None = None,
    last_report_wins: bool = False,
) -> AsyncGenerator[Timeline]:
    """The timelines of VMs in the order of their names, or of all that existed in that time; raises as `find` does.

    With `buckets`, of each VM at most so many segments, for whoever draws no finer; what differs within one is MIXED.
    With `last_report_wins`, what a sync would have shown that takes whatever came last for true (`last_report`).
    ValueError for a time that ends before it begins, or begins after `now`; RecordPrunedError for one before the log
    begins.
    """
    view, end = await timespan(view, since=since, until=until, now=now)
    instances = await chosen(view, vms)
    names = await names_of(view, instances)
    read_as = last_report if last_report_wins else known
    ordered = sorted(instances, key=lambda instance: (names[instance] or "", instance))
    async with aclosing(windows(view, ordered, since=since, until=end)) as read:
        async for window in read:
            hosts = {stream: told_host(stream) for stream in _streams(window)}
            segments = clipped(read_as(window), window.instance, hosts, since=since, until=end)
            if vms is None and all(segment.state is None for segment in segments):
                continue
            yield Timeline(
                instance=window.instance,
                name=names[window.instance],
                segments=tuple(segments if buckets is None else bucketed(segments, buckets)),
            )


async def timeline(
    view: View,
    vms: Collection[str] | None = None,
    *,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
    buckets: int | None = None,
    last_report_wins: bool = False,
) -> list[Timeline]:
    """All of `timelines` at once."""
    found = timelines(view, vms, since=since, until=until, now=now, buckets=buckets, last_report_wins=last_report_wins)
    async with aclosing(found) as each:
        return [line async for line in each]


def _streams(window: Window) -> Sequence[str]:
    return [*window.words, *dict.fromkeys(word.stream for word in window.logged)]


async def timespan(view: View, *, since: Timestamp, until: Timestamp, now: Timestamp) -> tuple[View, Timestamp]:
    """The view that has all that was known, and the end of the time; raises as `timelines` does."""
    end = min(until, now)
    if since >= end:
        raise ValueError("the time ends before it begins" if since >= until else "the time is still to come")
    await view.log.require_kept_since(since)
    return view if view.then is None else await look(view.log, until=view.then.known), end


async def chosen(view: View, vms: Collection[str] | None) -> list[InstanceId]:
    """The VMs that are meant, or all; raises as `find` does."""
    return await everyone(view) if vms is None else list(dict.fromkeys([await find(view, vm) for vm in vms]))


async def names_of(view: View, instances: Sequence[InstanceId]) -> dict[InstanceId, str | None]:
    """What VMs are called, or were last."""
    labels = {instance: label_of(view.fleet, instance) for instance in instances}
    text_of = await texts(view.log, labels.values())
    return {instance: text_of(label) for instance, label in labels.items()}
