"""Finding schedules and their history, and looking ahead."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.schedules import Schedule, ScheduleFire
from domain.actor import Scope
from domain.jobs.search import words_of
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.schedules import recurrence as recurrences
from domain.schedules.instants import upcoming
from domain.schedules.recurrence import InvalidRecurrence, Recurrence
from domain.unit import Unit

PREVIEWED = 5
READ = Scope.WORKFLOWS_READ
NEWEST = Order((Schedule.id,), descending=True)
LATEST_FIRES = Order((ScheduleFire.nominal_at, ScheduleFire.id), descending=True)

schedules_by_ids = by_ids(Schedule, scope=Scope.WORKFLOWS_READ)
fires_by_ids = by_ids(ScheduleFire, scope=Scope.WORKFLOWS_READ)


class ScheduleStatus(StrEnum):
    """Whether a schedule fires. `finished`: there is no time to come."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    FINISHED = "finished"
    DELETED = "deleted"


# The same as `status_of`, for PostgreSQL.
_STANDS = sa.and_(Schedule.deleted_at.is_(None), Schedule.disabled_at.is_(None))
_IN_STATUS = {
    ScheduleStatus.DELETED: Schedule.deleted_at.is_not(None),
    ScheduleStatus.DISABLED: sa.and_(Schedule.deleted_at.is_(None), Schedule.disabled_at.is_not(None)),
    ScheduleStatus.PAUSED: sa.and_(_STANDS, Schedule.paused_at.is_not(None)),
    ScheduleStatus.ACTIVE: sa.and_(_STANDS, Schedule.paused_at.is_(None), Schedule.next_at.is_not(None)),
    ScheduleStatus.FINISHED: sa.and_(_STANDS, Schedule.paused_at.is_(None), Schedule.next_at.is_(None)),
}


def status_of(schedule: Schedule) -> ScheduleStatus:
    """Whether it fires, and if not, why."""
    if schedule.deleted_at is not None:
        return ScheduleStatus.DELETED
    if schedule.disabled_at is not None:
        return ScheduleStatus.DISABLED
    if schedule.paused_at is not None:
        return ScheduleStatus.PAUSED
    return ScheduleStatus.ACTIVE if schedule.next_at is not None else ScheduleStatus.FINISHED


async def schedules_page(
    unit: Unit,
    *,
    window: Window,
    workflow_id: UUID | None = None,
    statuses: Collection[ScheduleStatus] = (),
    text: str | None = None,
) -> Page[Schedule]:
    """Schedules, newest first: of one workflow, in any of these states, with all of these words in their name.

    Those that were deleted are left out unless they are asked for.
    """
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(Schedule).where(Schedule.account_id == unit.account_id)
    wanted = [_IN_STATUS[status] for status in statuses] or [Schedule.deleted_at.is_(None)]
    query = query.where(sa.or_(*wanted), *(Schedule.name.icontains(word, autoescape=True) for word in words_of(text)))
    query = query if workflow_id is None else query.where(Schedule.workflow_id == workflow_id)
    return await paginate(unit.session, query, order=NEWEST, window=window)


async def fires_by_jobs(unit: Unit, job_ids: Sequence[UUID]) -> list[ScheduleFire | None]:
    """What started the jobs, in their order; None for what no schedule did."""
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(ScheduleFire).where(ScheduleFire.account_id == unit.account_id, any_of(ScheduleFire.job_id, job_ids))
    found = {fire.job_id: fire for fire in await unit.session.scalars(query)}
    return [found.get(job_id) for job_id in job_ids]


async def fires_page(unit: Unit, *, schedule_id: UUID, window: Window) -> Page[ScheduleFire]:
    """A schedule's history, the latest first."""
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(ScheduleFire).where(ScheduleFire.account_id == unit.account_id, ScheduleFire.schedule_id == schedule_id)
    return await paginate(unit.session, query, order=LATEST_FIRES, window=window)


def preview(recurrence: Recurrence, zone: str, *, after: datetime | None = None, count: int = PREVIEWED) -> list[datetime]:
    """The instants at which such a schedule would fire. Raises InvalidCron, InvalidRecurrence, UnknownZone.

    `after` is at most ten years from now, in either direction.
    """
    now = datetime.now(UTC)
    if after is not None and abs(after - now) > recurrences.TEN_YEARS:
        raise InvalidRecurrence("This is more than ten years from now.", field=("after",))
    return upcoming(recurrences.check(recurrence, now=now), recurrences.read_zone(zone), after or now, count=count)
