"""What other programs' logs tell of the time that nobody of ours saw; the rules are `timeline`'s."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from es_power.domain.events import Event, GapOpened, LifecycleEvent, Position, ServiceStopped, StateObserved
from es_power.domain.logged import FactImported, NovaTransitionLogged, QemuEnded, QemuStarted
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.time import Timestamp
from es_power.projections.history import Entry
from es_power.projections.imported import MARK, opened
from es_power.projections.owned import CONFLICT
from es_power.projections.spans import BEGIN, END, Point, Source, merged

LOGGED: Final = (QemuStarted.__name__, QemuEnded.__name__, NovaTransitionLogged.__name__)
"""The kinds of facts that tell a state; the others of their streams tell why."""

READ_THERE: Final = tuple(f"{MARK}{kind}" for kind in LOGGED)
"""The kinds of entries for such facts of another log of ours, which had read them."""

SEEN_THERE: Final = tuple(f"{MARK}{kind.__name__}" for kind in (StateObserved, LifecycleEvent))
"""The kinds of entries for what that log itself saw of a state."""

BLIND: Final = tuple(f"{MARK}{kind.__name__}" for kind in (GapOpened, ServiceStopped))
"""From then on that log tells nothing."""

UNTOLD: Final = "before it was observed; no log tells"
_MIGRATED: Final = "migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedWord:
    """What a line of a log says of a VM's state from its time on."""

    at: Timestamp
    position: Position
    stream: str
    #: None: that it went elsewhere.
    state: PowerState | None
    #: Whether qemu held it before that line; None where the line does not tell.
    was_on: bool | None = None
    #: When the log was read, up to which nothing more stood in it; None where that does not tell how long a state held.
    read_at: Timestamp | None = None
    #: Whether another log of ours saw it, and read it nowhere.
    seen: bool = False


def read_word(event: Event, entry: Entry) -> LoggedWord | None:
    """Read a line of a log, wherever the log was read; None for one that tells no state."""
    word = _logged_word(opened(event), stream=entry.stream, position=entry.position)
    read_at = event.recorded_then if isinstance(event, FactImported) else entry.recorded_at
    return word and replace(word, read_at=read_at)


def _logged_word(event: Event, *, stream: str, position: Position) -> LoggedWord | None:
    match event:
        case QemuStarted():
            state, was_on = PowerState.RUNNING, False
        case QemuEnded(reason=reason):
            return LoggedWord(
                at=event.observed_at,
                position=position,
                stream=stream,
                state=None if reason == _MIGRATED else PowerState.SHUTDOWN,
                was_on=True,
            )
        case NovaTransitionLogged(transition=transition):
            return LoggedWord(at=event.observed_at, position=position, stream=stream, state=transition.power_state)
        case _:
            return None
    return LoggedWord(at=event.observed_at, position=position, stream=stream, state=state, was_on=was_on)


def seen_word(entry: Entry, until: Timestamp) -> LoggedWord | None:
    """Read an entry for what another log of ours saw, which would have told of a change `until` then."""
    state = entry.power_state
    if state is None:
        return None
    # What was observed had become so at a time that nobody tells; what was announced became so then.
    was_on = state.is_on if entry.kind == f"{MARK}{StateObserved.__name__}" else None
    return replace(blind_word(entry), state=state, was_on=was_on, read_at=until)


def blind_word(entry: Entry) -> LoggedWord:
    """Read an entry for that another log of ours saw nothing from then on."""
    return LoggedWord(at=entry.observed_at, position=entry.position, stream=entry.stream, state=None, seen=True)


def filled(points: Sequence[Point], words: Sequence[LoggedWord]) -> list[Point]:
    """The same, with what the words tell put in where nobody knows, and before anybody of ours looked."""
    if not words:
        return list(points)
    told = _counting(sorted(words, key=_place))
    found: list[Point] = []
    for region, end, following in _regions(points):
        begin = region[0].at if region else BEGIN
        if region or not found:
            within = [word for word in told if begin <= word.at < end]
            under = [_unknown(within[0])] if within and not region else region
            found += _laid_over(under, _covers(within, end, following))
        if following is not None:
            found.append(following)
    return merged(found)


def _counting(words: Iterable[LoggedWord]) -> list[LoggedWord]:
    """Leave out what another log of ours read of times at which it saw the VM itself: as here, that fills nothing."""
    counting: list[LoggedWord] = []
    seen: dict[str, LoggedWord] = {}
    since: dict[str, list[LoggedWord]] = defaultdict(list)
    for word in words:
        if not word.seen:
            since[word.stream].append(word)
            continue
        before = seen.get(word.stream)
        if before is None or before.state is None or not _leads_to(before, word):
            counting += since[word.stream]
        since[word.stream].clear()
        seen[word.stream] = word
        counting.append(word)
    for stream, lines in since.items():
        # After its last word, a line may be of a time when it saw no more.
        counting += [line for line in lines if stream not in seen or line.state != seen[stream].state]
    return sorted(counting, key=_place)


def _place(word: LoggedWord) -> tuple[Timestamp, Position]:
    return word.at, word.position


def _regions(points: Sequence[Point]) -> Iterator[tuple[list[Point], Timestamp, Point | None]]:
    """Take the points apart: time that may be filled, its end, and the point after it that may not be filled.

    The first one is the time before all points.
    """
    region: list[Point] = []
    for place, point in enumerate(points):
        if place and point.state == UNKNOWN and not point.why.startswith(CONFLICT):
            region.append(point)
        else:
            yield region, point.at, point
            region = []
    yield region, END, None


def _covers(
    words: Sequence[LoggedWord], end: Timestamp, following: Point | None
) -> Iterator[tuple[Timestamp, Timestamp, Point]]:
    """From when to when each word holds: until the next one, if that follows from it; the last, until it was read."""
    for place, word in enumerate(words):
        upcoming = words[place + 1] if place + 1 < len(words) else None
        until = _holds_until(word, upcoming, end, following)
        if until is not None and word.state is not None:
            told = Point(
                at=word.at, state=word.state.value, stream=word.stream, source=Source.IMPORTED, position=word.position
            )
            yield word.at, until, told


def _holds_until(
    word: LoggedWord, upcoming: LoggedWord | None, end: Timestamp, following: Point | None
) -> Timestamp | None:
    if upcoming is not None:
        return upcoming.at if _leads_to(word, upcoming) else None
    if following is not None:
        return end if _follows(word, following) else None
    return word.read_at if word.read_at is not None and word.read_at > word.at else None


def _laid_over(region: Sequence[Point], covers: Iterable[tuple[Timestamp, Timestamp, Point]]) -> Iterator[Point]:
    """Put what holds for a while over what is there anyway."""
    under: Point | None = None
    rest = deque(region)
    for begin, end, point in covers:
        while rest and rest[0].at < begin:
            under = rest.popleft()
            yield under
        yield point
        while rest and rest[0].at <= end:
            under = rest.popleft()
        if under is not None:
            yield replace(under, at=end)
    yield from rest


def _unknown(word: LoggedWord) -> Point:
    return Point(at=word.at, state=UNKNOWN, why=UNTOLD, position=word.position)


def _leads_to(word: LoggedWord, upcoming: LoggedWord) -> bool:
    """Whether the next line of a log fits what this one says."""
    if word.state is None or upcoming.was_on is None or word.stream != upcoming.stream:
        return True
    return word.state.is_on == upcoming.was_on


def _follows(word: LoggedWord, point: Point) -> bool:
    """Whether what we saw next fits what this line says: it is the same, or a change that was announced."""
    if word.state is None or point.state == UNKNOWN:
        return False
    if point.state is None:
        return not word.state.is_on
    return point.is_change or point.state == word.state
