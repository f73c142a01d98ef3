"""The way by libvirt: stops a guest that is on. The only place that opens libvirt so that it can change something.

Rules of this file:
1. Each question and each order has a connection of its own, opened, used and closed in one worker thread: nothing that
   could act stays open between two of them, and no libvirt object leaves the thread.
2. A call that outlives its deadline is left behind in its thread. What has not been ordered by then is never ordered:
   an order passes a `_Gate` that whoever waits for it shuts when it gives up.
3. There is no keepalive. It would end a call that hangs, but it cannot take back an order that the daemon has, and
   libvirt 9.0 crashes where it runs out under two calls of one connection. A daemon that hangs costs a few threads.
4. A refusal is said only where libvirt did nothing for sure; where it may have, the outcome is unknown.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import libvirt
import trio

from es_power.dispatch.stopper import Outcome, Result, StillWanted, Stopper
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.errors import HypervisorDeniedError, HypervisorError, HypervisorUnavailableError
from es_power.ingest.failures import LET_IN, NO_DOMAIN, NO_SUPPORT, Failure, error_of_call, error_of_open, is_denial
from es_power.ingest.libvirt import failure_of, the_loop
from es_power.ingest.threads import within

T = TypeVar("T")

POLL: Final = 1.0
"""Seconds between two looks at a guest that is shutting down."""

TELL_AGAIN: Final = 10.0
"""Seconds after which a guest is told again: while it starts up it does not listen (Nova's shutdown_retry_interval)."""

_THREADS: Final = 4
"""How many calls may be under way at once, those that hang counted."""

_CRASHED: Final = 6
"""virDomainState of a guest that panicked and was kept: it hears nothing any more."""

_JOBS: Final = frozenset({1, 2})
"""virDomainJobType of a job that is under way: VIR_DOMAIN_JOB_BOUNDED and VIR_DOMAIN_JOB_UNBOUNDED."""

_OPERATION_INVALID, _OPERATION_TIMEOUT, _OPERATION_UNSUPPORTED = 55, 68, 84
"""virErrorNumber: not in this state; another job would not end; this guest cannot do it."""

_ACCEPTED: Final = Result(outcome=Outcome.ACCEPTED)


class HypervisorStopper:
    """Of one URI."""

    def __init__(self, uri: str, *, shutdown_timeout: float = 60.0, deadline: float = 30.0) -> None:
        """Times are seconds: `shutdown_timeout` for a guest to shut itself down, `deadline` for each call."""
        self._uri = uri
        self._shutdown_timeout = shutdown_timeout
        self._deadline = deadline
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def stop(self, instance: InstanceId, verb: StopVerb, *, within: float, still_wanted: StillWanted) -> Result:
        """Stop a guest: at once (force_stop), or by its own shutdown, with a deadline after which it is destroyed.

        It is told again, and destroyed, only if it is `still_wanted` then. One that is off, or goes off by itself, is
        left so.
        """
        told, run = await self._order(instance, within, gently=verb is StopVerb.STOP)
        if run is None:
            return told
        deadline = trio.current_time() + self._shutdown_timeout
        while not await self._goes_off(instance, run, until=min(deadline, trio.current_time() + TELL_AGAIN)):
            is_late = trio.current_time() >= deadline
            seconds = await still_wanted()
            if is_late:
                return await self._end(instance, run, seconds)
            if seconds:
                # Whatever comes of it, the wait goes on: the first telling was accepted, and may still work.
                await self._order(instance, seconds, gently=True, run=run)
        return told

    async def _end(self, instance: InstanceId, run: int, seconds: float) -> Result:
        """Destroy a guest that did not shut down; the shutdown was ordered, and may still come."""
        patience = f"it did not shut down within {self._shutdown_timeout:g} s"
        if not seconds:
            return Result(outcome=Outcome.ACCEPTED, reason=f"{patience}; it is left on, since nothing calls for it now")
        destroyed, _ = await self._order(instance, seconds, gently=False, run=run)
        known = Outcome.UNKNOWN if destroyed.outcome is Outcome.UNKNOWN else Outcome.ACCEPTED
        return Result(outcome=known, reason=f"{patience}; {destroyed.reason}")

    async def _order(self, instance: InstanceId, seconds: float, *, gently: bool, run: int | None = None) -> "_Answer":
        """Give one order within so many seconds; `run` is that of the guest to which it is to go, if only to that."""
        gate = _Gate(time.monotonic() + seconds)
        what = "shut the guest down" if gently else "destroy the guest"
        try:
            return await self._call(libvirt.open, what, lambda raw: _order(raw, instance, run, gate, gently=gently))
        except HypervisorError as error:
            return _Answer(_not_answered(error, ordered=gate.shut()), None)
        finally:
            gate.shut()

    async def _goes_off(self, instance: InstanceId, run: int, *, until: float) -> bool:
        """Wait until a guest that was told to shut down has; False where it takes longer than it may."""
        while True:
            await trio.sleep_until(min(until, trio.current_time() + POLL))
            # A daemon that does not answer now may do so before the time is up.
            with suppress(HypervisorError):
                now = await self._call(
                    libvirt.openReadOnly, "tell the guest's state", lambda raw: _run_of(_find(raw, instance))
                )
                if now != run:
                    return True
            if trio.current_time() >= until:
                return False

    async def _call(self, opened: Callable[[str], Any], what: str, work: Callable[[Any], T]) -> T:
        """Do something with a connection of its own; HypervisorError says why that failed."""
        return await within(self._deadline, self._uri, what, self._limiter, _work, self._uri, opened, what, work)


class _Answer(NamedTuple):
    """What came of an order; `run` is that of the guest that is to shut down now, None where nothing is to come."""

    result: Result
    run: int | None


class _Gate:
    """Lets an order through in time, unless whoever waits for it has given up; it cannot happen that both are true."""

    def __init__(self, until: float) -> None:
        """`until` is a time of time.monotonic's."""
        self._until = until
        self._lock = threading.Lock()
        self._is_shut = self._was_passed = False

    def passes(self) -> bool:
        """Pass it, from the thread that orders."""
        with self._lock:
            self._was_passed = not self._is_shut and time.monotonic() <= self._until
            return self._was_passed

    def shut(self) -> bool:
        """Let nothing through any more; True where something has passed."""
        with self._lock:
            self._is_shut = True
            return self._was_passed


def _not_answered(error: HypervisorError, *, ordered: bool) -> Result:
    if ordered:
        outcome = Outcome.UNKNOWN
    elif isinstance(error, HypervisorUnavailableError) and not isinstance(error, HypervisorDeniedError):
        outcome = Outcome.NOT_DELIVERED
    else:
        outcome = Outcome.REFUSED
    return Result(outcome=outcome, reason=str(error))


# ------------------------------------------------------------------------------------- what runs in worker threads


def _work(uri: str, opened: Callable[[str], Any], what: str, work: Callable[[Any], T]) -> T:
    the_loop()
    try:
        raw = opened(uri)
    except libvirt.libvirtError as error:
        raise error_of_open(uri, failure_of(error)) from error
    try:
        return work(raw)
    except libvirt.libvirtError as error:
        # Its frames hold libvirt objects, and with the error they would leave this thread.
        raise error_of_call(uri, what, failure_of(error), alive=_is_alive(raw)) from error.with_traceback(None)
    finally:
        raw.close()


def _order(raw: Any, instance: InstanceId, run: int | None, gate: _Gate, *, gently: bool) -> _Answer:
    vm = _find(raw, instance)
    if vm is None:
        return _said(Outcome.REFUSED, "libvirt does not know the guest")
    number = _run_of(vm)
    if number is None:
        return _said(Outcome.ACCEPTED, "it is off already")
    if run not in (None, number):
        return _said(Outcome.ACCEPTED, "it went off, and was started again since")
    gently = gently and vm.state()[0] != _CRASHED
    if _has_job(vm):
        return _said(Outcome.NOT_DELIVERED, "the guest is being migrated, saved or copied; nothing was done")
    if not gate.passes():
        return _said(Outcome.NOT_DELIVERED, "libvirt took too long to be asked; nothing was done")
    try:
        vm.shutdown() if gently else vm.destroy()
    except libvirt.libvirtError as error:
        if not _is_alive(raw):
            raise
        if _run_of(_find(raw, instance)) != number:
            return _said(Outcome.ACCEPTED, "it went off by itself")
        return _refused(failure_of(error), number, gently=gently)
    return _Answer(_ACCEPTED, number) if gently else _said(Outcome.ACCEPTED, "it was destroyed")


def _refused(failure: Failure, run: int, *, gently: bool) -> _Answer:
    """Read an error that libvirt answered to an order, from a guest that is still on."""
    if is_denial(failure):
        return _said(Outcome.REFUSED, f"{failure.text}; {LET_IN}")
    if gently and failure.code == _OPERATION_INVALID:
        # It sleeps and hears nothing. That is for the deadline, as with a guest that does not obey.
        return _Answer(_ACCEPTED, run)
    if gently and failure.code == _OPERATION_TIMEOUT:
        return _said(Outcome.NOT_DELIVERED, f"{failure.text}; nothing was done")
    # A destroy has killed, or tried to, before it waits for anything.
    is_refusal = failure.code in (_OPERATION_INVALID, _OPERATION_UNSUPPORTED, NO_SUPPORT)
    return _said(Outcome.REFUSED if is_refusal else Outcome.UNKNOWN, failure.text)


def _said(outcome: Outcome, reason: str) -> _Answer:
    return _Answer(Result(outcome=outcome, reason=reason), None)


def _find(raw: Any, instance: InstanceId) -> Any | None:
    try:
        return raw.lookupByUUID(instance.bytes)
    except libvirt.libvirtError as error:
        if error.get_error_code() == NO_DOMAIN:
            return None
        raise


def _run_of(vm: Any | None) -> int | None:
    """Number a guest's present run: libvirt counts its starts. None where it is off, or gone."""
    number = -1 if vm is None else vm.ID()
    return None if number < 0 else number


def _has_job(vm: Any) -> bool:
    """Say whether libvirt does something with the guest that a shutdown would wait for, or a destroy would ruin."""
    try:
        return vm.jobInfo()[0] in _JOBS
    except libvirt.libvirtError as error:
        if error.get_error_code() in (NO_SUPPORT, _OPERATION_INVALID):
            return False  # the driver knows no jobs; or it went off just now
        if error.get_error_code() == _OPERATION_UNSUPPORTED:
            return True  # it is coming in by a migration: the job is told only where it goes out
        raise


def _is_alive(raw: Any) -> bool:
    try:
        return bool(raw.isAlive())
    except libvirt.libvirtError:
        return False


if TYPE_CHECKING:
    _promised: type[Stopper] = HypervisorStopper
