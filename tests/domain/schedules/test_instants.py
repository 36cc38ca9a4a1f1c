"""When schedules fire, compared with a model that looks at every single minute of the clock on the wall."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.schedules.instants import fires_at, newest_due, next_after, upcoming
from domain.schedules.recurrence import Cron, Daily, EveryMinutes, Hourly, Monthly, Once, Recurrence, Weekday, Weekly
from domain.schedules.rules import COUNTED

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
ZONES = [
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "America/Havana",  # turns at midnight
    "America/Santiago",  # likewise, in the south
    "America/Nuuk",  # turns on a Saturday evening
    "America/Asuncion",
    "Atlantic/Azores",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Cairo",
    "Africa/Casablanca",  # turns back for Ramadan
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Sydney",
    "Australia/Lord_Howe",  # turns by half an hour
    "Antarctica/Troll",  # turns by two hours
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
]


@cache
def turns(zone: str, year: int) -> list[datetime]:
    """The days of a year on which a zone's offset changes."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(365)]
    info = ZoneInfo(zone)
    return [a for a, b in pairwise(days) if a.astimezone(info).utcoffset() != b.astimezone(info).utcoffset()]


def modelled(minutes: set[int], hours: set[int], zone: ZoneInfo, after: datetime, *, named: bool) -> Iterator[datetime]:
    """Minute by minute: what matches fires; what was skipped fires at the end of the gap; `named` hours once in a fold."""
    moment = after.replace(second=0, microsecond=0)
    before = moment.astimezone(zone).replace(tzinfo=None)
    for _ in range(60 * 24 * 5):
        moment += MINUTE
        shown = moment.astimezone(zone)
        wall = shown.replace(tzinfo=None, fold=0)
        skipped = [before + MINUTE * n for n in range(1, max(1, (wall - before) // MINUTE))]
        fits = [time for time in (wall, *skipped) if time.minute in minutes and time.hour in hours]
        if fits and not (named and shown.fold):
            yield moment
        before = wall


HOURS = st.one_of(
    st.just("*"),
    st.sampled_from(["*/2", "*/3", "*/6"]),
    st.sets(st.integers(0, 23), min_size=1, max_size=4).map(lambda hours: ",".join(map(str, sorted(hours)))),
)
MINUTES = st.one_of(
    st.sampled_from(["*", "*/5", "*/15", "*/30"]),
    st.sets(st.integers(0, 59), min_size=1, max_size=4).map(lambda minutes: ",".join(map(str, sorted(minutes)))),
)


def numbers(field: str, size: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, size, int(field[2:] or 1)))
    return {int(number) for number in field.split(",")}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a moment within two days of a turn of its clocks, where it has any."""
    zone, year = draw(st.sampled_from(ZONES)), draw(st.integers(2024, 2036))
    day = draw(st.sampled_from(turns(zone, year) or [datetime(year, 3, 1, tzinfo=UTC)]))
    return zone, day + timedelta(seconds=draw(st.integers(-86_400, 2 * 86_400)))


@settings(max_examples=300, deadline=None)
@given(moments(), MINUTES, HOURS)
def test_the_next_instants_are_those_of_the_model(at: tuple[str, datetime], minute: str, hour: str) -> None:
    zone, after = ZoneInfo(at[0]), at[1]
    named = not hour.startswith("*")
    expected = list(islice(modelled(numbers(minute, 60), numbers(hour, 24), zone, after, named=named), 5))
    found = upcoming(Cron(f"{minute} {hour} * * *"), zone, after, count=5)
    assert found[: len(expected)] == expected
    assert len(expected) == 5 or len(numbers(hour, 24)) * len(numbers(minute, 60)) == 1


RECURRENCES: st.SearchStrategy[Recurrence] = st.one_of(
    st.builds(lambda minute, hour: Cron(f"{minute} {hour} * * *"), MINUTES, HOURS),
    st.builds(Hourly, st.integers(0, 59)),
    st.builds(Daily, st.integers(0, 23), st.integers(0, 59)),
    st.builds(Weekly, st.sets(st.sampled_from(Weekday), min_size=1).map(tuple), st.integers(0, 23), st.integers(0, 59)),
    st.builds(Monthly, st.one_of(st.none(), st.integers(1, 31)), st.integers(0, 23), st.integers(0, 59)),
    st.builds(EveryMinutes, st.integers(1, 1440)),
)


@settings(max_examples=200, deadline=None)
@given(RECURRENCES, moments(), st.floats(0, 0.99))
def test_what_the_preview_shows_is_what_a_clock_fires(recurrence: Recurrence, at: tuple[str, datetime], late: float) -> None:
    """A clock that comes late each time, but never as late as the next time, looks at `newest_due` and `next_after`."""
    zone, after = ZoneInfo(at[0]), at[1]
    preview = upcoming(recurrence, zone, after, count=6)
    fired: list[datetime] = []
    due = next_after(recurrence, zone, after)
    for following in preview[1:]:
        assert due is not None
        now = due + (following - due) * late
        fired += newest_due(recurrence, zone, first=due, now=now, count=COUNTED)
        due = next_after(recurrence, zone, now)
    assert fired == preview[:5]
    assert sorted(set(preview)) == preview


@settings(max_examples=60, deadline=None)
@given(RECURRENCES, moments(), st.timedeltas(timedelta(0), timedelta(days=400)), st.integers(1, 20))
def test_however_long_a_clock_was_away_it_finds_the_newest(
    recurrence: Recurrence, at: tuple[str, datetime], away: timedelta, count: int
) -> None:
    zone, after = ZoneInfo(at[0]), at[1]
    first = next_after(recurrence, zone, after)
    assert first is not None
    now = first + away
    found = newest_due(recurrence, zone, first=first, now=now, count=count)
    assert len(found) <= count
    assert all(first <= instant <= now and fires_at(recurrence, zone, instant) for instant in found)
    following = upcoming(recurrence, zone, found[-1], count=1)
    assert not following or following[0] > now
    assert upcoming(recurrence, zone, found[0], count=len(found) - 1) == found[1:]
    assert len(found) == count or found[0] == first


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # The clock goes from 01:59 EST to 03:00 EDT on 2026-03-08.
        ("30 2 * * *", "2026-03-07T12:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        ("0,15,30 2 * * *", "2026-03-08T00:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"]),
        ("*/30 * * * *", "2026-03-08T01:20-05:00", ["2026-03-08T01:30-05:00", "2026-03-08T03:00-04:00"]),
        ("0 */2 * * *", "2026-03-08T01:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"]),
        # It goes from 01:59 EDT back to 01:00 EST on 2026-11-01.
        ("30 1 * * *", "2026-11-01T00:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("30 1 * * *", "2026-11-01T01:10-05:00", ["2026-11-02T01:30-05:00", "2026-11-03T01:30-05:00"]),
        ("30 * * * *", "2026-11-01T01:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00"]),
        ("0 9 * * MON", "2026-10-31T00:00-04:00", ["2026-11-02T09:00-05:00", "2026-11-09T09:00-05:00"]),
    ],
)
def test_the_rule_for_daylight_saving(expression: str, after: str, expected: list[str]) -> None:
    found = upcoming(Cron(expression), NEW_YORK, datetime.fromisoformat(after), count=2)
    assert found == [datetime.fromisoformat(text) for text in expected]


def test_one_moment_comes_once() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    assert upcoming(Once(at), NEW_YORK, at - MINUTE, count=5) == [at]
    assert next_after(Once(at), NEW_YORK, at) is None
    assert newest_due(Once(at), NEW_YORK, first=at, now=at + timedelta(days=3), count=5) == [at]
