"""What if: which stops of two sides are the same, which differ, and what the facts say around those."""

from pathlib import Path

import pytest

from es_power.domain.decisions import (
    Approved,
    Confirmed,
    Expired,
    Failed,
    Refused,
    Resolved,
    Retried,
    Route,
    Sent,
    StopVerb,
    Withdrawn,
)
from es_power.domain.events import Position
from es_power.domain.policy import get_policy
from es_power.domain.states import VmState
from es_power.domain.streams import actor
from es_power.domain.time import SECOND, Timestamp
from es_power.log import open_log
from es_power.replay import Comparison, Side, compare
from es_power.testing.facts import SOMEBODY
from tests.unit.story import DB, OFF, OLD, PAUSED, RUNNING, WEB, Story, one_host
from tests.unit.tale import HOST, Tale

OLD_RULES, NEW_RULES, FOLLOW = get_policy("nova-2013"), get_policy("nova-2026"), get_policy("follow")
MIGRATION, MIGRATED = (3, 2), (1, 2)


@pytest.fixture
def tale() -> Tale:
    """web-1 and db-1 run on a, as they should."""
    tale = Tale()
    tale.start()
    tale.name(WEB, "web-1")
    tale.sweep({WEB: RUNNING, DB: RUNNING})
    return tale


async def compared(tale: Story, left: Side, right: Side, place: Path, *, until: int | None = None) -> Comparison:
    await tale.write(place / "log.db")
    async with open_log(place / "log.db") as log:
        return await compare(log, left, right, until=None if until is None else Position(until))


def counted(comparison: Comparison) -> tuple[int, int, int, int]:
    """In both, otherwise, only left, only right."""
    return comparison.both, comparison.otherwise, comparison.only_left, comparison.only_right


# ------------------------------------------------------------------------------------------- which are the same


async def test_two_policies_that_call_for_the_same_do_not_differ(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    found = await compared(tale, OLD_RULES, NEW_RULES, tmp_path)

    assert counted(found) == (1, 0, 0, 0)
    assert found.differing == []


async def test_a_stop_by_force_is_the_same_stop_otherwise(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.STOPPED)
    seen = tale.observe(WEB, *RUNNING)
    found = await compared(tale, OLD_RULES, NEW_RULES, tmp_path)
    [only] = found.differing

    assert counted(found) == (1, 1, 0, 0)
    assert [stop.verb for stop in (*only.left, *only.right)] == [StopVerb.STOP, StopVerb.FORCE_STOP]
    assert (only.only, only.first.position) == (None, seen.position)


async def test_what_one_policy_alone_calls_for_is_only_in_that_one(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.PAUSED)
    tale.observe(WEB, *OFF)
    found = await compared(tale, OLD_RULES, NEW_RULES, tmp_path)

    assert counted(found) == (0, 0, 0, 1)
    assert [(each.only, each.first.instance) for each in found.differing] == [("nova-2026", WEB)]


async def test_each_side_has_its_own_count(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    for state in (OFF, RUNNING, OFF):
        tale.observe(WEB, *state)
    tale.vouch(DB, VmState.PAUSED)
    tale.observe(DB, *OFF)
    found = await compared(tale, FOLLOW, NEW_RULES, tmp_path)

    assert counted(found) == (0, 0, 0, 3)
    assert [each.first.instance for each in found.differing] == [WEB, WEB, DB]


async def test_disagreements_that_follow_each_other_are_two(tale: Tale, tmp_path: Path) -> None:
    """The process manager began after the first was over, so only the second was recorded."""
    late = Tale()
    late.start(planned=False)
    late.sweep({WEB: RUNNING})
    late.vouch(WEB, VmState.ACTIVE)
    late.observe(WEB, *OFF)
    late.observe(WEB, *RUNNING)
    late.start()
    late.observe(WEB, *OFF)
    late.plan()
    found = await compared(late, "recorded", OLD_RULES, tmp_path)

    assert counted(found) == (1, 0, 0, 1)
    assert [each.first.position for each in found.differing] == [6]


async def test_what_was_recorded_is_what_its_policy_calls_for(tmp_path: Path) -> None:
    found = await compared(one_host(), "recorded", OLD_RULES, tmp_path)

    assert counted(found) == (1, 0, 0, 0)


async def test_a_recorded_stop_is_compared_with_another_policy(tmp_path: Path) -> None:
    found = await compared(one_host(), "recorded", NEW_RULES, tmp_path)
    [only] = found.differing

    assert counted(found) == (1, 1, 0, 0)
    assert (only.left[0].side, only.left[0].command.state, only.right[0].side) == (
        "recorded",
        "Withdrawn",
        "nova-2026",
    )


async def test_a_stop_that_was_tried_twice_is_one_disagreement(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    first = tale.request()
    tale.step(first, Approved, actor="actor/a/qemu", epoch=1)
    tale.step(first, Sent, actor="actor/a/qemu", epoch=1, route=Route.RECORD, verb=StopVerb.STOP)
    tale.step(first, Failed, reason="it was not")
    tale.step(first, Retried, by=SOMEBODY, why=SOMEBODY)
    tale.observe(WEB, *OFF)
    second = tale.request()
    found = await compared(tale, "recorded", NEW_RULES, tmp_path)

    assert first.command != second.command
    assert counted(found) == (1, 0, 0, 0)
    assert [len(found.disagreements[0].left), len(found.disagreements[0].right)] == [2, 1]


async def test_up_to_a_position_nothing_later_counts(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.PAUSED)
    seen = tale.observe(WEB, *OFF)

    assert counted(await compared(tale, OLD_RULES, NEW_RULES, tmp_path, until=seen.position - 1)) == (0, 0, 0, 0)


async def test_a_side_cannot_be_compared_with_itself(tale: Tale, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot differ from itself"):
        await compared(tale, OLD_RULES, OLD_RULES, tmp_path)


# ---------------------------------------------------------------------------------------------- against Nova's own


REJECTED = {"actor": "actor/a/qemu", "reason": "no", "by": SOMEBODY, "why": SOMEBODY}
LOOKED = {"actor": "actor/a/qemu", "reason": "a task is set"}
SENT = {"actor": "actor/a/qemu", "epoch": 1, "route": Route.NOVA, "verb": StopVerb.STOP}


@pytest.mark.parametrize(
    ("steps", "lasts"),
    [
        ([], True),
        ([(Expired, {"reason": "late"})], True),
        ([(Withdrawn, REJECTED)], True),
        ([(Withdrawn, LOOKED)], False),
        ([(Withdrawn, REJECTED), (Resolved, {"reason": "it runs"})], False),
        ([(Approved, {"actor": "actor/a/qemu", "epoch": 1}), (Sent, SENT), (Confirmed, {})], False),
        ([(Approved, {"actor": "actor/a/qemu", "epoch": 1}), (Sent, SENT), (Refused, {"reason": "409"})], True),
    ],
)
async def test_a_recorded_disagreement_lasts_until_its_command_stands_no_more(
    tale: Tale, tmp_path: Path, steps: list[tuple[type, dict[str, object]]], lasts: bool
) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    off = tale.observe(WEB, *OFF)
    request = tale.request()
    for kind, fields in steps:
        because = {"because": off.position} if kind in {Withdrawn, Resolved, Confirmed} else {}
        tale.step(request, kind, **fields, **because)
    tale.wait(60)
    tale.nova_stopped(WEB, tale.now)

    assert counted(await compared(tale, "recorded", "nova", tmp_path)) == ((1, 0, 0, 0) if lasts else (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("after", "same"),
    [(-6, False), (-5, True), (0, True), (20, True), (25, True), (26, False)],
)
async def test_a_stop_of_nova_s_is_the_same_where_it_began_while_the_disagreement_lasted(
    tale: Tale, tmp_path: Path, after: int, same: bool
) -> None:
    tale.wait(60)
    tale.vouch(WEB, VmState.ACTIVE)
    off = tale.observe(WEB, *OFF)
    tale.wait(19)
    assert tale.observe(WEB, *RUNNING).event.observed_at - off.event.observed_at == 20 * SECOND
    tale.wait(60)
    tale.nova_stopped(WEB, Timestamp(off.event.observed_at + after * SECOND))

    assert counted(await compared(tale, OLD_RULES, "nova", tmp_path)) == ((1, 0, 0, 0) if same else (0, 0, 1, 1))


async def test_a_stop_that_somebody_ordered_is_not_nova_s(tale: Tale, tmp_path: Path) -> None:
    tale.nova_stopped(WEB, tale.now, itself=False)
    found = await compared(tale, OLD_RULES, "nova", tmp_path)

    assert (counted(found), len(found.replay.nova_stops)) == ((0, 0, 0, 0), 1)


async def test_a_stop_from_before_the_log_is_left_out_and_counted(tale: Tale, tmp_path: Path) -> None:
    tale.nova_stopped(WEB, Timestamp(tale.records[0].recorded_at - 3600 * SECOND))
    tale.nova_stopped(OLD, tale.now)
    found = await compared(tale, OLD_RULES, "nova", tmp_path)

    assert (counted(found), found.unseen) == ((0, 0, 0, 0), 2)


async def test_nova_s_stop_by_force_is_no_other_command_since_its_history_does_not_tell(
    tale: Tale, tmp_path: Path
) -> None:
    tale.vouch(WEB, VmState.STOPPED)
    tale.observe(WEB, *RUNNING)
    tale.nova_stopped(WEB, tale.now)

    assert counted(await compared(tale, NEW_RULES, "nova", tmp_path)) == (1, 0, 0, 0)


async def test_a_clock_that_was_set_back_ends_no_disagreement_before_it_began(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    off = tale.observe(WEB, *OFF)
    tale.passed -= 1000 * SECOND
    tale.observe(WEB, *RUNNING)
    tale.nova_stopped(WEB, off.event.observed_at)

    assert counted(await compared(tale, OLD_RULES, "nova", tmp_path)) == (1, 0, 0, 0)


# ------------------------------------------------------------------------------------------- what the facts around say


async def around(tale: Tale, place: Path, left: Side = OLD_RULES, right: Side = FOLLOW):
    """What the facts say around the only stop."""
    [only] = (await compared(tale, left, right, place)).differing
    return only.around


async def test_a_vm_that_ran_again_soon_after_is_told_with_the_fact_that_shows_it(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    tale.wait(7)
    started = tale.announce(WEB, 2, 0)
    tale.observe(WEB, *RUNNING)
    told = await around(tale, tmp_path)

    assert (told.host, told.power_state) == ("a", "SHUTDOWN")
    assert (told.running_again.position, told.running_again.after) == (started.position, 8 * SECOND)
    assert (told.migrating, told.task) == (None, None)


async def test_a_vm_that_ran_is_not_running_again(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.STOPPED)
    tale.observe(WEB, *RUNNING)
    tale.sweep({WEB: RUNNING, DB: RUNNING})
    told = await around(tale, tmp_path)

    assert (told.power_state, told.running_again) == ("RUNNING", None)


async def test_a_vm_that_ran_again_only_before_did_not_run_again(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)

    assert (await around(tale, tmp_path)).running_again is None


async def test_a_stop_of_nova_s_is_looked_at_by_its_time(tale: Tale, tmp_path: Path) -> None:
    tale.observe(WEB, *OFF)
    tale.wait(9)
    tale.observe(WEB, *RUNNING)
    at = tale.now
    tale.wait(3)
    tale.observe(WEB, *OFF)
    tale.wait(60)
    tale.observe(WEB, *RUNNING)
    tale.nova_stopped(WEB, at)
    told = await around(tale, tmp_path, OLD_RULES, "nova")

    assert (told.power_state, told.running_again) == ("RUNNING", None)


async def test_a_migration_near_by_is_told(tale: Tale, tmp_path: Path) -> None:
    tale.start("b")
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    arrives = tale.announce(WEB, 2, 1, "b")
    told = await around(tale, tmp_path)

    assert (told.migrating.position, told.migrating.what, told.migrating.after) == (
        arrives.position,
        "STARTED MIGRATED",
        arrives.event.observed_at - tale.records[arrives.position - 2].event.observed_at,
    )


async def test_a_migration_that_goes_on_for_long_is_told(tale: Tale, tmp_path: Path) -> None:
    tale.start("b")
    waits = tale.observe(WEB, *MIGRATION, host="b")
    tale.wait(600)
    tale.nova_stopped(WEB, tale.now)
    told = await around(tale, tmp_path, OLD_RULES, "nova")

    assert (told.migrating.position, told.migrating.what) == (waits.position, "PAUSED MIGRATION")


async def test_a_migration_that_is_long_over_is_not_told(tale: Tale, tmp_path: Path) -> None:
    tale.start("b")
    tale.announce(WEB, 4, 1, "b")
    tale.observe(WEB, *MIGRATED, host="b")
    tale.announce(WEB, 5, 3)
    tale.wait(600)
    tale.nova_stopped(WEB, tale.now)
    told = await around(tale, tmp_path, OLD_RULES, "nova")

    assert (told.host, told.power_state, told.migrating) == ("b", "RUNNING", None)


async def test_a_task_that_was_pending_is_told_since_it_was_known(tale: Tale, tmp_path: Path) -> None:
    tale.nova_says(WEB, VmState.ACTIVE)
    first = tale.nova_says(WEB, VmState.ACTIVE, "reboot_started_hard")
    tale.wait(100)
    tale.nova_says(WEB, VmState.ACTIVE, "reboot_started_hard")
    tale.nova_stopped(WEB, tale.now)
    told = (await around(tale, tmp_path, OLD_RULES, "nova")).task

    assert (told.task_state, told.position, told.pending) == ("reboot_started_hard", first.position, 102 * SECOND)


async def test_a_task_that_is_read_just_after_is_told(tale: Tale, tmp_path: Path) -> None:
    """Nova's record is read now and then: the user had already begun to stop the instance."""
    tale.nova_says(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    tale.wait(30)
    read = tale.nova_says(WEB, VmState.ACTIVE, "powering-off")
    told = (await around(tale, tmp_path)).task

    assert (told.task_state, told.position, told.pending) == ("powering-off", read.position, 0)


@pytest.mark.parametrize(("task", "later"), [("powering-off", 1), ("rebuilding", 61), (None, 1)])
async def test_what_nova_s_stop_sets_itself_or_what_comes_late_is_no_task_of_that_moment(
    tale: Tale, tmp_path: Path, task: str | None, later: int
) -> None:
    tale.nova_says(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    at = tale.now
    tale.wait(later)
    tale.nova_says(WEB, VmState.ACTIVE, task)
    tale.nova_stopped(WEB, at)
    [only] = (await compared(tale, FOLLOW, "nova", tmp_path)).differing

    assert only.around.task is None


async def test_what_follows_an_act_of_ours_is_no_task_that_it_ran_into(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    request = tale.request()
    tale.step(request, Approved, actor=actor(HOST), epoch=1)
    tale.step(request, Sent, **SENT)
    tale.nova_says(WEB, VmState.ACTIVE, "powering-off")

    assert (await around(tale, tmp_path, "recorded", FOLLOW)).task is None


async def test_a_task_of_a_live_migration_is_a_migration(tale: Tale, tmp_path: Path) -> None:
    said = tale.nova_says(WEB, VmState.ACTIVE, "migrating")
    tale.wait(300)
    tale.nova_stopped(WEB, tale.now)
    told = await around(tale, tmp_path, OLD_RULES, "nova")

    assert (told.migrating.what, told.migrating.position) == ("task migrating", said.position)


async def test_a_paused_vm_that_goes_on_runs_again(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.STOPPED)
    tale.observe(WEB, *PAUSED)
    goes_on = tale.observe(WEB, *RUNNING)

    assert (await around(tale, tmp_path)).running_again.position == goes_on.position


async def test_an_observation_that_lost_to_a_newer_event_shows_nothing(tale: Tale, tmp_path: Path) -> None:
    tale.vouch(WEB, VmState.ACTIVE)
    tale.observe(WEB, *OFF)
    tale.announce(WEB, 5, 0)
    tale.observe(DB, *RUNNING)
    tale.observe(WEB, *RUNNING, number=0)
    again = tale.announce(WEB, 2, 0)

    assert (await around(tale, tmp_path)).running_again.position == again.position
