"""What was done already under somebody's Idempotency-Key: it is answered alike, and not done again.

Kept in memory, until 10,000 newer ones have come, or a text is forgotten, or the service restarts. After that the
command's own life keeps it from being done twice: the actor refuses what is approved or withdrawn already.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import Response

from es_power.api.problems import IN_PROGRESS, KEY_REUSED, ProblemError

_MOST: Final = 10_000


@dataclass(slots=True)
class Done:
    """The requests of all keys: what was asked, and the answer; None while it is being made."""

    kept: OrderedDict[tuple[str, str], tuple[str, Response | None]] = field(default_factory=OrderedDict)

    def forget(self) -> None:
        """Hold on to nothing that is answered: it may have a text that somebody had forgotten."""
        self.kept = OrderedDict((place, made) for place, made in self.kept.items() if made[1] is None)


async def repeated(
    done: Done, principal: str, key: str | None, asked: str, do: Callable[[], Awaitable[Response]]
) -> Response:
    """Do what is asked, or give the answer of the time before; a problem is no answer, and is tried again."""
    if key is None:
        return await do()
    place = principal, key
    if place in done.kept:
        before, answer = done.kept[place]
        if before != asked:
            raise ProblemError(KEY_REUSED, "it stood for another path, or for another reason why")
        if answer is None:
            raise ProblemError(IN_PROGRESS, "its first time has no answer yet", headers={"Retry-After": "1"})
        return answer
    done.kept[place] = asked, None
    try:
        answer = await do()
    except BaseException:
        del done.kept[place]
        raise
    done.kept[place] = asked, answer
    while len(done.kept) > _MOST:
        done.kept.popitem(last=False)
    return answer
