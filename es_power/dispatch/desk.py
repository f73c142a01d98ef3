"""What the commands of one host share while they live: the log and the fold over it, the actor's own stream, the world.

A desk decides nothing. It says how far things are, and appends what a life has come to.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from uuid import UUID

import trio

from es_power.dispatch.breaker import Limits
from es_power.dispatch.stopper import Stopper
from es_power.domain.command import Command, begin, evolve
from es_power.domain.decisions import CommandEvent, Route, StopRequested
from es_power.domain.events import START, InstanceId, Position, RecordNotFound, RecordObserved
from es_power.domain.ports import Append, Clock, EventLog, LabelText, Write
from es_power.domain.streams import command as command_stream, observed_host
from es_power.errors import CommandNotFoundError
from es_power.ingest.clock import boot_id
from es_power.ingest.hypervisor import Hypervisor
from es_power.ingest.stream import OwnStream
from es_power.projections.fleet import Place
from es_power.projections.readmodels import ReadModels

AskNova = Callable[[InstanceId, Position], Awaitable[RecordObserved | RecordNotFound]]
"""Asks Nova for one instance, by a log that was read up to a position; raises NovaError where it does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """How commands are executed: every setting that bears on an act, and who acts. Times are seconds."""

    holder: str
    version: str
    mode: str = "dry-run"
    #: By host name or instance UUID.
    modes: Mapping[str, str] = field(default_factory=dict)
    settle: float = 15.0
    window: float = 2.0
    max_age: float = 3600.0
    expiry: float = 86_400.0
    confirm: float = 120.0
    after_boot: float = 300.0
    breaker: Limits = field(default_factory=Limits)

    def mode_of(self, instance: InstanceId, host: str) -> str:
        """An instance's mode is before its host's, and that before the default."""
        return self.modes.get(str(instance)) or self.modes.get(host) or self.mode

    def in_words(self) -> tuple[tuple[str, str], ...]:
        """All of them, for the log."""
        names = ("mode", "settle", "window", "max_age", "expiry", "confirm", "after_boot", "breaker")
        modes = ((f"mode of {who}", mode) for who, mode in sorted(self.modes.items()))
        return (*((name, str(getattr(self, name))) for name in names), *modes)


class Desk:
    """Of one observer's stream."""

    def __init__(
        self,
        log: EventLog,
        observer_stream: str,
        *,
        own: OwnStream,
        models: Callable[[], ReadModels],
        caught_up: Callable[[], Awaitable[None]],
        hypervisor: Hypervisor,
        stoppers: Mapping[Route, Stopper],
        nova: AskNova | None,
        how: Acting,
        clock: Clock,
    ) -> None:
        self.log = log
        self.observer = observer_stream
        self.host = observed_host(observer_stream) or ""
        self.own = own
        self.hypervisor = hypervisor
        self.stoppers = stoppers
        self.nova = nova
        self.how = how
        self.clock = clock
        self.caught_up = caught_up
        self._models = models
        #: This start of the actor: what stands before it in the log is older.
        self.epoch = 0
        self.started = START
        #: When commands were approved in this run, on trio's clock.
        self.approvals: dict[UUID, float] = {}
        #: Why the breaker is open, from the moment at which it trips, also before the log says so.
        self.tripped: str | None = None
        self._boot: tuple[Position, float] = (START, 0.0)
        self._changed = trio.Event()

    # ------------------------------------------------------------------------------------------------ how it is

    @property
    def models(self) -> ReadModels:
        """The fold over the log."""
        return self._models()

    @property
    def place(self) -> Place:
        """The host, as its observer has recorded it."""
        return self.models.fleet.places.get(self.observer) or Place()

    def is_mine(self, request: StopRequested) -> bool:
        """Whether a command is about a VM of this host."""
        return request.host == self.host and request.instance in self.place.instances

    def mode_of(self, request: StopRequested) -> str:
        """What becomes of a command that is still called for."""
        return self.how.mode_of(request.instance, self.host)

    def obstacle(self, request: StopRequested) -> tuple[str, float] | None:
        """What keeps a command back now, and for how many seconds at most until it is worth asking again."""
        keeping, host = self.models.keeping, self.place.host
        if (aside := self.models.fleet.doubt(request.instance)) is not None:
            # It may be somebody's word that the guest is to run; whoever can read it begins with a fold that has it.
            return f"record {aside.position}, which may be about the instance, cannot be read or applied", float("inf")
        if keeping.holds_on(request.instance, self.host):
            return "a person holds it", float("inf")
        if self.tripped or self.host in keeping.breakers:
            return "the host's breaker is open", float("inf")
        said = self.models.fleet.vouched.get(request.instance)
        if said is not None and said.is_novas and self.nova is None:
            return "Nova vouches for the instance, and this actor cannot ask it: set [nova] enabled", float("inf")
        if host.blind_since is not None or not host.running:
            return "nobody sees the host now", float("inf")
        up = self._up_for()
        if up < self.how.after_boot:
            return f"the host was booted {up:.0f} s ago", self.how.after_boot - up
        return None

    def _up_for(self) -> float:
        """Seconds for which the host has been up; where nobody can tell, for which this actor knows of its boot."""
        host = self.place.host
        if host.boot_id is not None and host.boot_id == boot_id():
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._boot[0] != host.booted or not self._boot[1]:
            self._boot = host.booted, trio.current_time()
        return trio.current_time() - self._boot[1]

    # ---------------------------------------------------------------------------------------------- what changes

    def wake(self) -> None:
        """Have everybody who waits look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self, at_most: float = float("inf")) -> None:
        """Wait until something may have changed."""
        with trio.move_on_after(at_most):
            await self._changed.wait()

    async def read(self, command_id: UUID) -> Command:
        """Read one command's life as the log has it now."""
        life = await self.log.read_stream(command_stream(command_id))
        if not life or not isinstance(life[0].event, StopRequested):
            raise CommandNotFoundError(f"no stop command {command_id} is in the log")
        return reduce(evolve, life[1:], begin(life[0]))

    async def step(self, command: Command, *events: CommandEvent, labels: Sequence[LabelText] = ()) -> Position:
        """Append steps of a life where it has come to; ConcurrentAppendError where it has moved on meanwhile."""
        write = self.write(command, *events)
        return await self.log.append(Append(writes=(write,), labels=tuple(labels)))

    def write(self, command: Command, *events: CommandEvent) -> Write:
        """The same, as a part of an append."""
        return Write(stream=command_stream(command.requested.command), expected=command.version, events=events)
