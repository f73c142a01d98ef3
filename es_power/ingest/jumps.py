"""Jumps of the clock on their way into a stream: each stands before whatever is appended next, and once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from es_power.domain.events import ClockJumped, Event
from es_power.ingest.clock import ClockWatch


@dataclass(slots=True)
class _Untold:
    """A jump that the stream may not have yet."""

    fact: ClockJumped
    #: The version of the stream onto which it was to be appended.
    onto: int | None = None


class Jumps:
    """Looks at the clock whenever something is appended, since only then a time is recorded."""

    def __init__(self, watch: ClockWatch, noticed: Callable[[ClockJumped], None]) -> None:
        """`noticed` is called with each jump, before what is appended is built."""
        self._watch = watch
        self._noticed = noticed
        self._untold: list[_Untold] = []

    def before(self, build: Callable[[int], Sequence[Event]]) -> Callable[[int], Sequence[Event]]:
        """Have what `build` makes of a stream's version follow on the jumps that the stream does not have yet.

        Whether it has one, its version tells: an append whose outcome nobody waited for may have been stored.
        """

        def built(version: int) -> Sequence[Event]:
            self._untold = [each for each in self._untold if each.onto is None or each.onto == version]
            if jumped := self._watch.look():
                self._noticed(jumped)
                self._untold.append(_Untold(jumped))
            for each in self._untold:
                each.onto = version
            told: list[Event] = [each.fact for each in self._untold]
            return [*told, *build(version + len(told))]

        return built
