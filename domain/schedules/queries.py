"""Finding schedules and their history, and looking ahead."""

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from db.models.schedules import Schedule, ScheduleFire
from domain.actor import Scope
from domain.lookups import by_ids
from domain.paging import Order, Page, Window, paginate
from domain.schedules import recurrence as recurrences
from domain.schedules.instants import upcoming
from domain.schedules.recurrence import Recurrence
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


def status_of(schedule: Schedule) -> ScheduleStatus:
    """Whether it fires, and if not, why."""
    if schedule.deleted_at is not None:
        return ScheduleStatus.DELETED
    if schedule.disabled_at is not None:
        return ScheduleStatus.DISABLED
    if schedule.paused_at is not None:
        return ScheduleStatus.PAUSED
    return ScheduleStatus.ACTIVE if schedule.next_at is not None else ScheduleStatus.FINISHED


async def schedules_page(unit: Unit, *, workflow_id: UUID | None, window: Window) -> Page[Schedule]:
    """The schedules that were not deleted, newest first; of one workflow or of all."""
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(Schedule).where(Schedule.account_id == unit.account_id, Schedule.deleted_at.is_(None))
    query = query if workflow_id is None else query.where(Schedule.workflow_id == workflow_id)
    return await paginate(unit.session, query, order=NEWEST, window=window)


async def fires_page(unit: Unit, *, schedule_id: UUID, window: Window) -> Page[ScheduleFire]:
    """A schedule's history, the latest first."""
    unit.require(Scope.WORKFLOWS_READ)
    query = sa.select(ScheduleFire).where(ScheduleFire.account_id == unit.account_id, ScheduleFire.schedule_id == schedule_id)
    return await paginate(unit.session, query, order=LATEST_FIRES, window=window)


def preview(recurrence: Recurrence, zone: str, *, after: datetime | None = None, count: int = PREVIEWED) -> list[datetime]:
    """The instants at which such a schedule would fire. Raises InvalidCron, InvalidRecurrence, UnknownZone."""
    now = datetime.now(UTC)
    return upcoming(recurrences.check(recurrence, now=now), recurrences.read_zone(zone), after or now, count=count)
