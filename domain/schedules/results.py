"""What came of a schedule's runs: written into its history when they end, and e-mailed to its recipients."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import any_of
from db.models.jobs import TERMINAL, Job, JobState
from db.models.schedules import FireResult, Schedule, ScheduleFire
from db.models.workflows import StepState, WorkflowRun
from domain import ids
from domain.notifications import mail
from domain.unit import Unit
from domain.workflows import steps

RESULTS = {
    JobState.SUCCEEDED: FireResult.SUCCEEDED,
    JobState.PARTIAL: FireResult.PARTIAL,
    JobState.FAILED: FireResult.FAILED,
    JobState.CANCELLED: FireResult.CANCELLED,
    JobState.SKIPPED: FireResult.CANCELLED,
}
_SAID = {
    FireResult.SUCCEEDED: "completed",
    FireResult.PARTIAL: "completed in part",
    FireResult.FAILED: "failed",
    FireResult.CANCELLED: "was cancelled",
}
_MARKS = {StepState.DONE: "done", StepState.FAILED: "failed", StepState.RUNNING: "interrupted", StepState.PENDING: "not begun"}
_BATCH = 200
_OF_ACCOUNT = 25


async def ended_runs(session: AsyncSession) -> dict[UUID, list[UUID]]:
    """Fires whose run has ended and is not written down yet, a few of each account; takes a session across accounts."""
    turn = sa.func.row_number().over(partition_by=ScheduleFire.account_id, order_by=ScheduleFire.id).label("turn")
    ended = (
        sa.select(ScheduleFire.account_id, ScheduleFire.id, turn)
        .join(Job, sa.and_(Job.account_id == ScheduleFire.account_id, Job.id == ScheduleFire.job_id))
        .where(ScheduleFire.settled_at.is_(None), Job.state.in_(TERMINAL))
        .subquery()
    )
    query = sa.select(ended.c.account_id, ended.c.id).where(ended.c.turn <= _OF_ACCOUNT).order_by(ended.c.turn)
    found: dict[UUID, list[UUID]] = {}
    for account_id, fire_id in await session.execute(query.limit(_BATCH)):
        found.setdefault(account_id, []).append(fire_id)
    return found


async def settle(unit: Unit, *, fire_ids: Sequence[UUID], front_end: str, tell: bool = True) -> None:
    """Write down how the runs ended and `tell` the recipients, in one transaction. Those that another one settles are left."""
    query = (
        sa.select(ScheduleFire, Schedule, Job, WorkflowRun)
        .join(Schedule, Schedule.id == ScheduleFire.schedule_id)
        .join(Job, Job.id == ScheduleFire.job_id)
        .outerjoin(WorkflowRun, WorkflowRun.id == ScheduleFire.run_id)
        .where(any_of(ScheduleFire.id, fire_ids), ScheduleFire.settled_at.is_(None), Job.state.in_(TERMINAL))
        .order_by(ScheduleFire.id)
        .with_for_update(of=ScheduleFire, skip_locked=True)
    )
    for fire, schedule, job, run in (await unit.session.execute(query)).all():
        fire.result, fire.message = RESULTS[job.state], job.message
        fire.started_at, fire.ended_at = job.started_at, job.finished_at
        fire.settled_at = sa.func.now()
        unit.changed("schedule", schedule.id)
        if tell and schedule.recipients:
            await mail.send(
                unit,
                key=f"schedule-fire:{fire.id}:{job.attempt}",
                to=schedule.recipients,
                subject=f"{schedule.name} {_SAID[fire.result]}",
                text=summary(fire, schedule, run, link=f"{front_end}/jobs/{ids.encode('job', job.id)}"),
                files=run.files if run is not None else (),
            )


async def reopen(unit: Unit, *, job_id: UUID) -> None:
    """The run of a fire goes on, by a retry perhaps: its end is written down and told when it comes."""
    await unit.session.execute(
        sa.update(ScheduleFire)
        .where(ScheduleFire.account_id == unit.account_id, ScheduleFire.job_id == job_id)
        .values(
            result=FireResult.STARTED,
            started_at=sa.func.coalesce(ScheduleFire.started_at, sa.func.now()),
            ended_at=None,
            settled_at=None,
        )
        .execution_options(synchronize_session=False)
    )


def summary(fire: ScheduleFire, schedule: Schedule, run: WorkflowRun | None, *, link: str) -> str:
    """The e-mail's text."""
    zone = ZoneInfo(schedule.zone)
    lines = [
        f"{schedule.name} {_SAID[fire.result]}: {fire.message or ''}".rstrip(": "),
        "",
        f"Due:      {_local(fire.nominal_at, zone)}",
        f"Started:  {_local(fire.started_at, zone)}",
        f"Ended:    {_local(fire.ended_at, zone)}",
    ]
    if fire.started_at is not None and fire.ended_at is not None:
        lines.append(f"Duration: {(fire.ended_at - fire.started_at).total_seconds():,.0f} seconds")
    if run is not None:
        lines += ["", f"{run.name}, step by step:"]
        for number, (step, outcome) in enumerate(zip(steps.from_json(run.steps), run.outcomes, strict=True), start=1):
            said = f" - {outcome['message']}" if outcome.get("message") else ""
            lines.append(f"{number}. {steps.title_of(step)}: {_MARKS[StepState(outcome['state'])]}{said}")
    return "\n".join([*lines, "", link, ""])


def _local(moment: datetime | None, zone: ZoneInfo) -> str:
    return "-" if moment is None else moment.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")
