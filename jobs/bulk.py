"""Changes many jobs, batch by batch."""

from uuid import UUID

from db.models.jobs import Job
from domain.jobs import bulk, commands, queue
from domain.jobs.args import UnreadableArgs
from domain.jobs.bulk import BulkAction, Change, ChangeJobs
from domain.jobs.running import Done, Running
from domain.recovery import archive
from domain.runtime import Runtime
from domain.unit import Unit
from jobs.handlers import handles


async def _cancel(unit: Unit, job_id: UUID) -> Job:
    return (await commands.cancel(unit, job_id=job_id)).job


async def _retry(unit: Unit, job_id: UUID) -> Job:
    return await commands.retry(unit, job_id=job_id)


async def _pause(unit: Unit, job_id: UUID) -> Job:
    return (await queue.pause(unit, job_id=job_id)).job


async def _resume(unit: Unit, job_id: UUID) -> Job:
    return (await queue.resume(unit, job_id=job_id)).job


async def _archive(unit: Unit, job_id: UUID) -> Job:
    return await archive.archive(unit, job_id=job_id)


CHANGES: dict[BulkAction, tuple[Change, str]] = {
    BulkAction.CANCEL: (_cancel, "Cancelled"),
    BulkAction.RETRY: (_retry, "Retried"),
    BulkAction.PAUSE: (_pause, "Paused"),
    BulkAction.RESUME: (_resume, "Resumed"),
    BulkAction.ARCHIVE: (_archive, "Archived"),
}


def _change_of(args: ChangeJobs) -> tuple[Change, str]:
    try:
        return CHANGES[BulkAction(args.action)]
    except ValueError:
        raise UnreadableArgs(f"This release does not know the change {args.action!r}.") from None


@handles(ChangeJobs)
async def change_jobs(job: Running[ChangeJobs], runtime: Runtime) -> Done:  # noqa: ARG001 -- every handler is given one
    """Goes on after the last job of the last batch."""
    change, past = _change_of(job.args)
    async with job.unit() as unit:
        job.actor = await bulk.requester(unit, job_id=job.id, args=job.args)
    kept = job.checkpoint
    after = UUID(kept["after"]) if "after" in kept else None
    matched, changed = kept.get("matched", 0), kept.get("changed", 0)
    while True:
        async with job.unit() as unit:
            batch = await bulk.change_batch(unit, change, job_id=job.id, after=after)
            if batch.last is not None:
                after, matched, changed = batch.last, matched + batch.matched, changed + batch.changed
                checkpoint = {"after": str(after), "matched": matched, "changed": changed}
                await job.advance(unit, done=matched, total=max(job.args.count, matched), checkpoint=checkpoint)
        if batch.last is None:
            break
    result = {"matched": matched, "changed": changed, "unchanged": matched - changed}
    return Done(f"{past} {changed:,} of {matched:,} jobs", result)
