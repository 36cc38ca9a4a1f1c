"""Firing: what the clock does about schedules that are due.

Each fires in a unit of its own account: what it did at that instant, the run and the next instant are written down together.
A clock that dies before leaves nothing, and the next one fires; the schedule's row is locked meanwhile, and an instant of a
schedule can be written down once, so several clocks do not fire twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import any_of, new_id
from db.models.jobs import TERMINAL, Job
from db.models.schedules import FireResult, Schedule, ScheduleFire
from db.models.workflows import Workflow
from db.session import Database
from domain import actor as actors
from domain.actor import Actor
from domain.schedules import recurrence as recurrences
from domain.schedules import results
from domain.schedules.instants import newest_due, next_after
from domain.schedules.rules import COUNTED, Action, Decision, decide
from domain.unit import Unit
from domain.workflows import runs

_BATCH = 1_000
_TOGETHER = 25  # schedules of an account that are fired in one transaction
_AT_ONCE = 2  # transactions: as many as the clock has connections
_ACTOR = "Schedules"
_NOT_RUN = {
    Action.OVERLAPPED: (FireResult.OVERLAPPED, "Not run: the run before had not ended."),
    Action.MISSED: (FireResult.MISSED, "Not run: the system was down at this time."),
}

OpenUnit = Callable[[Actor], AbstractAsyncContextManager[Unit]]
Settle = Callable[[UUID, Sequence[UUID], bool], Awaitable[None]]  # of an account these fires, and whether to tell recipients
log = structlog.get_logger(__name__)


async def sweep(database: Database, open_unit: OpenUnit, *, front_end: str) -> None:
    """One round: fire what is due in every account, and settle the runs that have ended.

    What fails in one account is logged, and neither holds up the others nor is forgotten: it is due at the next round too.
    """
    async with database.system_across_accounts() as session:
        due = await _due(session)
        ended = await results.ended_runs(session)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def fire(account_id: UUID, schedule_ids: Sequence[UUID]) -> None:
        async with gate, open_unit(actors.system(account_id, name=_ACTOR)) as unit:
            await fire_due(unit, schedule_ids)

    async def settle(account_id: UUID, fire_ids: Sequence[UUID], tell: bool) -> None:
        async with gate, open_unit(actors.system(account_id, name=_ACTOR)) as unit:
            await results.settle(unit, fire_ids=fire_ids, front_end=front_end, tell=tell)

    async def attempt(account_id: UUID, schedule_ids: Sequence[UUID]) -> None:
        try:
            await fire(account_id, schedule_ids)
        except Exception as error:  # noqa: BLE001 -- one that cannot be fired must not hold up the others
            if len(schedule_ids) == 1:
                log.warning("schedule.not_fired", schedule_id=str(schedule_ids[0]), error=str(error))
            for schedule_id in schedule_ids if len(schedule_ids) > 1 else ():
                await attempt(account_id, [schedule_id])

    chunks = [
        (account_id, found[i : i + _TOGETHER]) for account_id, found in due.items() for i in range(0, len(found), _TOGETHER)
    ]
    await asyncio.gather(*(attempt(*chunk) for chunk in chunks), *(_settle(settle, *item) for item in ended.items()))


async def _settle(settle: Settle, account_id: UUID, fire_ids: Sequence[UUID], *, tell: bool = True) -> None:
    """Settle them together, or else one by one; one whose result cannot be told is written down all the same."""
    try:
        await settle(account_id, fire_ids, tell)
    except Exception as error:  # noqa: BLE001 -- one that cannot be settled must not hold up the others
        if len(fire_ids) > 1:
            for fire_id in fire_ids:
                await _settle(settle, account_id, [fire_id])
            return
        event = "schedule.not_told" if tell else "schedule.not_settled"
        log.warning(event, account_id=str(account_id), fire_id=str(fire_ids[0]), error=str(error))
        if tell:
            await _settle(settle, account_id, fire_ids, tell=False)


async def next_due_in(session: AsyncSession) -> float | None:
    """Seconds until the next schedule is due; None when there is none. Takes a session across accounts."""
    seconds = sa.extract("epoch", sa.func.min(Schedule.next_at) - sa.func.now())
    # One that is due already was tried just now.
    found = (await session.execute(sa.select(seconds).where(Schedule.next_at > sa.func.now()))).scalar()
    return None if found is None else float(found)


async def fire_due(unit: Unit, schedule_ids: Sequence[UUID]) -> None:
    """Fire those of an account's schedules that are due now and that nobody else is about to fire."""
    query = (
        sa.select(Schedule, Workflow, sa.func.now())
        .join(Workflow, Workflow.id == Schedule.workflow_id)
        .where(any_of(Schedule.id, schedule_ids), Schedule.next_at <= sa.func.now())
        .order_by(Schedule.next_at, Schedule.id)
        .with_for_update(of=Schedule, skip_locked=True)
    )
    rows = (await unit.session.execute(query)).all()
    active = await _active_runs(unit, [schedule.id for schedule, _, _ in rows])
    for schedule, workflow, now in rows:
        await _fire(unit, schedule, workflow, now=now, active=active.get(schedule.id, []))
        unit.changed("schedule", schedule.id)


async def _fire(unit: Unit, schedule: Schedule, workflow: Workflow, *, now: datetime, active: Sequence[UUID]) -> None:
    recurrence, zone = recurrences.from_json(schedule.recurrence), ZoneInfo(schedule.zone)
    first = schedule.next_at or now
    decisions = decide(
        newest_due(recurrence, zone, first=first, now=now, count=COUNTED),
        now=now,
        missed_policy=schedule.missed_policy,
        overlap_policy=schedule.overlap_policy,
        active=len(active),
    )
    before = active[-1] if active else None
    for decision in decisions:
        before = await carry_out(unit, schedule, workflow, decision, after=before) or before
    schedule.next_at = next_after(recurrence, zone, now)


async def carry_out(
    unit: Unit,
    schedule: Schedule,
    workflow: Workflow,
    decision: Decision,
    *,
    after: UUID | None = None,
    is_manual: bool = False,
) -> UUID | None:
    """Write down what is done about an instant, and do it; the job that was started, if any. Once for each instant.

    `after` is the job that a queued run begins after.
    """
    result, message = _NOT_RUN.get(decision.action, (FireResult.STARTED, None))
    starts = result is FireResult.STARTED
    row = insert(ScheduleFire).values(
        id=new_id(),
        account_id=unit.account_id,
        schedule_id=schedule.id,
        nominal_at=decision.nominal,
        is_manual=is_manual,
        result=result,
        missed=decision.missed,
        message=message,
        settled_at=None if starts else sa.func.now(),
    )
    unique = [ScheduleFire.account_id, ScheduleFire.schedule_id, ScheduleFire.nominal_at]
    fire_id = (
        await unit.session.scalars(row.on_conflict_do_nothing(index_elements=unique).returning(ScheduleFire.id))
    ).one_or_none()
    if fire_id is None or not starts:
        return None
    queued_after = after if decision.action is Action.QUEUE else None
    origin = runs.Origin(schedule.name, is_manual=is_manual)
    run = await runs.start(unit, workflow, priority=schedule.priority, after=queued_after, origin=origin)
    link = sa.update(ScheduleFire).where(ScheduleFire.id == fire_id).values(run_id=run.id, job_id=run.job_id)
    await unit.session.execute(link.execution_options(synchronize_session=False))
    return run.job_id


async def _due(session: AsyncSession) -> Mapping[UUID, list[UUID]]:
    query = sa.select(Schedule.account_id, Schedule.id).where(Schedule.next_at <= sa.func.now()).order_by(Schedule.next_at)
    found: dict[UUID, list[UUID]] = {}
    for account_id, schedule_id in await session.execute(query.limit(_BATCH)):
        found.setdefault(account_id, []).append(schedule_id)
    return found


async def _active_runs(unit: Unit, schedule_ids: Sequence[UUID]) -> Mapping[UUID, list[UUID]]:
    """The jobs of the schedules' runs that have not ended, oldest first; those that somebody started by hand do not count."""
    query = (
        sa.select(ScheduleFire.schedule_id, Job.id)
        .join(Job, Job.id == ScheduleFire.job_id)
        .where(any_of(ScheduleFire.schedule_id, schedule_ids), ScheduleFire.settled_at.is_(None))
        .where(Job.state.not_in(TERMINAL), ~ScheduleFire.is_manual)
        .order_by(ScheduleFire.nominal_at)
    )
    found: dict[UUID, list[UUID]] = {}
    for schedule_id, job_id in await unit.session.execute(query):
        found.setdefault(schedule_id, []).append(job_id)
    return found
