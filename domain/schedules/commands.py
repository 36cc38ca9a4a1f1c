"""Making and changing schedules, running one now, and deleting a workflow together with what would start it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from db.models.notifications import NotificationEvent
from db.models.schedules import MissedPolicy, OverlapPolicy, Schedule, ScheduleFire
from db.models.workflows import Workflow
from domain import ids
from domain.actor import Scope
from domain.errors import Conflict, Invalid, NotFound
from domain.jobs.priority import JobPriority
from domain.notifications import notices
from domain.schedules import recurrence as recurrences
from domain.schedules.firing import carry_out
from domain.schedules.instants import fires_at, next_after, upcoming
from domain.schedules.recurrence import Once, Recurrence
from domain.schedules.rules import Action, Decision
from domain.tenancy import idempotency
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit
from domain.workflows import commands as workflows
from domain.workflows.steps import from_json, recipients_of, require_scopes

_COMPARED = 10
_MOST_OTHERS = 50
CLASHES = "SCH-007"
WORKFLOW_DELETED = "Its workflow was deleted."


class PastTime(Invalid):
    """The moment has passed already."""

    code = "SCH-004"


class ScheduleGone(Conflict):
    """The schedule was deleted."""

    code = "SCH-005"


class Disabled(Conflict):
    """The schedule has no workflow any more that it could run."""

    code = "SCH-006"


@dataclass(frozen=True, slots=True)
class Timing:
    """When it is to run. `run_if_past`: a moment that has passed is now, instead of a mistake."""

    recurrence: Recurrence
    zone: str
    run_if_past: bool = False


class Options(TypedDict, total=False):
    """What else is decided about a schedule. What is left out stays as it is; None is as it is for a new one."""

    missed_policy: MissedPolicy | None
    overlap_policy: OverlapPolicy | None
    priority: JobPriority | None
    recipients: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Clash:
    """Another live schedule of the same workflow fires at the same instant."""

    other: Schedule
    at: datetime


async def create(
    unit: Unit, *, workflow_id: UUID, name: str, timing: Timing, options: Options, idempotency_key: str | None = None
) -> Schedule:
    """A new schedule; it fires from now on.

    Raises Forbidden, NotFound, WorkflowGone, InvalidCron, InvalidRecurrence, UnknownZone, PastTime, Invalid, KeyReused.
    """
    unit.require(Scope.WORKFLOWS_WRITE)
    given = {"workflow": workflow_id, "name": name, "timing": str(timing), "options": options}
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="createSchedule", given=given)
    if replayed is not None:
        return await get(unit, replayed)
    # Locked: it may be about to be deleted, together with the schedules that it has by then.
    workflow = await workflows.get(unit, workflow_id, lock=True)
    schedule = Schedule(
        account_id=unit.account_id,
        workflow_id=workflow.id,
        name=workflows.named(name),
        missed_policy=MissedPolicy.RUN_ONCE,
        overlap_policy=OverlapPolicy.SKIP,
        recipients=[],
    )
    _apply(schedule, options)
    if schedule.recipients:
        require_scopes(unit, from_json(workflow.steps))
    _set_timing(schedule, timing, now=datetime.now(UTC))
    unit.session.add(schedule)
    await unit.session.flush()
    await idempotency.remember(unit, key=idempotency_key, subject_id=schedule.id)
    _record(unit, schedule, "schedule.create", zone=schedule.zone, recurrence=schedule.recurrence)
    return schedule


async def update(
    unit: Unit,
    *,
    schedule_id: UUID,
    expected_version: int,
    name: str | None = None,
    workflow_id: UUID | None = None,
    recurrence: Recurrence | None = None,
    zone: str | None = None,
    run_if_past: bool = False,
    options: Options | None = None,
) -> Schedule:
    """Change a schedule; None leaves a thing as it is. A disabled one is enabled again by another workflow.

    Raises as `create`, and ScheduleGone, StaleVersion, and Invalid where there is nothing to change.
    """
    schedule = await locked(unit, schedule_id, expected_version=expected_version)
    if not options and all(given is None for given in (name, workflow_id, recurrence, zone)):
        raise Invalid("There is nothing to change.")
    now, enabled = datetime.now(UTC), False
    before, written_to = schedule.workflow_id, set(schedule.recipients)
    if name is not None:
        schedule.name = workflows.named(name)
    if workflow_id is not None:
        schedule.workflow_id = (await workflows.get(unit, workflow_id, lock=True)).id
        enabled = schedule.disabled_at is not None
        schedule.disabled_at = schedule.disabled_reason = None
    if recurrence is not None or zone is not None or enabled:
        wanted = recurrence or recurrences.from_json(schedule.recurrence)
        _set_timing(schedule, Timing(wanted, zone or schedule.zone, run_if_past), now=now)
    _apply(schedule, options or Options())
    if schedule.recipients and (schedule.workflow_id != before or not written_to.issuperset(schedule.recipients)):
        await _require_results(unit, schedule)
    return await _changed(unit, schedule, "schedule.update", recurrence=schedule.recurrence, zone=schedule.zone)


async def pause(unit: Unit, *, schedule_id: UUID, expected_version: int) -> Schedule:
    """Let it not fire until it is resumed; runs that were started go on. Raises Forbidden, NotFound, StaleVersion."""
    schedule = await locked(unit, schedule_id, expected_version=expected_version)
    if schedule.paused_at is not None:
        return schedule
    schedule.paused_at = sa.func.now()
    schedule.next_at = None
    return await _changed(unit, schedule, "schedule.pause")


async def resume(unit: Unit, *, schedule_id: UUID, expected_version: int) -> Schedule:
    """Let it fire again, from now on: what went by meanwhile was not missed.

    Raises Forbidden, NotFound, StaleVersion, Disabled, PastTime.
    """
    schedule = await locked(unit, schedule_id, expected_version=expected_version)
    if schedule.disabled_at is not None:
        raise Disabled("This schedule is disabled; choose another workflow for it first.")
    if schedule.paused_at is None:
        return schedule
    schedule.paused_at = None
    timing = Timing(recurrences.from_json(schedule.recurrence), schedule.zone)
    _set_timing(schedule, timing, now=datetime.now(UTC))
    return await _changed(unit, schedule, "schedule.resume")


async def delete(unit: Unit, *, schedule_id: UUID, expected_version: int) -> Schedule:
    """Let it never fire again; its history stays. Raises Forbidden, NotFound, ScheduleGone, StaleVersion."""
    schedule = await locked(unit, schedule_id, expected_version=expected_version)
    schedule.deleted_at = sa.func.now()
    schedule.next_at = None
    return await _changed(unit, schedule, "schedule.delete")


async def run_now(unit: Unit, *, schedule_id: UUID, idempotency_key: str | None = None) -> ScheduleFire:
    """Run its workflow now, whatever else runs; the result is e-mailed as always, and the next instant stays what it is.

    Raises Forbidden, NotFound, ScheduleGone, Disabled, KeyReused.
    """
    unit.require(Scope.WORKFLOWS_WRITE)
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="runScheduleNow", given={"schedule": schedule_id})
    if replayed is not None:
        return (await unit.session.scalars(sa.select(ScheduleFire).where(ScheduleFire.id == replayed))).one()
    schedule = await get(unit, schedule_id, lock=True)
    if schedule.disabled_at is not None:
        raise Disabled("This schedule is disabled; choose another workflow for it first.")
    workflow = await workflows.get(unit, schedule.workflow_id)
    now = datetime.now(UTC)
    job_id = await carry_out(unit, schedule, workflow, Decision(now, Action.START), is_manual=True)
    fire = (await unit.session.scalars(sa.select(ScheduleFire).where(ScheduleFire.job_id == job_id))).one()
    await idempotency.remember(unit, key=idempotency_key, subject_id=fire.id)
    _record(unit, schedule, "schedule.run")
    return fire


async def delete_workflow(unit: Unit, *, workflow_id: UUID, expected_version: int) -> tuple[Workflow, list[Schedule]]:
    """Delete a workflow, disable its schedules and tell people of them. Raises Forbidden, NotFound, StaleVersion."""
    workflow = await workflows.delete(unit, workflow_id=workflow_id, expected_version=expected_version)
    live = sa.select(Schedule).where(
        Schedule.workflow_id == workflow.id, Schedule.deleted_at.is_(None), Schedule.disabled_at.is_(None)
    )
    schedules = (await unit.session.scalars(live.order_by(Schedule.id).with_for_update())).all()
    for schedule in schedules:
        schedule.next_at = None
        schedule.disabled_at, schedule.disabled_reason = sa.func.now(), WORKFLOW_DELETED
        await _changed(unit, schedule, "schedule.disable", reason=WORKFLOW_DELETED)
        await notices.notify(
            unit,
            event=NotificationEvent.SCHEDULE_DISABLED,
            title=f"{schedule.name} was disabled",
            body=f"{WORKFLOW_DELETED} Choose another workflow for the schedule, or delete it.",
            path=f"/schedules/{ids.encode('schedule', schedule.id)}",
        )
    return workflow, list(schedules)


async def clashes(unit: Unit, schedule: Schedule) -> list[Clash]:
    """Other live schedules of the same workflow that fire together with this one within the next ten times of either."""
    if schedule.next_at is None:
        return []
    query = sa.select(Schedule).where(
        Schedule.account_id == unit.account_id,
        Schedule.workflow_id == schedule.workflow_id,
        Schedule.id != schedule.id,
        Schedule.next_at.is_not(None),
    )
    others = (await unit.session.scalars(query.order_by(Schedule.next_at).limit(_MOST_OTHERS))).all()
    now = datetime.now(UTC)
    found = ((other, meeting(schedule, other, now=now)) for other in others)
    return [Clash(other, at) for other, at in found if at is not None]


def meeting(one: Schedule, other: Schedule, *, now: datetime) -> datetime | None:
    """The first instant at which both fire, among the next ten of either."""
    mine, its = ((recurrences.from_json(each.recurrence), ZoneInfo(each.zone)) for each in (one, other))
    shared = [at for at in upcoming(*mine, now, count=_COMPARED) if fires_at(*its, at)]
    shared += [at for at in upcoming(*its, now, count=_COMPARED) if fires_at(*mine, at)]
    return min(shared, default=None)


async def get(unit: Unit, schedule_id: UUID, *, lock: bool = False) -> Schedule:
    """A schedule that was not deleted. Raises NotFound, ScheduleGone."""
    query = sa.select(Schedule).where(Schedule.id == schedule_id)
    schedule = (await unit.session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if schedule is None:
        raise NotFound("There is no such schedule.")
    if schedule.deleted_at is not None:
        raise ScheduleGone("This schedule was deleted.")
    return schedule


async def locked(unit: Unit, schedule_id: UUID, *, expected_version: int) -> Schedule:
    """A schedule that is about to be changed. Raises Forbidden, NotFound, ScheduleGone, StaleVersion."""
    unit.require(Scope.WORKFLOWS_WRITE)
    schedule = await get(unit, schedule_id, lock=True)
    if schedule.version != expected_version:
        raise StaleVersion("The schedule was changed meanwhile.", field=("expectedVersion",), current=schedule)
    return schedule


def _set_timing(schedule: Schedule, timing: Timing, *, now: datetime) -> None:
    """Raises InvalidCron, InvalidRecurrence, UnknownZone, PastTime."""
    zone = recurrences.read_zone(timing.zone)
    recurrence = recurrences.check(timing.recurrence, now=now)
    if isinstance(recurrence, Once) and recurrence.at <= now:
        if not timing.run_if_past:
            raise PastTime("This moment has passed already.", field=("recurrence", "once", "at"))
        recurrence = replace(recurrence, at=now)
    schedule.recurrence, schedule.zone = recurrences.to_json(recurrence), timing.zone
    if schedule.paused_at is None and schedule.disabled_at is None:
        due_now = isinstance(recurrence, Once) and recurrence.at == now
        schedule.next_at = now if due_now else next_after(recurrence, zone, now)


async def _require_results(unit: Unit, schedule: Schedule) -> None:
    """That the actor may see what its recipients are sent. Raises Forbidden."""
    steps = await unit.session.scalars(sa.select(Workflow.steps).where(Workflow.id == schedule.workflow_id))
    require_scopes(unit, from_json(steps.one()))


def _apply(schedule: Schedule, options: Options) -> None:
    if "missed_policy" in options:
        schedule.missed_policy = options["missed_policy"] or MissedPolicy.RUN_ONCE
    if "overlap_policy" in options:
        schedule.overlap_policy = options["overlap_policy"] or OverlapPolicy.SKIP
    if "priority" in options:
        schedule.priority = None if options["priority"] is None else int(options["priority"])
    if "recipients" in options:
        schedule.recipients = recipients_of(options["recipients"] or (), field=("recipients",))


async def _changed(unit: Unit, schedule: Schedule, action: str, **details: Any) -> Schedule:
    schedule.version += 1
    schedule.updated_at = sa.func.now()
    await unit.session.flush()
    await unit.session.refresh(schedule)
    _record(unit, schedule, action, **details)
    return schedule


def _record(unit: Unit, schedule: Schedule, action: str, **details: Any) -> None:
    unit.audit(action, subject_type="schedule", subject_id=schedule.id, name=schedule.name, **details)
    unit.changed("schedule", schedule.id)
