"""Timelines drawn with letters and shades: a line for each VM, below them an axis with times, and what the signs mean.

The signs differ without colour; where the stream's encoding has none of them, they are ASCII. A VM's name is shown with
nothing in it that a terminal obeys.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import groupby
from typing import Final, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from es_power.answers.rows import POWER_STYLES
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.time import SECOND, Timestamp, moment, timestamp
from es_power.projections.spans import MIXED, NOTHING, Segment
from es_power.projections.timeline import Timeline

_SIGNS: Final[Mapping[str, tuple[str, str, str]]] = {
    PowerState.CRASHED: ("╳", "X", "crashed"),  # noqa: RUF001 (a cross is meant)
    PowerState.SHUTDOWN: ("·", ".", "off"),
    UNKNOWN: ("░", "?", "unknown"),
    PowerState.NOSTATE: ("░", "?", "unknown"),
    PowerState.SUSPENDED: ("z", "z", "suspended"),
    PowerState.PAUSED: ("▒", "=", "paused"),
    PowerState.RUNNING: ("█", "#", "running"),
}
"""Of each state its sign, its sign in ASCII, and its word; of several in one place the first one is shown."""

_NO_TERMINAL: Final = 100
"""Columns of what goes into a pipe or a file."""

_NAME: Final = 24
_LEAST: Final = 10  # columns of a lane
_LABEL: Final = 10  # columns that a time on the axis needs

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * each for each in (1, 2, 3, 4, 6, 12)),
    *(_DAY * each for each in (1, 2, 7, 14, 30, 90, 180, 365, 3_650, 36_500)),
)


class Drawing:
    """Timelines of one time, as they are to be drawn."""

    def __init__(self, *, since: Timestamp, until: Timestamp, zone: tzinfo | None) -> None:
        self._since = since
        self._until = until
        self._zone = zone
        self._lines: list[tuple[str, tuple[Segment, ...]]] = []

    def add(self, timeline: Timeline) -> None:
        """Take in one VM."""
        name = timeline.name if timeline.name is not None else str(timeline.instance)
        self._lines.append((_harmless(name), timeline.segments))

    def write(self, out: TextIO, *, environ: Mapping[str, str] = os.environ) -> None:
        """Draw all of it; in colour only on a terminal, and not where NO_COLOR is set."""
        terminal = out.isatty()
        colour = terminal and not environ.get("NO_COLOR")
        console = Console(
            file=out,
            force_terminal=colour,
            color_system="auto" if colour else None,
            width=None if terminal else _NO_TERMINAL,
            _environ=environ,
        )
        for line in self._drawn(console.width, fancy=_has_signs(out)):
            line.rstrip()
            console.print(line, soft_wrap=True, highlight=False)

    def _drawn(self, screen: int, *, fancy: bool) -> Iterator[Text]:
        if not self._lines:
            yield Text("No VM is known to have existed in that time.")
            return
        widest = max(cell_len(name) for name, _ in self._lines)
        head = min(widest, _NAME, max(screen - _LEAST - 1, 1))
        width = max(screen - head - 1, _LEAST)
        shown: set[str] = set()
        for name, segments in self._lines:
            line = Text(_fitted(name, head, fancy=fancy) + " ")
            states = self._columns(segments, width)
            shown.update(states)
            for state, same in groupby(states):
                sign = _sign(state, fancy=fancy)
                line.append(sign * len(list(same)), style=POWER_STYLES.get(state, ""))
            yield line
        yield from self._axis(head + 1, width, fancy=fancy)
        words = dict.fromkeys((_sign(state, fancy=fancy), _SIGNS[state][2]) for state in _SIGNS if state in shown)
        told = [f"{sign} {word}" for sign, word in reversed(words)]
        yield Text("  ".join([*told, "blank: not there"] if NOTHING in shown else told))

    def _columns(self, segments: Sequence[Segment], width: int) -> list[str]:
        """What each column shows: of the states in its part of the time the one that matters most."""
        whole = self._until - self._since
        found = [NOTHING] * width
        rank = {state: place for place, state in enumerate(_SIGNS)} | {NOTHING: len(_SIGNS)}
        for segment in segments:
            first = (segment.since - self._since) * width // whole
            last = -((self._since - segment.until) * width // whole)  # rounded up
            for state in segment.shares if segment.state == MIXED else (segment.state or NOTHING,):
                for column in range(first, min(last, width)):
                    if rank[state] < rank[found[column]]:
                        found[column] = state
        return found

    def _axis(self, indent: int, width: int, *, fancy: bool) -> Iterator[Text]:
        """The times under the lanes, and what time it is all about."""
        whole = self._until - self._since
        step = next((each for each in _STEPS if width * each * SECOND >= _LABEL * whole), _STEPS[-1])
        marks, labels = [" "] * width, [" "] * (width + _LABEL)
        free = 0
        for at in self._ticks(step):
            column = (at - self._since) * width // whole
            label = self._label(at, step)
            if free <= column < width and column + len(label) <= width + 1:
                marks[column] = "│" if fancy else "|"
                labels[column : column + len(label)] = label
                free = column + len(label) + 1
        yield Text(" " * indent + "".join(marks))
        yield Text(" " * indent + "".join(labels))
        begin, end = (moment(at).astimezone(self._zone) for at in (self._since, self._until))
        zones = "/".join(dict.fromkeys(str(each.tzname()) for each in (begin, end)))
        times = " to ".join(each.replace(tzinfo=None).isoformat(" ", "seconds") for each in (begin, end))
        yield Text(f"{times} {zones}")

    def _ticks(self, step: int) -> Iterator[Timestamp]:
        """Round local times, also where the clocks change in between."""
        day = moment(self._since).astimezone(self._zone).date()
        while True:
            begin, following = self._midnight(day), self._midnight(day + timedelta(days=max(step // _DAY, 1)))
            for at in range(begin, following, min(step, _DAY) * SECOND) if step < _DAY else (begin,):
                if at >= self._until:
                    return
                if at >= self._since:
                    yield Timestamp(at)
            day += timedelta(days=max(step // _DAY, 1))

    def _midnight(self, day: date) -> Timestamp:
        naive = datetime.combine(day, time())
        return timestamp(naive.astimezone() if self._zone is None else naive.replace(tzinfo=self._zone))

    def _label(self, at: Timestamp, step: int) -> str:
        local = moment(at).astimezone(self._zone)
        if step >= _DAY or local.time() == time():
            return f"{local:%Y-%m-%d}"
        return f"{local:%H:%M:%S}" if step < _MINUTE else f"{local:%H:%M}"


def _sign(state: str, *, fancy: bool) -> str:
    if state not in _SIGNS:
        return " "
    return _SIGNS[state][0 if fancy else 1]


def _has_signs(out: TextIO) -> bool:
    try:
        "".join((*(sign for sign, _, _ in _SIGNS.values()), "│…")).encode(getattr(out, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True


def _fitted(name: str, width: int, *, fancy: bool) -> str:
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    return set_cell_size(name, width - 1) + ("…" if fancy else ">")


def _harmless(name: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name[:200])
