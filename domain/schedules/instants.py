"""When a schedule fires. The preview and the engine ask the same function, `next_after`.

The rule for daylight saving, for recurrences of the clock on the wall (all but EveryMinutes and Once):

- A time that the clock skips fires once, at the first moment after the gap; several such times fire once together.
- A time that the clock shows twice fires the first time only if the hour is named, as in `30 1 * * *`; where the hour field
  begins with `*`, as in `*/15 * * * *`, it fires both times.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile

from cronsim.cronsim import CronSim

from domain.schedules.recurrence import EveryMinutes, Once, Recurrence, expression_of

_REACH = timedelta(hours=3)  # no zone turns its clock by more
_WINDOWS = tuple(timedelta(days=days) for days in (0.1, 7, 40, 400, 4000))


def next_after(recurrence: Recurrence, zone: tzinfo, after: datetime) -> datetime | None:
    """The first instant later than `after`, in UTC; None when there is none any more."""
    if isinstance(recurrence, Once):
        return recurrence.at if recurrence.at > after else None
    if isinstance(recurrence, EveryMinutes):
        step = recurrence.minutes * 60
        return datetime.fromtimestamp((int(after.timestamp()) // step + 1) * step, UTC)
    expression = expression_of(recurrence) or ""
    wall = _wall(after, zone)
    if expression.split()[1].startswith("*") and _is_near_a_turn(after, zone):
        return _first_of_both(expression, zone, after)
    for time in CronSim(expression, wall):
        instant = _instant(time, zone)
        if instant > after:
            return instant
    return None


def upcoming(recurrence: Recurrence, zone: tzinfo, after: datetime, *, count: int) -> list[datetime]:
    """The next instants, at most `count`."""
    return list(islice(_following(recurrence, zone, after), count))


def fires_at(recurrence: Recurrence, zone: tzinfo, instant: datetime) -> bool:
    """Whether `instant` is one of its instants."""
    return next_after(recurrence, zone, instant - timedelta(microseconds=1)) == instant


def newest_due(recurrence: Recurrence, zone: tzinfo, *, first: datetime, now: datetime, count: int) -> list[datetime]:
    """Those from `first`, which is due, until `now`: the newest `count` of them, oldest first, however long ago `first` was."""
    found: list[datetime] = []
    for window in _WINDOWS:
        start = max(first, now - window)
        found = [first] if start == first else []
        found += takewhile(lambda instant: instant <= now, _following(recurrence, zone, start))
        if start == first or len(found) >= count:
            break
    return (found or [first])[-count:]


def _following(recurrence: Recurrence, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    moment = next_after(recurrence, zone, after)
    while moment is not None:
        yield moment
        moment = next_after(recurrence, zone, moment)


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """The first moment at which the clock shows `wall`, or has gone past it where it skips it."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    return moment if _wall(moment, zone) == wall else _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _is_near_a_turn(instant: datetime, zone: tzinfo) -> bool:
    return (instant - _REACH).astimezone(zone).utcoffset() != (instant + _REACH).astimezone(zone).utcoffset()


def _first_of_both(expression: str, zone: tzinfo, after: datetime) -> datetime | None:
    """Where the clock shows times twice, their order on the wall is not the order in which they come."""
    best: datetime | None = None
    for time in CronSim(expression, _wall(after, zone) - _REACH):
        if best is not None and time > _wall(best, zone) + _REACH:
            break
        again = time.replace(tzinfo=zone, fold=1).astimezone(UTC)
        shown = [_instant(time, zone)] + ([again] if _wall(again, zone) == time else [])
        best = min([instant for instant in shown if instant > after] + ([] if best is None else [best]), default=None)
    return best
