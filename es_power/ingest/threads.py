"""Between trio and the threads that libvirt needs: a call with a deadline, and news that comes from its own thread."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import trio

from es_power.domain.events import GapReason
from es_power.domain.libvirt_numbers import CLOSE_REASONS
from es_power.errors import HypervisorUnavailableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def within(
    deadline: float, uri: str, asked: str, limiter: trio.CapacityLimiter, function: Callable[[*Ts], T], *args: *Ts
) -> T:
    """Call a function in a worker thread, and leave it there if it takes longer than `deadline` seconds.

    It keeps its token of the limiter until it ends, so calls that hang cannot pile up. What was `asked` is said in the
    HypervisorUnavailableError that is raised then.
    """
    try:
        with trio.fail_after(deadline):
            return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=limiter)
    except trio.TooSlowError as error:
        raise HypervisorUnavailableError(
            f"{uri} did not {asked} within {deadline:g} s; is its libvirtd hung?"
        ) from error


class Lost:
    """How libvirt's thread tells a task that the connection is lost."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._told = trio.Event()
        self._reason = GapReason.CONNECTION_LOST

    def report(self, _connection: object, reason: int, _: object) -> None:
        """Be libvirt's close callback."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._tell, reason)

    def _tell(self, reason: int) -> None:
        if CLOSE_REASONS.get(reason) == "KEEPALIVE":
            self._reason = GapReason.KEEPALIVE
        self._told.set()

    async def wait(self) -> GapReason:
        """Wait until it was told."""
        await self._told.wait()
        return self._reason
