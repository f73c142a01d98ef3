"""Nova's records of one host's instances become facts: what changed, and every answer to a question that was asked.

Nova is read as a whole now and then, and for what changed in between. A read appends what differs from what the log
says already. Where an observation would order something, the derivation wants to know what Nova says of that one
instance now; such an answer is appended even where it says nothing new, since only an answer to a question that was
asked after the observation justifies a command. An instance that left the host's list is asked about by its id.

While Nova does not answer, nothing is appended: its last word stands, and justifies nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
import trio

from es_power.domain.events import (
    Event,
    InstanceId,
    Position,
    Recorded,
    RecordNotFound,
    RecordObserved,
)
from es_power.domain.host import Vouched, essence
from es_power.domain.ports import Clock, EventLog
from es_power.domain.states import VmState
from es_power.domain.streams import observed_host, records
from es_power.domain.time import Timestamp, moment
from es_power.errors import NovaError, UnknownEventError
from es_power.ingest.clock import now
from es_power.ingest.inquiries import Inquiries, Questions
from es_power.ingest.nova_history import NovaStops, nova_time
from es_power.ingest.stream import OwnStream
from es_power.ingest.stuck import PendingTasks
from es_power.nova import InstanceAction, ServerRecord

OVERLAP: Final = timedelta(minutes=5)
"""How far a question for changes reaches back: the clocks of Nova's services differ, and a row may be saved late."""

_BATCH: Final = 1000


class NovaReader(Protocol):
    """What has to be asked of Nova (`nova.NovaApi`); NovaError where there is no answer that can be used."""

    async def servers(self, *, host: str, changes_since: datetime | None = None) -> Sequence[ServerRecord]:
        """All instances of a host, by Nova's name of it; or those touched since then, with those deleted."""

    async def server(self, instance: InstanceId) -> ServerRecord | None:
        """One instance; None where Nova does not know it."""

    async def actions(self, instance: InstanceId) -> Sequence[InstanceAction]:
        """What was done to an instance."""


class Said(Protocol):
    """What the log says, as far as it is folded."""

    @property
    def position(self) -> Position:
        """How far that is."""

    @property
    def vouched(self) -> Mapping[InstanceId, Vouched]:
        """Who says what of each instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How Nova is read; times are seconds."""

    #: Nova's name of the host.
    host: str
    spacing: float = 60.0
    full: float = 3600.0
    stuck_after: float = 3600.0
    #: Whether commands for an instance are sent, in this host's mode.
    acts: Callable[[InstanceId], bool] = lambda _: False


async def ask(
    nova: NovaReader, instance: InstanceId, after: Position, clock: Clock = now
) -> RecordObserved | RecordNotFound:
    """Ask Nova for one instance, and give its answer as a fact; `after` is how far the log was read before.

    NovaError where there is no answer that can be used, which says nothing about the instance.
    """
    asked_at = clock()
    record = await nova.server(instance)
    if record is None:
        return RecordNotFound(observed_at=clock(), instance=instance, asked_at=asked_at, after=after)
    return _fact(record, asked_at=asked_at, observed_at=clock(), after=after)


class Records:
    """The only writer of the stream of Nova's records of one host."""

    def __init__(
        self,
        log: EventLog,
        nova: NovaReader,
        *,
        stream: str,
        said: Said,
        asks: Callable[[], Collection[InstanceId]],
        how: Reading,
        questions: Questions,
        clock: Clock = now,
    ) -> None:
        self._log = log
        self._nova = nova
        self._said = said
        self._asks = asks
        self._how = how
        self._questions = questions
        self._clock = clock
        self._host = observed_host(stream) or ""
        self._stream = OwnStream(log, records(stream), 0)
        self._tell = structlog.get_logger().bind(stream=self._stream.name)
        self._tasks = PendingTasks()
        self._stops = NovaStops(host=self._host, acts=how.acts)
        self._single = Inquiries(questions, self._ask, still=self._is_open, kind="instance")
        self._history = Inquiries(questions, self._ask_history, still=lambda _: True, kind="history of instance")
        #: What was appended and is not folded yet, by instance: where, and what.
        self._appended: dict[InstanceId, tuple[Position, RecordObserved | None]] = {}
        #: The newest time of Nova's that was read, and when the log was first and last told something by Nova.
        self._newest: datetime | None = None
        self._first: Timestamp | None = None
        self._last: Timestamp | None = None
        #: Set by the first whole answer.
        self.complete = False
        #: What was told about the account or the host's name.
        self._told: set[str] = set()

    # ---------------------------------------------------------------------------------------------------- its life

    async def begin(self) -> None:
        """Remember what the stream has; call it once, before anything else."""
        self._stream.version = await self._log.version(self._stream.name)
        after = 0
        while after < self._stream.version:
            try:
                batch = await self._log.read_stream(self._stream.name, after=after, limit=_BATCH)
            except UnknownEventError:
                after += 1  # passed over, as by the fold
                continue
            for recorded in batch:
                after = recorded.version
                self._tasks.apply(recorded.event)
                self._stops.note(recorded.event)
                self._first, self._last = self._first or recorded.recorded_at, recorded.recorded_at
        self._tasks.take_up(self._said.vouched)
        self._first = self._first or self._clock()

    async def run(self) -> None:
        """Read until cancelled; TakenOverError where another service writes this stream."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._single.run)
            nursery.start_soon(self._history.run)
            whole_at = trio.current_time()
            while True:
                whole = self._newest is None or trio.current_time() >= whole_at
                if await self._read(whole=whole) and whole:
                    whole_at = trio.current_time() + self._how.full
                await trio.sleep(self._how.spacing)

    def want(self, instance: InstanceId) -> None:
        """Have Nova asked about one instance soon; several wishes are one question. See `_ask` for what is appended."""
        self._single.want(instance)

    def folded(self, batch: Sequence[Recorded]) -> None:
        """Hear what was folded, by whomever it was appended; ask what the derivation has to know now."""
        for recorded in batch:
            self._tasks.apply(recorded.event)
        for instance, (position, _) in list(self._appended.items()):
            if position <= self._said.position:
                del self._appended[instance]
        for instance in self._asks():
            if instance not in self._appended and not self._single.is_wanted(instance):
                self.want(instance)

    # ------------------------------------------------------------------------------------------- reading many

    async def _read(self, *, whole: bool) -> bool:
        """Read all instances of the host, or what changed; False where there was no answer."""
        kind = f"instances of {self._how.host}"
        number, after, asked_at = self._questions.begin(), self._said.position, self._clock()
        since = None if whole or self._newest is None else min(self._newest, moment(asked_at)) - OVERLAP
        try:
            found = await self._nova.servers(host=self._how.host, changes_since=since)
        except NovaError as error:
            self._questions.failed(kind, error, kind=kind)
            return False
        self._questions.succeeded(kind, kind=kind, whole=True)
        at = self._clock()
        here = [record for record in found if record.host == self._how.host]
        self._judge_account(found, here)
        async with self._questions.appending:
            events = [_fact(each, asked_at=asked_at, observed_at=at, after=after) for each in here]
            await self._append([*self._timely(events, number), *self._stuck(at)])
            self._questions.answered((each.instance for each in events), number)
        for record in here:
            self._follow(record)
        if whole:
            self._ask_about_those_that_left({record.instance for record in found}, after)
            self.complete = True
        return True

    def _timely(self, events: Sequence[RecordObserved], number: int) -> Iterator[RecordObserved]:
        """Pass on what is news, unless something newer was said already; where that is uncertain, ask again."""
        for event in events:
            if self._questions.is_late(event.instance, number) or not self._is_news(event):
                continue
            said = self._said.vouched.get(event.instance)
            if said is not None and said.is_novas and said.position > event.after:
                self.want(event.instance)
            else:
                yield event

    def _is_news(self, event: RecordObserved | RecordNotFound) -> bool:
        known = self._known(event.instance)
        if isinstance(event, RecordNotFound):
            return known is not None
        if known is None:
            # What is deleted is listed for a while, to whoever asks for changes.
            return event.vm_state is not VmState.DELETED
        return essence(known) != essence(event)

    def _follow(self, record: ServerRecord) -> None:
        """Note how far Nova's clock is, and look for stops where an instance may have been stopped."""
        updated = nova_time(record.updated)
        if updated is None:
            return
        self._newest = max(updated, self._newest or updated)
        since = moment(self._last) - OVERLAP if self._last else None
        touched = self._stops.is_touched(record.instance, record.vm_state, updated, since=since)
        if touched and record.vm_state is VmState.STOPPED:
            self._history.want(record.instance)
        if record.vm_state is VmState.DELETED and self._known(record.instance) is not None:
            self.want(record.instance)

    def _ask_about_those_that_left(self, listed: Collection[InstanceId], after: Position) -> None:
        for instance, said in self._said.vouched.items():
            if said.is_novas and said.host == self._how.host and instance not in listed and said.position <= after:
                self.want(instance)

    def _judge_account(self, found: Sequence[ServerRecord], here: Sequence[ServerRecord]) -> None:
        """Say once what keeps Nova's answer from being of use."""
        if found and not any(record.host for record in found):
            self._say_once(
                "Nova does not show this account the hosts of instances, so none is taken for this host's; "
                "give the account the role admin"
            )
        elif here and not any(self._host in (record.host, record.node) for record in here):
            self._say_once(
                f"Nova's instances of {self._how.host} are on {here[0].node}, and this host is called {self._host}: no "
                "command will be planned for them; give the host that name by [[host]]"
            )

    def _say_once(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._tell.error(problem)

    def _stuck(self, at: Timestamp) -> Iterator[Event]:
        here = {each for each, said in self._said.vouched.items() if said.is_novas and said.host == self._how.host}
        return self._tasks.alarms(at, after=self._how.stuck_after, host=self._host, here=here)

    # --------------------------------------------------------------------------------------------- reading one

    def _is_open(self, instance: InstanceId) -> bool:
        """Whether somebody still has to know what Nova says of an instance."""
        said = self._said.vouched.get(instance)
        return instance in self._asks() or (said is not None and said.is_novas and said.host == self._how.host)

    async def _ask(self, instance: InstanceId) -> None:
        """Ask about one instance; append what is news or wanted, unless a later question was answered before."""
        number = self._questions.begin()
        fact = await ask(self._nova, instance, self._said.position, self._clock)
        async with self._questions.appending:
            late = self._questions.is_late(instance, number)
            if not late:
                self._questions.answered([instance], number)
                await self._append([fact] if instance in self._asks() or self._is_news(fact) else [])
        if late and self._is_open(instance):
            self.want(instance)

    async def _ask_history(self, instance: InstanceId) -> None:
        """Append the stops in Nova's own history of an instance that the log does not have."""
        assert self._first is not None
        facts = self._stops.facts(instance, await self._nova.actions(instance), since=self._first, now=self._clock())
        async with self._questions.appending:
            await self._append(facts)

    # ---------------------------------------------------------------------------------------------- what is known

    def _known(self, instance: InstanceId) -> Vouched | RecordObserved | None:
        """Nova's last word in the log; None where it has none, or a person's came after it."""
        if instance in self._appended:
            return self._appended[instance][1]
        said = self._said.vouched.get(instance)
        return said if said is not None and said.is_novas else None

    async def _append(self, events: Sequence[Event]) -> None:
        """Append facts, and remember them until they are folded."""
        first = await self._stream.append(events)
        if first is None:
            return
        for place, event in enumerate(events):
            self._tasks.apply(event)
            self._stops.note(event)
            if isinstance(event, RecordObserved | RecordNotFound):
                said = event if isinstance(event, RecordObserved) else None
                self._appended[event.instance] = Position(first + place), said


def _fact(record: ServerRecord, *, asked_at: Timestamp, observed_at: Timestamp, after: Position) -> RecordObserved:
    return RecordObserved(
        observed_at=observed_at,
        instance=record.instance,
        asked_at=asked_at,
        vm_state=record.vm_state,
        task_state=record.task_state,
        power_state=record.power_state,
        host=record.host,
        after=after,
        node=record.node,
    )
