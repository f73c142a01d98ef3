"""Appending for those who cannot go on without it: a log that refuses is tried until it takes what it is given."""

from collections.abc import Callable
from typing import Final

import structlog
import trio

from es_power.domain.events import Position
from es_power.domain.ports import Append, EventLog
from es_power.errors import LogUnavailableError

RETRY_AFTER: Final = (0.1, 0.5, 2.0, 5.0)
"""Seconds to wait before the log is tried again; the last one repeats."""


async def append_patiently(
    log: EventLog, append: Append, *, refused: Callable[[LogUnavailableError], None] = lambda _: None
) -> Position:
    """Append, however long the log is unavailable; give the first record's position. `refused` is told of refusals.

    Whether a refused append became durable all the same is looked up by its key, so nothing is stored twice. Other
    errors, a version conflict above all, are raised at once.
    """
    waits = iter(RETRY_AFTER)
    uncertain = False
    while True:
        try:
            # Not cancelled in between, so that the outcome stays known; a commit takes milliseconds.
            with trio.CancelScope(shield=True):
                position = await log.find(append.key) if uncertain else None
                if position is None:
                    position = await log.append(append)
        except LogUnavailableError as error:
            if not uncertain:
                structlog.get_logger().error("the log takes nothing; trying on", error=str(error))
            uncertain = True
            refused(error)
            await trio.sleep(next(waits, RETRY_AFTER[-1]))
        else:
            if uncertain:
                structlog.get_logger().info("the log takes appends again")
            assert position is not None  # the scope above ends only with the commit
            return position
