import contextlib
import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from es_power.domain.time import SECOND, Timestamp, moment, rfc3339, timestamp
from es_power.timewords import month, parse, span

BERLIN = ZoneInfo("Europe/Berlin")
NOW = timestamp(datetime(2026, 11, 22, 20, 36, 2, 500_000, tzinfo=UTC))
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND


def read(text: str) -> str:
    return rfc3339(parse(text, now=NOW, zone=BERLIN)).replace(".000000000", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("now", "2026-11-22T20:36:02.500000000Z"),
        ("today", "2026-11-21T23:00:00Z"),
        ("yesterday", "2026-11-20T23:00:00Z"),
        ("tomorrow", "2026-11-22T23:00:00Z"),
        ("-1h", "2026-11-22T19:36:02.500000000Z"),
        ("-30m", "2026-11-22T20:06:02.500000000Z"),
        ("-1h30min", "2026-11-22T19:06:02.500000000Z"),
        ("-90", "2026-11-22T20:34:32.500000000Z"),
        ("+5s", "2026-11-22T20:36:07.500000000Z"),
        ("2 days ago", "2026-11-20T20:36:02.500000000Z"),
        ("1 week 2 hours ago", "2026-11-15T18:36:02.500000000Z"),
        ("10:30", "2026-11-22T09:30:00Z"),
        ("10:30:15", "2026-11-22T09:30:15Z"),
        ("9:05", "2026-11-22T08:05:00Z"),
        ("10:30 UTC", "2026-11-22T10:30:00Z"),
        ("2026-11-22", "2026-11-21T23:00:00Z"),
        ("2026-11-22Z", "2026-11-22T00:00:00Z"),
        ("2026-11-22 03:12", "2026-11-22T02:12:00Z"),
        ("2026-11-22 03:12:05", "2026-11-22T02:12:05Z"),
        ("2026-11-22 03:12:05 UTC", "2026-11-22T03:12:05Z"),
        ("2026-11-22T03:12:05Z", "2026-11-22T03:12:05Z"),
        ("2026-11-22t03:12:05z", "2026-11-22T03:12:05Z"),
        ("2026-11-22T03:12:05+05:30", "2026-11-21T21:42:05Z"),
        ("2026-11-22T03:12:05-0800", "2026-11-22T11:12:05Z"),
        ("2026-11-22T03:12:05.000000001Z", "2026-11-22T03:12:05.000000001Z"),
        ("@1700000000", "2023-11-14T22:13:20Z"),
        ("@1700000000.25", "2023-11-14T22:13:20.250000000Z"),
        ("  2  days   ago ", "2026-11-20T20:36:02.500000000Z"),
    ],
)
def test_journalctls_words_are_understood(words, expected):
    assert read(words) == expected


def test_today_is_the_zones_today_and_not_that_of_utc():
    just_after_midnight = timestamp(datetime(2026, 11, 21, 23, 10, tzinfo=UTC))

    assert rfc3339(parse("today", now=just_after_midnight, zone=BERLIN)).startswith("2026-11-21T23:00:00")
    assert rfc3339(parse("today", now=just_after_midnight, zone=UTC)).startswith("2026-11-21T00:00:00")


def test_a_local_time_has_the_offset_of_its_own_day_and_not_of_now():
    assert read("2026-07-01 12:00") == "2026-07-01T10:00:00Z"


def test_a_clock_time_that_occurs_twice_is_its_first_occurrence():
    assert read("2026-10-25 02:30") == "2026-10-25T00:30:00Z"


def test_yesterday_starts_at_midnight_also_after_the_clocks_changed():
    after_the_change = timestamp(datetime(2026, 10, 26, 12, tzinfo=UTC))

    assert rfc3339(parse("yesterday", now=after_the_change, zone=BERLIN)).startswith("2026-10-24T22:00:00")


def test_without_a_zone_given_the_machines_own_is_used(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        at = parse("2026-11-22 05:30", now=NOW)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert rfc3339(at) == "2026-11-22T00:00:00.000000000Z"


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "ago", "+", "-", "1h", "1 fortnight ago", "-1h ago", "-9999999999 years"),
        *("25:00", "10:61", "10", "T10:30", "Z", "@", "@x", "@-1", "@999999999999999999"),
        *("2026-13-01", "2026-02-30", "2026-11-22T", "2026-11-2210:30", "2026-11-22 03:12:05 CET"),
        *("2026-11-22T03:12:05+99:00", "\N{FULLWIDTH DIGIT TWO}026-11-22"),
    ],
)
def test_what_is_not_understood_is_refused_with_all_that_is(text):
    with pytest.raises(ValueError, match=r"is no time \(.+\); understood are now, today, .*, @1700000000"):
        parse(text, now=NOW, zone=BERLIN)


@given(st.integers(-(10**18), 10**19).map(Timestamp))
def test_what_is_shown_in_rfc_3339_can_be_given_back(at):
    assert parse(rfc3339(at), now=NOW, zone=BERLIN) == at


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_rfc_3339_with_any_offset_is_read_as_python_reads_it(naive, minutes):
    aware = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))

    assert parse(aware.isoformat(), now=NOW, zone=BERLIN) == timestamp(aware)


@given(st.text())
def test_any_text_is_a_time_or_a_clear_error(text):
    with contextlib.suppress(ValueError):
        parse(text, now=NOW, zone=BERLIN)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("600", 600 * SECOND),
        ("10m", 10 * MINUTE),
        ("1h 30min", 90 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1.5h", 90 * MINUTE),
        ("250ms", SECOND // 4),
        ("0.5", SECOND // 2),
        ("2 days", 2 * DAY),
        ("1 M", 2_630_016 * SECOND),
        ("0", 0),
    ],
)
def test_a_span_of_time_is_read_with_systemds_units(text, nanoseconds):
    assert span(text) == nanoseconds


@pytest.mark.parametrize("text", ["", " ", "m", "-5", "10 parsecs", "1h 30", "10m!", "1..5h", "nan", "1e3", "²"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(ValueError, match="is no span of time such as"):
        span(text)


# ------------------------------------------------------------------------------------------------------- months


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2026-10", 31 * 24 + 1), ("2026-03", 31 * 24 - 1), ("2026-02", 28 * 24), ("2024-02", 29 * 24), (None, 30 * 24)],
)
def test_a_month_is_as_long_as_its_days_are_where_it_is_read(text: str | None, hours: int) -> None:
    since, until = month(text, now=NOW, zone=BERLIN)

    assert until - since == hours * 3600 * SECOND
    assert moment(since).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M") == f"{text or '2026-11'}-01 00:00"


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026", "", "2026-10-01", "9999-12", "0000-01", "٢٠٢٦-١٠"])  # noqa: RUF001
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no month such as 2026-10"):
        month(text, now=NOW)
