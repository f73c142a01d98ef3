"""The contract of an EventLog as tests: subclass it, say how a log is opened, and run it with pytest and pytest-trio.

    class TestMyLog(LogContract):
        def open_log(self):
            return my_log()  # an async context manager that gives an empty log

Every case opens a log of its own.
"""

# ruff: noqa: PLR2004 - the numbers of a test are its meaning

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing

from es_power.domain.events import (
    Event,
    GapOpened,
    GapReason,
    HostSwept,
    InstanceId,
    InstanceNamed,
    LifecycleEvent,
    Position,
    ServiceStarted,
    ServiceStopped,
)
from es_power.domain.ports import Append, EventLog, LabelText, Tracking, Write
from es_power.domain.time import Timestamp
from es_power.errors import ConcurrentAppendError, LogRewoundError
from es_power.log.labels import make_label

_AT = Timestamp(1_790_000_000_123_456_789)


def lifecycle(number: int) -> LifecycleEvent:
    """A lifecycle event like any other, told apart by its number."""
    return LifecycleEvent(
        observed_at=_AT, instance=InstanceId(UUID(int=7)), connection=1, number=number, event=2, detail=0
    )


def append_of(
    stream: str, expected: int, *events: Event, labels: Sequence[LabelText] = (), tracking: Tracking | None = None
) -> Append:
    """An append to one stream."""
    return Append(writes=[Write(stream=stream, expected=expected, events=events)], labels=labels, tracking=tracking)


class LogContract(ABC):
    """What every log promises to those who use it."""

    @abstractmethod
    def open_log(self) -> AbstractAsyncContextManager[EventLog]:
        """Open a new, empty log."""

    async def test_an_empty_log_has_head_zero_and_nothing_to_read(self) -> None:
        """Absence is data, never an error."""
        async with self.open_log() as log:
            assert await log.head() == 0
            assert list(await log.read(after=Position(0))) == []
            assert list(await log.read_stream("observer/a/test")) == []
            assert await log.version("observer/a/test") == 0
            assert await log.find(uuid4()) is None
            assert await log.tracked("anyone") is None
            assert await log.labels([1]) == {}

    async def test_what_was_appended_is_read_back_as_it_was(self) -> None:
        """Every kind of field survives: texts, bytes, ids, enums, labels, absent values."""
        label, text = make_label("kvm")
        events: list[Event] = [
            ServiceStarted(
                observed_at=_AT, epoch=1, holder="kvm-07 (1)", version="1", uri="test:///", host="kvm-07", driver="test"
            ),
            InstanceNamed(observed_at=_AT, instance=InstanceId(uuid4()), name=label),
            HostSwept(
                observed_at=_AT,
                asked_at=_AT,
                inventory=3,
                connection=1,
                number=0,
                states=b"\1\1\xff\xff",
                odd=((1, 300, -1),),
                boot_id=uuid4(),
                clock_synchronised=True,
            ),
            GapOpened(observed_at=_AT, since=_AT, reason=GapReason.KEEPALIVE),
            ServiceStopped(observed_at=_AT),
        ]
        async with self.open_log() as log:
            first = await log.append(append_of("observer/kvm-07/test", 0, *events, labels=[text]))
            found = await log.read(after=Position(0))

            assert first == 1
            assert [each.event for each in found] == events
            assert [each.position for each in found] == [1, 2, 3, 4, 5]
            assert [each.version for each in found] == [1, 2, 3, 4, 5]
            assert {each.stream for each in found} == {"observer/kvm-07/test"}
            assert len({each.recorded_at for each in found}) == 1
            assert await log.labels([label.id]) == {label.id: "kvm"}

    async def test_positions_run_through_all_streams_and_versions_through_each(self) -> None:
        """One append may write to several streams; its positions are contiguous."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1)))
            first = await log.append(
                Append(
                    writes=[
                        Write(stream="b", expected=0, events=[lifecycle(2), lifecycle(3)]),
                        Write(stream="a", expected=1, events=[lifecycle(4)]),
                        Write(stream="b", expected=2, events=[lifecycle(5)]),
                    ]
                )
            )
            found = await log.read(after=Position(0))

            assert first == 2
            assert [(each.position, each.stream, each.version) for each in found] == [
                (1, "a", 1),
                (2, "b", 1),
                (3, "b", 2),
                (4, "a", 2),
                (5, "b", 3),
            ]
            assert [each.version for each in await log.read_stream("b")] == [1, 2, 3]
            assert await log.version("b") == 3
            assert await log.head() == 5

    async def test_reading_keeps_to_its_bounds(self) -> None:
        """`after` is excluded, `until` included, and `limit` cuts."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, *map(lifecycle, range(1, 11))))

            async def positions(**bounds: int) -> list[int]:
                return [each.position for each in await log.read(**bounds)]  # type: ignore[arg-type]

            assert await positions(after=3) == [4, 5, 6, 7, 8, 9, 10]
            assert await positions(after=3, until=5) == [4, 5]
            assert await positions(after=3, limit=2) == [4, 5]
            assert await positions(after=3, until=9, limit=2) == [4, 5]
            assert await positions(after=3, until=5, limit=9) == [4, 5]
            assert await positions(after=10) == []
            assert [each.version for each in await log.read_stream("a", after=8)] == [9, 10]
            assert [each.version for each in await log.read_stream("a", after=3, limit=2)] == [4, 5]

    async def test_a_wrong_expected_version_is_refused_and_nothing_is_written(self) -> None:
        """All of an append or nothing of it."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1)))
            label, text = make_label("left out")
            refused = Append(
                writes=[
                    Write(stream="b", expected=0, events=[lifecycle(2)]),
                    Write(stream="a", expected=0, events=[lifecycle(3)]),
                ],
                labels=[text],
                tracking=Tracking(name="manager", position=Position(1)),
            )
            with pytest.raises(ConcurrentAppendError) as caught:
                await log.append(refused)

            assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("a", 0, 1)
            assert await log.head() == 1
            assert await log.version("b") == 0
            assert await log.find(refused.key) is None
            assert await log.labels([label.id]) == {}
            assert await log.tracked("manager") is None

    async def test_a_text_is_forgotten_with_the_append_that_says_so(self) -> None:
        """Both or neither: what is refused erases nothing."""
        (one, one_text), (other, other_text) = make_label("one"), make_label("other")
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1), labels=[one_text, other_text]))
            with pytest.raises(ConcurrentAppendError):
                await log.append(replace(append_of("a", 0, lifecycle(2)), forgets=[one.id, other.id]))
            assert await log.labels([one.id, other.id]) == {one.id: "one", other.id: "other"}
            await log.append(replace(append_of("a", 1, lifecycle(2)), forgets=[one.id, 7]))

            assert await log.labels([one.id, other.id]) == {other.id: "other"}

    async def test_an_append_is_found_by_its_key_and_never_stored_twice(self) -> None:
        """Whoever does not know the outcome may look it up, or simply append again."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1)))
            append = append_of("a", 1, lifecycle(2), lifecycle(3))
            first = await log.append(append)

            assert await log.find(append.key) == first == 2
            assert await log.append(append) == first
            assert await log.head() == 3

    async def test_tracking_moves_with_the_append_and_never_back(self) -> None:
        """What was processed once is not processed again."""
        async with self.open_log() as log:

            def track(position: int, *events: Event, expected: int = 0) -> Append:
                return append_of("t", expected, *events, tracking=Tracking(name="manager", position=Position(position)))

            assert await log.append(track(0)) == 0
            assert await log.append(track(4, lifecycle(1))) == 1
            assert await log.append(track(6, expected=1)) == 1
            for again in (6, 5):
                with pytest.raises(ConcurrentAppendError):
                    await log.append(track(again, lifecycle(2), expected=1))

            assert await log.tracked("manager") == 6
            assert await log.tracked("another") is None
            assert await log.head() == 1

    async def test_concurrent_appends_get_positions_without_gaps_and_conflicts_fail_alone(self) -> None:
        """Many callers at once: each stream in its order, each loser told, nobody else harmed."""
        async with self.open_log() as log:
            refused: list[str] = []

            async def writer(stream: str) -> None:
                for version in range(10):
                    try:
                        await log.append(append_of(stream, version, lifecycle(version)))
                    except ConcurrentAppendError as error:
                        refused.append(error.stream)
                        return

            async with trio.open_nursery() as nursery:
                for stream in ("a", "b", "c", "contested", "contested"):
                    nursery.start_soon(writer, stream)
            found = await log.read(after=Position(0))

            assert refused == ["contested"]
            assert [each.position for each in found] == list(range(1, 41))
            for stream in ("a", "b", "c", "contested"):
                assert [each.version for each in found if each.stream == stream] == list(range(1, 11))

    async def test_a_reader_ahead_of_the_log_is_told_that_it_was_rewound(self) -> None:
        """A checkpoint beyond the head means that an older copy was put back."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1)))
            with pytest.raises(LogRewoundError) as caught:
                await log.read(after=Position(9))

            assert (caught.value.checkpoint, caught.value.head) == (9, 1)
            with trio.fail_after(5):
                await log.wait_beyond(Position(9))

    async def test_whoever_waits_is_woken_by_the_next_append(self) -> None:
        """And does not wait where the log is longer already."""
        async with self.open_log() as log:
            await log.append(append_of("a", 0, lifecycle(1)))
            with trio.fail_after(5):
                await log.wait_beyond(Position(0))
            woken = trio.Event()

            async def wait() -> None:
                await log.wait_beyond(Position(1))
                woken.set()

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    await trio.testing.wait_all_tasks_blocked()
                    await log.append(append_of("a", 1, lifecycle(2)))
                    await woken.wait()

    async def test_an_append_that_was_cancelled_before_it_began_writes_nothing(self) -> None:
        """Neither its records nor its key."""
        async with self.open_log() as log:
            append = append_of("a", 0, lifecycle(1))
            with trio.CancelScope() as scope:
                scope.cancel()
                await log.append(append)

            assert scope.cancelled_caught
            assert await log.find(append.key) is None
            assert await log.head() == 0
