"""Wall time: nanoseconds since 1970 in UTC, shown to people, never compared to order facts.

The domain reads no clock; a ``Timestamp`` comes in with a fact or not at all.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NewType

Timestamp = NewType("Timestamp", int)
"""Nanoseconds since 1970-01-01T00:00:00Z."""

NEVER: Final = Timestamp(0)
"""No time yet."""

SECOND: Final = 1_000_000_000
"""One second in nanoseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(moment: datetime) -> Timestamp:
    """Convert an aware datetime; a naive one is refused with ValueError, since its zone would be a guess."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        msg = f"{moment.isoformat()} has no time zone; add one (for example Z)"
        raise ValueError(msg)
    since = moment - _EPOCH
    return Timestamp((since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000)


def moment(at: Timestamp) -> datetime:
    """Give the aware UTC datetime of a timestamp, cut to microseconds (a datetime holds no more)."""
    return _EPOCH + timedelta(microseconds=at // 1_000)


def rfc3339(at: Timestamp) -> str:
    """Write a timestamp as RFC 3339 in UTC with nanoseconds, so that text sorts as time does."""
    seconds, nanos = divmod(at, SECOND)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def require_timestamp(value: object, field: str) -> None:
    """Raise TypeError unless ``value`` is a timestamp; a datetime is told how to become one."""
    if type(value) is int:
        return
    hint = "; convert it with es_power.timestamp()" if isinstance(value, datetime) else ""
    msg = f"{field} must be nanoseconds since 1970 in UTC, not {type(value).__name__}{hint}"
    raise TypeError(msg)
