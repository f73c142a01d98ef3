"""Questions to Nova about single instances: each once however many want it, so many in a minute, a few at once.

Answers come back in another order than the questions went out. So every question has a number, and an answer counts
only while no later question about its instance was answered: wall clocks, ours or Nova's, order nothing here.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from math import inf
from typing import Final

import structlog
import trio

from es_power.chance import uniform
from es_power.domain.events import InstanceId
from es_power.errors import NovaError

AT_ONCE: Final = 4
"""Questions on their way at once."""

LONGEST_WAIT: Final = 60.0
"""Seconds, at most, before a question that failed is asked again; also those of the budget."""


class Questions:
    """What all readers of one process share: the numbers of questions, the budget, and whether Nova answers."""

    def __init__(self, *, per_minute: int) -> None:
        #: Held while answers are appended, so that a later one cannot come between their check and the log.
        self.appending = trio.Lock()
        self._numbers = count(1)
        self._answered: dict[InstanceId, int] = {}
        self._asked: deque[float] = deque(maxlen=per_minute)
        self._affording = trio.Lock()
        #: The kinds of questions that Nova did not answer when one was last asked: an outage.
        self._silent: set[str] = set()
        #: Single questions whose answer was of no use.
        self._unusable: set[str] = set()

    # ------------------------------------------------------------------------------------------------- their order

    def begin(self) -> int:
        """Number a question that is about to be asked."""
        return next(self._numbers)

    def is_late(self, instance: InstanceId, number: int) -> bool:
        """Whether a question that was asked later was answered before."""
        return self._answered.get(instance, 0) > number

    def answered(self, instances: Iterable[InstanceId], number: int) -> None:
        """Note for which instances a question was answered."""
        for instance in instances:
            self._answered[instance] = max(number, self._answered.get(instance, 0))

    # ------------------------------------------------------------------------------------------------- the budget

    async def afford(self) -> None:
        """Wait until one more question is within the budget of any minute."""
        async with self._affording:
            if len(self._asked) == self._asked.maxlen:
                await trio.sleep_until(self._asked[0] + LONGEST_WAIT)
            self._asked.append(trio.current_time())

    # ------------------------------------------------------------------------------------------------- silence

    def failed(self, asked: str, error: NovaError, *, kind: str) -> None:
        """Tell of an outage, and of a single question that gets no usable answer, once each; `asked` says which."""
        if error.transient:
            known = bool(self._silent)
            self._silent.add(kind)
        else:
            known = asked in self._unusable
            self._unusable.add(asked)
        if not known:
            structlog.get_logger().error(
                "Nova gives no answer; its last word stands and orders nothing new", asked=asked, error=str(error)
            )

    def succeeded(self, asked: str, *, kind: str, whole: bool = False) -> None:
        """Tell once that it is over; a `whole` answer, of all instances of a host, ends an outage of any kind."""
        was_silent = bool(self._silent)
        self._silent -= self._silent if whole else {kind}
        if (was_silent and not self._silent) or asked in self._unusable:
            structlog.get_logger().info("Nova answers again", asked=asked)
        self._unusable.discard(asked)


class Inquiries:
    """A queue of instances to be asked about, in the order in which they were first wanted.

    `ask` asks about one and deals with the answer. Where it raises NovaError the instance is asked about again, later
    each time, for as long as `still` says that somebody wants to know.
    """

    def __init__(
        self,
        questions: Questions,
        ask: Callable[[InstanceId], Awaitable[None]],
        *,
        still: Callable[[InstanceId], bool],
        kind: str,
    ) -> None:
        self._questions = questions
        self._ask = ask
        self._still = still
        self._kind = kind
        #: By instance, not before when, on trio's clock.
        self._wanted: dict[InstanceId, float] = {}
        self._asking: set[InstanceId] = set()
        self._changed = trio.Event()
        self._wait = 0.0

    def want(self, instance: InstanceId, *, wait: float = 0.0) -> None:
        """Have one asked about; where that is under way, once more after it."""
        self._wanted.setdefault(instance, trio.current_time() + wait)
        self._changed.set()

    def is_wanted(self, instance: InstanceId) -> bool:
        """Whether it is going to be asked about, or just is."""
        return instance in self._wanted or instance in self._asking

    async def run(self) -> None:
        """Ask until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            instance = await self._next()
            try:
                await self._questions.afford()
                await self._ask(instance)
            except NovaError as error:
                self._questions.failed(f"{self._kind} {instance}", error, kind=self._kind)
                # Spread, so that many services do not come back in step after an outage.
                self._wait = min(max(1.0, 2 * self._wait), LONGEST_WAIT)
                wait = self._wait * uniform(0.5, 1.0)
                if self._still(instance):
                    self.want(instance, wait=wait)
                if error.transient:
                    await trio.sleep(wait)
            else:
                self._wait = 0.0
                self._questions.succeeded(f"{self._kind} {instance}", kind=self._kind)
            finally:
                self._asking.discard(instance)
                self._changed.set()

    async def _next(self) -> InstanceId:
        """Wait for the first that may be asked about now."""
        while True:
            changed = self._changed = trio.Event() if self._changed.is_set() else self._changed
            idle = {instance: at for instance, at in self._wanted.items() if instance not in self._asking}
            for instance, at in idle.items():
                if at <= trio.current_time():
                    del self._wanted[instance]
                    self._asking.add(instance)
                    return instance
            with trio.move_on_at(min(idle.values(), default=inf)):
                await changed.wait()
