"""How often a schedule fires: cron text, or one of the forms that people choose from. Stored as JSON with one key, its form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from cronsim.cronsim import CronSim, CronSimError, Field

from domain.errors import Invalid

_PARTS = ("minute", "hour", "day of the month", "month", "day of the week")
_ALLOWED = ("0 to 59", "0 to 23", "1 to 31, or L for the last", "1 to 12 or JAN to DEC", "0 to 7 or SUN to SAT")
_MAX_LENGTH = 200
_MAX_MINUTES = 24 * 60
TEN_YEARS = timedelta(days=10 * 366)
# What people write for a zone. An abbreviation is a fixed offset all year, or means several zones.
_MEANT = {
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "MST": "America/Denver",
    "MDT": "America/Denver",
    "MST7MDT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "PST8PDT": "America/Los_Angeles",
    "HST": "Pacific/Honolulu",
    "BST": "Europe/London",
    "WET": "Europe/Lisbon",
    "CET": "Europe/Berlin",
    "MET": "Europe/Berlin",
    "EET": "Europe/Helsinki",
}
_SINGLE = frozenset({"UTC", "GMT"})  # names that say it all without a place


class InvalidRecurrence(Invalid):
    """There are no such times."""

    code = "SCH-002"


class InvalidCron(Invalid):
    """The cron text cannot be used; `part` names the field of it that is wrong, None where it is the text as a whole."""

    code = "SCH-001"

    def __init__(self, message: str, *, part: str | None, field: tuple[str, ...]) -> None:
        super().__init__(message, field=field)
        self.part = part


class UnknownZone(Invalid):
    """There is no such zone in the IANA database, or it is not the name of a place."""

    code = "SCH-003"


class IfPast(StrEnum):
    """What becomes of a moment that has passed."""

    REJECT = "reject"
    RUN_NOW = "run_now"


class Weekday(StrEnum):
    """A day of the week; the value is cron's."""

    MONDAY = "1"
    TUESDAY = "2"
    WEDNESDAY = "3"
    THURSDAY = "4"
    FRIDAY = "5"
    SATURDAY = "6"
    SUNDAY = "0"


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields, as Debian's cron has them."""

    expression: str


@dataclass(frozen=True, slots=True)
class Hourly:
    """Every hour at this minute."""

    minute: int


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day at this time of the clock on the wall."""

    hour: int
    minute: int


@dataclass(frozen=True, slots=True)
class Weekly:
    """On these days of the week."""

    days: tuple[Weekday, ...]
    hour: int
    minute: int


@dataclass(frozen=True, slots=True)
class Monthly:
    """On this day of each month that has it; None: on the month's last day."""

    day: int | None
    hour: int
    minute: int


@dataclass(frozen=True, slots=True)
class EveryMinutes:
    """Every so many minutes of elapsed time, counted from 1970-01-01T00:00Z, so that 15 gives :00, :15, :30, :45."""

    minutes: int


@dataclass(frozen=True, slots=True)
class Once:
    """At one moment."""

    at: datetime


class RecurrenceForm(StrEnum):
    """In which form a recurrence was given; the value is its name in storage."""

    CRON = "cron"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    EVERY_MINUTES = "everyMinutes"
    ONCE = "once"


Recurrence: TypeAlias = Cron | Hourly | Daily | Weekly | Monthly | EveryMinutes | Once
_FORMS: Mapping[RecurrenceForm, type[Recurrence]] = {
    RecurrenceForm.CRON: Cron,
    RecurrenceForm.HOURLY: Hourly,
    RecurrenceForm.DAILY: Daily,
    RecurrenceForm.WEEKLY: Weekly,
    RecurrenceForm.MONTHLY: Monthly,
    RecurrenceForm.EVERY_MINUTES: EveryMinutes,
    RecurrenceForm.ONCE: Once,
}


def form_of(recurrence: Recurrence) -> RecurrenceForm:
    """In which form it was given."""
    return next(form for form, kind in _FORMS.items() if isinstance(recurrence, kind))


def to_json(recurrence: Recurrence) -> dict[str, Any]:
    """The JSON that is stored."""
    values = asdict(recurrence)
    if isinstance(recurrence, Once):
        values["at"] = recurrence.at.isoformat()
    return {form_of(recurrence).value: values}


def from_json(stored: dict[str, Any]) -> Recurrence:
    """What was stored."""
    ((form, values),) = stored.items()
    if form == RecurrenceForm.ONCE:
        return Once(datetime.fromisoformat(values["at"]))
    if form == RecurrenceForm.WEEKLY:
        values = values | {"days": tuple(Weekday(day) for day in values["days"])}
    return _FORMS[RecurrenceForm(form)](**values)


def expression_of(recurrence: Recurrence) -> str | None:
    """The same as cron text; None for what cron cannot say."""
    match recurrence:
        case Cron(expression):
            return expression
        case Hourly(minute):
            return f"{minute} * * * *"
        case Daily(hour, minute):
            return f"{minute} {hour} * * *"
        case Weekly(days, hour, minute):
            return f"{minute} {hour} * * {','.join(days)}"
        case Monthly(day, hour, minute):
            return f"{minute} {hour} {day or 'L'} * *"
        case _:
            return None


def text_of(recurrence: Recurrence) -> str:
    """The same for people, without the zone."""
    match recurrence:
        case Cron(expression):
            text = f"Cron {expression}"
        case Hourly(minute):
            text = f"Every hour at minute {minute}"
        case Daily(hour, minute):
            text = f"Every day at {hour:02}:{minute:02}"
        case Weekly(days, hour, minute):
            text = f"Every {', '.join(day.name.capitalize() for day in days)} at {hour:02}:{minute:02}"
        case Monthly(day, hour, minute):
            text = f"On {'the last day' if day is None else f'day {day}'} of every month at {hour:02}:{minute:02}"
        case EveryMinutes(minutes):
            text = f"Every {minutes} minutes" if minutes > 1 else "Every minute"
        case Once(at):
            text = f"Once at {at:%Y-%m-%d %H:%M} UTC"
    return text


def check(recurrence: Recurrence, *, now: datetime) -> Recurrence:
    """The recurrence, with tidied cron text. Whether a moment has passed is not looked at.

    Raises InvalidCron, InvalidRecurrence; the field is a path within `recurrence`.
    """
    match recurrence:
        case Cron(expression):
            return Cron(_checked_cron(expression))
        case EveryMinutes(minutes):
            _require("everyMinutes", "minutes", minutes, least=1, most=_MAX_MINUTES)
        case Once(at):
            if at > now + TEN_YEARS:
                raise InvalidRecurrence("This is more than ten years ahead.", field=("recurrence", "once", "at"))
            return Once(at.astimezone(UTC))
        case Hourly(minute):
            _require("hourly", "minute", minute, least=0, most=59)
        case Daily() | Weekly() | Monthly():
            form = form_of(recurrence)
            _require(form, "hour", recurrence.hour, least=0, most=23)
            _require(form, "minute", recurrence.minute, least=0, most=59)
            if isinstance(recurrence, Monthly) and recurrence.day is not None:
                _require(form, "day", recurrence.day, least=1, most=31)
            if isinstance(recurrence, Weekly):
                return _checked_days(recurrence)
    return recurrence


def read_zone(name: str) -> ZoneInfo:
    """A zone by its IANA name, which names a place: EST has no summer time. Raises UnknownZone."""
    if name not in _zones():
        meant = _MEANT.get(name.strip().upper())
        asked = f"did you mean {meant}?" if meant else "the name of a place is needed, such as America/New_York."
        raise UnknownZone(f"There is no zone {name[:60]!r}; {asked}", field=("zone",))
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if "/" in name) | _SINGLE


def _checked_cron(expression: str) -> str:
    field = ("recurrence", "cron")
    parts = expression.upper().split()
    if len(expression) > _MAX_LENGTH or len(parts) != len(_PARTS):
        said = f"Cron text has five fields ({', '.join(_PARTS)}), such as 0 9 * * 1; this has {len(parts)}."
        raise InvalidCron(said, part=None, field=field)
    for number, part in enumerate(parts):
        try:
            Field(number + 1).parse(part)
        except (CronSimError, AssertionError, ValueError):
            said = f"The {_PARTS[number]}, field {number + 1}, cannot be {part[:40]}: it takes {_ALLOWED[number]}."
            raise InvalidCron(said, part=_PARTS[number], field=field) from None
    said = "This never comes about: no month that is named has such a day of the month."
    never = InvalidCron(said, part=_PARTS[2], field=field)
    try:
        if next(CronSim(" ".join(parts), datetime(2000, 1, 1)), None) is None:  # noqa: DTZ001 -- of no zone in particular
            raise never
    except CronSimError:
        raise never from None
    return " ".join(parts)


def _checked_days(weekly: Weekly) -> Weekly:
    if not weekly.days:
        raise InvalidRecurrence("Choose a day of the week at least.", field=("recurrence", "weekly", "days"))
    return Weekly(tuple(day for day in Weekday if day in weekly.days), weekly.hour, weekly.minute)


def _require(form: str, name: str, value: int, *, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidRecurrence(f"{name} must be {least} to {most}.", field=("recurrence", form, name))
