"""The door between libvirt's thread and trio."""

import threading
from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing

from es_power.ingest.bridge import BridgeStatistics, EventBridge, Overflow

Batch = Sequence[int | Overflow[int]]


class Listener:
    def __init__(self) -> None:
        self.batches: list[list[int | Overflow[int]]] = []
        self._grew = trio.Condition()

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(list(batch))
        async with self._grew:
            self._grew.notify_all()

    @property
    def items(self) -> list[int | Overflow[int]]:
        return [item for batch in self.batches for item in batch]

    async def until(self, done: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            async with self._grew:
                while not done():
                    await self._grew.wait()


def _queue_in_a_thread(bridge: EventBridge[int], events: range) -> threading.Thread:
    def run() -> None:
        for event in events:
            bridge.queue_event(event)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


async def test_what_a_thread_queues_is_emitted_once_and_in_order(nursery: trio.Nursery) -> None:
    bridge, listener = EventBridge[int](), Listener()
    bridge.register_event_listener(listener)
    nursery.start_soon(bridge.run)

    thread = _queue_in_a_thread(bridge, range(20_000))
    await listener.until(lambda: len(listener.items) == 20_000)
    await trio.to_thread.run_sync(thread.join)

    assert listener.items == list(range(20_000))
    assert bridge.statistics() == BridgeStatistics(queued=20_000, emitted=20_000, dropped=0, waiting=0)


async def test_a_sleeping_bridge_is_woken_by_each_event(nursery: trio.Nursery) -> None:
    bridge, listener = EventBridge[int](), Listener()
    bridge.register_event_listener(listener)
    nursery.start_soon(bridge.run)

    for event in range(20):
        await trio.testing.wait_all_tasks_blocked()
        await trio.to_thread.run_sync(bridge.queue_event, event)
        await listener.until(lambda event=event: listener.items[-1:] == [event])

    assert listener.batches == [[event] for event in range(20)]


async def test_all_that_is_queued_is_one_batch() -> None:
    bridge, listener = EventBridge[int](), Listener()
    bridge.register_event_listener(listener)
    for event in range(3):
        bridge.queue_event(event)

    assert bridge.statistics() == BridgeStatistics(queued=3, emitted=0, dropped=0, waiting=3)
    await bridge.emit_queued_events()
    await bridge.emit_queued_events()

    assert listener.batches == [[0, 1, 2]]


async def test_every_listener_gets_every_event() -> None:
    bridge, first, second = EventBridge[int](), Listener(), Listener()
    bridge.register_event_listener(first)
    bridge.register_event_listener(second)
    bridge.queue_event(1)

    await bridge.emit_queued_events()

    assert first.batches == second.batches == [[1]]
    assert bridge.statistics().emitted == 1


async def test_an_overflow_is_told_behind_the_last_event_that_came_before_it() -> None:
    bridge, listener = EventBridge[int](capacity=3), Listener()
    bridge.register_event_listener(listener)

    for event in range(5):
        bridge.queue_event(event)
    await bridge.emit_queued_events()
    bridge.queue_event(5)
    await bridge.emit_queued_events()

    assert listener.batches == [[0, 1, 2, Overflow(2, after=2)], [5]]
    assert bridge.statistics() == BridgeStatistics(queued=4, emitted=4, dropped=2, waiting=0)


async def test_a_storm_that_overflows_loses_nothing_unsaid(nursery: trio.Nursery) -> None:
    bridge, listener = EventBridge[int](capacity=50), Listener()
    bridge.register_event_listener(listener)
    nursery.start_soon(bridge.run)

    thread = _queue_in_a_thread(bridge, range(50_000))

    def told() -> int:
        return sum(item.lost if isinstance(item, Overflow) else 1 for item in listener.items)

    await listener.until(lambda: told() == 50_000)
    await trio.to_thread.run_sync(thread.join)

    through = [item for item in listener.items if isinstance(item, int)]
    assert through == sorted(set(through))
    missing = iter(sorted(set(range(50_000)) - set(through)))
    for item in listener.items:
        if isinstance(item, Overflow):
            assert all(next(missing) > item.after for _ in range(item.lost))
    assert bridge.statistics().dropped == 50_000 - len(through)


async def test_batches_do_not_overtake_each_other(nursery: trio.Nursery) -> None:
    bridge = EventBridge[int]()
    heard: list[int | Overflow[int]] = []
    first_may_end = trio.Event()

    async def slow_at_first(batch: Batch) -> None:
        if batch == [1]:
            await first_may_end.wait()
        heard.extend(batch)

    bridge.register_event_listener(slow_at_first)
    bridge.queue_event(1)
    nursery.start_soon(bridge.emit_queued_events)
    await trio.testing.wait_all_tasks_blocked()
    bridge.queue_event(2)
    nursery.start_soon(bridge.emit_queued_events)
    await trio.testing.wait_all_tasks_blocked()
    first_may_end.set()
    await trio.testing.wait_all_tasks_blocked()

    assert heard == [1, 2]


async def test_what_a_listener_raises_ends_the_bridge() -> None:
    bridge = EventBridge[int]()

    async def fail(_: Batch) -> None:
        raise KeyError

    bridge.register_event_listener(fail)
    bridge.queue_event(1)

    with pytest.raises(KeyError):
        await bridge.run()


def test_an_event_after_the_end_of_trio_raises_nothing() -> None:
    async def make() -> EventBridge[int]:
        bridge = EventBridge[int]()
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.run()
        return bridge

    bridge = trio.run(make)
    bridge.queue_event(1)
    bridge.queue_event(2)

    assert bridge.statistics().waiting == 2


async def test_what_a_cancelled_listener_did_not_take_is_emitted_next_time(nursery: trio.Nursery) -> None:
    bridge, listener, waiting = EventBridge[int](capacity=2), Listener(), trio.Event()
    refusing = True

    async def refuse(_: Batch) -> None:
        if refusing:
            waiting.set()
            await trio.sleep_forever()

    bridge.register_event_listener(refuse)
    bridge.register_event_listener(listener)
    running = trio.CancelScope()

    async def run() -> None:
        with running:
            await bridge.run()

    nursery.start_soon(run)
    for event in (1, 2, 3):
        bridge.queue_event(event)
    await waiting.wait()
    bridge.queue_event(4)
    running.cancel()
    await trio.testing.wait_all_tasks_blocked()
    refusing = False
    await bridge.emit_queued_events()

    assert listener.items == [1, 2, Overflow(1, after=2), 4]
    assert bridge.statistics() == BridgeStatistics(queued=3, emitted=3, dropped=1, waiting=0)


async def test_a_loss_that_is_noticed_after_the_queue_was_emptied_is_told() -> None:
    bridge, listener = EventBridge[int](capacity=1), Listener()
    bridge.register_event_listener(listener)
    bridge.queue_event(1)
    await bridge.emit_queued_events()
    bridge._dropped += 1  # libvirt's thread saw the queue full, and came to count only now
    await bridge.emit_queued_events()

    assert listener.items == [1, Overflow(1, after=1)]


async def test_a_loss_that_is_counted_late_is_told_before_the_events_that_followed_it() -> None:
    bridge, listener = EventBridge[int](capacity=2), Listener()
    bridge.register_event_listener(listener)
    bridge.queue_event(1)
    await bridge.emit_queued_events()
    bridge._dropped += 1  # as above, and more events came before anyone looked
    bridge.queue_event(3)
    bridge.queue_event(4)
    bridge.queue_event(5)
    await bridge.emit_queued_events()

    assert listener.batches[1] == [Overflow(1, after=1), 3, 4, Overflow(1, after=4)]
