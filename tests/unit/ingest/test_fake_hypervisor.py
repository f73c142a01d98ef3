"""The fake hypervisor keeps what the real one promises."""

import pytest
import trio
import trio.testing

from es_power.domain.events import GapReason, InstanceId, LifecycleEvent, RebootReported
from es_power.domain.time import Timestamp
from es_power.errors import HypervisorUnavailableError
from es_power.ingest.hypervisor import Announcement, Info
from es_power.testing.hypervisor import FakeConnection, FakeHypervisor


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor(clock=lambda: Timestamp(5))


async def _subscribe(connection: FakeConnection) -> list[tuple[int, int, int]]:
    told: list[tuple[int, int, int]] = []

    def announce(announcement: Announcement) -> None:
        event = announcement.event
        assert isinstance(event, LifecycleEvent)
        told.append((event.number, event.event, event.detail))

    await connection.subscribe(connection=3, announce=announce)
    return told


async def test_it_answers_what_was_set(hypervisor: FakeHypervisor) -> None:
    web = hypervisor.add("web", state=1, reason=1)
    connection = await hypervisor.open()

    assert await connection.get_info(web) == Info(web, "web", 1, 1)
    assert await connection.list_states() == [Info(web, "web", 1, 1)]
    hypervisor.undefine(web)
    assert await connection.get_info(web) is None
    assert (hypervisor.opened, hypervisor.asked, hypervisor.listed) == (1, 2, 1)


async def test_what_a_vm_does_is_announced_as_a_real_one_does_it(hypervisor: FakeHypervisor) -> None:
    web = hypervisor.add("web")
    connection = await hypervisor.open()
    told = await _subscribe(connection)

    for do in (
        hypervisor.start,
        hypervisor.suspend,
        hypervisor.resume,
        hypervisor.power_off,
        hypervisor.destroy,
        hypervisor.crash,
    ):
        do(web)
    hypervisor.rename(web, "shop")

    assert [(event, detail) for _, event, detail in told] == [
        *[(4, 0), (2, 0), (3, 0), (4, 0), (6, 1), (5, 0), (6, 2), (5, 1), (5, 5)],
        *[(1, 1), (0, 2)],
    ]
    assert [number for number, _, _ in told] == list(range(1, 12))
    assert connection.highest_number == 11
    assert hypervisor.vms[web] == Info(web, "shop", 5, 3)


async def test_lost_events_leave_a_hole_in_the_numbers(hypervisor: FakeHypervisor) -> None:
    web = hypervisor.add("web")
    told = await _subscribe(await hypervisor.open())

    hypervisor.announce(web, 3, 0)
    hypervisor.lose_events(4)
    hypervisor.announce(web, 4, 0)

    assert told == [(1, 3, 0), (6, 4, 0)]


async def test_any_event_can_be_delivered(hypervisor: FakeHypervisor) -> None:
    web = hypervisor.add("web")
    connection = await hypervisor.open()
    announced: list[Announcement] = []
    connection.deliver(lambda *_: pytest.fail("nobody subscribed yet"))
    await connection.subscribe(connection=3, announce=announced.append)

    connection.deliver(
        lambda connection, number: RebootReported(
            observed_at=Timestamp(1), instance=web, connection=connection, number=number
        )
    )

    assert announced == [
        Announcement(RebootReported(observed_at=Timestamp(1), instance=web, connection=3, number=1), "web")
    ]


async def test_a_lost_connection_stays_lost(hypervisor: FakeHypervisor) -> None:
    web = hypervisor.add("web")
    old = await hypervisor.open()
    told = await _subscribe(old)

    hypervisor.disconnect(GapReason.KEEPALIVE)
    assert await old.wait_closed() is GapReason.KEEPALIVE
    with pytest.raises(HypervisorUnavailableError):
        await hypervisor.open()
    hypervisor.come_back()
    new = await hypervisor.open()
    hypervisor.start(web)

    assert told == []
    with pytest.raises(HypervisorUnavailableError):
        await old.get_info(web)
    assert await new.get_info(web) == Info(web, "web", 1, 1)
    await new.aclose()
    await new.aclose()
    with pytest.raises(HypervisorUnavailableError):
        await new.list_states()


async def test_a_call_that_hangs_ends_by_its_deadline(
    hypervisor: FakeHypervisor, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    connection = await hypervisor.open()
    hypervisor.hang()
    before = trio.current_time()

    with pytest.raises(HypervisorUnavailableError, match="within 30 s"):
        await connection.list_states()
    assert trio.current_time() - before == 30

    nursery.start_soon(connection.get_info, InstanceId(hypervisor.add("web")))
    await trio.testing.wait_all_tasks_blocked()
    hypervisor.wake()
    await trio.testing.wait_all_tasks_blocked()

    assert hypervisor.asked == 1
