"""Live migrations between two real hosts: whose word counts after each, and that nothing is stopped for them."""

from collections.abc import Sequence

import pytest
import trio

from es_power.domain.cause_table import Cause, Confidence
from es_power.domain.decisions import StopRequested
from es_power.domain.events import Recorded
from es_power.domain.policy import get_policy
from es_power.projections.queries import look
from es_power.projections.readmodels import ReadModels
from es_power.projections.why import why
from tests.migration.conftest import MigratingGuest, TwoHosts

pytestmark = [pytest.mark.libvirt, pytest.mark.qemu, pytest.mark.migration]

A, B = "host-a", "host-b"
FAILURES = ("the destination is out of reach", "it is aborted", "the destination's qemu dies")


async def everybody(hosts: TwoHosts, source: str, target: str, *, fails: str | None = None) -> None:
    """Migrate every guest at the same time, successfully or not, and wait until it is known where each one is."""

    async def move(guest: MigratingGuest) -> None:
        if fails is None:
            await hosts.migrate(guest, source, target)
        else:
            await hosts.fail(guest, source, target, fails)
        await hosts.settled(guest, target if fails is None else source)

    async with trio.open_nursery() as nursery:
        for guest in hosts.guests:
            nursery.start_soon(move, guest)


def requested(records: Sequence[Recorded]) -> list[StopRequested]:
    return [recorded.event for recorded in records if isinstance(recorded.event, StopRequested)]


def derived(records: Sequence[Recorded], policy: str) -> list[StopRequested]:
    """What another policy would have requested."""
    step = ReadModels(whatif=get_policy(policy)).apply(records)
    return [each.event for each in step.derived if isinstance(each.event, StopRequested)]


def owners(records: Sequence[Recorded], guest: MigratingGuest) -> list[str | None]:
    """The hosts whose word counted, one after another."""
    assert guest.instance is not None
    models, found = ReadModels(), []
    for recorded in records:
        models.apply([recorded])
        stream = models.fleet.owner(guest.instance).host
        owner = stream and stream.split("/")[1]
        if guest.instance in models.fleet.seen_on and found[-1:] != [owner]:
            found.append(owner)
    return found


async def nothing_was_stopped(hosts: TwoHosts) -> list[Recorded]:
    records = await hosts.recorded.records()
    assert requested(records) == []
    for policy in ("nova-2013", "nova-2026"):
        assert derived(records, policy) == []
    return records


async def causes(hosts: TwoHosts) -> set[tuple[Cause, Confidence, str | None]]:
    """Why the guests stopped running last, how sure that is, and where."""
    view = await look(hosts.recorded.log)
    found = [await why(view, str(guest.instance)) for guest in hosts.guests]
    return {(each.verdict.cause, each.verdict.confidence, each.host) for each in found if each.verdict}


async def test_guests_that_migrate_there_and_back_belong_to_where_they_run_and_are_not_stopped(hosts: TwoHosts) -> None:
    await everybody(hosts, A, B)
    assert await causes(hosts) == {(Cause.MIGRATED, Confidence.HIGH, A)}
    await everybody(hosts, B, A)
    assert await causes(hosts) == {(Cause.MIGRATED, Confidence.HIGH, B)}
    records = await nothing_was_stopped(hosts)

    assert [owners(records, guest) for guest in hosts.guests] == [[A, None, B, None, A]] * len(hosts.guests)

    # The control: of guests that are off, a stop is requested here for the one that should be active, where it is off.
    [nobodys, active] = sorted((guest for guest in hosts.guests if guest.persistent), key=lambda guest: guest.declared)
    for guest in (nobodys, active):
        await guest.act(A, "destroy")
        await hosts.settled(guest, A, on=False)
    records = await hosts.recorded.until(requested)

    assert [(command.instance, command.host) for command in requested(records)] == [(active.instance, A)]


async def test_guests_whose_migration_fails_belong_to_where_they_were_and_are_not_stopped(hosts: TwoHosts) -> None:
    for failure in FAILURES:
        await everybody(hosts, A, B, fails=failure)
    assert {cause for cause, *_ in await causes(hosts)} == {Cause.UNKNOWN}, "nothing ended where they run"
    await everybody(hosts, A, B)
    for failure in FAILURES:
        await everybody(hosts, B, A, fails=failure)
    assert await causes(hosts) == {(Cause.MIGRATED, Confidence.HIGH, A)}, "and not the arrivals that failed since"
    records = await nothing_was_stopped(hosts)

    # While both hosts show it on, nobody's word counts.
    expected = [A, *[None, A] * len(FAILURES), None, B, *[None, B] * len(FAILURES)]
    assert [owners(records, guest) for guest in hosts.guests] == [expected] * len(hosts.guests)
