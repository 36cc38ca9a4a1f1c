"""How often a schedule fires, as clients say and see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import strawberry

from domain.schedules import recurrence as recurrences
from domain.schedules.recurrence import InvalidCron
from graph.about import about, optional
from graph.schedule_enums import IfPast, RecurrenceForm, Weekday
from graph.user_errors import UserError, builds


@strawberry.input(description="Every hour at this minute.")
class HourlyInput:
    minute: int = about("0 to 59.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.Hourly(self.minute)


@strawberry.input(description="Every day at this time of the clock on the wall.")
class DailyInput:
    hour: int = about("0 to 23.")
    minute: int = strawberry.field(default=0, description="0 to 59.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.Daily(self.hour, self.minute)


@strawberry.input(description="On days of the week.")
class WeeklyInput:
    days: list[Weekday] = about("One at least.")
    hour: int = about("0 to 23.")
    minute: int = strawberry.field(default=0, description="0 to 59.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.Weekly(tuple(self.days), self.hour, self.minute)


@strawberry.input(description="On a day of each month.")
class MonthlyInput:
    day: int | None = optional("1 to 31; months that have no such day are left out. Null: the last day of the month.")
    hour: int = about("0 to 23.")
    minute: int = strawberry.field(default=0, description="0 to 59.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.Monthly(self.day, self.hour, self.minute)


@strawberry.input(description="Every so many minutes of elapsed time, whatever the clocks do.")
class EveryMinutesInput:
    minutes: int = about("1 to 1,440. Counted from midnight UTC of 1970-01-01, so that 15 gives :00, :15, :30 and :45.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.EveryMinutes(self.minutes)


@strawberry.input(description="At one moment.")
class OnceInput:
    at: datetime = about("Up to ten years ahead.")
    if_past: IfPast = strawberry.field(default=IfPast.REJECT, description="What becomes of it when it has passed.")

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        return recurrences.Once(self.at)


@strawberry.input(
    one_of=True,
    description=(
        "When it is to run: exactly one of its fields is given. Times are those of the clock on the wall in the schedule's "
        "zone. A time that the clock skips for summer time fires once, right after the gap. A time that it shows twice fires "
        "the first time only, if the hour is named; where cron's hour field begins with `*`, both times."
    ),
)
class RecurrenceInput:
    cron: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Minute, hour, day of the month, month, day of the week, as Debian's cron has them, such as 0 9 * * MON.",
    )
    hourly: HourlyInput | None = strawberry.field(default=strawberry.UNSET, description="Every hour.")
    daily: DailyInput | None = strawberry.field(default=strawberry.UNSET, description="Every day.")
    weekly: WeeklyInput | None = strawberry.field(default=strawberry.UNSET, description="On days of the week.")
    monthly: MonthlyInput | None = strawberry.field(default=strawberry.UNSET, description="On a day of each month.")
    every_minutes: EveryMinutesInput | None = strawberry.field(default=strawberry.UNSET, description="Every so many minutes.")
    once: OnceInput | None = strawberry.field(default=strawberry.UNSET, description="At one moment.")

    @property
    def run_if_past(self) -> bool:
        """Whether a moment that has passed is now."""
        return bool(self.once) and self.once.if_past is IfPast.RUN_NOW  # type: ignore[union-attr]  # given, by the first half

    def to_domain(self) -> recurrences.Recurrence:
        """Not checked yet."""
        for form in (self.hourly, self.daily, self.weekly, self.monthly, self.every_minutes, self.once):
            if form:
                return form.to_domain()
        return recurrences.Cron(self.cron or "")


@strawberry.type(description="When a schedule runs. What does not belong to its form is null.")
class Recurrence:
    form: RecurrenceForm = about("In which form it was given, to show the same form again.")
    text: str = about("The same for people, such as: Every day at 06:00.")
    cron: str | None = about("The same as cron text; null for EVERY_MINUTES and ONCE.")
    hour: int | None = optional("DAILY, WEEKLY, MONTHLY.")
    minute: int | None = optional("HOURLY, DAILY, WEEKLY, MONTHLY.")
    days: list[Weekday] | None = optional("WEEKLY.")
    day: int | None = optional("MONTHLY; null for the last day of the month.")
    minutes: int | None = optional("EVERY_MINUTES.")
    at: datetime | None = optional("ONCE. UTC.")


@strawberry.type(description="A time at which a schedule fires.")
class ScheduleInstant:
    at: datetime = about("UTC.")
    local: str = about("The same in the schedule's zone, with its offset, such as 2027-01-12T06:00:00-05:00.")
    zone_name: str = about("What the zone is called then, such as EST or EDT.")
    text: str = about("The same for people, such as: Tue Jan 12 2027, 6:00 AM EST.")


@strawberry.type(description="The cron text cannot be used.")
class InvalidCronError(UserError):
    part: str | None = about("Which of its five fields is wrong, such as: hour. Null where it is the text as a whole.")


@dataclass(frozen=True, slots=True)
class InZone:
    """Instants as they are shown in a zone."""

    zone: str

    def __call__(self, instants: Sequence[datetime]) -> list[ScheduleInstant]:
        """Each of them."""
        return [self.one(instant) for instant in instants]

    def one(self, instant: datetime) -> ScheduleInstant:
        """One of them."""
        local = instant.astimezone(ZoneInfo(self.zone))
        clock = f"{local.hour % 12 or 12}:{local.minute:02} {'AM' if local.hour < 12 else 'PM'}"  # noqa: PLR2004 -- noon
        text = f"{local:%a %b} {local.day} {local.year}, {clock} {local.tzname()}"
        return ScheduleInstant(at=instant, local=local.isoformat(), zone_name=local.tzname() or "", text=text)


@builds(InvalidCron)
def _invalid_cron(error: InvalidCron, base: dict[str, Any]) -> UserError:
    return InvalidCronError(**base, part=error.part)


def recurrence_of(stored: dict[str, Any]) -> Recurrence:
    """What stands in a schedule's row."""
    recurrence = recurrences.from_json(stored)
    given = {
        name: getattr(recurrence, name)
        for name in ("hour", "minute", "days", "day", "minutes", "at")
        if hasattr(recurrence, name)
    }
    return Recurrence(
        form=recurrences.form_of(recurrence),
        text=recurrences.text_of(recurrence),
        cron=recurrences.expression_of(recurrence),
        **given,
    )
