"""Bugs that made other systems stop running machines, each under its name: what our facts lead to instead.

These are about what is derived from a log. That a command which is derived and withdrawn soon after was not sent in
between lies with the actor: it waits for the settle time and looks once more.
"""

import pytest

from es_power.domain.decisions import StopRequested
from es_power.domain.events import GapReason, Position, RecordObserved
from es_power.domain.instance import Owner
from es_power.domain.states import PowerState, VmState
from es_power.domain.streams import observer, records
from es_power.projections.readmodels import ReadModels
from es_power.testing.facts import Facts, vm

WEB, DB, MAIL = vm(1), vm(2), vm(3)
OFF, ON, ON_MIGRATED, OFF_MIGRATED = (5, 1), (1, 1), (1, 2), (5, 4)
STARTED, SUSPENDED, RESUMED, STOPPED, SHUTDOWN = 2, 3, 4, 5, 6
A, B = observer("a", "qemu"), observer("b", "qemu")


@pytest.fixture(params=["nova-2013", "nova-2026"])
def facts(request: pytest.FixtureRequest) -> Facts:
    """Two hosts that are observed under one of the policies; host a runs the guest."""
    facts = Facts()
    for host in ("a", "b"):
        facts.start(host, policy=request.param)
    facts.sweep({WEB: ON})
    facts.sweep({}, "b")
    return facts


def nova_says(facts: Facts, host: str, *, task_state: str | None = None) -> None:
    """Nova, asked just now, has the guest as ACTIVE on a host."""
    facts.record(
        records(A),
        RecordObserved(
            observed_at=facts.now,
            asked_at=facts.now,
            instance=WEB,
            vm_state=VmState.ACTIVE,
            task_state=task_state,
            power_state=PowerState.RUNNING,
            host=host,
            after=Position(len(facts.records)),
        ),
    )


def folded(facts: Facts) -> tuple[ReadModels, list[str]]:
    """Everything that is known, and what was derived on the way: the rule of each request, and each end of one."""
    models = ReadModels()
    derived = models.apply(facts.records).derived
    assert models.fleet.quarantined == {}
    return models, [
        each.event.rule if isinstance(each.event, StopRequested) else type(each.event).__name__ for each in derived
    ]


def test_cloudstack_14206_a_report_collected_before_a_start_and_applied_after_it(facts: Facts) -> None:
    """A power report was collected at 14 s, the VM started at 17 s, the report was applied at 18 s.

    CloudStack then had a running VM down as stopped, and gave its address away. Here an answer carries the highest
    event number that its host had handed out when it was asked, and loses to every event after that number.
    """
    facts.announce(WEB, STOPPED, 0)
    facts.observe(WEB, *OFF)
    collected = facts.number()
    facts.announce(WEB, STARTED, 0)
    facts.declare(WEB, VmState.ACTIVE)
    facts.observe(WEB, *OFF, number=collected)
    facts.sweep({WEB: OFF}, number=collected)
    models, derived = folded(facts)

    assert derived == []
    assert models.fleet.get(WEB, A).power_state is PowerState.RUNNING


def test_cloudstack_3741_the_old_host_s_report_after_a_migration(facts: Facts) -> None:
    """A VM migrated out of band; its old host's report missed it, and CloudStack marked the running VM as stopped.

    The customer's log had the new host's report a few milliseconds before the old one's. Here each host's word is kept
    by itself, and the one that counts is that of the host where the VM is on.
    """
    facts.declare(WEB, VmState.ACTIVE)
    facts.announce(WEB, STARTED, 1, "b")
    facts.announce(WEB, SUSPENDED, 1, "a")
    facts.announce(WEB, RESUMED, 1, "b")
    facts.sweep({WEB: ON_MIGRATED}, "b")
    facts.announce(WEB, STOPPED, 3, "a")
    facts.sweep({}, "a")
    facts.observe(WEB, None, host="a")
    facts.observe(WEB, *OFF_MIGRATED, host="a")
    facts.observe(WEB, *OFF, host="a")
    models, derived = folded(facts)

    assert derived == []
    assert models.fleet.owner(WEB) == Owner(host=B)
    assert models.fleet.get(WEB, B).power_state is PowerState.RUNNING


def test_nova_1443186_the_late_stopped_of_a_reboot(facts: Facts) -> None:
    """A reboot was announced as STOPPED and STARTED; Nova handled the first when the guest ran again, and stopped it.

    Nova has waited for 15 s in memory since. Here an event alone derives nothing, however late it comes; an answer does
    only if it says off too; and what was derived in the middle of the reboot is withdrawn by its STARTED.
    """
    facts.declare(WEB, VmState.ACTIVE)
    facts.announce(WEB, STARTED, 0)
    facts.announce(WEB, STOPPED, 0)
    facts.observe(WEB, *ON)
    assert folded(facts)[1] == []

    facts.announce(WEB, STOPPED, 0)
    facts.observe(WEB, *OFF)
    asked = facts.number()
    facts.announce(WEB, STARTED, 0)
    facts.observe(WEB, *OFF, number=asked)
    facts.observe(WEB, *ON)
    models, derived = folded(facts)

    assert derived == ["e", "Withdrawn"]
    assert models.derivation.open == {}
    assert models.fleet.get(WEB, A).power_state is PowerState.RUNNING


def test_nova_1444630_a_host_reboot(facts: Facts) -> None:
    """A host that shut down stopped its guests; Nova took that as meant, and stopped them again when they came back.

    Here nothing that is observed changes what a guest is meant to be. The commands that the shutdown calls for are
    withdrawn as the guests come back; that none is sent before, though it takes minutes, is the breaker's and the
    actor's, which wait for a host that has just booted.
    """
    guests = (WEB, DB, MAIL)
    facts.sweep(dict.fromkeys(guests, ON))
    for guest in guests:
        facts.declare(guest, VmState.ACTIVE)
    for guest in guests:
        facts.announce(guest, SHUTDOWN, 1)
        facts.announce(guest, STOPPED, 0)
        facts.observe(guest, *OFF)
    facts.gap(reason=GapReason.RESTART)
    facts.seen_again()
    facts.sweep(dict.fromkeys(guests, OFF))
    _, requested = folded(facts)
    for guest in guests:
        facts.announce(guest, RESUMED, 0)
        facts.announce(guest, STARTED, 0)
        facts.observe(guest, *ON)
    facts.sweep(dict.fromkeys(guests, ON))
    models, derived = folded(facts)

    assert requested == ["e"] * 3
    assert derived == ["e"] * 3 + ["Withdrawn"] * 3
    assert models.derivation.open == {}
    assert [models.fleet.vouched[guest].vm_state for guest in guests] == [VmState.ACTIVE] * 3


def test_nova_944145_a_race_with_a_live_migration(facts: Facts) -> None:
    """The power sync of the old host read its record before the migration and its driver after it: stop.

    Nova's record still names the old host when the guest has left it, with a task at first and then without. Here a
    task keeps everybody still; and a host that the guest migrated away from does not own it, whatever the record says.
    """
    nova_says(facts, "a", task_state="migrating")
    facts.announce(WEB, SUSPENDED, 1, "a")
    facts.observe(WEB, *OFF, host="a")
    nova_says(facts, "a", task_state="migrating")
    facts.announce(WEB, STOPPED, 3, "a")
    facts.observe(WEB, *OFF_MIGRATED, host="a")
    nova_says(facts, "a")
    facts.sweep({}, "a")
    facts.observe(WEB, None, host="a")
    nova_says(facts, "a")
    models, derived = folded(facts)
    assert (derived, models.derivation.asks) == ([], {})

    facts.sweep({WEB: ON_MIGRATED}, "b")
    facts.announce(WEB, RESUMED, 1, "b")
    facts.observe(WEB, *ON_MIGRATED, host="b")
    nova_says(facts, "a")
    nova_says(facts, "b")
    models, derived = folded(facts)

    assert derived == []
    assert models.fleet.owner(WEB) == Owner(host=B)


def test_nova_1414065_a_migration_that_succeeded_and_then_raised(facts: Facts) -> None:
    """libvirt had moved the guest when Nova's own last steps failed: the record went on to name the old host.

    Nova then showed it as SHUTOFF although it ran, and a start on the old host would have run it twice. Here the table
    shows it on where it is on. Nobody stops it there either: that host is not the host of record. Once it is started
    a second time, nobody's word counts, and the conflict is there to be seen.
    """
    facts.announce(WEB, STARTED, 1, "b")
    facts.announce(WEB, RESUMED, 1, "b")
    facts.announce(WEB, STOPPED, 3, "a")
    for _ in range(2):
        facts.observe(WEB, *OFF_MIGRATED, host="a")
        facts.observe(WEB, *ON_MIGRATED, host="b")
        nova_says(facts, "a")
    models, derived = folded(facts)
    assert derived == []
    assert models.fleet.owner(WEB) == Owner(host=B)
    assert models.fleet.get(WEB, B).power_state is PowerState.RUNNING

    facts.announce(WEB, STARTED, 0, "a")
    for host in ("a", "b"):
        facts.observe(WEB, *ON, host=host)
        nova_says(facts, "a")
    models, derived = folded(facts)

    assert derived == []
    assert models.fleet.owner(WEB) == Owner(host=None, conflict=(A, B))


def test_nova_1815791_a_cached_state(facts: Facts) -> None:
    """Nova's power sync compared its record with a state that its driver had cached before the machine was started.

    The record was new and the state was old, so a machine that had just become ACTIVE was stopped. Here each answer
    says up to which event its host had told when it was asked, and Nova's word justifies a command only where Nova was
    asked after the answer stood in the log.
    """
    facts.announce(WEB, STOPPED, 0)
    nova_says(facts, "a")
    facts.sweep({WEB: OFF})
    models, derived = folded(facts)
    assert (derived, models.derivation.asks) == ([], {WEB: A})

    cached = facts.number()
    facts.announce(WEB, STARTED, 0)
    facts.observe(WEB, *OFF, number=cached)
    nova_says(facts, "a")
    facts.sweep({WEB: OFF}, number=cached)
    nova_says(facts, "a")
    facts.observe(WEB, *ON)
    nova_says(facts, "a")
    models, derived = folded(facts)

    assert (derived, models.derivation.asks) == ([], {})
    assert models.fleet.get(WEB, A).power_state is PowerState.RUNNING


def test_what_is_new_and_off_is_stopped(facts: Facts) -> None:
    """The control: the same guest, off on its own host by Nova's newest record, is one that a stop is requested for."""
    nova_says(facts, "a")
    facts.announce(WEB, STOPPED, 0)
    facts.observe(WEB, *OFF)
    nova_says(facts, "a")

    assert folded(facts)[1] == ["e"]


def test_a_record_that_has_just_changed_is_held_against_a_new_look_only(facts: Facts) -> None:
    """As after a user's start, where Nova says ACTIVE before libvirt's event is in the log."""
    facts.announce(WEB, STOPPED, 0)
    facts.observe(WEB, *OFF)
    nova_says(facts, "a")
    assert folded(facts)[1] == []

    facts.observe(WEB, *OFF)
    models, derived = folded(facts)
    assert (derived, models.derivation.asks) == ([], {WEB: A})

    nova_says(facts, "a")
    assert folded(facts)[1] == ["e"]
