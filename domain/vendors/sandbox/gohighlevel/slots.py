"""Free slots of a calendar."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import epoch_ms

MINUTES = {"mins": 1, "hours": 60}


def free_slots(calendar: Json, events: Iterable[Json], *, start: int, end: int, zone: ZoneInfo, home: ZoneInfo) -> Json:
    """The free slots between two moments (epoch ms), by date of `zone`: `{"2026-01-05": {"slots": ["..."]}}`.

    The calendar's opening hours are in `home`, its location's time zone; a date without a free slot is left out.
    """
    length = timedelta(minutes=calendar.get("slotDuration", 30) * MINUTES[calendar.get("slotDurationUnit", "mins")])
    first, last = datetime.fromtimestamp(start / 1000, UTC), datetime.fromtimestamp(end / 1000, UTC)
    taken = [
        (epoch_ms(event["startTime"]) or 0, epoch_ms(event["endTime"]) or 0)
        for event in events
        if event["calendarId"] == calendar["id"] and event["appointmentStatus"] != "cancelled"
    ]
    days: Json = {}
    for moment in _openings(calendar, first, last, home, length):
        begins, ends = round(moment.timestamp() * 1000), round((moment + length).timestamp() * 1000)
        if first <= moment < last and not any(begins < busy_end and ends > busy for busy, busy_end in taken):
            local = moment.astimezone(zone)
            days.setdefault(local.date().isoformat(), {"slots": []})["slots"].append(local.isoformat(timespec="seconds"))
    return days


def _openings(calendar: Json, first: datetime, last: datetime, home: ZoneInfo, length: timedelta) -> Iterable[datetime]:
    day = first.astimezone(home).date()
    while day <= last.astimezone(home).date():
        # The vendor counts Sunday as 0.
        weekday = (day.weekday() + 1) % 7
        for opening in calendar.get("openHours", []):
            for hours in opening["hours"] if weekday in opening["daysOfTheWeek"] else ():
                moment = datetime(day.year, day.month, day.day, hours["openHour"], hours["openMinute"], tzinfo=home)
                closes = datetime(day.year, day.month, day.day, hours["closeHour"], hours["closeMinute"], tzinfo=home)
                while moment + length <= closes:
                    yield moment.astimezone(UTC)
                    moment += length
        day += timedelta(days=1)
