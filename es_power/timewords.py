"""journalctl's words for times and spans of time (systemd.time(7)), read without a clock of its own.

A time without a zone is local: read in the zone given, or in that of this machine where None is given. A clock time
that occurs twice in autumn is its first occurrence. A day is 24 hours, a month 30.44 days and a year 365.25, as there.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from es_power.domain.time import SECOND, Timestamp, moment, timestamp

__all__ = ["UNDERSTOOD", "month", "parse", "span"]

UNDERSTOOD: Final = (
    "now, today, yesterday, tomorrow, -1h, +5s, 2 days ago, 10:30, 2026-11-22, 2026-11-22 03:12:05, "
    "2026-11-22T03:12:05Z, @1700000000"
)

_UNITS: Final[Mapping[str, int]] = {
    name: nanoseconds
    for names, nanoseconds in (
        ("ns nsec", 1),
        ("us usec", 1_000),
        ("ms msec", 1_000_000),
        ("s sec second seconds", SECOND),
        ("m min minute minutes", 60 * SECOND),
        ("h hr hour hours", 3_600 * SECOND),
        ("d day days", 86_400 * SECOND),
        ("w week weeks", 7 * 86_400 * SECOND),
        ("M month months", 2_630_016 * SECOND),
        ("y year years", 31_557_600 * SECOND),
    )
    for name in names.split()
}
_DAY: Final = 86_400 * SECOND
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}

_NUMBER: Final = r"(?P<whole>\d+)(?:\.(?P<fraction>\d{1,9}))?"
_PART: Final = re.compile(rf"\s*{_NUMBER}\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII)
_SECONDS: Final = re.compile(rf"\s*{_NUMBER}\s*", re.ASCII)
_SINCE_1970: Final = re.compile(rf"@{_NUMBER}", re.ASCII)
_MONTH: Final = re.compile(r"\d{4}-\d\d", re.ASCII)
_STAMP: Final = re.compile(
    r"(?=\d)(?P<date>\d{4}-\d\d-\d\d)?"
    r"(?:(?:^|[ Tt])(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"(?: ?(?P<utc>[Zz]|UTC)| ?(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?",
    re.ASCII,
)


def parse(text: str, *, now: Timestamp, zone: tzinfo | None = None) -> Timestamp:
    """Read a time; ValueError names what is understood."""
    words = " ".join(text.split())
    try:
        at = _parse(words, now, zone)
        for day in (-_DAY, _DAY):
            moment(Timestamp(at + day))  # outside the years 1 to 9999 nothing could show it, in whatever zone
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time ({error}); understood are {UNDERSTOOD}") from None
    return at


def month(text: str | None, *, now: Timestamp, zone: tzinfo | None = None) -> tuple[Timestamp, Timestamp]:
    """Read a month (``2026-10``; None is the present one) as its beginning and that of the next one.

    They are local, so a month in which the clocks change is longer or shorter by that. ValueError where it is none.
    """
    try:
        if text is None:
            first = moment(now).astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        else:
            first = datetime.fromisoformat(f"{text if _MONTH.fullmatch(text) else ''}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        return _local(first, zone), _local(following, zone)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no month such as 2026-10") from None


def span(text: str) -> int:
    """Read a span of time (``10m``, ``1h 30min``, ``2 days``; a bare number is seconds) as nanoseconds.

    ValueError says what is understood.
    """
    if seconds := _SECONDS.fullmatch(text):
        return _nanoseconds(seconds, SECOND)
    total = end = 0
    while (part := _PART.match(text, end)) and part["unit"] in _UNITS:
        total += _nanoseconds(part, _UNITS[part["unit"]])
        end = part.end()
    if end == 0 or end < len(text):
        raise ValueError(f"{text!r} is no span of time such as 90, 10m, 1h 30min or 2 days")
    return total


def _parse(words: str, now: Timestamp, zone: tzinfo | None) -> Timestamp:
    today = moment(now).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if words == "now":
        return now
    if words in _DAYS:
        return _local(today + timedelta(days=_DAYS[words]), zone)
    if words.startswith(("+", "-")):
        return Timestamp(now + span(words[1:]) * (1 if words[0] == "+" else -1))
    if words.endswith(" ago"):
        return Timestamp(now - span(words.removesuffix(" ago")))
    if seconds := _SINCE_1970.fullmatch(words):
        return Timestamp(_nanoseconds(seconds, SECOND))
    stamp = _STAMP.fullmatch(words)
    if stamp is None:
        raise ValueError("it has none of the forms")
    day = datetime.fromisoformat(stamp["date"]) if stamp["date"] else today
    hour, minute, second = (int(stamp[unit] or 0) for unit in ("hour", "minute", "second"))
    clock = day.replace(hour=hour, minute=minute, second=second)
    return Timestamp(_local(clock, _zone(stamp) or zone) + _fraction(stamp["fraction"]))


def _local(naive: datetime, zone: tzinfo | None) -> Timestamp:
    """Place a naive time in a zone; None is this machine's, as for `datetime.astimezone`."""
    return timestamp(naive.astimezone() if zone is None else naive.replace(tzinfo=zone))


def _zone(stamp: re.Match[str]) -> tzinfo | None:
    if stamp["sign"]:
        east = timedelta(hours=int(stamp["hours"]), minutes=int(stamp["minutes"]))
        return timezone(east if stamp["sign"] == "+" else -east)
    return UTC if stamp["utc"] else None


def _nanoseconds(number: re.Match[str], unit: int) -> int:
    return int(number["whole"]) * unit + _fraction(number["fraction"]) * unit // SECOND


def _fraction(digits: str | None) -> int:
    """Read the digits behind a point as billionths."""
    return int((digits or "").ljust(9, "0"))
