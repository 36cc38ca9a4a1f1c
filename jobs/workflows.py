"""Runs workflows: one step after another, each of them goes on where the last attempt's checkpoint says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from db.models.jobs import TERMINAL, Job, JobState, LogLevel
from db.models.workflows import StepState, WorkflowRun
from domain.crm.contacts import sync
from domain.crm.contacts.sync import SyncAlreadyRunning
from domain.errors import DomainError
from domain.files import store as files
from domain.jobs import queries
from domain.jobs.export import MEDIA_TYPE
from domain.jobs.running import Done, Later, Running, WaitFor, ended
from domain.notifications import mail
from domain.runtime import Runtime
from domain.schedules import results
from domain.unit import Unit
from domain.workflows import reports, runs, steps
from domain.workflows.runs import RunWorkflow, StepFailed
from domain.workflows.steps import Notify, Report, Step, SyncJob, Wait
from jobs.handlers import handles

_KEPT = timedelta(days=90)  # as long as a schedule's history
_GOOD = frozenset({JobState.SUCCEEDED, JobState.PARTIAL})


@dataclass(frozen=True, slots=True)
class Doing:
    """A step in the hands of its worker."""

    job: Running[RunWorkflow]
    runtime: Runtime
    run: WorkflowRun
    number: int

    async def keep(self, unit: Unit, **checkpoint: Any) -> None:
        """Keep what the next attempt needs of this step."""
        await self.job.advance(unit, checkpoint={"step": self.number, **checkpoint})

    async def done(self, unit: Unit, message: str, **details: Any) -> WorkflowRun:
        """The step has ended well; the next attempt goes on with the one after it."""
        run = await runs.note(unit, self.run.id, self.number, state=StepState.DONE, message=message, **details)
        done = self.number + 1
        await self.job.advance(unit, done=done, total=len(run.steps), message=message, checkpoint={"step": done})
        return run


@handles(RunWorkflow)
async def run_workflow(job: Running[RunWorkflow], runtime: Runtime) -> Done:
    """The steps are those that the workflow had when the run was asked for."""
    async with job.unit() as unit:
        run = await runs.get(unit, job.args.run_id)
        await results.reopen(unit, job_id=job.id)
    todo = steps.from_json(run.steps)
    for number in range(job.checkpoint.get("step", 0), len(todo)):
        await _carry_out(Doing(job, runtime, run, number), todo[number])
    async with job.unit() as unit:
        run = await runs.get(unit, run.id)
    message = f"All {len(todo)} steps done" if len(todo) > 1 else "Done"
    return Done(message, {"steps": len(todo), "files": len(run.files)})


async def _carry_out(doing: Doing, step: Step) -> None:
    title = steps.title_of(step)
    async with doing.job.unit() as unit:
        await runs.note(unit, doing.run.id, doing.number, state=StepState.RUNNING)
        phase = f"step {doing.number + 1}"
        await doing.job.advance(unit, done=doing.number, total=len(doing.run.steps), phase=phase, message=title)
    try:
        await _STEPS[type(step)](doing, step)
    except DomainError as failed:
        async with doing.job.unit() as unit:
            await runs.note(unit, doing.run.id, doing.number, state=StepState.FAILED, message=failed.message)
        raise


async def _report(doing: Doing, step: Report) -> None:
    job, runtime, until = doing.job, doing.runtime, datetime.now(UTC)
    since = until - timedelta(days=step.days)
    reader = replace(job.actor, scopes=steps.read_with(step))
    chunks = reports.written(lambda: runtime.unit(reader), step, since=since, until=until)
    stored = await runtime.files.put(job.account_id, chunks, kept=_KEPT)
    async with job.unit() as unit:
        name = f"{step.of.value}-{until:%Y-%m-%d}-{doing.number + 1}.csv"
        file = await files.record(unit, stored, name=name, media_type=MEDIA_TYPE, needs=reader.scopes)
        run = await doing.done(unit, f"{name} written, {stored.size:,} bytes", file_id=str(file.id))
        run.files = [*run.files, file.id]


async def _sync(doing: Doing, step: SyncJob) -> None:
    child = await _child(doing, step)
    if child.state not in TERMINAL:
        raise WaitFor(ended(child.id), f"Waits for: {child.title}")
    async with doing.job.unit() as unit:
        if child.state not in _GOOD:
            # A retry of the run begins this step anew.
            await doing.keep(unit)
        else:
            if child.state is JobState.PARTIAL:
                said = f"{child.title} succeeded in part: {child.message}"
                doing.job.log(unit, level=LogLevel.WARNING, code=StepFailed.code, message=said, subject=str(child.id))
            await doing.done(unit, f"{child.title}: {child.message}")
    if child.state not in _GOOD:
        raise StepFailed(f"{child.title} {child.state.value}: {child.error_message or child.message}")


async def _child(doing: Doing, step: SyncJob) -> Job:
    """The job that the step waits for: started by an earlier attempt, by this one, or by somebody else just now."""
    async with doing.job.unit() as unit:
        known = doing.job.checkpoint.get("child")
        child = await queries.get(unit, UUID(known)) if known is not None else None
        if child is not None:
            return child
        try:
            job_id = (await sync.start(unit, location_id=step.location_id)).job_id
        except SyncAlreadyRunning as running:
            job_id = running.job.id
        await doing.keep(unit, child=str(job_id))
        await runs.note(unit, doing.run.id, doing.number, state=StepState.RUNNING, job_id=str(job_id))
        child = await queries.get(unit, job_id)
        if child is None:
            raise StepFailed("The sync that this step waits for is gone.")
    return child


async def _notify(doing: Doing, step: Notify) -> None:
    async with doing.job.unit() as unit:
        run = await runs.get(unit, doing.run.id)
        key = f"workflow-run:{run.id}:{doing.number}"
        await mail.send(unit, key=key, to=step.recipients, subject=step.subject, text=step.message, files=run.files)
        await doing.done(unit, f"E-mail to {len(step.recipients)} on its way")


async def _wait(doing: Doing, step: Wait) -> None:
    now, known = datetime.now(UTC), doing.job.checkpoint.get("until")
    until = datetime.fromisoformat(known) if known is not None else now + timedelta(seconds=step.seconds)
    async with doing.job.unit() as unit:
        if until <= now:
            await doing.done(unit, f"Waited {step.seconds:,} s")
        else:
            await doing.keep(unit, until=until.isoformat())
    if until > now:
        raise Later((until - now).total_seconds(), f"Waits until {until:%Y-%m-%d %H:%M:%S} UTC")


_STEPS: Mapping[type[Step], Callable[[Doing, Any], Awaitable[None]]] = {
    Report: _report,
    SyncJob: _sync,
    Notify: _notify,
    Wait: _wait,
}
