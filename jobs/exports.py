"""Writes an account's jobs into a file."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from domain import ids
from domain.files import store
from domain.jobs import catalog, export
from domain.jobs.export import ExportJobs, Plan
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs.handlers import handles


@handles(ExportJobs)
async def export_jobs(job: Running[ExportJobs], runtime: Runtime) -> Done:
    """A later attempt begins anew, unless the file was finished: what a broken one left in the store, nobody can reach."""
    if "file" not in job.checkpoint:
        scopes = export.scopes_of(job.args)
        job.actor = replace(job.actor, scopes=scopes)
        async with job.unit() as unit:
            the = await export.plan(unit, job_id=job.id, args=job.args)
        stored = await runtime.files.put(job.account_id, _lines(job, the), kept=export.KEPT)
        async with job.unit() as unit:
            needs = catalog.seen_with(scopes)
            file = await store.record(unit, stored, name=the.name, media_type=export.MEDIA_TYPE, needs=needs)
            result = {"file": ids.encode("file", file.id), "jobs": job.progress.done, "bytes": file.size}
            await job.advance(unit, checkpoint=result)
    return Done(f"{job.checkpoint['jobs']:,} jobs exported", job.checkpoint)


async def _lines(job: Running[ExportJobs], the: Plan) -> AsyncIterator[bytes]:
    yield export.header()
    done, after = 0, None
    while True:
        async with job.unit() as unit:
            rows = await export.page(unit, the, after=after)
            done += len(rows)
            await job.advance(unit, phase="export", done=done, total=max(the.total, done), message="Exporting jobs")
        if not rows:
            return
        after = export.position(rows[-1])
        yield await asyncio.to_thread(export.render, rows)
