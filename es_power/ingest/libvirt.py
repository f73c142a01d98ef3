"""A host's libvirt through its own client library. Only this module and `dispatch`'s import it.

Rules of this file:
1. libvirt's calls block, so each runs in a worker thread with a deadline. A call that outlives it is left behind in its
   thread; the keepalive of its connection ends it there, and until then the connection's other calls wait.
2. No libvirt object leaves the worker that got it: freeing the last one of a connection talks to the daemon, and that
   must not happen on trio's thread. What comes back is plain data.
3. A connection is closed by the last thread that uses it, never under a call that still runs: that would free memory
   which the call reads.
"""

import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple
from uuid import UUID

import libvirt
import trio

from es_power.domain.events import GapReason, InstanceId
from es_power.domain.libvirt_numbers import EVENT_IDS
from es_power.domain.ports import Clock
from es_power.errors import HypervisorError, HypervisorUnavailableError
from es_power.ingest.callbacks import EventCallbacks
from es_power.ingest.clock import boot_id, now
from es_power.ingest.failures import NO_DOMAIN, NO_SUPPORT, Failure, error_of_call, error_of_open
from es_power.ingest.hypervisor import Announcement, Hypervisor, Info
from es_power.ingest.naming import driver_of, is_local
from es_power.ingest.threads import Lost, within

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RPC_LIMIT: Final = 16_384
"""REMOTE_DOMAIN_LIST_MAX: a reply with more VMs than this is refused (libvirt's remote_protocol.x)."""

_STATE: Final = 1
"""VIR_DOMAIN_STATS_STATE."""

_PERSISTENT, _TRANSIENT, _RUNNING, _PAUSED, _SHUTOFF, _OTHER = 4, 8, 16, 32, 64, 128
"""VIR_CONNECT_GET_ALL_DOMAINS_STATS_*."""

_PARTS: Final = tuple(
    state | kind for state in (_RUNNING, _PAUSED, _SHUTOFF, _OTHER) for kind in (_PERSISTENT, _TRANSIENT)
)

_InstanceOf = Callable[[bytes], InstanceId]

_PATIENCE: Final = 2.0
"""Seconds that closing may take; it is one round trip where anybody answers."""

_AT_ONCE: Final = 0
"""Milliseconds of a timer of libvirt's."""


# ------------------------------------------------------------------------------------------------ the event loop


class _Loop:
    """libvirt's event loop, which all connections of a process share; one native thread runs it, round by round."""

    def __init__(self) -> None:
        libvirt.registerErrorHandler(_print_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        #: Held by whoever runs it.
        self.running = threading.Lock()
        self._soon: deque[Callable[[], None]] = deque()

    def run_round(self) -> None:
        """Wait until something happens, have its callbacks called, and then what they put off."""
        libvirt.virEventRunDefaultImpl()
        while self._soon:
            self._soon.popleft()()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have a function called after this round; for callbacks, on the loop's own thread."""
        self._soon.append(function)


@cache
def the_loop() -> _Loop:
    """Give libvirt its event loop, and keep it from printing errors: once in a process, before the first open."""
    return _Loop()


def _print_nothing(_context: object, _error: object) -> None:
    """Every error is raised as well."""


@asynccontextmanager
async def event_loop() -> AsyncIterator[None]:
    """Run libvirt's event loop in a native thread of its own; without it no event comes, and no keepalive goes.

    All connections of a process share it, so the composition root runs it, around them all. At the end the thread is
    given back. RuntimeError where another task already runs it.
    """
    loop = the_loop()
    if not loop.running.acquire(blocking=False):
        raise RuntimeError("libvirt's event loop runs already in this process; open the connections inside that one")
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            loop.run_round()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(trio.to_thread.run_sync, serve, thread_name="libvirt events", limiter=trio.CapacityLimiter(1))
            )
            try:
                yield
            finally:
                stopping.set()
                # It waits in poll() without an end: a timer that is due at once makes it look again.
                libvirt.virEventAddTimeout(_AT_ONCE, _forget_timer, None)
    finally:
        loop.running.release()


def _forget_timer(timer: int, _: object) -> None:
    libvirt.virEventRemoveTimeout(timer)


# ---------------------------------------------------------------------------------------------------- connections


class LibvirtHypervisor:
    """Opens read-only connections to one URI."""

    def __init__(
        self,
        uri: str,
        *,
        deadline: float = 30.0,
        keepalive_interval: int = 5,
        keepalive_count: int = 3,
        clock: Clock = now,
    ) -> None:
        """Times are seconds: `deadline` of one call, and a daemon counts as hung after interval * (count + 1)."""
        self.uri = uri
        self.driver = driver_of(uri)
        self._deadline = deadline
        self._keepalive = keepalive_interval, keepalive_count
        self._clock = clock
        # One at a time: nothing but the daemon itself ends an open that hangs, and each would hold a thread.
        self._opening = trio.CapacityLimiter(1)

    async def open(self) -> "LibvirtConnection":
        """Open a connection, and ask for the host's name; a hung daemon is given up after the deadline."""
        lost = Lost()
        handle, hostname = await within(
            self._deadline, self.uri, "let itself be opened", self._opening, self._open, lost.report
        )
        return LibvirtConnection(
            handle, uri=self.uri, hostname=hostname, lost=lost, deadline=self._deadline, clock=self._clock
        )

    def _open(self, when_lost: Callable[[object, int, object], None]) -> tuple["_Handle", str]:
        the_loop()
        try:
            raw = libvirt.openReadOnly(self.uri)
        except libvirt.libvirtError as error:
            raise error_of_open(self.uri, failure_of(error)) from error
        handle = _Handle(raw, self.uri)
        try:
            with handle.used("tell its host name"):
                _keep_alive(raw, *self._keepalive)
                raw.registerCloseCallback(when_lost, None)
                hostname: str = raw.getHostname()
            # If nobody waits for it any more, nobody will close it.
            trio.from_thread.check_cancelled()
        except BaseException:
            handle.leave()
            raise
        return handle, hostname


def _keep_alive(raw: Any, interval: int, count: int) -> None:
    try:
        raw.setKeepAlive(interval, count)
    except libvirt.libvirtError as error:
        # The test driver inside this process has no daemon that could hang.
        if error.get_error_code() != NO_SUPPORT:
            raise


class LibvirtConnection:
    """One open connection; see `es_power.ingest.hypervisor.Connection` for what its methods promise."""

    def __init__(
        self, handle: "_Handle", *, uri: str, hostname: str, lost: Lost, deadline: float, clock: Clock
    ) -> None:
        self.hostname = hostname
        self.boot_id = boot_id() if is_local(uri) else None
        self._uri = uri
        self._handle = handle
        self._lost = lost
        self._deadline = deadline
        self._clock = clock
        # libvirt 9.0 crashes the process where a keepalive runs out under two calls of one connection, and tells nobody
        # that the connection is lost; under one call it ends well.
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._callbacks: EventCallbacks | None = None
        # To make a UUID costs more than the rest of an answer, and most VMs were there in the sweep before.
        self._instance_of: _InstanceOf = lru_cache(maxsize=2 * RPC_LIMIT)(_instance_of)
        self._is_open = True

    @property
    def highest_number(self) -> int:
        """The number of the latest event that was announced; 0 before the first."""
        return self._callbacks.highest_number if self._callbacks else 0

    async def subscribe(self, *, connection: int, announce: Callable[[Announcement], None]) -> None:
        """Have every event that bears on power announced; kinds that the driver does not know are left out."""
        self._callbacks = callbacks = EventCallbacks(
            connection=connection, announce=announce, clock=self._clock, call_soon=the_loop().call_soon
        )
        await self._ask("register for its events", _register, self._handle, callbacks)

    async def get_info(self, instance: InstanceId) -> Info | None:
        """Ask for one VM; None where libvirt does not know the UUID."""
        return await self._ask("tell a VM's state", _get_info, instance)

    async def list_states(self) -> Sequence[Info]:
        """Ask for all VMs in one call, or, above the RPC's limit, in parts.

        The limit counts what the flags let through, and no listing call has an offset. So the parts are those that
        flags can tell apart; active VMs that are still too many are looked up by number. Parts are not one moment: a
        VM that moves between two of them is in both (the later answer counts) or in none, and looks missing, which an
        observer asks about by UUID anyway.
        """
        listed = await self._ask(_LIST, _list_states, 0, self._instance_of)
        if listed is not None:
            return listed
        found: dict[InstanceId, Info] = {}
        for flags in _PARTS:
            part = await self._ask(_LIST, _list_states, flags, self._instance_of)
            if part is None and flags & _SHUTOFF:
                raise HypervisorError(f"{self._uri} has more than {RPC_LIMIT} inactive VMs; libvirt cannot list them")
            if part is None:
                part = await self._list_active()
            found.update((info.instance, info) for info in part)
        return list(found.values())

    async def _list_active(self, *, step: int = 500, reach: int = 10) -> list[Info]:
        """Look active VMs up by number: those rise from 1 on as VMs are started. About 1 ms each."""
        found: list[Info] = []
        for first in itertools.count(1, step):
            found += await self._ask(_LIST, _list_numbers, range(first, first + step), self._instance_of)
            count = await self._ask(_LIST, _count_active)  # VMs come and go meanwhile
            if len(found) >= count:
                return found
            if first > reach * count:
                break
        raise HypervisorError(f"{self._uri} has {count} active VMs, but libvirt lists only {RPC_LIMIT} in one call")

    async def wait_closed(self) -> GapReason:
        """Wait until libvirt says that the connection is lost, and how."""
        return await self._lost.wait()

    async def aclose(self) -> None:
        """Stop the events and close; where the daemon does not answer, a thread that is left behind sees to it."""
        if not self._is_open:
            return
        self._is_open = False
        with trio.move_on_after(_PATIENCE, shield=True):
            await trio.to_thread.run_sync(self._handle.leave, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))

    async def _ask(self, asked: str, function: Callable[[Any, *Ts], T], *args: *Ts) -> T:
        def answer() -> T:
            with self._handle.used(asked) as raw:
                return function(raw, *args)

        return await within(self._deadline, self._uri, asked, self._one_at_a_time, answer)


class _Handle:
    """A virConnect among the threads that use it: the last to leave closes it. Its opener is the first user."""

    def __init__(self, raw: Any, uri: str) -> None:
        self._raw = raw
        self._uri = uri
        self._users = 1
        self._lock = threading.Lock()
        #: What to take back before it is closed, for each registered callback holds a reference to the connection.
        self.callback_ids: list[int] = []

    @contextmanager
    def used(self, asked: str) -> Iterator[Any]:
        """Use it in this thread; what libvirt raises leaves as an error of ours that says what was `asked`."""
        with self._lock:
            if self._users == 0:
                raise HypervisorUnavailableError(f"the connection to {self._uri} was closed")
            self._users += 1
        try:
            yield self._raw
        except libvirt.libvirtError as error:
            alive = bool(self._raw.isAlive())
            # Its frames hold libvirt objects, and with the error they would leave this thread.
            raise error_of_call(self._uri, asked, failure_of(error), alive=alive) from error.with_traceback(None)
        finally:
            self.leave()

    def leave(self) -> None:
        """Use it no more."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        for callback_id in self.callback_ids:
            with suppress(libvirt.libvirtError):  # a lost connection cannot be told
                self._raw.domainEventDeregisterAny(callback_id)
        with suppress(libvirt.libvirtError):  # it is gone already once it was called
            self._raw.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            self._raw.close()


# ------------------------------------------------------------------------------------- what runs in worker threads

_LIST: Final = "list its VMs"


def _register(raw: Any, handle: _Handle, callbacks: EventCallbacks) -> None:
    for event_id, callback in callbacks.by_event_id().items():
        try:
            handle.callback_ids.append(raw.domainEventRegisterAny(None, event_id, callback, event_id))
        except libvirt.libvirtError:
            # Drivers and older libraries know fewer kinds; without lifecycle events there is nothing to observe.
            if event_id == EVENT_IDS["LIFECYCLE"] or not raw.isAlive():
                raise


def _get_info(raw: Any, instance: InstanceId) -> Info | None:
    try:
        vm = raw.lookupByUUID(instance.bytes)
        state, reason = vm.state()
    except libvirt.libvirtError as error:
        if error.get_error_code() == NO_DOMAIN:
            return None
        raise
    return Info(instance, vm.name(), state, reason)


def _list_states(raw: Any, flags: int, instance_of: _InstanceOf) -> list[Info] | None:
    """All VMs that the flags let through; None where they are more than fit in a reply."""
    try:
        return _infos(raw.getAllDomainStats(_STATE, flags), instance_of)
    except libvirt.libvirtError:
        if raw.isAlive() and raw.numOfDomains() + raw.numOfDefinedDomains() > RPC_LIMIT:
            return None
        raise


def _count_active(raw: Any) -> int:
    count: int = raw.numOfDomains()
    return count


def _list_numbers(raw: Any, numbers: range, instance_of: _InstanceOf) -> list[Info]:
    vms = []
    for number in numbers:
        with suppress(libvirt.libvirtError):
            vms.append(raw.lookupByID(number))
    return _infos(raw.domainListGetStats(vms, _STATE), instance_of) if vms else []


def _infos(answer: Iterable[tuple[Any, dict[str, int]]], instance_of: _InstanceOf) -> list[Info]:
    return [
        Info(instance_of(vm.UUID()), vm.name(), stats["state.state"], stats["state.reason"])
        for vm, stats in answer
        if "state.state" in stats  # one without looks missing, and is asked by itself
    ]


def _instance_of(raw: bytes) -> InstanceId:
    return InstanceId(UUID(bytes=raw))


def failure_of(error: Any) -> Failure:
    """Read a libvirtError as plain data."""
    return Failure(
        code=error.get_error_code(),
        origin=error.get_error_domain(),
        errno=error.get_int1(),
        text=str(error),
    )


if TYPE_CHECKING:
    _promised: type[Hypervisor] = LibvirtHypervisor
